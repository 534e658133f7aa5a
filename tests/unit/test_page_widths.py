"""Pages at every width: nothing wider than the console, no ribbons, nothing lost, the verdict on the first screen."""

import io
import re
from collections import Counter
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from migrate.forecast.basis import Basis
from migrate.forecast.forecast import Occasion, forecast
from migrate.forecast.result import Forecast
from migrate.forecast.simulation import simulate
from migrate.plan import Plan
from migrate.planner import make_plan
from migrate.report.layout import READABLE, Column, paragraph, table_lines
from migrate.report.plan_view import show_forecast
from migrate.report.plan_words import lasting, moment, span, year_of
from tests.plan_cases import GO, PLANS, after, read_case
from tests.unit.test_plan_fleet import fleet

WIDTHS = (60, 80, 100, 132, 200)
WIDE = 400
SCREEN = 24
CASES = [
    "fleet", "fleet met", "fleet without deadline", "deadline_unknown_size", "everything_assumed", "room_short_of_disk",
    "archived_objects_must_be_asked_for", "cost_of_tags_and_versions", "waves_of_hosts",
    "archived_objects_hold_the_plan", "archived_objects_asked_for", "hosts_and_line_together", "versions_that_stay",
    "ports_wanted_twice",
]  # fmt: skip
SPOKEN_FOR = {"effect", "ground", "how", "reckoned", "says", "who", "at", "may", "latest", "–"}
"""Titles of columns whose values speak for themselves beneath their row."""
NUMBER = re.compile(r"\d[\d,.:]*")
AMOUNT = re.compile(r"[\d.,]+ (?:[kMGT]?B|[kMG]?bit/s|h \d\d min|min \d\d s)(?!\w)")


@cache
def of_fleet(name: str) -> tuple[Plan, Forecast]:
    stack, inventory, facts = fleet()
    basis = Basis(stack, inventory, facts)
    plan = make_plan(stack, inventory, facts)
    end = {"fleet": after(30 * 3600), "fleet met": after(100 * 3600)}.get(name)
    found = forecast(plan, basis, Occasion(GO, GO, end))
    return plan, found.model_copy(update={"simulation": simulate(plan, basis, 5, 1)})


@cache
def page(name: str, width: int, *, verbose: bool = False) -> str:
    if name.startswith("fleet"):
        plan, found = of_fleet(name)
    else:
        case = read_case(PLANS / f"{name}.yaml")
        plan, found = case.plan, case.forecast
    told = io.StringIO()
    show_forecast(Console(file=told, width=width), plan, found, verbose=verbose)
    return told.getvalue()


@pytest.mark.parametrize(("width", "verbose"), [*((width, False) for width in WIDTHS), (60, True), (100, True)])
@pytest.mark.parametrize("name", CASES)
def test_a_page_fits_its_width_and_loses_nothing(name: str, width: int, verbose: bool) -> None:
    wide, text = page(name, WIDE, verbose=verbose), page(name, width, verbose=verbose)
    assert max(map(cell_len, text.splitlines())) <= width
    assert not Counter(NUMBER.findall(wide)) - Counter(NUMBER.findall(text)), "numbers"
    assert not Counter(AMOUNT.findall(wide)) - Counter(AMOUNT.findall(text)), "amounts with their units"
    words = set(text.replace(";", " ").split())
    shorter = {word for word in wide.replace(";", " ").split() if len(word) <= width - 8}
    assert shorter <= words | SPOKEN_FOR, "words cut"


@pytest.mark.parametrize("width", [1, 7, 20, 40, 51])
def test_a_page_that_is_too_narrow_to_be_read_is_printed_all_the_same(width: int) -> None:
    text = page("archived_objects_must_be_asked_for", width)
    assert max(map(cell_len, text.splitlines())) <= max(width, 20)
    assert "".join(text.split()).startswith("LEAVES500objects")


@pytest.mark.parametrize("name", CASES)
def test_a_narrow_page_is_no_ribbon(name: str) -> None:
    lines = {width: len(page(name, width).splitlines()) for width in WIDTHS}
    assert lines[60] <= 2.2 * lines[200]
    assert lines[80] <= 1.9 * lines[200]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_screen_says_what_must_be_decided(width: int) -> None:
    screen = " ".join(" ".join(page("fleet", width).splitlines()[:SCREEN]).split())
    for said in (
        "MISSED 28% chance", "deadline Sat 21 Nov 09:00 UTC, 30 h after the go",
        "2 h 24 min too late in half of all cases",
        "go by Thu 19 Nov 18:1", "(over)", "give up at Fri 20 Nov 0", "line it takes 5.2 Gbit/s for an even chance",
        "hosts it takes 2", "newest objects first",
    ):  # fmt: skip
        assert said in screen


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_screen_says_why_it_cannot_be_told(width: int) -> None:
    screen = "\n".join(page("deadline_unknown_size", width).splitlines()[:SCREEN])
    assert screen.startswith("CANNOT BE TOLD")
    assert "--probe" in screen


TABLE = (
    Column("name", name=True), Column("count", right=True), Column("when", gives_way=1, label="when"),
    Column("how", words=True, gives_way=2),
)  # fmt: skip


