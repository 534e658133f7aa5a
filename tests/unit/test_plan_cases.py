"""Facts in, times, costs and verdicts out: the files of tests/plans/ that have an `expect`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrate.check import Verdict
from migrate.figures import rated_up, sized
from migrate.forecast.result import Forecast, RoomLine
from migrate.report.plan_needs import amount
from migrate.report.plan_words import needed_line, span
from tests.plan_cases import PLANS, Case, read_case

CASES = [path for path in sorted(PLANS.glob("*.yaml")) if "expect" in yaml.safe_load(path.read_text())]


def deadline(case: Case) -> Any:
    assert case.forecast.deadline
    return case.forecast.deadline


def times(case: Case) -> dict[str, str]:
    return {s.id: f"{span(s.estimate.seconds)}, {s.estimate.ground}" for s in case.plan.steps if s.estimate}


def chosen(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Of what was found, what the file speaks of."""
    return {name: found.get(name) for name in expected}


def room(lines: tuple[RoomLine, ...]) -> list[str]:
    return [
        f"{r.where} {r.resource}: {amount(r.resource, r.needed)} of {amount(r.resource, r.there)}, {r.verdict}"
        + (f" on {r.short_hosts} of {r.hosts}" if r.hosts > 1 and r.short_hosts else "")
        + (f", least on {r.worst_host}" if r.worst_host else "")
        for r in lines
    ]


def cost(found: Forecast) -> list[str]:
    return [f"{line.what}: {'?' if line.usd is None else format(line.usd, ',.2f')}" for line in found.cost]


def estimates(case: Case, field: str) -> dict[str, str]:
    return {step.id: getattr(step.estimate, field) for step in case.plan.steps if step.estimate}


LOOKS: Mapping[str, Callable[[Case, Any], Any]] = {
    "deadline": lambda case, _: deadline(case).standing,
    "line": lambda case, _: needed_line(deadline(case).line_p50),
    "hosts": lambda case, _: deadline(case).export_hosts_p50 or "more than any number",
    "binding": lambda case, _: deadline(case).binding,
    "left": lambda case, _: [
        f"{row.bucket}, {row.age}: {row.objects:,} objects, {sized(row.bytes)}" for row in deadline(case).left_behind
    ],
    "orders": lambda case, _: [f"{order.order}: {order.loses}" for order in deadline(case).orders],
    "untold": lambda case, _: list(case.forecast.untold),
    "reached": lambda case, expected: (
        chosen({f.what: span(f.p50_seconds) for f in case.forecast.finishes}, expected)
        if expected
        else {f.what: span(f.p50_seconds) for f in case.forecast.finishes}
    ),
    "times": lambda case, expected: chosen(times(case), expected),
    "formula": lambda case, expected: chosen(estimates(case, "formula"), expected),
    "source": lambda case, expected: chosen(estimates(case, "source"), expected),
    "holds": lambda case, _: case.forecast.holds,
    "room": lambda case, _: room(case.forecast.room),
    "room_short": lambda case, _: room(tuple(r for r in case.forecast.room if r.verdict is Verdict.FAIL)),
    "bill": lambda case, _: "cannot be told" if case.forecast.bill_usd is None else f"${case.forecast.bill_usd:,.0f}",
    "cost": lambda case, _: cost(case.forecast),
    "cost_has": lambda case, expected: [line for line in cost(case.forecast) if line in expected],
    "archived": lambda case, _: [
        f"{r.bucket}: {r.tier}, ask by {r.ask_by:%d %b %H:%M}" for r in case.forecast.archived if r.ask_by
    ],
    "stays": lambda case, _: [
        f"{row.bucket}: {row.what}, {row.objects:,} objects, {sized(row.bytes or 0)}; {row.how}"
        for row in case.forecast.stays
    ],
    "together": lambda case, _: (
        f"{found.export_hosts} hosts, {rated_up(found.line)}" if (found := deadline(case).together_p50) else "nothing"
    ),
    "no_return": lambda case, _: case.forecast.point_of_no_return.step,
    "critical_up": lambda case, expected: [
        name for name in expected for f in case.forecast.finishes if f.what == "up" and name in f.critical_path
    ],
}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_follows_from_the_facts(path: Path) -> None:
    case = read_case(path)
    found = {name: LOOKS[name](case, expected) for name, expected in case.expected.items()}
    assert found == case.expected


def test_there_are_dozens_of_cases() -> None:
    assert len(CASES) >= 30
