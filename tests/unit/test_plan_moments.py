"""`--go` and `--deadline`: any text gives a moment or a UsageProblem, and a moment that is over is none."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.cli.plan import occasion_of
from migrate.errors import UsageProblem
from migrate.export.scope import parse_deadline

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
BEYOND = [
    "99999999h", "9" * 30 + "d", "9999999999999999999d", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59+00:00", "2200-01-01T00:00:00Z",
]  # fmt: skip
SPANS = st.builds("{}{}".format, st.integers(min_value=0), st.sampled_from("dhms"))
MOMENTS = st.datetimes(timezones=st.one_of(st.none(), st.timezones())).map(datetime.isoformat)
WORDS = st.one_of(st.none(), st.text(), SPANS, MOMENTS, st.sampled_from(BEYOND))


@given(go=WORDS, deadline=WORDS)
def test_any_text_is_a_moment_or_a_usage_problem(go: str | None, deadline: str | None) -> None:
    try:
        found = occasion_of(NOW, go, deadline)
    except UsageProblem as problem:
        assert problem.where in ("--go", "--deadline")
        assert problem.expected
    else:
        assert found.go_at >= NOW
        assert found.deadline is None or found.deadline > found.go_at


@given(WORDS.filter(bool))
def test_any_deadline_of_an_export_is_a_moment_or_a_usage_problem(text: str) -> None:
    try:
        assert parse_deadline(text, NOW).tzinfo is UTC
    except UsageProblem as problem:
        assert problem.where == "--deadline"


@pytest.mark.parametrize("option", ["go", "deadline"])
@pytest.mark.parametrize("text", BEYOND)
def test_a_moment_beyond_the_calendar_is_refused(option: str, text: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        occasion_of(NOW, **{"go": None, "deadline": None, option: text})
    assert caught.value.where == f"--{option}"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("ago", [timedelta(minutes=2), timedelta(days=1), timedelta(days=365)])
def test_a_go_that_is_over_is_refused(ago: timedelta) -> None:
    with pytest.raises(UsageProblem, match="the go is in the past"):
        occasion_of(NOW, (NOW - ago).isoformat(), "30h")


def test_a_go_that_was_now_when_it_was_typed_is_now() -> None:
    assert occasion_of(NOW, (NOW - timedelta(seconds=40)).isoformat(), "30h").go_at == NOW
