"""A release goes over the hosts that run it, a few at a time, each behind its gates; a bad one is taken back."""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from migrate.check import ChecksHeld
from migrate.errors import CloudexitError, GateHeld
from migrate.inventory import Host
from migrate.target.closing import open_ports
from migrate.target.restarting import Restarted, Restarting
from migrate.target.sidebyside import answers_and_faults_of
from migrate.target.standing import Installed, ReleaseOnHosts, Standing
from migrate.target.waves import Wave, units_of, waves_of


@dataclass
class Rolling:
    """Brings hosts to `release`, and back to what each ran before where one of them is not healthy with it."""

    gates: Restarting
    there: ReleaseOnHosts
    proved: Installed | None
    """What the home runs, as far as it was proved: where a host goes back to."""
    still_ours: Callable[[], None]
    """Raises LockHeld where another command moves the release by now."""
    switched: dict[str, Restarted] = field(default_factory=dict)

    def roll(self, standings: Mapping[str, Standing], hosts: Sequence[Host], release: Installed) -> None:
        """Raises ChecksHeld once every host that runs is back with the release before; OutsideProblem where a host is
        lost on the way: the others stay as they are, and the next call goes on."""
        running = [host for host in hosts if standings[host.name].wanted]
        waves = self._waves_ahead(standings, running, release)
        ahead = [host for wave in waves for host in wave.hosts]
        self._count_running(standings, running)
        unproved = [h for h in running if h not in ahead and standings[h.name].proved != release]
        done = self._waves(unproved)
        for wave in waves[:1]:
            self.gates.let_others_rejoin(self._waves([host for host in running if host not in wave.hosts]))
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
                self.gates.let_rejoin(wave.services)
        for host in hosts:
            if host not in running and not self.there.runs_next(standings[host.name], release):
                self.there.switch(host, self.there.folder(release))
                self.there.settle(host)

    def _waves_ahead(
        self, standings: Mapping[str, Standing], running: Sequence[Host], release: Installed
    ) -> list[Wave]:
        """Who is closed goes before all kinds, even one that runs the release by now: nothing but its gates opens it,
        and whoever else went first could be the last that answers. Who serves nobody goes first of its kind."""
        closed = [host for host in running if standings[host.name].closed]
        ahead = [
            host for host in running if host not in closed and not self.there.runs_next(standings[host.name], release)
        ]
        ahead.sort(key=lambda host: standings[host.name].serves)
        return [*self._waves(closed), *self._waves(ahead)]

    def _strays(self, hosts: Sequence[Host], standings: Mapping[str, Standing], release: Installed) -> list[Wave]:
        """Hosts that a deploy before this one has left with a release that was never proved."""
        proved = self.proved
        if proved is None or proved == release:
            return []
        return self._waves([host for host in hosts if not self.there.runs_next(standings[host.name], proved)])

    def _count_running(self, standings: Mapping[str, Standing], running: Sequence[Host]) -> None:
        for wave in self._waves(running):
            for name in wave.services:
                unit = self.gates.stack.services[name].unit
                found = {host.name: standings[host.name] for host in wave.hosts}
                ready = [host for host, standing in found.items() if unit in standing.wanted and not standing.closed]
                self.gates.running.setdefault(name, []).extend(ready)

    def document(self) -> dict[str, dict[str, float]]:
        """Seconds of each host that was switched, from before its restart until it was steady."""
        return {name: {"seconds": round(one.seconds, 2)} for name, one in self.switched.items()}

    def _waves(self, hosts: Sequence[Host]) -> list[Wave]:
        return waves_of(self.gates.stack, self.there.name, hosts)

    def _switch_wave(
        self, wave: Wave, standings: Mapping[str, Standing], folder: str
    ) -> tuple[list[Restarted], list[CloudexitError]]:
        """How it went, and what hindered the other hosts: a host that is lost hides no bad release on another."""

        def switch(host: Host) -> Restarted:
            return self._switch_host(host, wave.services, standings[host.name], folder)

        ended, faults = answers_and_faults_of(wave.hosts, switch)
        self.switched.update(ended)
        for one in ended.values():
            self._count_healthy(one, wave.services, standings)
        return list(ended.values()), list(faults.values())

    def _count_healthy(self, one: Restarted, services: Sequence[str], standings: Mapping[str, Standing]) -> None:
        if not one.holds:
            units = units_of(self.gates.stack, services)
            wanted = [name for name, unit in units.items() if unit in standings[one.host.name].wanted]
            self.gates.count(one.host, wanted, answers=True)

    def _switch_host(self, host: Host, services: Sequence[str], standing: Standing, folder: str) -> Restarted:
        began = time.monotonic()
        self.gates.context.progress({"task": f"{host.name}: {folder.rsplit('/', 1)[-1]}"})
        wanted = [name for name in services if self.gates.stack.services[name].unit in standing.wanted]
        closed = self._close(host, wanted)
        try:
            self.there.switch(host, folder)
        except GateHeld:
            if closed and standing.serves and host.name not in self.switched:
                open_ports(self.gates.hosts, host)  # what runs there is what ran before
            raise
        ended = self.gates.restart(host, wanted, began)
        if not ended.holds:
            self.there.settle(host)
        return ended

    def _close(self, host: Host, services: Sequence[str]) -> bool:
        """A host that is closed is marked before: the next command must know it, however this one ends."""
        ports = self.gates.ports_to_close(host, services)
        if ports:
            self.there.mark(host)
            self.gates.close(host, services, ports)
        return bool(ports)

    def _take_back(
        self, waves: Sequence[Wave], standings: Mapping[str, Standing], release: Installed, bad: Sequence[Restarted]
    ) -> NoReturn:
        """The hosts that failed first, then those before them: a home runs one release. It is not stopped half-way."""
        calm = replace(self, gates=self.gates.to_its_end())
        back: list[str] = []
        stuck: dict[str, str] = {}
        for index, wave in enumerate(waves):
            if index:
                calm.gates.let_rejoin(wave.services)
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
        others = [[name for name in self.gates.running[service] if name != host.name] for service in services]
        return all(any(name not in ill for name in names) for names in others if names)

    def _fault_of_going_back(self, host: Host, services: Sequence[str], standing: Standing, folder: str) -> str:
        """Empty where the host runs from the folder, and is healthy."""
        if not folder:
            return "there was no release before"
        try:
            ended = self._switch_host(host, services, standing, folder)
        except CloudexitError as problem:
            return problem.what
        self._count_healthy(ended, services, {host.name: standing})
        return "; ".join(f"{result.name}: {result.detail}" for result in ended.results if result.holds)

    def _before(self, standing: Standing, release: Installed) -> str:
        if self.proved and self.proved != release and self.proved.sha256 in standing.installed:
            return self.there.folder(self.proved)
        return standing.current if standing.current != self.there.folder(release) else ""


def _held(what: str, bad: Sequence[Restarted], back: Sequence[str], stuck: Mapping[str, str]) -> CloudexitError:
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
