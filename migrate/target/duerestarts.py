"""Processes that live with other files than they started with are restarted, a few at a time, while the others answer.

A provision writes environments and units on all hosts side by side, and marks what runs there as due. A restart on all
hosts at once would leave nobody to answer: so they go by the waves and gates of a release."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic

from migrate.action import StepContext
from migrate.check import ChecksHeld, Verdict
from migrate.errors import CloudexitError, GateHeld, OutsideProblem, Unreachable
from migrate.inventory import Host, Inventory
from migrate.ports import Hosts
from migrate.stack import ServiceKind, Stack
from migrate.target.checks import ServiceChecks
from migrate.target.claims import Claim
from migrate.target.hostview import services_of
from migrate.target.releasehome import ReleaseHome
from migrate.target.restarting import Restarted, Restarting
from migrate.target.sidebyside import answers_and_faults_of
from migrate.target.standing import Standing
from migrate.target.waves import waves_of

LOOKS = 3
LOOK_AGAIN_SECONDS = 1.0
"""A pool that was restarted by the same play has the first request fail that finds its old connection."""
GO_ON = "the same command goes on from here"


def processes_of(stack: Stack, host: Host) -> dict[str, str]:
    """Services of kind process that a host runs, in the order in which they start -> their units."""
    there = services_of(stack, host)
    ordered = [name for name in stack.services_in_order() if name in there]
    return {name: there[name].unit for name in ordered if there[name].kind is ServiceKind.PROCESS}


def services_due(stack: Stack, host: Host, units: Sequence[str]) -> list[str]:
    """Which services of a host are due, given the units that are. What was moved to another host is nobody's any
    more."""
    return [name for name, unit in processes_of(stack, host).items() if unit in units]


@dataclass
class RestartRoll:
    """Restarts what is due of one release."""

    gates: Restarting
    release: str
    hosts: Sequence[Host]
    """All that run the release and answer."""
    standings: Mapping[str, Standing]
    due: Mapping[str, Sequence[str]]
    """Host -> services that are due there, in the order in which they start."""
    still_ours: Callable[[], None]
    """Raises LockHeld where another command moves the release by now."""
    restarted: dict[str, Restarted] = field(default_factory=dict)
    lost: dict[str, CloudexitError] = field(default_factory=dict)
    """Hosts that did not answer any more."""

    def roll(self) -> None:
        """Raises ChecksHeld where a restarted process is not healthy: those that were not restarted go on serving.
        Whoever is lost on the way is in `lost`, and the rest goes on where others would answer meanwhile."""
        due = [host for host in self.hosts if host.name in self.due]
        if not due:
            return
        ill = self._who_serves_nobody(due)
        self._count_running(ill)
        answered = {name: set(hosts) for name, hosts in self.gates.running.items()}
        well = [host for host in due if host not in ill]
        waves = [*([ill] if ill else []), *(list(w.hosts) for w in waves_of(self.gates.stack, self.release, well))]
        if not ill:
            stay = [host for host in self.hosts if host not in waves[0]]
            self.gates.let_others_rejoin(waves_of(self.gates.stack, self.release, stay))
        for index, wave in enumerate(waves):
            self.still_ours()
            going = [host for host in wave if host in ill or self._others_stay(host, answered)]
            self._restart_wave(going)
            if going and index + 1 < len(waves):
                self.gates.let_rejoin([name for host in going for name in self.due[host.name]])

    def left(self) -> list[str]:
        """Hosts that still run with what they had."""
        return [name for name in self.due if name not in self.restarted and name not in self.lost]

    def _who_serves_nobody(self, due: Sequence[Host]) -> list[Host]:
        """They take nobody away when they go, and go first, side by side: the app's own sign-ins are refused, for
        instance, once a password is another one."""
        serves, faults = answers_and_faults_of(due, self._serves)
        for fault in faults.values():
            raise fault
        return [host for host in due if not serves[host.name]]

    def _serves(self, host: Host) -> bool:
        standing, services = self.standings[host.name], self.due[host.name]
        if standing.closed or not {self.gates.stack.services[name].unit for name in services} <= standing.active:
            return False
        for attempt in range(LOOKS):
            if attempt:
                self.gates.wait(LOOK_AGAIN_SECONDS)
            if self._passes_once(host, services):
                return True
        return False

    def _passes_once(self, host: Host, services: Sequence[str]) -> bool:
        """Where nobody could look, nobody has seen it fail."""
        cancelled = self.gates.context.cancelled
        found = [self.gates.checks.of_host(name, host, patient=False, cancelled=cancelled) for name in services]
        return not any(one.holds and one.verdict is Verdict.FAIL for results in found for one in results)

    def _count_running(self, ill: Sequence[Host]) -> None:
        for host in self.hosts:
            standing = self.standings[host.name]
            for name, unit in processes_of(self.gates.stack, host).items():
                if unit in standing.active and not standing.closed and host not in ill:
                    self.gates.running.setdefault(name, []).append(host.name)

    def _others_stay(self, host: Host, answered: Mapping[str, set[str]]) -> bool:
        """Whether other hosts would answer meanwhile, where there were any: those that were lost will not."""
        for name in self.due[host.name]:
            others = answered.get(name, set()) - {host.name}
            if others and not set(self.gates.running[name]) - {host.name}:
                return False
        return True

    def _restart_wave(self, wave: Sequence[Host]) -> None:
        """A host that is lost hides no unhealthy process on another."""
        ended, faults = answers_and_faults_of(wave, self._restart_host)
        self.restarted.update(ended)
        self.lost.update({name: fault for name, fault in faults.items() if isinstance(fault, OutsideProblem)})
        for host in wave:
            self._count_again(host, host.name in ended and not ended[host.name].holds)
        bad = [one for one in ended.values() if one.holds]
        if bad:
            raise self._held(bad)
        for fault in faults.values():
            if not isinstance(fault, OutsideProblem):
                raise fault

    def _count_again(self, host: Host, healthy: bool) -> None:
        for name in self.due[host.name]:
            others = [other for other in self.gates.running.get(name, []) if other != host.name]
            self.gates.running[name] = [*others, host.name] if healthy else others

    def _restart_host(self, host: Host) -> Restarted:
        began, services = monotonic(), self.due[host.name]
        self.gates.context.progress({"task": f"{host.name}: restarts {', '.join(services)}"})
        ports = self.gates.ports_to_close(host, services)
        if ports:
            self.gates.close(host, services, ports)
        return self.gates.restart(host, services, began)

    def _held(self, bad: Sequence[Restarted]) -> ChecksHeld:
        what = ", ".join(f"{one.unit} on {one.host.name}" for one in bad)
        words = [f"{what}: not healthy with what it was given", *_words_of(self.left(), self.lost)]
        logs = "\n".join(one.logs for one in bad)
        return ChecksHeld(
            "; ".join(words),
            [result for one in bad for result in one.results],
            hint=f"mend what it was given (the manifest, the secrets): {GO_ON}. The last lines of its log:\n{logs}",
        )


@dataclass(frozen=True)
class DueRestarts:
    """Takes up, on the hosts of a home, what a provision has written for processes that run."""

    hosts: Hosts
    stack: Stack
    inventory: Inventory
    checks: ServiceChecks
    who: str
    """What tells one operator's state folder from another's."""

    def restart(self, due: Mapping[str, Sequence[str]], context: StepContext) -> Mapping[str, float]:
        """`due`: host -> services. Returns host -> seconds of its restarts. Raises ChecksHeld where one is not healthy,
        LockHeld where another command moves its release, GateHeld where a deploy was broken off; Unreachable once what
        may go on without a lost host has."""
        seconds: dict[str, float] = {}
        lost: dict[str, CloudexitError] = {}
        left: list[str] = []
        for release in self._releases(due):
            roll = self._roll(release, due, context)
            for name, one in roll.restarted.items():
                seconds[name] = seconds.get(name, 0.0) + one.seconds
            lost.update(roll.lost)
            left += roll.left()
        if lost:
            raise Unreachable(
                "; ".join(_words_of(list(dict.fromkeys(left)), lost)),
                where=", ".join(lost), hint=f"mend the way to the host: {GO_ON}",
            )  # fmt: skip
        return seconds

    def _roll(self, release: str, due: Mapping[str, Sequence[str]], context: StepContext) -> RestartRoll:
        home = ReleaseHome(self.hosts, self.checks, self.stack, self.inventory, release, self.who)
        ours = {
            host: [name for name in services if self.stack.services[name].release == release]
            for host, services in due.items()
        }
        with _claimed(home.claim):
            standings, silent = home.look_where_they_answer()
            _hold_half_way(release, standings)
            roll = RestartRoll(
                Restarting(self.stack, self.hosts, self.checks, context),
                release,
                [host for name, host in home.target.hosts.items() if name in standings],
                standings,
                {host: names for host, names in ours.items() if names},
                lambda: _renewed(home.claim),
            )
            roll.lost.update({name: fault for name, fault in silent.items() if name in roll.due})
            roll.roll()
        return roll

    def _releases(self, due: Mapping[str, Sequence[str]]) -> list[str]:
        """In the order in which their services start."""
        names = {name for services in due.values() for name in services}
        ordered = [name for name in self.stack.services_in_order() if name in names]
        return list(dict.fromkeys(str(self.stack.services[name].release) for name in ordered))


@contextmanager
def _claimed(claim: Claim) -> Iterator[None]:
    """A claim whose host is away lets no deploy go on either, for each of its waves renews it: the app need not wait
    for that host."""
    with ExitStack() as held:
        with suppress(OutsideProblem):
            held.enter_context(claim.held())
        yield


def _renewed(claim: Claim) -> None:
    with suppress(OutsideProblem):
        claim.take()


def _hold_half_way(release: str, standings: Mapping[str, Standing]) -> None:
    half_way = [name for name, standing in standings.items() if standing.switching]
    if half_way:
        raise GateHeld(
            f"a deploy of {release} was broken off there, and a restart may start what was never proved",
            where=", ".join(half_way),
            expected=f"no /srv/{release}/switching",
            hint=f"end it (cloudexit deploy ARCHIVE, or --rollback), then {GO_ON.removesuffix(' from here')}",
        )


def _words_of(left: Sequence[str], lost: Mapping[str, CloudexitError]) -> list[str]:
    away = [f"{name}: {fault.what}" for name, fault in lost.items()]
    return [*away, *([f"still run with what they had: {', '.join(left)}"] if left else [])]
