"""The first step of a fail-over: nobody takes writes any more but the one that is to lead, and it has everything."""

import time
from dataclasses import dataclass

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld, Unreachable
from migrate.inventory import Host
from migrate.plan import Step
from migrate.target.remains import FIND, Remains, remains_of
from migrate.target.replicas import GroupState, ServerState, require_one_leader, require_reached
from migrate.target.succession import Lacking, Succession, has_received, lacking
from migrate.target.timelines import bytes_of, position_of

CHECKPOINT_SECONDS = 900.0
STOP_SECONDS = 120.0
TRIES = 5
"""A stop that has no end within its bound goes on, and is waited for by the next try: each script can be run again."""
START_SECONDS = 60.0
CATCH_UP_SECONDS = 60.0
SETTLE_SECONDS = 10.0
STOP = f"{FIND}systemctl stop $unit\n"
HOLD_DOWN = f"{STOP}[ ! -e $data/PG_VERSION ] || runuser -u postgres -- touch $data/standby.signal\n"
STAND_DOWN = (
    f"{HOLD_DOWN}runuser -u postgres -- env LC_ALL=C $bin/pg_controldata $data"
    " | sed -n 's/^Latest checkpoint location: *//p'\n"
)
STAND_UP = f"{FIND}rm -f $data/standby.signal\nsystemctl start $unit\n"
START_TO_FOLLOW = f"{FIND}runuser -u postgres -- touch $data/standby.signal\nsystemctl start $unit\n"


