"""Day 2: another release for a home that runs, or the one before again; and hosts that have just joined are started."""

from contextlib import suppress
from dataclasses import dataclass

from migrate.action import Outcome, StepContext
from migrate.check import ChecksHeld, Verdict
from migrate.errors import CloudexitError
from migrate.inventory import Host, Inventory
from migrate.plan import Effect, Phase, Plan, Step
from migrate.stack import Service, Stack
from migrate.target.closing import close_ports, open_ports
from migrate.target.release import ReleaseArchive
from migrate.target.releasehome import ReleaseHome
from migrate.target.services import START_SECONDS, ServiceStarted
from migrate.target.standing import Installed


def deploy_plan(stack: Stack, inventory: Inventory, archive: ReleaseArchive) -> Plan:
    """The release goes over its hosts, then its services start where they do not run yet."""
    title = f"{archive.name} {archive.version} ({archive.sha256[:8]}) goes over its hosts, in waves"
    step = Step(
        f"deploy.{archive.name}", Phase.START, "deploy.release", title, Effect.REVERSIBLE,
        subject=f"{archive.name} {archive.version} {archive.sha256}",
    )  # fmt: skip
    return _plan(stack, inventory, archive.name, step)


def rollback_plan(stack: Stack, inventory: Inventory, name: str, before: Installed) -> Plan:
    """The release before goes over its hosts by the same waves."""
    step = Step(
        f"rollback.{name}", Phase.START, "deploy.rollback", f"{name} goes back to {before.version}, in waves",
        Effect.REVERSIBLE, subject=f"{name} {before.version} {before.sha256}",
    )  # fmt: skip
    return _plan(stack, inventory, name, step)


def _plan(stack: Stack, inventory: Inventory, release: str, first: Step) -> Plan:
    steps, before = [first], first.id
    for name in stack.services_in_order():
        if stack.services[name].release == release:
            steps.append(
                Step(
                    f"start.{name}",
                    Phase.START,
                    "deploy.start",
                    f"{name} runs on every host that it belongs to",
                    Effect.REVERSIBLE,
                    (before,),
                    subject=name,
                )
            )
            before = steps[-1].id
    return Plan(stack.digest, inventory.digest, tuple(steps))


@dataclass(frozen=True)
class JoinedHostsStarted:
    """Starts a service on hosts that joined the home: closed to everybody else until it is healthy there, and stopped
    again where it is not. Where it runs nowhere, the move is not done: starting it is then up to `cloudexit run` or
    `cloudexit start`."""

    stack: Stack
    start: ServiceStarted
    home: ReleaseHome

    def verify(self, step: Step, context: StepContext) -> Verdict:
        if not self.home.wanted(step.subject):
            return Verdict.PASS
        return self.start.verify(step, context)

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises ChecksHeld with the last lines of the unit's log where it does not start or is not healthy in time."""
        hosts, service = self.start.hosts, self.stack.services[step.subject]
        joined = self._joined(service) if service.port else []
        for host in joined:
            close_ports(hosts, host, [service.port or 0], self._bound(service))
        try:
            outcome = self.start.apply(step, context)
        except ChecksHeld:
            for host in joined:
                with suppress(CloudexitError):  # it opens by itself, later
                    if hosts.run(host, ["systemctl", "stop", service.unit], timeout=START_SECONDS):
                        open_ports(hosts, host)
            raise
        for host in joined:
            open_ports(hosts, host)
        return outcome

    def _joined(self, service: Service) -> list[Host]:
        """Hosts on which it was never healthy, and so does not start at boot yet, while it does on others."""
        group = self.start.inventory.group(service.group)
        new = [host for host in group if not self.start.hosts.run(host, ["systemctl", "is-enabled", service.unit])]
        return new if len(new) < len(group) else []

    def _bound(self, service: Service) -> float:
        """In seconds: hosts start and are looked at one after the other."""
        group = self.start.inventory.group(service.group)
        return len(group) * (START_SECONDS + sum(check.within for check in service.checks))
