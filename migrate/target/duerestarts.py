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
from migrate.target.waves import services_on, waves_of

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
    ill: list[Host] = field(default_factory=list)
    """Those that serve nobody as they are, in the order in which they go."""
    bad: list[Restarted] = field(default_factory=list)
    """Those that are not healthy. Where the roll came to its end, they were not before it either."""
    proved: set[str] = field(default_factory=set)
    """Services that were healthy on a host with what they were given."""
    rejoining: Sequence[str] = ()
    """Services that were restarted last: nobody else is closed before the edges know them again."""

    def roll(self) -> None:
        """Raises ChecksHeld where a process is not healthy any more, or none of those that are due was: those that were
        not restarted go on serving. Others that were ill before are in `bad`. Whoever is lost on the way is in `lost`,
        and the rest goes on where others would answer meanwhile."""
        due = [host for host in self.hosts if host.name in self.due]
        if not due:
            return
        self.ill = self._who_serves_nobody(due)
        well = [host for host in due if host not in self.ill]
        self._count_running()
        waiting = self._restart_ill(self.ill, anybody_well=bool(well))
        self._count_out(waiting)
        self._restart_well(well)
        self._restart_ill(waiting, anybody_well=True)

    def held(self) -> ChecksHeld:
        """What is to be raised for `bad`."""
        blamed = [one for one in self.bad if not self._was_ill(one.host)]
        before = [one for one in self.bad if one not in blamed]
        words = [f"{_units_of(blamed)}: not healthy with what it was given"] if blamed else []
        if before:
            words.append(f"{_units_of(before)}: not healthy, and it was not before it was restarted either")
        cause = "what it was given (the manifest, the secrets)" if blamed else "what its check names, or the host"
        logs = "\n".join(one.logs for one in self.bad)
        return ChecksHeld(
            "; ".join([*words, *_words_of(self.left(), self.lost)]),
            [result for one in self.bad for result in one.results],
            hint=f"mend {cause}: {GO_ON}. The last lines of its log:\n{logs}",
        )

    def left(self) -> list[str]:
        """Hosts that still run with what they had."""
        return [name for name in self.due if name not in self.restarted and name not in self.lost]

    def _who_serves_nobody(self, due: Sequence[Host]) -> list[Host]:
        """They take nobody away when they go first: the app's own sign-ins are refused, for instance, once a password
        is another one. Before the others of their kind go those that a command has left so."""
        serves, faults = answers_and_faults_of(due, self._serves)
        for fault in faults.values():
            raise fault
        ill = [host for host in due if not serves[host.name]]
        ill.sort(key=lambda host: (not self.standings[host.name].was_well, not self.standings[host.name].closed))
        return [host for wave in waves_of(self.gates.stack, self.release, ill) for host in wave.hosts]

    def _serves(self, host: Host) -> bool:
        """A worker that is ill keeps no request from the web server beside it."""
        stack, standing = self.gates.stack, self.standings[host.name]
        asked = [name for name in services_on(stack, self.release, host) if stack.services[name].port]
        services = asked or self.due[host.name]
        if standing.closed or not {stack.services[name].unit for name in services} <= standing.active:
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

    def _was_ill(self, host: Host) -> bool:
        """Whether it was with the files that it had, before a command gave it any."""
        return host in self.ill and not self.standings[host.name].was_well

    def _count_running(self) -> None:
        """The ill ones among them: a check that fails is no proof that users get nothing."""
        for host in self.hosts:
            standing = self.standings[host.name]
            services = processes_of(self.gates.stack, host).items()
            there = [name for name, unit in services if unit in standing.active and not standing.closed]
            self.gates.count(host, there, answers=True)

    def _count_out(self, ill: Sequence[Host]) -> None:
        for host in ill:
            self.gates.count(host, list(processes_of(self.gates.stack, host)), answers=False)

    def _restart_ill(self, hosts: Sequence[Host], *, anybody_well: bool) -> list[Host]:
        """One alone: what fails on all of them may be one thing that none of them can help, and what they were given
        may be worse. Where it is healthy, the others follow side by side. Returns those that have nobody to follow."""
        waiting = list(hosts)
        while going := self._next_ill(waiting):
            waiting = [host for host in waiting if host not in going]
            self._count_out(going)
            self._restart(going)
            if self.bad and (not anybody_well or not all(self._was_ill(host) for host in waiting)):
                raise self.held()
        return waiting

    def _next_ill(self, waiting: Sequence[Host]) -> list[Host]:
        failed = {name for one in self.bad for name in self.due[one.host.name]} - self.proved
        together = [host for host in waiting if self.proved.issuperset(self.due[host.name])]
        return together or [host for host in waiting if failed.isdisjoint(self.due[host.name])][:1]

    def _restart_well(self, well: Sequence[Host]) -> None:
        waves = waves_of(self.gates.stack, self.release, well)
        answered = {name: set(hosts) for name, hosts in self.gates.running.items()}
        for wave in waves[:1]:
            answering = set().union(*answered.values())
            stay = [host for host in self.hosts if host.name in answering and host not in wave.hosts]
            self.gates.let_others_rejoin(waves_of(self.gates.stack, self.release, stay))
            self.rejoining = ()
        for wave in waves:
            for part in self._parts(wave.hosts):
                self._restart([host for host in part if self._others_stay(host, answered)])

    def _parts(self, hosts: Sequence[Host]) -> list[Sequence[Host]]:
        """Where nobody but the wave itself is left to answer, one after the other."""
        names = {host.name for host in hosts}
        services = {name for host in hosts for name in self.due[host.name]}
        together = all(set(self.gates.running.get(name, ())) - names for name in services)
        return [hosts] if together else [[host] for host in hosts]

    def _others_stay(self, host: Host, answered: Mapping[str, set[str]]) -> bool:
        """Whether other hosts would answer meanwhile, where there were any: those that were lost will not."""
        for name in self.due[host.name]:
            others = answered.get(name, set()) - {host.name}
            if others and not set(self.gates.running[name]) - {host.name}:
                return False
        return True

    def _restart(self, hosts: Sequence[Host]) -> None:
        """Side by side. A host that is lost hides no unhealthy process on another."""
        if not hosts:
            return
        if self.rejoining:
            self.gates.let_rejoin(self.rejoining)
        self.still_ours()
        ended, faults = answers_and_faults_of(hosts, self._restart_host)
        self.rejoining = [name for host in hosts for name in self.due[host.name]]
        self.restarted.update(ended)
        self.lost.update({name: fault for name, fault in faults.items() if isinstance(fault, OutsideProblem)})
        for host in hosts:
            healthy = host.name in ended and not ended[host.name].holds
            self.gates.count(host, self.due[host.name], answers=healthy)
            self.proved.update(self.due[host.name] if healthy else ())
        bad = [one for one in ended.values() if one.holds]
        self.bad += bad
        if not all(self._was_ill(one.host) for one in bad):
            raise self.held()
        for fault in faults.values():
            if not isinstance(fault, OutsideProblem):
                raise fault

    def _restart_host(self, host: Host) -> Restarted:
        began, services = monotonic(), self.due[host.name]
        self.gates.context.progress({"task": f"{host.name}: restarts {', '.join(services)}"})
        if host not in self.ill:
            self.gates.note_well(host, services)
        ports = self.gates.ports_to_close(host, services)
        if ports:
            self.gates.close(host, services, ports)
        return self.gates.restart(host, services, began)


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
        LockHeld where another command moves its release, GateHeld where a deploy was broken off. Once the others are
        through: ChecksHeld where one is not and was not before, GateHeld where a host cannot tell what runs there,
        Unreachable where one was lost."""
        seconds: dict[str, float] = {}
        held: list[CloudexitError] = []
        lost: dict[str, CloudexitError] = {}
        left: list[str] = []
        blind: list[CloudexitError] = []
        for release in self._releases(due):
            roll, faults = self._roll(release, due, context)
            held += [roll.held()] if roll.bad else []
            blind += faults
            for name, one in roll.restarted.items():
                seconds[name] = seconds.get(name, 0.0) + one.seconds
            lost.update(roll.lost)
            left += roll.left()
        for fault in (*held, *blind):
            raise fault
        if lost:
            raise Unreachable(
                "; ".join(_words_of(list(dict.fromkeys(left)), lost)),
                where=", ".join(lost), hint=f"mend the way to the host: {GO_ON}",
            )  # fmt: skip
        return seconds

    def _roll(
        self, release: str, due: Mapping[str, Sequence[str]], context: StepContext
    ) -> tuple[RestartRoll, list[CloudexitError]]:
        """And what hindered the look at hosts that do answer."""
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
            missed = {name: fault for name, fault in silent.items() if name in roll.due}
            roll.lost.update({name: fault for name, fault in missed.items() if isinstance(fault, OutsideProblem)})
            roll.roll()
        return roll, [fault for name, fault in missed.items() if name not in roll.lost]

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


def _units_of(bad: Sequence[Restarted]) -> str:
    return ", ".join(f"{one.unit} on {one.host.name}" for one in bad)


def _words_of(left: Sequence[str], lost: Mapping[str, CloudexitError]) -> list[str]:
    away = [f"{name}: {fault.what}" for name, fault in lost.items()]
    return [*away, *([f"still run with what they had: {', '.join(left)}"] if left else [])]
