"""A release goes over the hosts that run it, a few at a time, each behind its gates; a bad one is taken back."""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from migrate.action import StepContext
from migrate.check import CheckResult, ChecksHeld, Verdict
from migrate.errors import CloudexitError, GateHeld, Interrupted
from migrate.inventory import Host
from migrate.ports import Hosts
from migrate.stack import Stack
from migrate.target.checks import ServiceChecks
from migrate.target.closing import close_ports, open_ports
from migrate.target.logs import last_log_lines
from migrate.target.sidebyside import answers_and_faults_of
from migrate.target.standing import Installed, ReleaseOnHosts, Standing
from migrate.target.waves import Wave, is_asked_by_an_edge, waves_of

RESTART_SECONDS = 120.0
"""Bound on a restart: the requests under way (TimeoutStopSec) and the start."""
STEADY_SECONDS = 3.0
"""How long a process that passed its checks is watched: a crash at the first request or timer is a crash."""
REJOIN_SECONDS = 10.5
"""An edge that found a host closed asks it again after 10 s (nginx's fail_timeout). Until then the next host stays."""
PATIENCE_SECONDS = 0.3
AGE = 'systemctl show -P ActiveEnterTimestampMonotonic "$1"; cut -d " " -f 1 /proc/uptime'
RESTART = 'systemctl reset-failed "$1"; systemctl restart "$1"'
"""systemd counts anew how often a unit was started again, even one that waits for its next start just now."""
STATE = ["systemctl", "show", "-p", "ActiveState,NRestarts"]


@dataclass(frozen=True)
class Switched:
    """How it went on one host."""

    host: Host
    seconds: float
    results: tuple[CheckResult, ...]
    logs: str = ""

    @property
    def holds(self) -> bool:
        return any(result.holds for result in self.results)


