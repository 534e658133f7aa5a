"""What operators ask of the edges by command: close the site and open it, have certificates issued now."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from migrate.check import CheckResult, Verdict
from migrate.errors import OutsideProblem, UsageProblem
from migrate.inventory import Host, Inventory
from migrate.ports import Hosts
from migrate.servicechecks import CertificateCheck, ServiceCheck
from migrate.stack import Service, ServiceKind, Stack
from migrate.target.certificates import CERTIFICATE_UNIT
from migrate.target.checks import ServiceChecks

CLOSED = "/etc/cloudexit/maintenance"
"""While this file is there, an edge says that the site is closed."""
ISSUE_SECONDS = 660.0
"""The unit's own bound, and a little more."""
LOOK_AT_DOOR = "ls -ld /etc/cloudexit; df -h /etc"
"""The folder is there once the host is provisioned."""
GOOD = ServiceCheck(name="certificate", certificate=CertificateCheck(days_left=0))


@dataclass(frozen=True)
class Edges:
    """Every host of every edge is asked, side by side; one that does not answer keeps none of the others back."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts

    def close(self) -> list[CheckResult]:
        """Requests get the maintenance page, 503, from now on; challenges of an authority are still answered."""
        return self._each("closed", ["touch", CLOSED], self._services(), LOOK_AT_DOOR)

    def open(self) -> list[CheckResult]:
        """The site answers again."""
        return self._each("open", ["rm", "-f", CLOSED], self._services(), LOOK_AT_DOOR)

    def certify(self, checks: ServiceChecks) -> list[CheckResult]:
        """Has each edge ask for its certificate where that is due, and looks at what it shows then: the unit ends well
        where none was issued yet. Raises UsageProblem where no edge has TLS."""
        safe = {name: service for name, service in self._services().items() if service.tls}
        if not safe:
            raise UsageProblem("no edge has `tls`", where="services", expected="a service of kind edge with `tls`")
        command = ["systemctl", "start", CERTIFICATE_UNIT]
        asked = self._each("asked", command, safe, f"journalctl -u {CERTIFICATE_UNIT} -n 50", ISSUE_SECONDS)
        looks = self._at_certificates(checks, safe)
        return [*asked, *(result for name in safe for result in looks.of_service(name, patient=False))]

    def _at_certificates(self, checks: ServiceChecks, safe: Mapping[str, Service]) -> ServiceChecks:
        """The checks of the manifest, and one of the certificate itself where it has none."""
        blind = {name: one for name, one in safe.items() if not any(check.certificate for check in one.checks)}
        sighted = {name: one.model_copy(update={"checks": (*one.checks, GOOD)}) for name, one in blind.items()}
        services = {**checks.stack.services, **sighted}
        return replace(checks, stack=checks.stack.model_copy(update={"services": services}))

    def _services(self) -> dict[str, Service]:
        return {name: s for name, s in self.stack.services.items() if s.kind is ServiceKind.EDGE}

    def _each(
        self, name: str, command: Sequence[str], services: Mapping[str, Service], look: str, timeout: float = 20.0
    ) -> list[CheckResult]:
        """`look`: what to type on a host where the command failed. Raises UsageProblem where no host is asked."""
        found = {host.name: host for service in services.values() for host in self.inventory.group(service.group)}
        if not found:
            raise UsageProblem(
                "no host is an edge, so nothing was done", where="services",
                expected="a service of kind edge, and hosts in its group",
            )  # fmt: skip
        with ThreadPoolExecutor(len(found)) as pool:
            return list(pool.map(self._asking(name, command, look, timeout), found.values()))

    def _asking(self, name: str, command: Sequence[str], look: str, timeout: float) -> Callable[[Host], CheckResult]:
        def ask(host: Host) -> CheckResult:
            try:
                done = self.hosts.run(host, command, timeout=timeout)
            except OutsideProblem as problem:
                hint = f"can {host.name} be reached by SSH? Then give the command again"
                return CheckResult(f"edge: {name}", Verdict.UNKNOWN, problem.what, hint, host.name)
            verdict = Verdict.PASS if done else Verdict.FAIL
            hint = "" if done else f"look at it on {host.name}: {look}"
            return CheckResult(f"edge: {name}", verdict, done.stderr.strip()[:200], hint, host.name)

        return ask
