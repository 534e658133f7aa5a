"""Fail-over: another host of a group comes to lead its database, and the one that led follows it.

Each step looks before it acts, so that the whole can be killed anywhere and given again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld
from migrate.inventory import Host, read_leads
from migrate.leads import LEADS, write_leads
from migrate.plan import Step
from migrate.target.remains import remains_of
from migrate.target.replicas import GroupState, ServerState, require_reached
from migrate.target.succession import Succession
from migrate.target.timelines import ends_of, parted_at, position_of

FOLLOW_SECONDS = 60.0
PROMOTE_SECONDS = 60
ASIDE = "ls -d /var/lib/postgresql/*/main.put-aside-*"
"""Data that gave way, as the role names them."""


@dataclass(frozen=True)
class Promoted:
    """The host that is to lead takes writes."""

    succession: Succession

    def verify(self, step: Step, context: StepContext) -> Verdict:
        state = self.succession.look()
        return Verdict.PASS if state.leaders == [self.succession.lead.name] else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises Unreachable where it does not answer, GateHeld where it does not come to lead in time."""
        heir = require_reached(self.succession.look(), self.succession.lead.name)
        query = f"SELECT pg_promote(true, {PROMOTE_SECONDS})"
        done = self.succession.hosts.run(
            self.succession.lead,
            ["env", "--chdir=/", "psql", "-X", "-At", "-p", str(self.succession.port), "-d", "postgres", "-c", query],
            as_user="postgres", timeout=PROMOTE_SECONDS + 30.0,
        )  # fmt: skip
        if done.stdout.strip() != "t":
            raise GateHeld(
                f"it was not promoted: {done.stderr.strip() or done.stdout.strip()}", where=heir.host,
                expected="pg_promote to end within its bound", hint="journalctl -u 'postgresql@*' -n 50 on it",
            )  # fmt: skip
        return Outcome({"host": heir.host, "timeline before": heir.timeline})


@dataclass(frozen=True)
class LeadWritten:
    """`leads.yml` beside the inventory says who leads, where that is not the group's first host."""

    succession: Succession

    def verify(self, step: Step, context: StepContext) -> Verdict:
        lead = self._written().get(self.succession.settings.group, self._first)
        return Verdict.PASS if lead == self.succession.lead.name else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        inventory, group, lead = self.succession.inventory, self.succession.settings.group, self.succession.lead.name
        leads = {**self._written(), group: lead}
        if lead == self._first:
            del leads[group]
        write_leads(inventory.path, leads)
        return Outcome({"file": str(inventory.path.with_name(LEADS)), "group": group, "host": lead})

    def _written(self) -> dict[str, str]:
        return read_leads(self.succession.inventory.path, self.succession.inventory.hosts)

    @property
    def _first(self) -> str:
        return replace(self.succession.inventory, leads={}).lead(self.succession.settings.group).name


@dataclass(frozen=True)
class Rejoined:
    """A host of the group is a replica again, copied from the one that leads. What it had is put aside on it."""

    succession: Succession
    provision: Callable[[str, StepContext], Outcome]
    """Provisions one host whose data give way."""

    def verify(self, step: Step, context: StepContext) -> Verdict:
        return Verdict.PASS if _follows(self.succession.look(), step.subject) else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where it does not follow in time, or the one that leads does not."""
        state = self.succession.look()
        lead = require_reached(state, self.succession.lead.name)
        if lead.follows:
            raise GateHeld(
                f"{lead.host} is to lead, and follows", where=f"services.{self.succession.service}",
                expected="the host that leads to take writes", hint=f"cloudexit failover {self.succession.service}",
            )  # fmt: skip
        had = {"had": self._had(step.subject, state, lead)}
        context.progress(had)  # kept, should the run be killed when the data are aside
        outcome = self.provision(step.subject, context)
        if not self.succession.awaited(lambda seen: _follows(seen, step.subject), FOLLOW_SECONDS, context):
            raise GateHeld(
                f"it does not follow {lead.host}", where=step.subject,
                expected="a replica that streams from it", hint="journalctl -u 'postgresql@*' -n 50 on it",
            )  # fmt: skip
        aside = self.succession.hosts.run(self._host(step.subject), ["sh", "-c", ASIDE]).stdout.split()
        return Outcome({**outcome.detail, **had, "data put aside": aside})

    def _host(self, name: str) -> Host:
        return self.succession.inventory.hosts[name]

    def _had(self, host: str, state: GroupState, lead: ServerState) -> dict[str, object]:
        """How far a server had come that gives way, whether it runs or not, and how far beyond what was taken over."""
        server = state.servers.get(host)
        if server:
            timeline, position, history = server.timeline, max(server.position, server.received), server.history
        elif host in state.stopped:
            remains = remains_of(self.succession.hosts, self._host(host))
            if not remains.ended:
                return {"data": "none"}
            timeline, position, history = remains.timeline, remains.position, remains.history
        else:
            raise state.away[host]
        past = {**ends_of(history), timeline: position}
        common, parted = parted_at(past, {**ends_of(lead.history), lead.timeline: lead.position})
        return {
            "timeline": timeline, "up to": position_of(position),
            "in common": f"timeline {common}, {position_of(parted)}",
            "bytes that no other has": max(0, position - parted),
        }  # fmt: skip


def _follows(state: GroupState, host: str) -> bool:
    server = state.servers.get(host)
    return server is not None and server.follows and server.streams
