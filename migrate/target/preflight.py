"""Preflight: is every host what the plan takes it for? Each question is a check with a verdict and a hint."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, ChecksHeld, Severity, Verdict
from migrate.datadisks import STORAGE, wishes_of
from migrate.errors import CloudexitError, Refused, Unreachable
from migrate.inventory import Host, Inventory
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.secret import Secrets
from migrate.stack import Service, Stack
from migrate.target.hardware import judge_hardware
from migrate.target.hostfacts import HostFacts, Listener, observe
from migrate.target.hostview import HostView, services_of
from migrate.target.onerelease import OPERATING_SYSTEM, RELEASE, held_to_one_release
from migrate.target.plainwire import judge_wire
from migrate.target.sidebyside import answers_and_faults
from migrate.target.variables import packages_of

GIB = 1024**3
MIB = 1024**2
DEBIAN_VERSIONS = ("12", "13")
CLOCK_WARNING_SECONDS = 0.5
CLOCK_BOUND_SECONDS = 2.0
ROOT_FREE_BYTES = 2 * GIB
SRV_FREE_BYTES = 1 * GIB
MEMORY_BYTES = 384 * MIB
MIRROR_SECONDS = 90.0
UPDATE = ["apt-get", "-q", "update", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::Retries=1",
          "-o", "APT::Update::Error-Mode=any"]  # fmt: skip


class HostsUnreachable(Unreachable):
    """Hosts did not answer. `checks` holds every result, those of the other hosts too. Retriable."""

    def __init__(self, what: str, checks: Sequence[CheckResult], first: CloudexitError) -> None:
        super().__init__(what, where=first.where, expected=first.expected, hint=first.hint)
        self.checks = tuple(checks)


class HostsRefused(Refused):
    """Hosts refused us. `checks` holds every result, those of the other hosts too. Retriable after a change."""

    def __init__(self, what: str, checks: Sequence[CheckResult], first: CloudexitError) -> None:
        super().__init__(what, where=first.where, expected=first.expected, hint=first.hint)
        self.checks = tuple(checks)


class Preflight:
    """Reads only, but for the package lists that it refreshes where packages are missing. Always looks again."""

    def __init__(self, hosts: Hosts, stack: Stack, inventory: Inventory, secrets: Secrets) -> None:
        self._hosts = hosts
        self._stack = stack
        self._inventory = inventory
        self._secrets = secrets

    def verify(self, step: Step, context: StepContext) -> Verdict:
        return Verdict.UNKNOWN

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises HostsUnreachable, HostsRefused (a host could not be asked) or ChecksHeld, each with every result."""
        checks, faults = self.look()
        if faults:
            raise _problem(faults, checks)
        if any(check.holds for check in checks):
            raise ChecksHeld("preflight", checks)
        return Outcome({"hosts": len(self._inventory.hosts), "checks": len(checks)}, tuple(checks))

    def look(self) -> tuple[list[CheckResult], dict[str, CloudexitError]]:
        """Every check of every host that could be asked, a failed `reachable` for the others, and why."""
        answers, faults = answers_and_faults(self._inventory, self._look_at)
        results: list[CheckResult] = []
        for name in self._inventory.hosts:
            results += answers.get(name, [])
            if name in faults:
                fault = faults[name]
                results.append(CheckResult("reachable", Verdict.FAIL, fault.what, fault.hint, name))
        return list(held_to_one_release(self._stack, self._inventory, results)), faults

    def _look_at(self, host: Host) -> list[CheckResult]:
        began = time.monotonic()
        facts = observe(self._hosts, host, packages_of(HostView(self._stack, self._inventory, host, self._secrets)))
        seconds = time.monotonic() - began
        reached = CheckResult("reachable", Verdict.PASS, f"{host.user}@{host.address}:{host.port}", "", host.name)
        judged = [*judge(self._stack, host, facts), judge_wire(self._stack, self._inventory, host)]
        wanted = wishes_of(host.name, self._inventory.merged.get(host.name, {}).get(STORAGE))
        judged += judge_hardware(host.name, facts.hardware, wanted, provisioned=facts.provisioned)
        if facts.missing_packages and facts.is_root:
            judged.append(self._ask_mirror(host, facts))
        else:
            judged.append(_check(host, "package-mirror", True, "not needed: every package is there", ""))
        return [CheckResult(**{**vars(check), "seconds": seconds}) for check in (reached, *judged)]

    def _ask_mirror(self, host: Host, facts: HostFacts) -> CheckResult:
        try:
            answer = self._hosts.run(host, UPDATE, timeout=MIRROR_SECONDS)
        except Unreachable as fault:
            return _check(host, "package-mirror", False, fault.what, "see that the host reaches its package mirror")
        words = [line for line in answer.stderr.splitlines() if line.startswith(("E:", "Err:"))]
        detail = f"{len(facts.missing_packages)} packages to come" if answer else "; ".join(words) or "no answer"
        hint = "on the host: apt-get update; mend its network, DNS or /etc/apt/sources.list"
        return _check(host, "package-mirror", bool(answer), detail, hint)


