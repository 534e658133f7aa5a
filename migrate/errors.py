"""Failures an operator must tell apart, each with its exit code; the codes are a contract."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    DONE = 0
    BUG = 1
    USAGE = 2
    GATE = 3
    INCOMPLETE = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class CloudexitError(Exception):
    """A failure that the operator can act on.

    `what` happened, `where` (file:line, host, bucket), what was `expected`, and the `hint`: what to do now.
    """

    exit_code: ExitCode = ExitCode.BUG
    checks: Sequence[Any] = ()
    """Results of checks (check.CheckResult) that were made before it failed; the report shows them."""
    reported = False
    """Whether the document that `--json` promises stands on standard output already."""

    def __init__(self, what: str, *, where: str = "", expected: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.hint:
            lines.append(f"  do: {self.hint}")
        return "\n".join(lines)

    def as_document(self) -> dict[str, str | int]:
        return {
            "error": type(self).__name__,
            "exit_code": int(self.exit_code),
            "what": self.what,
            "where": self.where,
            "expected": self.expected,
            "hint": self.hint,
        }


class UsageProblem(CloudexitError):
    """Usage, manifest or inventory is wrong; nothing was touched. Not retriable as it stands."""

    exit_code = ExitCode.USAGE


class DocumentProblems(UsageProblem):
    """One or more faults in a document, each with file, line and field."""

    def __init__(self, problems: list[UsageProblem]) -> None:
        first = problems[0]
        super().__init__(first.what, where=first.where, expected=first.expected, hint=first.hint)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class GateHeld(CloudexitError):
    """A gate held: a check failed, the plan is unsafe or stale. Retriable once the cause is mended."""

    exit_code = ExitCode.GATE


class LockHeld(GateHeld):
    """Another run works on the same state folder or archive; the message names its holder."""


class Incomplete(CloudexitError):
    """The run ended, but objects are quarantined, archived or unverified; the ledger names each."""

    exit_code = ExitCode.INCOMPLETE


class OutsideProblem(CloudexitError):
    """A source, host or vendor did not do what was asked; which one, and what it said."""

    exit_code = ExitCode.UNREACHABLE


class Unreachable(OutsideProblem):
    """No answer within the bound. Retriable."""


class Refused(OutsideProblem):
    """It answered, and refused us: credentials, host key, permission. Retriable after a change."""


class Missing(OutsideProblem):
    """It answered, and what we asked for does not exist there."""


class Interrupted(CloudexitError):
    """Stopped by the operator; the same command goes on from here."""

    exit_code = ExitCode.INTERRUPTED
