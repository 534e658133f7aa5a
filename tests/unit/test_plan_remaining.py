"""When a run that is under way will end, from its plan and from how far each step is."""

import pytest

from migrate.figures import Estimate, Ground, Limit
from migrate.forecast.remaining import Standing, remaining
from migrate.plan import Effect, Phase, Plan, Step


def step(name: str, kind: str, seconds: float | None, *requires: str) -> Step:
    limit = Limit(name, seconds or 0.0, 1.0, Ground.ASSUMED, "somewhere", "some")
    estimate = Estimate(((limit,),)) if seconds is not None else None
    return Step(name, Phase.EXPORT, kind, name, Effect.READ, requires, estimate=estimate)


PLAN = Plan(
    "s", "i",
    (
        step("export", "export.bucket", 100),
        step("load", "restore.database", 50, "export"),
        step("start", "start.service", 10, "load"),
        step("check", "prove.checks", 5, "start"),
    ),
)  # fmt: skip


def left(**standings: Standing) -> dict[str, int]:
    return {what: round(found.spread.at(0.5)) for what, found in remaining(PLAN, standings).items()}


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        ({}, {"out": 100, "up": 160, "proved": 165}),
        ({"export": Standing(elapsed_seconds=40)}, {"out": 60, "up": 120, "proved": 125}),
        ({"export": Standing(elapsed_seconds=400)}, {"out": 0, "up": 60, "proved": 65}),
        ({"export": Standing(elapsed_seconds=40, seconds_left=300)}, {"out": 300, "up": 360, "proved": 365}),
        ({"export": Standing(done=True)}, {"up": 60, "proved": 65}),
        (dict.fromkeys(("export", "load", "start"), Standing(done=True)), {"proved": 5}),
        (dict.fromkeys(("export", "load", "start", "check"), Standing(done=True)), {}),
    ],
    ids=["nothing done", "under way", "longer than said", "says itself", "one done", "last", "all done"],
)
def test_what_is_left(standings: dict[str, Standing], expected: dict[str, int]) -> None:
    found = left(**standings)
    assert found.keys() == expected.keys()
    for what, seconds in expected.items():
        assert found[what] == pytest.approx(seconds, rel=0.02, abs=1)


def test_a_step_of_unknown_time_makes_it_at_least_so_long() -> None:
    plan = Plan("s", "i", (step("export", "export.bucket", None), *PLAN.steps[1:]))
    found = remaining(plan, {})
    assert found["up"].untold == ("export",)
    assert found["up"].spread.at(0.5) == pytest.approx(60, rel=0.02)


def test_an_unknown_step_that_is_under_way_and_says_how_long_is_told() -> None:
    plan = Plan("s", "i", (step("export", "export.bucket", None), *PLAN.steps[1:]))
    found = remaining(plan, {"export": Standing(elapsed_seconds=1, seconds_left=30)})
    assert found["up"].untold == ()
    assert found["up"].spread.at(0.5) == pytest.approx(90, rel=0.02)


def test_steps_that_wait_for_a_lane_count() -> None:
    """Four lanes, eight steps of ten seconds."""
    plan = Plan("s", "i", tuple(step(f"start{n}", "start.service", 10) for n in range(8)))
    assert remaining(plan, {})["up"].spread.at(0.5) == pytest.approx(20, rel=0.1)
