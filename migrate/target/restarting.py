"""Restarts processes of one host behind their gates: closed to everybody else meanwhile, healthy and steady when it
opens again. Releases and provisions go over the hosts by this."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from migrate.action import StepContext
from migrate.check import CheckResult, Verdict
from migrate.errors import Interrupted
from migrate.inventory import Host
from migrate.ports import Hosts
from migrate.stack import Stack
from migrate.target.checks import ServiceChecks
from migrate.target.closing import close_ports, open_ports
from migrate.target.logs import last_log_lines
from migrate.target.waves import Wave, is_asked_by_an_edge

RESTART_SECONDS = 120.0
"""Bound on a restart: the requests under way (TimeoutStopSec) and the start."""
STEADY_SECONDS = 3.0
"""How long a process that passed its checks is watched: a crash at the first request or timer is a crash."""
REJOIN_SECONDS = 10.5
"""An edge that found a host closed asks it again after 10 s (nginx's fail_timeout). Until then the next host stays."""
PATIENCE_SECONDS = 0.3
DUE = "/run/cloudexit/restarts"
"""A file for each unit that lives with other files than it started with; the role `process` makes them. A boot, which
starts everything anew, forgets them."""
AGE = 'systemctl show -P ActiveEnterTimestampMonotonic "$1"; cut -d " " -f 1 /proc/uptime'
RESTART = f'mkdir -p {DUE}; : >"{DUE}/.$1"; systemctl reset-failed "$1"; systemctl restart "$1"'
"""systemd counts anew how often a unit was started again, even one that waits for its next start just now."""
TAKEN_UP = f'cd {DUE} || exit 0; for unit; do [ "$unit" -nt ".$unit" ] || rm -f "$unit"; rm -f ".$unit.well"; done'
"""A unit whose files were written after its restart began is due all the same."""
WAS_WELL = f'mkdir -p {DUE} && cd {DUE} && for unit; do : >".$unit.well"; done'
"""From before the restart of a process that serves until it has passed: one that is ill with this mark was well until
it was given other files."""
STATE = ["systemctl", "show", "-p", "ActiveState,NRestarts"]


@dataclass(frozen=True)
class Restarted:
    """How it went on one host."""

    host: Host
    seconds: float
    results: tuple[CheckResult, ...]
    unit: str = ""
    """The one that is not healthy, and what it logged last."""
    logs: str = ""

    @property
    def holds(self) -> bool:
        return any(result.holds for result in self.results)


@dataclass
class Restarting:
    """What keeps users from meeting a process that is restarted, and how long each host is waited for."""

    stack: Stack
    hosts: Hosts
    checks: ServiceChecks
    context: StepContext
    running: dict[str, list[str]] = field(default_factory=dict)
    """Service -> hosts that run it, and answer."""

    def to_its_end(self) -> "Restarting":
        """The same, which nobody stops half-way."""
        return replace(self, context=replace(self.context, cancelled=lambda: False))

    def ports_to_close(self, host: Host, services: Sequence[str]) -> list[int]:
        """Where no other host would take the requests, a closed port would be worse than one that is slow to answer."""
        shared = [name for name in services if any(other != host.name for other in self.running.get(name, ()))]
        return [port for name in shared if (port := self.stack.services[name].port)]

    def close(self, host: Host, services: Sequence[str], ports: Sequence[int]) -> None:
        """For as long as its services may take to be healthy at most. Raises GateHeld, Unreachable."""
        bounds = [check.within for name in services for check in self.stack.services[name].checks]
        close_ports(self.hosts, host, ports, sum(bounds) + len(services) * RESTART_SECONDS)

    def note_well(self, host: Host, services: Sequence[str]) -> None:
        """Services that serve until now are about to be restarted with other files."""
        units = [self.stack.services[name].unit for name in services]
        self.hosts.run(host, ["sh", "-c", WAS_WELL, "sh", *units])

    def count(self, host: Host, services: Sequence[str], *, answers: bool) -> None:
        """Among those that run the services, and answer, or not any more."""
        for name in services:
            others = [other for other in self.running.get(name, []) if other != host.name]
            self.running[name] = [*others, host.name] if answers else others

    def restart(self, host: Host, services: Sequence[str], began: float) -> Restarted:
        """One service after the other. The host opens when all are healthy and steady, and is left as it is where one
        is not. Its units are due no more then: in this order, for a host that is closed must still be known to be due.
        Raises Unreachable, Interrupted."""
        results: list[CheckResult] = []
        for name in services:
            results += self._started_anew(name, host)
            if any(result.holds for result in results):
                return self._not_healthy(host, name, began, results)
        for name in services:
            results.append(self._stays_up(name, host))
            if results[-1].holds:
                return self._not_healthy(host, name, began, results)
        open_ports(self.hosts, host)
        units = [self.stack.services[name].unit for name in services]
        self.hosts.run(host, ["sh", "-c", TAKEN_UP, "sh", *units])
        return Restarted(host, time.monotonic() - began, tuple(results))

    def let_rejoin(self, services: Sequence[str]) -> None:
        """Hosts whose services were restarted have answered for as long as they were watched."""
        if is_asked_by_an_edge(self.stack, services):
            self.wait(REJOIN_SECONDS - STEADY_SECONDS)

    def let_others_rejoin(self, others: Sequence[Wave]) -> None:
        """Those that stay while the first goes may have been restarted a moment ago themselves."""
        for wave in others:
            if is_asked_by_an_edge(self.stack, wave.services):
                units = [self.stack.services[name].unit for name in wave.services]
                ages = [self._age(host, unit) for host in wave.hosts for unit in units]
                self.wait(REJOIN_SECONDS - min(ages))

    def wait(self, seconds: float) -> None:
        """Raises Interrupted when cancelled."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.context.cancelled():
                raise Interrupted("stopped between two hosts", hint="the same command goes on from here")
            self.checks.sleep(min(PATIENCE_SECONDS, left))

    def _not_healthy(self, host: Host, service: str, began: float, results: Sequence[CheckResult]) -> Restarted:
        unit = self.stack.services[service].unit
        seconds = time.monotonic() - began
        log = last_log_lines(self.hosts, host, unit, self.checks.secrets_redacted, seconds=seconds)
        return Restarted(host, seconds, tuple(results), unit, f"{unit} on {host.name}:\n{log}")

    def _started_anew(self, service: str, host: Host) -> list[CheckResult]:
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
            self.wait(PATIENCE_SECONDS)
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

    def _age(self, host: Host, unit: str) -> float:
        words = self.hosts.run(host, ["sh", "-c", AGE, "sh", unit]).stdout.split()
        began, now = (float(word) for word in (*words, "0", "0")[:2])
        return now - began / 1e6
