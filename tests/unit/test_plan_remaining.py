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
        ({"export": Standing(elapsed_seconds=40, seconds_left=300)}, {"out": 300, "up": 360, "proved": 365}),
        ({"export": Standing(done=True)}, {"up": 60, "proved": 65}),
        (dict.fromkeys(("export", "load", "start"), Standing(done=True)), {"proved": 5}),
        (dict.fromkeys(("export", "load", "start", "check"), Standing(done=True)), {}),
    ],
    ids=["nothing done", "under way", "says itself", "one done", "last", "all done"],
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


def test_a_step_that_takes_longer_than_was_ever_foreseen_has_no_end_that_is_known() -> None:
    found = remaining(PLAN, {"export": Standing(elapsed_seconds=4000)})
    assert found["out"].untold == found["up"].untold == ("export",)
    assert found["up"].spread.at(0.5) == pytest.approx(60, rel=0.02)


def test_of_what_was_foreseen_only_what_can_still_come_true_counts() -> None:
    """Half of all draws of a step of 100 s, spread 1.5, are over after 100 s."""
    limit = Limit("line", 100.0, 1.5, Ground.ASSUMED, "somewhere", "some")
    slow = Step("a", Phase.EXPORT, "export.bucket", "a", Effect.READ, estimate=Estimate(((limit,),)))
    found = remaining(Plan("s", "i", (slow,)), {"a": Standing(elapsed_seconds=100)})["out"]
    assert found.untold == ()
    assert found.spread.at(0.0) >= 0
    assert found.spread.at(0.5) > 10


def test_what_a_step_says_of_itself_is_off_too() -> None:
    found = remaining(PLAN, {"export": Standing(elapsed_seconds=40, seconds_left=300)})["out"].spread
    assert found.at(0.1) < 290 < 310 < found.at(0.9)
