"""What operators may write for a rate, a deadline and a choice of keys."""

from datetime import UTC, datetime, timedelta

import pytest

from migrate.cli.export_view import amount, progress_line, span, visible
from migrate.errors import UsageProblem
from migrate.export.ledger import Progress
from migrate.export.scope import chooser, parse_deadline, parse_rate

NOW = datetime(2026, 1, 9, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1000", 1000),
        ("50k", 50 * 1024),
        ("50M", 50 * 1024**2),
        ("50MiB/s", 50 * 1024**2),
        ("50MB/s", 50_000_000),
        ("1.5G", 1.5 * 1024**3),
        ("400Mbit/s", 50_000_000),
        ("400Mbps", 50_000_000),
    ],
)
def test_rates(text: str, expected: float) -> None:
    assert parse_rate(text) == expected


@pytest.mark.parametrize("text", ["", "fast", "0", "-5M", "5X", "M"])
def test_no_rates(text: str) -> None:
    with pytest.raises(UsageProblem, match="no bandwidth"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30h", NOW + timedelta(hours=30)),
        ("+2h30m", NOW + timedelta(hours=2, minutes=30)),
        ("1d12h", NOW + timedelta(days=1, hours=12)),
        ("90s", NOW + timedelta(seconds=90)),
        ("2026-01-10T23:59:00-08:00", datetime(2026, 1, 11, 7, 59, tzinfo=UTC)),
        ("2026-01-10T23:59:00Z", datetime(2026, 1, 10, 23, 59, tzinfo=UTC)),
    ],
)
def test_deadlines(text: str, expected: datetime) -> None:
    assert parse_deadline(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "tomorrow", "h", "12:61"])
def test_no_deadlines(text: str) -> None:
    with pytest.raises(UsageProblem, match="no deadline"):
        parse_deadline(text, NOW)


def test_a_key_is_wanted_when_an_include_matches_and_no_exclude_does() -> None:
    assert chooser((), ())("anything")
    wanted = chooser(("images/*", "*.html"), ("*/tmp/*",))
    chosen = ["images/a/b.jpg", "index.html"]
    assert [key for key in (*chosen, "images/tmp/x", "notes", "Images/a") if wanted(key)] == chosen


def test_amounts_and_spans_are_for_people() -> None:
    assert [amount(count) for count in (0, 999, 1500, 2_500_000, 7e13)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 MB",
        "70.0 TB",
    ]
    assert [span(seconds) for seconds in (5, 61, 7265)] == ["5 s", "1 min 01 s", "2 h 01 min"]


def test_a_key_is_shown_on_one_line() -> None:
    assert visible("a\nb\\c\x1b[31m é\udc80") == "a\\nb\\\\c\\x1b[31m é\\udc80"


def test_progress_shows_objects_bytes_rate_time_left_and_errors() -> None:
    line = progress_line(
        Progress("fetching", 5000, 10**9, 1000, 2 * 10**8, bytes_per_second=1e7, seconds_left=80, errors=2)
    )
    assert line == "fetching: 1,000 of 5,000 objects, 200.0 MB of 1.0 GB, 10.0 MB/s, 1 min 20 s left, 2 errors"
