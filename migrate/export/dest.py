"""The archive's folder as a whole: making it, whose it is, and what its refusals mean."""

import errno
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from migrate.errors import Incomplete, UsageProblem
from migrate.export.ledger import Ledger
from migrate.export.scope import ExportOptions
from migrate.export.source import ObjectSource

GO_ON = "the same command goes on from here"


def make_dest(dest: Path) -> None:
    """Raises UsageProblem where DEST cannot be made."""
    try:
        dest.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageProblem(
            f"cannot make the archive's folder: {problem.strerror}",
            where=str(dest),
            expected="a folder, or a place where one can be made",
            hint="choose another DEST or mend its permissions",
        ) from problem


def check_binding(ledger: Ledger, source: ObjectSource, prefix: str, options: ExportOptions) -> Mapping[str, str]:
    """An archive holds one source, in one mode. Raises UsageProblem where this is another.

    Returns what the ledger is to be bound to, once the source has answered: a mistyped bucket binds nothing.
    """
    asked = {"bucket": source.bucket, "prefix": prefix, "versions": "all" if options.versions else "current"}
    for name, value in asked.items():
        held = ledger.archive_value(name)
        if held is not None and held != value:
            raise UsageProblem(
                f"this archive holds {name} {held!r}, not {value!r}",
                where=str(ledger.path),
                expected="one bucket, one prefix and one choice of versions for one DEST",
                hint="export into another DEST",
            )
    return asked


def explained(problem: OSError | sqlite3.OperationalError, dest: Path) -> Exception:
    """The operator's view of a failed write: a full disk, or one that may not be written."""
    full = getattr(problem, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "disk is full" in str(problem)
    if full:
        return Incomplete(
            "the disk is full",
            where=str(dest),
            expected="room for what is left; `cloudexit export … --dry-run` says how much that is",
            hint=f"free some space; {GO_ON}",
        )
    if isinstance(problem, OSError) and problem.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return UsageProblem(
            f"cannot write to the archive: {problem.strerror}", where=str(dest), hint=f"mend its permissions; {GO_ON}"
        )
    return problem
