"""The loop: observes first, applies once, stops at gates, goes on where it was stopped."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from migrate.action import Action, Outcome, StepContext
from migrate.check import CheckResult, ChecksHeld, Verdict
from migrate.errors import GateHeld, Unreachable
from migrate.journal import Event, Journal, Run
from migrate.plan import Effect, Phase, Plan, Step
from migrate.runner import Runner


class World:
    """Effects that exist, and how often each was applied; some steps can be made to fail."""

    def __init__(self) -> None:
        self.exists: set[str] = set()
        self.applied: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.lost: set[str] = set()

    def verify(self, step: Step, context: StepContext) -> Verdict:
        return Verdict.PASS if step.id in self.exists else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        self.applied.append(step.id)
        if step.id in self.failing:
            raise self.failing[step.id]
        if step.id not in self.lost:
            self.exists.add(step.id)
        return Outcome({"count": len(self.applied)})


def step(name: str, *requires: str, effect: Effect = Effect.REVERSIBLE) -> Step:
    return Step(name, Phase.RESTORE, "world", name, effect, requires)


CHAIN = Plan("s", "i", (step("a"), step("b", "a"), step("c", "b"), step("x"), step("y", "x")))


def start(tmp_path: Path, plan: Plan = CHAIN) -> tuple[Journal, Run]:
    journal = Journal(tmp_path / "journal.sqlite")
    return journal, journal.begin_or_resume("run", plan.digest, plan.as_document())


def execute(world: Action, journal: Journal, run: Run, plan: Plan = CHAIN) -> list[tuple[str, Event]]:
    seen: list[tuple[str, Event]] = []

    def observe(step: Step, event: Event, detail: Mapping[str, Any], seconds: float | None) -> None:
        seen.append((step.id, event))

    try:
        Runner(plan, {"world": world}, journal, run, observe).execute()
    finally:
        journal.close()
    return seen


def test_every_step_is_applied_once_and_after_what_it_requires(tmp_path: Path) -> None:
    world = World()
    execute(world, *start(tmp_path))
    assert sorted(world.applied) == ["a", "b", "c", "x", "y"]
    assert world.applied.index("a") < world.applied.index("b") < world.applied.index("c")
    assert world.applied.index("x") < world.applied.index("y")


def test_an_effect_that_is_there_is_not_applied_again(tmp_path: Path) -> None:
    world = World()
    world.exists = {"a", "x"}
    seen = execute(world, *start(tmp_path))
    assert "a" not in world.applied
    assert ("a", Event.SKIPPED) in seen


def test_observation_decides_over_the_journal(tmp_path: Path) -> None:
    world = World()
    execute(world, *start(tmp_path))
    world.exists.discard("b")
    world.applied.clear()
    execute(world, *start(tmp_path))
    assert world.applied == ["b"]


def test_a_gate_stops_what_depends_on_it_and_nothing_new_begins(tmp_path: Path) -> None:
    world = World()
    world.failing["a"] = GateHeld("not healthy")
    with pytest.raises(GateHeld, match="not healthy"):
        execute(world, *start(tmp_path))
    assert not {"b", "c"} & set(world.applied)


def test_a_failed_run_is_resumed_under_its_own_number(tmp_path: Path) -> None:
    world = World()
    world.failing["b"] = Unreachable("no answer")
    journal, run = start(tmp_path)
    with pytest.raises(Unreachable):
        execute(world, journal, run)
    world.failing.clear()
    journal, again = start(tmp_path)
    assert again.id == run.id
    execute(world, journal, again)
    assert world.applied.count("a") == 1
    assert world.exists == {"a", "b", "c", "x", "y"}


def test_an_effect_that_cannot_be_observed_afterwards_holds(tmp_path: Path) -> None:
    world = World()
    world.lost.add("b")
    with pytest.raises(GateHeld, match="cannot be observed"):
        execute(world, *start(tmp_path))
    assert "c" not in world.applied


def test_checks_that_held_stand_in_the_journal_with_those_that_passed(tmp_path: Path) -> None:
    world = World()
    results = [CheckResult("disk", Verdict.FAIL, "1 GB free", host="db1"), CheckResult("clock", Verdict.PASS)]
    world.failing["a"] = ChecksHeld("preflight", results)
    journal, run = start(tmp_path)
    with pytest.raises(ChecksHeld, match="db1: disk: fail 1 GB free"):
        execute(world, journal, run)
    journal = Journal(tmp_path / "journal.sqlite", read_only=True)
    failed = next(record for record in journal.records(run) if record.event is Event.FAILED)
    assert [check["verdict"] for check in failed.detail["checks"]] == ["fail", "pass"]


def test_unknown_does_not_count_as_pass(tmp_path: Path) -> None:
    class Blind(World):
        def verify(self, step: Step, context: StepContext) -> Verdict:
            return Verdict.UNKNOWN

    with pytest.raises(GateHeld, match="unknown"):
        execute(Blind(), *start(tmp_path))


def test_steps_that_do_not_depend_on_each_other_run_side_by_side(tmp_path: Path) -> None:
    meeting = threading.Barrier(2, timeout=10)

    class Meeting(World):
        def apply(self, step: Step, context: StepContext) -> Outcome:
            meeting.wait()
            return super().apply(step, context)

    plan = Plan("s", "i", (step("left"), step("right")))
    world = Meeting()
    execute(world, *start(tmp_path, plan), plan)
    assert world.exists == {"left", "right"}


def test_what_an_action_said_last_time_is_proposed_to_it_again(tmp_path: Path) -> None:
    proposed: list[Mapping[str, Any] | None] = []

    class Remembering(World):
        def verify(self, step: Step, context: StepContext) -> Verdict:
            proposed.append(context.previous)
            return super().verify(step, context)

    world = Remembering()
    plan = Plan("s", "i", (step("a"), step("b", "a")))
    world.failing["b"] = GateHeld("later")
    journal, run = start(tmp_path, plan)
    with pytest.raises(GateHeld):
        execute(world, journal, run, plan)
    proposed.clear()
    with pytest.raises(GateHeld):
        execute(world, *start(tmp_path, plan), plan)
    assert proposed[0] == {"count": 1}


def test_an_effect_that_is_there_but_not_in_the_journal_speaks_for_itself(tmp_path: Path) -> None:
    class Speaking(World):
        def recall(self, step: Step) -> Outcome:
            return Outcome({"rows": 7})

    world = Speaking()
    world.exists = {"a"}
    plan = Plan("s", "i", (step("a"),))
    journal, run = start(tmp_path, plan)
    execute(world, journal, run, plan)
    records = Journal(tmp_path / "journal.sqlite", read_only=True).records(run)
    assert records[-1].detail == {"rows": 7}


def test_a_missing_action_is_found_before_anything_runs(tmp_path: Path) -> None:
    journal, run = start(tmp_path)
    with pytest.raises(ValueError, match="no action for: world"):
        Runner(CHAIN, {}, journal, run, lambda *_: None)


class Gate:
    """Steps of the new home that end only when the old home's have all ended."""

    def __init__(self, exports: int) -> None:
        self.left = threading.Semaphore(0)
        self.exports = exports
        self.done = 0

    def verify(self, step: Step, context: StepContext) -> Verdict:
        return Verdict.UNKNOWN

    def apply(self, step: Step, context: StepContext) -> Outcome:
        if step.needs_old_home:
            self.done += 1
            if self.done == self.exports:
                self.left.release(100)
            return Outcome()
        assert self.left.acquire(timeout=30)
        return Outcome()


def test_the_old_home_does_not_wait_behind_the_work_of_the_new_one(tmp_path: Path) -> None:
    slow = [Step(f"slow{n}", Phase.RESTORE, "slow", "slow", Effect.READ) for n in range(6)]
    first = Step("one", Phase.EXPORT, "export.bucket", "one", Effect.READ)
    second = Step("two", Phase.EXPORT, "export.bucket", "two", Effect.READ, ("one",))
    plan = Plan("s", "i", (*slow, first, second))
    gate = Gate(exports=2)
    journal, run = start(tmp_path, plan)
    Runner(plan, {"slow": gate, "export.bucket": gate}, journal, run, lambda *_: None, lanes=2).execute()
    assert gate.done == 2
    journal.close()
