"""What an export is asked to do: which objects, in what order, by when, how fast."""

import fnmatch
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from migrate.errors import UsageProblem
from migrate.export.archived import Tier

DEFAULT_WORKERS = 16


class Order(StrEnum):
    LISTED = "listed"
    NEWEST = "newest"
    OLDEST = "oldest"
    SMALLEST = "smallest"
    LARGEST = "largest"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """`bytes_per_second` of 0 is no limit. Globs match whole keys; `*` crosses `/`, as in the AWS CLI."""

    versions: bool = False
    tags: bool = False
    acls: bool = False
    order: Order = Order.LISTED
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    bytes_per_second: float = 0.0
    deadline: datetime | None = None
    workers: int = DEFAULT_WORKERS
    prune: bool = False
    restore: Tier | None = None

    def as_document(self) -> dict[str, object]:
        return {**asdict(self), "deadline": self.deadline.isoformat() if self.deadline else None}


def chooser(include: tuple[str, ...], exclude: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a key is wanted: it matches an include, if there are any, and no exclude."""
    wanted, unwanted = _any_of(include), _any_of(exclude)
    return lambda key: (wanted is None or bool(wanted(key))) and (unwanted is None or not unwanted(key))


def _any_of(globs: tuple[str, ...]) -> Callable[[str], object] | None:
    if not globs:
        return None
    return re.compile("|".join(f"(?:{fnmatch.translate(glob)})" for glob in globs)).match


RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(iB|i|B|bit|b)?(?:/s|ps)?")
POWERS: dict[str, int] = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
BITS_A_BYTE = 8


def parse_rate(text: str) -> float:
    """Bytes per second of `50M`, `50MiB/s` (1024 each), `50MB/s` (1000 each) or `400Mbit/s`. Raises UsageProblem."""
    match = RATE.fullmatch(text.strip())
    if not match or float(match[1]) == 0:
        raise UsageProblem(
            f"{text!r} is no bandwidth",
            where="--bandwidth",
            expected="a number with a unit, such as 50M, 50MiB/s, 50MB/s or 400Mbit/s",
        )
    unit = match[3] or ""
    base = 1000 if unit in ("B", "bit", "b") else 1024
    rate: float = float(match[1]) * float(base) ** POWERS[match[2].lower()]
    return rate / BITS_A_BYTE if unit in ("bit", "b") else rate


SPAN = re.compile(r"\+?(?:([0-9]{1,20})d)?(?:([0-9]{1,20})h)?(?:([0-9]{1,20})m(?:in)?)?(?:([0-9]{1,20})s)?")


def parse_deadline(text: str, now: datetime | None = None, where: str = "--deadline") -> datetime:
    """A moment of `2026-01-10T23:59:00-08:00`, or `30h`, `2h30m`, `90s` from now. Raises UsageProblem.

    A moment without an offset is local time.
    """
    now = now or datetime.now(UTC)
    span = SPAN.fullmatch(text.strip())
    try:
        if span and any(span.groups()):
            days, hours, minutes, seconds = (int(part or 0) for part in span.groups())
            return now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        moment = datetime.fromisoformat(text.strip())
    except OverflowError as problem:
        raise _beyond_the_calendar(text, where) from problem
    except ValueError as problem:
        raise UsageProblem(
            f"{text!r} is no deadline",
            where=where,
            expected="a moment such as 2026-01-10T23:59:00-08:00, or a span from now such as 30h or 2h30m",
        ) from problem
    return in_utc(moment, text, where)


def in_utc(moment: datetime, text: str, where: str) -> datetime:
    """Raises UsageProblem where UTC has no such year."""
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError, OSError) as problem:  # local time is the platform's, with faults of its own
        raise _beyond_the_calendar(text, where) from problem


def _beyond_the_calendar(text: str, where: str) -> UsageProblem:
    return UsageProblem(f"{text!r} is beyond the calendar", where=where, expected="a moment of the next years")