@given(
    rows=st.lists(
        st.tuples(
            st.from_regex(r"[a-z][a-z0-9.-]{0,62}", fullmatch=True),
            st.integers(0, 10**12).map("{:,}".format),
            st.sampled_from(["", "–", "21 Nov 08:00", "21 Nov 2027 08:00"]),
            st.lists(st.from_regex(r"[a-z]{1,12}", fullmatch=True), max_size=20).map(" ".join),
        ),
        min_size=1, max_size=6,
    ),
    width=st.integers(min_value=50, max_value=220),
)  # fmt: skip
def test_a_table_of_any_rows_fits_and_keeps_names_and_numbers_whole(
    rows: list[tuple[str, str, str, str]], width: int
) -> None:
    lines = [line.plain for line in table_lines(TABLE, rows, width)]
    assert max(map(cell_len, lines)) <= width
    for name, count, when, how in rows:
        if len(name) <= width:
            assert any(name in line for line in lines)
        assert any(count in line for line in lines)
        assert when in ("", "–") or any(when in line for line in lines)
        assert set(how.split()) <= set(" ".join(lines).replace(";", " ").split())


def test_words_that_have_no_room_stand_beneath_their_row() -> None:
    row = ("x" * 30, "1", "21 Nov 08:00", "of words there are some more than this width has room for")
    assert [line.plain for line in table_lines(TABLE, [row], 60)] == [
        f"{'name':<30}  count  when",
        f"{'x' * 30}      1  21 Nov 08:00",
        "    of words there are some more than this width has room",
        "    for",
    ]
    inline = table_lines(TABLE, [row], 30 + 2 + 5 + 2 + 12 + 2 + READABLE)
    assert [cell_len(line.plain) <= 30 + 2 + 5 + 2 + 12 + 2 + READABLE for line in inline] == [True] * 4
    assert inline[1].plain.endswith("21 Nov 08:00  of words there are some")


def test_a_name_that_is_too_long_has_a_line_of_its_own() -> None:
    lines = [line.plain for line in table_lines(TABLE, [("x" * 58, "1", "", ""), ("y", "2", "", "")], 60)]
    assert lines[1] == "x" * 58
    assert lines[2].split() == ["1"]
    assert lines[3].split() == ["y", "2"]


def test_no_line_ends_within_an_amount_or_a_moment() -> None:
    text = Text("it ends at Sat 21 Nov 08:00 UTC with 4.8 Gbit/s after 30 h 00 min, 1.1 TB stay")
    for width in range(22, 80):
        lines = [line.plain for line in paragraph(text, width)]
        for whole in ("Sat 21 Nov 08:00 UTC", "4.8 Gbit/s", "30 h 00 min", "1.1 TB"):
            assert any(whole in line for line in lines), (width, lines)


def test_a_moment_of_another_year_shows_its_year_and_every_one_its_zone() -> None:
    assert moment(GO, GO.year) == "Fri 20 Nov 03:00 UTC"
    assert moment(GO + timedelta(days=42), GO.year) == "Fri 01 Jan 2027 03:00 UTC"
    assert moment(None, GO.year) == "–"


def test_of_a_go_in_another_year_every_year_is_said() -> None:
    assert year_of(GO, GO + timedelta(days=1)) == GO.year
    later = GO + timedelta(days=42)
    assert moment(later, year_of(GO, later)) == "Fri 01 Jan 2027 03:00 UTC"


@pytest.mark.parametrize(
    ("seconds", "exact", "round_"),
    [
        (0.04, "0.0 s", "0.0 s"), (9.96, "10 s", "10 s"), (59.7, "59 s", "59 s"), (300, "5 min 00 s", "5 min"),
        (3599, "59 min", "59 min"), (12 * 3600, "12 h 00 min", "12 h"), (108_000, "30 h 00 min", "30 h"),
        (12 * 86400, "12 d 00 h", "12 d"), (12 * 86400 + 7300, "12 d 02 h", "12 d 02 h"), (None, "?", "?"),
        (-300, "-5 min 00 s", "-5 min"),
    ],
)  # fmt: skip
def test_durations_as_people_say_them(seconds: float | None, exact: str, round_: str) -> None:
    assert (span(seconds), lasting(seconds)) == (exact, round_)


@pytest.mark.parametrize(("hours", "said"), [(1 / 12, "5 min"), (5, "5 h"), (12, "12 h"), (48, "48 h")])
def test_archived_objects_take_minutes_or_hours(hours: float, said: str) -> None:
    case = read_case(PLANS / "archived_objects_must_be_asked_for.yaml")
    rows = tuple(row.model_copy(update={"hours": hours}) for row in case.forecast.archived)
    told = io.StringIO()
    show_forecast(Console(file=told, width=132), case.plan, case.forecast.model_copy(update={"archived": rows}))
    assert f"standard takes {said}; ask by Sat 21 Nov 10:00 UTC" in told.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_screen_says_where_room_is_short(width: int) -> None:
    screen = " ".join(page("room_short_of_disk", width).split())
    assert screen.startswith("SHORT media needs 1.2 TB disk and has 500.0 GB")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("case", "said"),
    [
        (
            "archived_objects_hold_the_plan",
            "LEAVES 600 objects, 60.0 TB, of pictures: archived objects in DEEP_ARCHIVE",
        ),
        ("ports_wanted_twice", "SHORT database+cache+app needs 2 ports and has 1"),
        ("deadline_two_export_hosts", "BY HAND 2 export hosts are reckoned with, and `run` drives one"),
        ("hosts_and_line_together", "neither alone is enough; 3 hosts on 5.4 Gbit/s for an even chance"),
    ],
)
def test_the_first_screen_says_why_the_plan_must_not_run(width: int, case: str, said: str) -> None:
    assert said in " ".join(" ".join(page(case, width).splitlines()[:SCREEN]).split())
