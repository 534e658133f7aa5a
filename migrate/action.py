"""What carries out a step: observe, apply, observe again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from migrate.check import CheckResult, Verdict
from migrate.plan import Step


@dataclass(frozen=True)
class Outcome:
    """What a step did: `detail` for the journal and the report, and the checks that it made."""

    detail: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True)
class StepContext:
    """What the runner tells an action about this run."""

    previous: Mapping[str, Any] | None = None
    """Detail of this step's last success in this run; a proposal, which `verify` holds against the world."""
    progress: Callable[[Mapping[str, Any]], None] = lambda detail: None
    cancelled: Callable[[], bool] = lambda: False


class Action(Protocol):
    """Idempotent. `apply` raises a CloudexitError when it cannot do, or cannot prove, what the step says."""

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """Looks whether the effect is already there: `pass` skips the step. `unknown`: cannot tell without applying."""

    def apply(self, step: Step, context: StepContext) -> Outcome: ...


@runtime_checkable
class Recalling(Protocol):
    """An action whose effect carries its own account, so that a kill before the journal was written loses nothing."""

    def recall(self, step: Step) -> Outcome:
        """What was done, read from where it was done."""
