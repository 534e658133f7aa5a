"""Day 2: another release for a home that runs, or the one before again; and hosts that have just joined are started."""

from dataclasses import dataclass

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.inventory import Inventory
from migrate.plan import Effect, Phase, Plan, Step
from migrate.stack import Stack
from migrate.target.release import ReleaseArchive
from migrate.target.releasehome import ReleaseHome
from migrate.target.services import ServiceStarted
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
    """Starts a service on hosts that joined the home. Where it runs nowhere, the move is not done: starting it is then
    up to `cloudexit run` or `cloudexit start`."""

    stack: Stack
    start: ServiceStarted
    home: ReleaseHome

    def verify(self, step: Step, context: StepContext) -> Verdict:
        if not self.home.wanted(step.subject):
            return Verdict.PASS
        return self.start.verify(step, context)

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises ChecksHeld with the last lines of the unit's log where it does not start or is not healthy in time."""
        return self.start.apply(step, context)
