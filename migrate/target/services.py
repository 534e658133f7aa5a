"""Services start in order, each behind a gate; then everything is looked at again, and a user's way is walked."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, ChecksHeld, Verdict
from migrate.inventory import Host, Inventory, addresses
from migrate.plan import Step
from migrate.ports import Hosts, JourneyRunner
from migrate.stack import Stack
from migrate.target.checks import ServiceChecks
from migrate.target.logs import last_log_lines

START_SECONDS = 120.0
ENABLE = 'systemctl is-enabled --quiet "$1" || systemctl enable --quiet --no-reload "$1"'
"""Reloading systemd takes a second for some units, and no boot needs it."""


@dataclass(frozen=True)
class ServiceStarted:
    """Starts the service `step.subject` on every host of its group, waits for its gate (the checks that prove `basic`),
    and has it started at every boot from then on. Queues are waited for later, by Drained."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts
    checks: ServiceChecks

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """`pass` when the unit runs, is enabled on every host, and one attempt at each check passes."""
        unit = self.stack.services[step.subject].unit
        for host in self._hosts(step):
            for question in ("is-active", "is-enabled"):
                if not self.hosts.run(host, ["systemctl", question, "--quiet", unit]):
                    return Verdict.FAIL
        results = self.checks.of_service(step.subject, proves="basic", patient=False)
        return Verdict.FAIL if any(result.holds for result in results) else Verdict.PASS

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises ChecksHeld with the last lines of the unit's log where it does not start or is not healthy in time."""
        unit = self.stack.services[step.subject].unit
        self._on_every_host(step, "starts", ["systemctl", "start", unit])
        results = self.checks.of_service(step.subject, proves="basic", cancelled=context.cancelled)
        if any(result.holds for result in results):
            raise self._held(step.subject, results)
        self._on_every_host(step, "starts at every boot", ["sh", "-c", ENABLE, "sh", unit])
        return Outcome({"unit": unit, "hosts": [host.name for host in self._hosts(step)]}, tuple(results))

    def _on_every_host(self, step: Step, aim: str, command: Sequence[str]) -> None:
        unit = self.stack.services[step.subject].unit
        for host in self._hosts(step):
            done = self.hosts.run(host, command, timeout=START_SECONDS)
            if not done:
                said = (done.stderr.strip().splitlines() or ["no word"])[0]
                failure = CheckResult(f"{step.subject}: {unit} {aim}", Verdict.FAIL, said, host=host.name)
                raise self._held(step.subject, [failure])

    def _hosts(self, step: Step) -> list[Host]:
        return self.inventory.group(self.stack.services[step.subject].group)

    def _held(self, service: str, results: Sequence[CheckResult]) -> ChecksHeld:
        unit = self.stack.services[service].unit
        names = dict.fromkeys(result.host for result in results if result.holds)
        logs = "\n".join(f"{unit} on {name}:\n{self._last_log_lines(name, unit)}" for name in names)
        return ChecksHeld(
            f"{service} is not healthy, and nothing that depends on it was started",
            results,
            hint=f"mend the cause, then run the same command again. The last lines of its log:\n{logs}",
        )

    def _last_log_lines(self, host: str, unit: str) -> str:
        return last_log_lines(self.hosts, self.inventory.hosts[host], unit, self.checks.secrets_redacted)


@dataclass(frozen=True)
class Drained:
    """Waits for every check that proves `drained`: of the service `step.subject`, or of all."""

    checks: ServiceChecks

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """Never skipped: looking is all that it does."""
        return Verdict.UNKNOWN

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises ChecksHeld where a queue is not drained within its bound."""
        if step.subject:
            results = self.checks.of_service(step.subject, proves="drained", cancelled=context.cancelled)
        else:
            results = self.checks.of_all(proves="drained", cancelled=context.cancelled)
        return _all_passed("queues have not caught up", results)


@dataclass(frozen=True)
class AllChecked:
    """Every check of every service again; `patient` waits for each as long as its `within` says."""

    checks: ServiceChecks
    patient: bool = True

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """Never skipped: looking is all that it does."""
        return Verdict.UNKNOWN

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises ChecksHeld where one does not pass, within its bound or at once."""
        return _all_passed(
            "not everything is healthy", self.checks.of_all(patient=self.patient, cancelled=context.cancelled)
        )


@dataclass(frozen=True)
class JourneyWalked:
    """Walks the journey `step.subject`: its command runs in the manifest's folder, and finds the archive by the
    environment variable CLOUDEXIT_ARCHIVE."""

    stack: Stack
    inventory: Inventory
    journeys: JourneyRunner
    manifest_folder: Path
    archive: Path

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """Never skipped: only walking it shows whether it can be walked."""
        return Verdict.UNKNOWN

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises ChecksHeld where a step of it fails."""
        journey = self.stack.journeys[step.subject]
        site = self.stack.site.format_map(addresses(self.stack, self.inventory))
        command = [part.replace("{python}", sys.executable).replace("{site}", site) for part in journey.command]
        environment = {"CLOUDEXIT_ARCHIVE": str(self.archive.absolute())}
        results = self.journeys.walk(command, self.manifest_folder, environment, timeout=journey.timeout)
        return _all_passed(f"the journey {step.subject!r} does not reach its end", results)


def _all_passed(failure: str, results: Sequence[CheckResult]) -> Outcome:
    if any(result.holds for result in results):
        raise ChecksHeld(failure, results)
    return Outcome({"passed": sum(1 for result in results if result), "of": len(results)}, tuple(results))
