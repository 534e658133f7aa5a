"""Facts in, steps out: each file of tests/plans/ holds a stack, an inventory and the steps that must follow."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from migrate.figures import Estimate, Ground, Limit
from migrate.inventory import Host, Inventory, read_inventory
from migrate.manifest import read_stack
from migrate.plan import Effect, Phase, Plan
from migrate.planner import make_plan
from migrate.stack import Stack

PLANS = Path(__file__).parent.parent / "plans"
PLAZA = Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml"


def inventory_of(stack: Stack) -> Inventory:
    return Inventory(Path("hosts.yml"), {"one": Host("one", "192.0.2.1", tuple(stack.groups()))})


STEP_CASES = [path for path in sorted(PLANS.glob("*.yaml")) if "steps" in yaml.safe_load(path.read_text())]


@pytest.mark.parametrize("case", STEP_CASES, ids=lambda path: path.stem)
def test_facts_in_steps_out(case: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(case.read_text())
    (tmp_path / "stack.yaml").write_text(yaml.safe_dump(content["stack"], sort_keys=False))
    stack = read_stack(tmp_path / "stack.yaml")
    plan = make_plan(stack, inventory_of(stack), rehearsal=content.get("rehearsal", False))
    assert [f"{step.id} <- {', '.join(step.requires)}".rstrip(" <-") for step in plan.steps] == content["steps"]


def plaza() -> Stack:
    return read_stack(PLAZA)


def test_every_bucket_is_exported_backups_first() -> None:
    plan = make_plan(plaza(), inventory_of(plaza()))
    exports = [step.subject for step in plan.steps if step.phase is Phase.EXPORT]
    assert exports == ["plaza-backups", "plaza-releases", "plaza-media"]


def test_nothing_starts_before_what_it_stands_on_is_proved() -> None:
    steps = {step.id: step for step in make_plan(plaza(), inventory_of(plaza())).steps}
    assert "restore.database.plaza.proof" in steps["start.database"].requires
    assert "restore.media.plaza" in steps["start.media"].requires
    assert {"start.database", "start.cache", "start.media", "start.worker"} <= set(steps["start.web"].requires)


def test_a_rehearsal_is_the_same_plan_with_the_lab_around_it() -> None:
    real = make_plan(plaza(), inventory_of(plaza()))
    drill = make_plan(plaza(), inventory_of(plaza()), rehearsal=True)
    added = {step.id for step in drill.steps} - {step.id for step in real.steps}
    assert added == {"lab.hosts", "lab.old-home", "lab.dump", "cutover.switch-off"}
    assert {step.id for step in real.steps} < {step.id for step in drill.steps}


def test_the_only_irreversible_step_comes_after_everything_runs() -> None:
    plan = make_plan(plaza(), inventory_of(plaza()), rehearsal=True)
    positions = {step.id: index for index, step in enumerate(plan.steps)}
    point = next(step for step in plan.steps if step.effect is Effect.IRREVERSIBLE)
    assert point.id == "cutover.switch-off"
    assert all(positions[s.id] < positions[point.id] for s in plan.steps if s.phase is Phase.START)
    assert all(positions[s.id] > positions[point.id] for s in plan.steps if s.phase is Phase.PROVE)


def test_one_phase_keeps_its_own_requirements_only() -> None:
    restore = make_plan(plaza(), inventory_of(plaza())).only(Phase.RESTORE)
    ids = {step.id for step in restore.steps}
    assert ids
    assert all(set(step.requires) <= ids for step in restore.steps)


def test_the_digest_follows_stack_inventory_and_steps_only() -> None:
    plan = make_plan(plaza(), inventory_of(plaza()))
    again = make_plan(plaza(), inventory_of(plaza()))
    assert plan.digest == again.digest
    other_stack = plaza().model_copy(update={"site": "http://elsewhere/"})
    assert make_plan(other_stack, inventory_of(plaza())).digest != plan.digest
    moved = Inventory(Path("hosts.yml"), {"one": Host("one", "192.0.2.9", tuple(plaza().groups()))})
    assert make_plan(plaza(), moved).digest != plan.digest


@given(st.permutations(list(range(34))), st.floats(0.1, 1e6))
def test_estimates_never_change_the_digest(order: list[int], seconds: float) -> None:
    plan = make_plan(plaza(), inventory_of(plaza()), rehearsal=True)
    chosen = order[0] % len(plan.steps)
    from dataclasses import replace

    limit = Limit("line", seconds, 1.5, Ground.ASSUMED, "somewhere", "some / thing")
    changed = Estimate(((limit,),))
    steps = tuple(replace(s, estimate=changed) if i == chosen else s for i, s in enumerate(plan.steps))
    assert Plan(plan.stack_digest, plan.inventory_digest, steps).digest == plan.digest


def test_a_plan_survives_being_kept_and_read() -> None:
    plan = make_plan(plaza(), inventory_of(plaza()))
    assert Plan.from_document(plan.as_document(), "plan.json") == plan


def test_example_inventory_fits_the_example_stack() -> None:
    from migrate.inventory import hold_against, on_hosts_of

    folder = Path(__file__).parents[2] / "inventories" / "example"
    inventory = read_inventory(folder)
    hold_against(on_hosts_of(plaza(), inventory), inventory)