@dataclass
class Rolling:
    """Brings hosts to `release`, and back to what each ran before where one of them is not healthy with it."""

    stack: Stack
    hosts: Hosts
    checks: ServiceChecks
    there: ReleaseOnHosts
    context: StepContext
    proved: Installed | None
    """What the home runs, as far as it was proved: where a host goes back to."""
    still_ours: Callable[[], None]
    """Raises LockHeld where another command moves the release by now."""
    switched: dict[str, Switched] = field(default_factory=dict)
    running: dict[str, list[str]] = field(default_factory=dict)
    """Service -> hosts that run it."""

    def roll(self, standings: Mapping[str, Standing], hosts: Sequence[Host], release: Installed) -> None:
        """Raises ChecksHeld once every host that runs is back with the release before; OutsideProblem where a host is
        lost on the way: the others stay as they are, and the next call goes on."""
        running = [host for host in hosts if standings[host.name].wanted]
        ahead = [host for host in running if not self.there.runs_next(standings[host.name], release)]
        ahead.sort(key=lambda host: standings[host.name].serves)  # who serves nobody takes nobody away
        self._count_running(standings, running)
        unproved = [h for h in running if h not in ahead and standings[h.name].proved != release]
        done = self._waves(unproved)
        waves = self._waves(ahead)
        for wave in waves[:1]:
            self._let_others_rejoin([host for host in running if host not in wave.hosts])
        for index, wave in enumerate(waves):
            self.still_ours()
            ended, faults = self._switch_wave(wave, standings, self.there.folder(release))
            bad = [one for one in ended if one.holds]
            if bad:
                strays = self._strays([host for one in waves[index + 1 :] for host in one.hosts], standings, release)
                self._take_back([wave, *reversed(done), *strays], standings, release, bad)
            for fault in faults:
                raise fault
            done.append(wave)
            if index + 1 < len(waves):
                self._let_rejoin(wave)
        for host in hosts:
            if host not in running and not self.there.runs_next(standings[host.name], release):
                self.there.switch(host, self.there.folder(release))
                self.there.settle(host)

    def _strays(self, hosts: Sequence[Host], standings: Mapping[str, Standing], release: Installed) -> list[Wave]:
        """Hosts that a deploy before this one has left with a release that was never proved."""
        proved = self.proved
        if proved is None or proved == release:
            return []
        return self._waves([host for host in hosts if not self.there.runs_next(standings[host.name], proved)])

    def _count_running(self, standings: Mapping[str, Standing], running: Sequence[Host]) -> None:
        for wave in self._waves(running):
            for name in wave.services:
                unit = self.stack.services[name].unit
                ready = [host.name for host in wave.hosts if unit in standings[host.name].wanted]
                self.running.setdefault(name, []).extend(ready)

    def document(self) -> dict[str, dict[str, float]]:
        """Seconds of each host that was switched, from before its restart until it was steady."""
        return {name: {"seconds": round(one.seconds, 2)} for name, one in self.switched.items()}

    def _waves(self, hosts: Sequence[Host]) -> list[Wave]:
        return waves_of(self.stack, self.there.name, hosts)

    def _switch_wave(
        self, wave: Wave, standings: Mapping[str, Standing], folder: str
    ) -> tuple[list[Switched], list[CloudexitError]]:
        """How it went, and what hindered the other hosts: a host that is lost hides no bad release on another."""

        def switch(host: Host) -> Switched:
            return self._switch_host(host, wave.services, standings[host.name], folder)

        ended, faults = answers_and_faults_of(wave.hosts, switch)
        self.switched.update(ended)
        return list(ended.values()), list(faults.values())

    def _switch_host(self, host: Host, services: Sequence[str], standing: Standing, folder: str) -> Switched:
        began = time.monotonic()
        self.context.progress({"task": f"{host.name}: {folder.rsplit('/', 1)[-1]}"})
        wanted = [name for name in services if self.stack.services[name].unit in standing.wanted]
        closed = self._close(host, wanted)
        try:
            self.there.switch(host, folder)
        except GateHeld:
            if closed and standing.serves and host.name not in self.switched:
                open_ports(self.hosts, host)  # what runs there is what ran before
            raise
        results: list[CheckResult] = []
        for name in wanted:
            results += self._restarted(name, host)
            if any(result.holds for result in results):
                return self._not_healthy(host, name, began, results)
        for name in wanted:
            results.append(self._stays_up(name, host))
            if results[-1].holds:
                return self._not_healthy(host, name, began, results)
        open_ports(self.hosts, host)
        self.there.settle(host)
        return Switched(host, time.monotonic() - began, tuple(results))

    def _close(self, host: Host, services: Sequence[str]) -> bool:
        """Where no other host would take the requests, a closed port would be worse than one that is slow to answer.
        A host that is closed is marked before: the next command must know it, however this one ends."""
        shared = [self.stack.services[name] for name in services if len(self.running.get(name, ())) > 1]
        ports = [service.port for service in shared if service.port]
        if ports:
            self.there.mark(host)
            bounds = [check.within for name in services for check in self.stack.services[name].checks]
            close_ports(self.hosts, host, ports, sum(bounds) + len(services) * RESTART_SECONDS)
        return bool(ports)

    def _not_healthy(self, host: Host, service: str, began: float, results: Sequence[CheckResult]) -> Switched:
        unit = self.stack.services[service].unit
        seconds = time.monotonic() - began
        log = last_log_lines(self.hosts, host, unit, self.checks.secrets_redacted, seconds=seconds)
        return Switched(host, seconds, tuple(results), f"{unit} on {host.name}:\n{log}")

    def _restarted(self, service: str, host: Host) -> list[CheckResult]:
        unit = self.stack.services[service].unit
        done = self.hosts.run(host, ["sh", "-c", RESTART, "sh", unit], timeout=RESTART_SECONDS)
        if not done:
            said = (done.stderr.strip().splitlines() or ["no word"])[0]
            return [CheckResult(f"{service}: {unit} starts", Verdict.FAIL, said, host=host.name)]
        found = self.checks.of_host(
            service, host, cancelled=self.context.cancelled, hopeless=lambda: self._crashed(unit, host)
        )
        return found if found else [self._look(service, host)]

    def _stays_up(self, service: str, host: Host) -> CheckResult:
        deadline = time.monotonic() + STEADY_SECONDS
        while (result := self._look(service, host)) and time.monotonic() < deadline:
            self._wait(PATIENCE_SECONDS)
        return result

    def _look(self, service: str, host: Host) -> CheckResult:
        unit = self.stack.services[service].unit
        state, restarts = self._state(unit, host)
        steady = state == "active" and restarts == "0"
        said = f"{unit} is {state}, and was started again {restarts} times"
        return CheckResult(
            f"{service}: stays up", Verdict.PASS if steady else Verdict.FAIL, said, host=host.name,
            facts={"proves": "basic", "service": service},
        )  # fmt: skip

    def _crashed(self, unit: str, host: Host) -> bool:
        state, restarts = self._state(unit, host)
        return restarts not in ("", "0") or state == "failed"

    def _state(self, unit: str, host: Host) -> tuple[str, str]:
        lines = self.hosts.run(host, [*STATE, unit]).stdout.split()
        said = dict(line.split("=", 1) for line in lines if "=" in line)
        return said.get("ActiveState", "unknown"), said.get("NRestarts", "")

    def _let_rejoin(self, wave: Wave) -> None:
        """Its hosts have answered for as long as they were watched."""
        if is_asked_by_an_edge(self.stack, wave.services):
            self._wait(REJOIN_SECONDS - STEADY_SECONDS)

    def _let_others_rejoin(self, others: Sequence[Host]) -> None:
        """Those that stay while the first goes may have been restarted a moment ago themselves."""
        for wave in self._waves(others):
            if is_asked_by_an_edge(self.stack, wave.services):
                units = [self.stack.services[name].unit for name in wave.services]
                ages = [self._age(host, unit) for host in wave.hosts for unit in units]
                self._wait(REJOIN_SECONDS - min(ages))

    def _age(self, host: Host, unit: str) -> float:
        words = self.hosts.run(host, ["sh", "-c", AGE, "sh", unit]).stdout.split()
        began, now = (float(word) for word in (*words, "0", "0")[:2])
        return now - began / 1e6

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.context.cancelled():
                raise Interrupted("stopped between two hosts", hint="the same command goes on from here")
            self.checks.sleep(min(PATIENCE_SECONDS, left))

    def _take_back(
        self, waves: Sequence[Wave], standings: Mapping[str, Standing], release: Installed, bad: Sequence[Switched]
    ) -> NoReturn:
        """The hosts that failed first, then those before them: a home runs one release. It is not stopped half-way."""
        calm = replace(self, context=replace(self.context, cancelled=lambda: False))
        back: list[str] = []
        stuck: dict[str, str] = {}
        for index, wave in enumerate(waves):
            if index:
                calm._let_rejoin(wave)
            for host in wave.hosts:
                folder = self._before(standings[host.name], release)
                alone = index > 0 and not self._others_answer(host, wave.services, stuck)
                fault = "it stays as it is, for no other host would answer meanwhile" if alone else ""
                fault = fault or calm._fault_of_going_back(host, wave.services, standings[host.name], folder)
                if fault:
                    stuck[host.name] = fault
                else:
                    back.append(f"{host.name} runs {folder.rsplit('/', 1)[-1]}")
        raise _held(f"{self.there.name} {release.version}", bad, back, stuck)

    def _others_answer(self, host: Host, services: Sequence[str], ill: Container[str]) -> bool:
        """Whether every service of a host runs on another one that is not ill; one that has no other never did."""
        others = [[name for name in self.running[service] if name != host.name] for service in services]
        return all(any(name not in ill for name in names) for names in others if names)

    def _fault_of_going_back(self, host: Host, services: Sequence[str], standing: Standing, folder: str) -> str:
        """Empty where the host runs from the folder, and is healthy."""
        if not folder:
            return "there was no release before"
        try:
            ended = self._switch_host(host, services, standing, folder)
        except CloudexitError as problem:
            return problem.what
        return "; ".join(f"{result.name}: {result.detail}" for result in ended.results if result.holds)

    def _before(self, standing: Standing, release: Installed) -> str:
        if self.proved and self.proved != release and self.proved.sha256 in standing.installed:
            return self.there.folder(self.proved)
        return standing.current if standing.current != self.there.folder(release) else ""


def _held(what: str, bad: Sequence[Switched], back: Sequence[str], stuck: Mapping[str, str]) -> CloudexitError:
    """What failed, what runs now, and the log lines that matter."""
    taken_back = f"was taken back, now {', '.join(back)}" if back else "could not be taken back"
    faults = "; ".join(f"{host}: {fault}" for host, fault in stuck.items())
    trouble = f"; still to be mended: {faults}" if stuck else ""
    logs = "\n".join(one.logs for one in bad)
    results = [result for one in bad for result in one.results]
    return ChecksHeld(
        f"{what} is not healthy and {taken_back}{trouble}",
        results,
        hint=f"mend the release and deploy it under a new version. The last lines of its log:\n{logs}",
    )