def judge(stack: Stack, host: Host, facts: HostFacts) -> Iterator[CheckResult]:
    """The checks that follow from a host's facts. Pure."""
    debian = facts.os_id == "debian" and facts.os_version in DEBIAN_VERSIONS
    found = _check(host, OPERATING_SYSTEM, debian, facts.os_name or "unknown", "install Debian 12 or 13 on it")
    yield replace(found, facts={RELEASE: facts.os_version})
    yield _check(
        host, "root", facts.is_root, f"{host.user}{'' if host.user == 'root' else ' by sudo'}",
        f"sign in as root, or give {host.user} sudo without a password",
    )  # fmt: skip
    yield _clock(host, facts)
    for folder, floor in (("/", ROOT_FREE_BYTES), ("/srv", SRV_FREE_BYTES)):
        free = facts.disk_free.get(folder, 0)
        hint = f"at least {floor // GIB} GiB must be free on {folder}, beside the data to come"
        found = _check(host, f"disk {folder}", free >= floor, f"{free / GIB:.1f} GiB free", hint)
        yield replace(found, facts={"bytes": free})
    found = _check(
        host, "memory", facts.memory_free >= MEMORY_BYTES, f"{facts.memory_free / GIB:.1f} GiB available",
        f"at least {MEMORY_BYTES // MIB} MiB must be available",
    )  # fmt: skip
    yield replace(found, facts={"bytes": facts.memory_free})
    yield _check(
        host, "python", facts.has_python_apt, "python3-apt is there" if facts.has_python_apt else "no python3-apt",
        "provision brings it; a dry run needs it before: apt-get install python3-apt", Severity.WARNING,
    )  # fmt: skip
    yield _ports(stack, host, facts.listeners)


def _clock(host: Host, facts: HostFacts) -> CheckResult:
    if math.isnan(facts.clock_ahead):
        return CheckResult("clock", Verdict.UNKNOWN, "the host told no time", "see `date` on the host", host.name)
    off = abs(facts.clock_ahead)
    severity = Severity.GATE if off > CLOCK_BOUND_SECONDS else Severity.WARNING
    side = "ahead" if facts.clock_ahead > 0 else "behind"
    detail = f"{off:.1f} s {side}" if off >= CLOCK_WARNING_SECONDS else f"right to {max(facts.clock_doubt, 0.1):.1f} s"
    hint = f"set the clock; at most {CLOCK_BOUND_SECONDS:.0f} s are borne: apt-get install chrony"
    return _check(host, "clock", off <= CLOCK_WARNING_SECONDS, detail, hint, severity)


def ports_taken(stack: Stack, host: Host, listeners: Sequence[Listener]) -> list[tuple[int, str]]:
    """Ports of the host's services on which something else listens, each with the unit of that something. Pure."""
    wanted = _wanted_ports(stack, host)
    return sorted(
        {
            (listener.port, listener.unit or "a process outside systemd")
            for listener in listeners
            if listener.port in wanted and not _is_of(listener.unit, wanted[listener.port].unit)
        }
    )


def _wanted_ports(stack: Stack, host: Host) -> dict[int, Service]:
    return {port: service for service in services_of(stack, host).values() for port in service.ports}


def _ports(stack: Stack, host: Host, listeners: Sequence[Listener]) -> CheckResult:
    wanted, taken = _wanted_ports(stack, host), ports_taken(stack, host, listeners)
    detail = "; ".join(f"{port} is taken by {unit}" for port, unit in taken)
    free = f"free or ours: {', '.join(str(port) for port in sorted(wanted))}" if wanted else "none is needed"
    hint = "stop what listens there, or give the service another port"
    return replace(_check(host, "ports", not taken, detail or free, hint), facts={"busy": [port for port, _ in taken]})


def _is_of(unit: str, service_unit: str) -> bool:
    """`postgresql@15-main.service` is of `postgresql.service`."""
    stem = service_unit.removesuffix(".service")
    return unit == service_unit or unit.startswith(f"{stem}@")


def _check(
    host: Host, name: str, good: bool, detail: str, hint: str, severity: Severity = Severity.GATE
) -> CheckResult:
    verdict = Verdict.PASS if good else Verdict.FAIL
    return CheckResult(name, verdict, detail, "" if good else hint, host.name, severity)


def _problem(faults: Mapping[str, CloudexitError], checks: Sequence[CheckResult]) -> CloudexitError:
    """One error for all hosts that could not be asked, with what held on the others."""
    first = next(iter(faults.values()))
    others = [check for check in checks if check.host not in faults]
    told = [f"{name}: {fault.what}" for name, fault in faults.items()]
    told += [f"{check.host}: {check.name}: {check.detail}" for check in others if check.holds]
    if others:
        asked = ", ".join(dict.fromkeys(check.host for check in others))
        told.append(f"{asked}: {sum(map(bool, others))} of {len(others)} checks pass")
    if not isinstance(first, Unreachable | Refused):
        return first
    kind = HostsUnreachable if all(isinstance(fault, Unreachable) for fault in faults.values()) else HostsRefused
    return kind("; ".join(told), checks, first)
