"""Fail-over: another host of a group comes to lead its database, and the one that led follows it.

Each step looks before it acts, so that the whole can be killed anywhere and given again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld, Unreachable
from migrate.inventory import LEADS, Host, Inventory, read_leads
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.stack import Service, Stack
from migrate.target.parts.pooler import databases_text
from migrate.target.parts.postgresql import DEFAULT_PORT
from migrate.target.replicas import GroupState, ServerState, look_at_group, require_reached

STOP_SECONDS = 120.0
CATCH_UP_SECONDS = 60.0
PROMOTE_SECONDS = 60
POLL_SECONDS = 0.3
ASIDE = "put-aside"
"""How the role names data that gave way."""
POOL_FILE = PurePosixPath("/etc/pgbouncer/databases.ini")
STAND_DOWN = """
set -eu
data=$(runuser -u postgres -- psql -X -At -p "$1" -d postgres -c 'SHOW data_directory')
version=$(cat "$data/PG_VERSION")
systemctl stop "postgresql@$version-main.service"
runuser -u postgres -- touch "$data/standby.signal"
tool=/usr/lib/postgresql/$version/bin/pg_controldata
runuser -u postgres -- "$tool" "$data" | sed -n 's/^Latest checkpoint location: *//p'
"""
STAND_UP = """
set -eu
for data in /var/lib/postgresql/*/main; do version=$(cat "$data/PG_VERSION"); done
rm -f "$data/standby.signal"
systemctl start "postgresql@$version-main.service"
"""
HOLD_DOWN = 'for data in /var/lib/postgresql/*/main; do runuser -u postgres -- touch "$data/standby.signal"; done'
IS_HELD_DOWN = 'for data in /var/lib/postgresql/*/main; do test -e "$data/standby.signal"; done'


@dataclass(frozen=True)
class Succession:
    """A service's group, and who is to lead it. `inventory` has that host as the lead already."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts
    service: str
    old_is_off: bool = False
    """The operator's word that a host which does not answer takes no writes any more."""
    sleep: Callable[[float], None] = time.sleep

    @property
    def settings(self) -> Service:
        return self.stack.services[self.service]

    @property
    def port(self) -> int:
        return self.settings.port or DEFAULT_PORT

    @property
    def lead(self) -> Host:
        return self.inventory.lead(self.settings.group)

    @property
    def others(self) -> list[Host]:
        return self.inventory.group(self.settings.group)[1:]

    def look(self) -> GroupState:
        return look_at_group(self.hosts, self.inventory.group(self.settings.group), self.port)

    def awaited(self, done: Callable[[GroupState], bool], seconds: float, context: StepContext) -> bool:
        """Looks until it is so; False where it is not within the bound, or the run is cancelled."""
        end = time.monotonic() + seconds
        while not done(self.look()):
            if time.monotonic() > end or context.cancelled():
                return False
            self.sleep(POLL_SECONDS)
        return True


def choose(state: GroupState, lead: str, service: str) -> str:
    """The host that is to lead where none was named: the replica that has received the most. Raises GateHeld."""
    candidates = [server for name, server in state.servers.items() if server.follows and name != lead]
    if not candidates:
        raise GateHeld(
            f"nobody can take over from {lead}",
            where=f"services.{service}",
            expected="a replica that answers",
            hint="add a host to the group and provision it, or restore from a backup",
        )
    return max(candidates, key=lambda server: (server.timeline, server.received)).host


