"""How a plan's moments, durations, chances and amounts are said, on the terminal and on the page alike."""

import re
from collections.abc import Sequence
from datetime import datetime

from migrate.figures import rated_up
from migrate.forecast.result import DeadlineForecast

LONG = 240 * 3600
"""Seconds from which on people count in days."""
REACHED = {
    "out": "data out of the old home",
    "up": "every service runs",
    "proved": "everything proved",
}
"""What a plan reaches, in words."""


def year_of(made_at: datetime, go_at: datetime) -> int:
    """The year that need not be said: that of the go, unless it is another than that of the forecast. Then none."""
    return go_at.year if go_at.year == made_at.year else 0


def moment(at: datetime | None, year: int) -> str:
    """`Sat 21 Nov 08:00 UTC`, and `Sun 21 Nov 2027 08:00 UTC` where it is not in `year`."""
    return f"{at:%a} {day_and_hour(at, year)} {at:%Z}" if at else "–"


def day_and_hour(at: datetime, year: int) -> str:
    """`21 Nov 08:00`, with the year where it is another."""
    said = "" if at.year == year else f" {at.year}"
    return f"{at:%d %b}{said} {at:%H:%M}"


def span(seconds: float | None) -> str:
    """A duration as short as its size allows: `1.7 s`, `57 s`, `8 min 06 s`, `25 min`, `30 h 00 min`, `12 d 02 h`."""
    if seconds is None:
        return "?"
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{min(seconds, 59):.0f} s"
    if seconds < 600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    if seconds < 3600:
        return f"{min(seconds / 60, 59):.0f} min"
    if seconds < LONG:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    return f"{int(seconds // 86400):,} d {int(seconds % 86400 // 3600):02d} h"


def lasting(seconds: float | None) -> str:
    """A span that is a round one, as people say it: `5 min`, `12 h`, `30 h`."""
    return re.sub(r" 00 (?:s|min|h)$", "", span(seconds))


def chance(share: float) -> str:
    """A share of draws; a few hundred of them cannot say that something is certain."""
    if share > 0.99:
        return "over 99%"
    return "under 1%" if share < 0.01 else f"{share:.0%}"


def slack(found: DeadlineForecast) -> str:
    """What is left, or is lacking, in half of all cases and in the worst tenth."""
    half, safe = found.slack_p50_seconds or 0.0, found.slack_p90_seconds or 0.0
    middle = f"{span(abs(half))} {'too late' if half < 0 else 'to spare'} in half of all cases"
    if safe < 0:
        return f"{middle}, {span(-safe)} or more too late in one of ten"
    return f"{middle}, {span(safe)} in nine of ten"


def pattern(ids: Sequence[str]) -> str:
    """What the ids of several steps have in common, with a star for the rest: `restore.database.*.load`."""
    parts = [name.split(".") for name in ids]
    if len({len(part) for part in parts}) > 1:
        return f"{parts[0][0]}.*"
    return ".".join(same[0] if len(set(same)) == 1 else "*" for same in zip(*parts, strict=True))


def few(names: Sequence[str]) -> str:
    """The first of them, and how many more."""
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


def needed_line(rate: float | None) -> str:
    """The line that it takes: never rounded down; 0 where it does not matter, None where none is wide enough."""
    if rate is None:
        return "more than any line"
    return rated_up(rate) if rate else "any line"