@dataclass(frozen=True)
class OthersStoodDown:
    """No other server of the group takes writes: each is stopped when all that it has is on the one that is to lead."""

    succession: Succession

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """Raises GateHeld where two servers take writes, Unreachable where a host does not answer and the operator has
        not said that it is off."""
        state = self._look()
        heir = state.servers.get(self._name)
        remains = self._remains(state)
        if heir is None or not all(one.is_down for one in remains) or self._old(state):
            return Verdict.FAIL
        return Verdict.FAIL if lacking(heir, state, remains) and not self.succession.accept_loss else Verdict.PASS

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where the one that is to lead does not have everything: whoever led leads again, or can be
        made to; nothing is given up in silence."""
        state = self._look()
        old = self._old(state)
        if old:
            for host in self._stopped(state):
                self._run(host, HOLD_DOWN)
            return self._hand_over(old, require_reached(state, self._name), context)
        self._start_heir(state, context)
        for host in self._stopped(state):
            self._run(host, STOP)
        state, remains = self._settled(context)
        heir = require_reached(state, self._name)
        missing = lacking(heir, state, remains)
        if missing and not self.succession.accept_loss:
            raise self._would_be_lost(missing)
        for host in self._stopped(state):
            self._run(host, HOLD_DOWN)
        return _account(heir, state, missing)

    def recall(self, step: Step) -> Outcome:
        """What is lost, where the others were down already."""
        state = self._look()
        heir = require_reached(state, self._name)
        return _account(heir, state, lacking(heir, state, self._remains(state)))

    def _hand_over(self, old: Host, heir: ServerState, context: StepContext) -> Outcome:
        if not heir.follows or not heir.streams:
            raise GateHeld(
                f"{heir.host} does not follow {old.name}, which takes writes", where=heir.host,
                expected="a replica that streams from it",
                hint="provision the group, and see that `cloudexit check` finds its replicas keeping up",
            )  # fmt: skip
        self._write_out(old)
        last = bytes_of(self._run(old, STAND_DOWN).splitlines()[-1])
        began = time.monotonic()
        if not self.succession.awaited(lambda seen: has_received(seen, heir.host, last), CATCH_UP_SECONDS, context):
            raise self._led_again(old, last)
        waited = round(time.monotonic() - began, 3)
        return Outcome({"stopped": [old.name], "lost": "nothing", "seconds to catch up": waited})

    def _write_out(self, old: Host) -> None:
        """What a stop would have to write, while nobody waits for it yet. Raises GateHeld where that fails."""
        argv = ["env", "--chdir=/", "psql", "-X", "-q", "-p", str(self.succession.port), "-d", "postgres"]
        done = self.succession.hosts.run(
            old, [*argv, "-c", "CHECKPOINT"], as_user="postgres", timeout=CHECKPOINT_SECONDS
        )
        if not done:
            raise GateHeld(
                f"no checkpoint: {done.stderr.strip() or done.exit_status}", where=old.name,
                expected="the server to write what it holds before it is stopped; nothing was changed",
                hint="journalctl -u 'postgresql@*' -n 50 on it",
            )  # fmt: skip

    def _led_again(self, old: Host, last: int) -> GateHeld:
        """Has the one that stood down lead again."""
        self._run(old, STAND_UP)
        leads = self.succession.awaited(lambda seen: old.name in seen.leaders, START_SECONDS, StepContext())
        again = f"{old.name} leads again" if leads else f"{old.name} was started again, and does not answer"
        return GateHeld(
            f"{self._name} did not get within {CATCH_UP_SECONDS:.0f} s what {old.name} had; {again}",
            where=self._name, expected=f"WAL up to {position_of(last)}", hint="see why it is slow, then try again",
        )  # fmt: skip

    def _start_heir(self, state: GroupState, context: StepContext) -> None:
        """Where the server that is to lead is stopped, it is started, to follow until it is promoted."""
        if self._name in state.stopped:
            self._run(self.succession.lead, START_TO_FOLLOW)
            self.succession.awaited(lambda seen: self._name in seen.servers, START_SECONDS, context)

    def _settled(self, context: StepContext) -> tuple[GroupState, list[Remains]]:
        """The group, and what stopped servers have, when nothing more is on its way to the one that is to lead."""
        remains = self._remains(self._look())

        def settled(seen: GroupState) -> bool:
            heir = seen.servers.get(self._name)
            return heir is None or not heir.streams or not lacking(heir, seen, remains)

        self.succession.awaited(settled, SETTLE_SECONDS, context)
        return self._look(), remains

    def _would_be_lost(self, missing: list[Lacking]) -> GateHeld:
        most = max(missing, key=lambda one: one.bytes)
        service = self.succession.service
        other_way = f"have that one lead: cloudexit failover {service} --to {most.host}"
        return GateHeld(
            f"{self._name} lacks {', and '.join(map(str, missing))}", where=self._name,
            expected="the one that is to lead to have everything; nobody takes writes now",
            hint=f"{other_way}; or go on, and lose it: --accept-loss",
        )  # fmt: skip

    @property
    def _name(self) -> str:
        return self.succession.lead.name

    def _look(self) -> GroupState:
        state = self.succession.look()
        require_one_leader(state, self.succession.service)
        away = {n: fault for n, fault in state.away.items() if n not in self.succession.off and n != self._name}
        for name, fault in away.items():
            raise Unreachable(
                f"{name} does not answer, and may go on taking writes: {fault.what}", where=name,
                expected="every host of the group to answer, or to be off",
                hint="cut it off (power, switch port), then: cloudexit failover … --old-is-off",
            )  # fmt: skip
        return state

    def _old(self, state: GroupState) -> Host | None:
        """Who takes writes and is not to."""
        return next((host for host in self.succession.others if host.name in state.leaders), None)

    def _stopped(self, state: GroupState) -> list[Host]:
        return [host for host in self.succession.others if host.name in state.stopped]

    def _remains(self, state: GroupState) -> list[Remains]:
        return [remains_of(self.succession.hosts, host) for host in self._stopped(state)]

    def _run(self, host: Host, script: str) -> str:
        for number in range(TRIES):
            try:
                done = self.succession.hosts.run(host, ["sh", "-c", script], timeout=STOP_SECONDS)
                break
            except Unreachable as fault:
                if number == TRIES - 1:
                    raise self._stop_hangs(host, fault) from fault
        if not done:
            raise GateHeld(
                f"the server cannot be stood down: {done.stderr.strip() or done.exit_status}", where=host.name,
                expected="PostgreSQL to stop", hint="journalctl -u 'postgresql@*' -n 50 on it",
            )  # fmt: skip
        return done.stdout.strip()

    def _stop_hangs(self, host: Host, fault: Unreachable) -> Unreachable:
        return Unreachable(
            f"the server has not stopped, or does not answer: {fault.what}", where=host.name,
            expected=f"PostgreSQL to stop within {TRIES * STOP_SECONDS / 60:.0f} min; nobody may lead now",
            hint=f"the same command goes on from here; to have it lead as before: cloudexit failover "
            f"{self.succession.service} --to {host.name}",
        )  # fmt: skip


def _account(heir: ServerState, state: GroupState, missing: list[Lacking]) -> Outcome:
    """What an old lead that is away had and the heir has not cannot be known; when the heir's newest write was, can."""
    lost = [str(one) for one in missing] or "nothing that hosts which answer have"
    newest = {"newest write that is kept, seconds ago": round(heir.seconds_behind, 1)} if heir.follows else {}
    return Outcome({"stopped": sorted(state.stopped), "away": sorted(state.away), "lost": lost, **newest})