@dataclass(frozen=True)
class OthersStoodDown:
    """No other server of the group takes writes: each is stopped when all that it has is on the one that is to lead."""

    succession: Succession

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """Raises Unreachable where a host does not answer, unless the operator says that it is off."""
        state = self.succession.look()
        self._require_known(state)
        leaders = [name for name in state.leaders if name != self.succession.lead.name]
        loose = [
            host for host in self._stopped(state) if not self.succession.hosts.run(host, ["sh", "-c", IS_HELD_DOWN])
        ]
        return Verdict.FAIL if leaders or loose else Verdict.PASS

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where the one that is to lead does not have everything: then nothing has changed."""
        state = self.succession.look()
        self._require_known(state)
        leaders = [name for name in state.leaders if name != self.succession.lead.name]
        for host in self._stopped(state):
            self._run(host, HOLD_DOWN)
        if leaders:
            heir = require_reached(state, self.succession.lead.name)
            return self._hand_over(self.succession.inventory.hosts[leaders[0]], heir, state, context)
        heir_now = state.servers.get(self.succession.lead.name)
        return Outcome({"stopped": sorted(state.stopped), "away": sorted(state.away), **_behind(heir_now)})

    def _hand_over(self, old: Host, heir: ServerState, state: GroupState, context: StepContext) -> Outcome:
        if not heir.follows or not heir.streams:
            raise GateHeld(
                f"{heir.host} does not follow {old.name}, which takes writes", where=heir.host,
                expected="a replica that streams from it",
                hint="provision the group, and see that `cloudexit check` finds its replicas keeping up",
            )  # fmt: skip
        last = _bytes(self._run(old, STAND_DOWN, str(self.succession.port)))
        began = time.monotonic()
        if not self.succession.awaited(lambda seen: _has(seen, heir.host, last), CATCH_UP_SECONDS, context):
            self._run(old, STAND_UP)
            raise GateHeld(
                f"{heir.host} did not get within {CATCH_UP_SECONDS:.0f} s what {old.name} had; {old.name} leads again",
                where=heir.host, expected=f"{last:,} bytes of WAL", hint="see why it is slow, then try again",
            )  # fmt: skip
        waited = round(time.monotonic() - began, 3)
        return Outcome({"stopped": [old.name], "lost": "nothing", "seconds to catch up": waited})

    def _require_known(self, state: GroupState) -> None:
        away = {name: fault for name, fault in state.away.items() if name != self.succession.lead.name}
        if away and not self.succession.old_is_off:
            name, fault = next(iter(away.items()))
            raise Unreachable(
                f"{name} does not answer, and may go on taking writes: {fault.what}", where=name,
                expected="every host of the group to answer, or to be off",
                hint="cut it off (power, switch port), then: cloudexit failover … --old-is-off",
            )  # fmt: skip

    def _stopped(self, state: GroupState) -> list[Host]:
        return [host for host in self.succession.others if host.name in state.stopped]

    def _run(self, host: Host, script: str, *arguments: str) -> str:
        done = self.succession.hosts.run(host, ["sh", "-c", script, "sh", *arguments], timeout=STOP_SECONDS)
        if not done:
            raise GateHeld(
                f"the server cannot be stood down: {done.stderr.strip() or done.exit_status}", where=host.name,
                expected="PostgreSQL to stop", hint="journalctl -u 'postgresql@*' -n 50 on it",
            )  # fmt: skip
        return done.stdout.strip()


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
    """`leads.yml` beside the inventory says who leads."""

    succession: Succession

    def verify(self, step: Step, context: StepContext) -> Verdict:
        inventory = self.succession.inventory
        written = read_leads(inventory.path, inventory.hosts)
        return (
            Verdict.PASS if written.get(self.succession.settings.group) == self.succession.lead.name else Verdict.FAIL
        )

    def apply(self, step: Step, context: StepContext) -> Outcome:
        inventory = self.succession.inventory
        group = self.succession.settings.group
        leads = {**read_leads(inventory.path, inventory.hosts), group: self.succession.lead.name}
        write_leads(inventory.path, leads)
        return Outcome({"file": str(inventory.path.with_name(LEADS)), "group": group, "host": leads[group]})


def write_leads(inventory: Path, leads: Mapping[str, str]) -> None:
    """Whole or not at all."""
    path = inventory.with_name(LEADS)
    temporary = path.with_name(path.name + ".tmp")
    words = "# Which host leads its group, where it is not the first one. Written by: cloudexit failover\n"
    temporary.write_text(words + yaml.safe_dump(dict(leads)), encoding="utf-8")
    temporary.replace(path)


@dataclass(frozen=True)
class PoolsRepointed:
    """Pools of connections on the app's hosts lead to the host that leads: the app need not be told."""

    succession: Succession
    without: Sequence[str] = ()
    """Hosts that are away; provisioning tells them when they are back."""

    def verify(self, step: Step, context: StepContext) -> Verdict:
        told = [self._run(host, ["cat", str(POOL_FILE)]) == self._text for host in self._hosts()]
        return Verdict.PASS if all(told) else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where a pool does not take it up."""
        script = f'umask 027; cat >"{POOL_FILE}.new"; chown postgres:postgres "{POOL_FILE}.new"; '
        script += (
            f'chmod 0640 "{POOL_FILE}.new"; mv "{POOL_FILE}.new" "{POOL_FILE}"; systemctl reload pgbouncer.service'
        )
        for host in self._hosts():
            done = self.succession.hosts.run(host, ["sh", "-euc", script], stdin=self._text.encode())
            if not done:
                raise GateHeld(f"the pool does not take it up: {done.stderr.strip()}", where=host.name)
        return Outcome({"hosts": [host.name for host in self._hosts()]})

    @property
    def _text(self) -> str:
        return databases_text(self.succession.settings, self.succession.inventory)

    def _hosts(self) -> list[Host]:
        if not self.succession.settings.pool_port:
            return []
        groups = self.succession.settings.open_to
        found = {host.name: host for group in groups for host in self.succession.inventory.group(group)}
        return [host for name, host in found.items() if name not in self.without]

    def _run(self, host: Host, command: Sequence[str]) -> str:
        return self.succession.hosts.run(host, command).stdout


def _has(state: GroupState, host: str, position: int) -> bool:
    server = state.servers.get(host)
    return server is not None and server.received >= position and server.position >= position


def _bytes(position: str) -> int:
    high, _, low = position.strip().splitlines()[-1].partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def _behind(heir: ServerState | None) -> dict[str, object]:
    """What an old lead that is away had and the heir has not cannot be known; when the heir's newest write was, can."""
    return {"newest write that is kept is older than, in seconds": round(heir.seconds_behind, 1)} if heir else {}


@dataclass(frozen=True)
class Rejoined:
    """A host of the group is a replica again, copied from the one that leads. What it had is put aside on it."""

    succession: Succession
    provision: Callable[[str], Outcome]
    """Provisions one host whose data give way."""

    def verify(self, step: Step, context: StepContext) -> Verdict:
        return Verdict.PASS if _follows(self.succession.look(), step.subject) else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where it does not follow in time, or the one that leads does not."""
        state = self.succession.look()
        if require_reached(state, self.succession.lead.name).follows:
            raise GateHeld(
                f"{self.succession.lead.name} is to lead, and follows", where=f"services.{self.succession.service}",
                expected="the host that leads to take writes", hint=f"cloudexit failover {self.succession.service}",
            )  # fmt: skip
        had = state.servers.get(step.subject)
        outcome = self.provision(step.subject)
        if not self.succession.awaited(lambda seen: _follows(seen, step.subject), CATCH_UP_SECONDS, context):
            raise GateHeld(f"it does not follow {self.succession.lead.name}", where=step.subject)
        kept = {"had": {"timeline": had.timeline, "bytes of WAL": had.position}} if had else {}
        return Outcome({**outcome.detail, **kept, "data put aside": f"/var/lib/postgresql/*/main.{ASIDE}-*"})


def _follows(state: GroupState, host: str) -> bool:
    server = state.servers.get(host)
    return server is not None and server.follows and server.streams
