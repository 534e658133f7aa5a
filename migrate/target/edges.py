"""What operators ask of the edges by command: close the site and open it, have certificates issued now."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from migrate.check import CheckResult, Severity, Verdict
from migrate.errors import OutsideProblem, UsageProblem
from migrate.inventory import Host, Inventory
from migrate.ports import Hosts
from migrate.stack import Service, ServiceKind, Stack
from migrate.target.certificates import CERTIFICATE_UNIT
from migrate.target.checks import ServiceChecks

CLOSED = "/etc/cloudexit/maintenance"
"""While this file is there, an edge says that the site is closed."""
ISSUE_SECONDS = 660.0
"""The unit's own bound, and a little more."""


@dataclass(frozen=True)
class Edges:
    """Every host of every edge is asked, side by side; one that does not answer keeps none of the others back."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts

    def close(self) -> list[CheckResult]:
        """Requests get the maintenance page, 503, from now on; challenges of an authority are still answered."""
        return self._each("closed", ["touch", CLOSED])

    def open(self) -> list[CheckResult]:
        """The site answers again."""
        return self._each("open", ["rm", "-f", CLOSED])

    def certify(self, checks: ServiceChecks) -> list[CheckResult]:
        """Has each edge ask for its certificate where that is due, and looks at what it shows then. Raises UsageProblem
        where no edge has TLS."""
        safe = {name: service for name, service in self._services().items() if service.tls}
        if not safe:
            raise UsageProblem("no edge has `tls`", where="services", expected="a service of kind edge with `tls`")
        asked = self._each("asked", ["systemctl", "start", CERTIFICATE_UNIT], timeout=ISSUE_SECONDS)
        looked = [result for name in safe for result in checks.of_service(name, patient=False)]
        return [*asked, *looked]

    def _services(self) -> dict[str, Service]:
        return {name: s for name, s in self.stack.services.items() if s.kind is ServiceKind.EDGE}

    def _each(self, name: str, command: Sequence[str], timeout: float = 20.0) -> list[CheckResult]:
        members = [host for service in self._services().values() for host in self.inventory.group(service.group)]
        found = {host.name: host for host in members}
        with ThreadPoolExecutor(max(1, len(found))) as pool:
            return list(pool.map(self._asking(name, command, timeout), found.values()))

    def _asking(self, name: str, command: Sequence[str], timeout: float) -> Callable[[Host], CheckResult]:
        def ask(host: Host) -> CheckResult:
            try:
                done = self.hosts.run(host, command, timeout=timeout)
            except OutsideProblem as problem:
                return CheckResult(
                    f"edge: {name}", Verdict.UNKNOWN, problem.what, host=host.name, severity=Severity.GATE
                )
            verdict = Verdict.PASS if done else Verdict.FAIL
            hint = "" if done else f"look at it on {host.name}: journalctl -u {CERTIFICATE_UNIT} -n 50"
            return CheckResult(f"edge: {name}", verdict, done.stderr.strip()[:200], host=host.name, hint=hint)

        return ask
