"""Moments so many seconds away, within the calendar: a line of a byte a second takes longer than it has years."""

from datetime import UTC, datetime, timedelta

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)


def after(moment: datetime, seconds: float) -> datetime:
    """The calendar's last moment where it would be later."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return LAST if seconds > 0 else FIRST


def before(moment: datetime, seconds: float) -> datetime:
    """The calendar's first moment where it would be earlier."""
    return after(moment, -seconds)
