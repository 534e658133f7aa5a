"""Read-only assertions about the world, and their verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from migrate.errors import GateHeld


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """A gate stops the run when its check does not pass; a warning is only shown."""

    GATE = "gate"
    WARNING = "warning"


@dataclass(frozen=True)
class CheckResult:
    """What one check found. `unknown` means that it could not look, never a guess."""

    name: str
    verdict: Verdict
    detail: str = ""
    hint: str = ""
    host: str = ""
    severity: Severity = Severity.GATE
    seconds: float = 0.0
    attempts: int = 1
    facts: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    @property
    def holds(self) -> bool:
        """True when this result must stop the run."""
        return not self and self.severity is Severity.GATE

    def as_document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "host": self.host,
            "verdict": self.verdict.value,
            "severity": self.severity.value,
            "detail": self.detail,
            "hint": self.hint,
            "seconds": round(self.seconds, 3),
            "attempts": self.attempts,
            "facts": self.facts,
        }


class ChecksHeld(GateHeld):
    """Gating checks did not pass; carries every result, those that passed too."""

    def __init__(self, what: str, checks: Sequence[CheckResult], *, hint: str = "") -> None:
        held = [check for check in checks if check.holds]
        lines = "; ".join(
            f"{check.host + ': ' if check.host else ''}{check.name}: {check.verdict} {check.detail}".rstrip()
            for check in held
        )
        super().__init__(
            f"{what}: {lines}",
            expected="every gating check to pass",
            hint=hint or next((check.hint for check in held if check.hint), ""),
        )
        self.checks = tuple(checks)
