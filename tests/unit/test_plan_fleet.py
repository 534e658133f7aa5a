"""The scenario of 540 hosts, on paper: in time, within memory, and 5.2 Gbit/s as the line between making it and not."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from migrate.facts import Facts, RateFacts, read_facts
from migrate.figures import rated
from migrate.forecast.basis import Basis
from migrate.forecast.forecast import Occasion, forecast
from migrate.forecast.result import Forecast, Standing
from migrate.forecast.simulation import GOOD_DAY, simulate
from migrate.inventory import Inventory, hold_against, read_inventory
from migrate.manifest import read_stack
from migrate.planner import make_plan
from migrate.stack import Stack
from tests.drill import cloudexit
from tests.plan_cases import GO, after

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
GIGABIT = 1e9 / 8
MOST_MEMORY_KB = 200_000
MEASURED = """
import resource, subprocess, sys
command = [sys.executable, "-c", "from migrate.cli import main; main()", *sys.argv[1:]]
done = subprocess.run(command, capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode)
"""


@cache
def fleet() -> tuple[Stack, Inventory, Facts]:
    stack = read_stack(FLEET / "stack.yaml")
    inventory = read_inventory(FLEET / "inventory")
    hold_against(stack, inventory)
    return stack, inventory, read_facts(FLEET / "facts.yaml", stack)


def with_line(gigabits: float) -> Forecast:
    stack, inventory, facts = fleet()
    line = RateFacts(rate=gigabits * GIGABIT, spread=1.2)
    basis = Basis(stack, inventory, facts.model_copy(update={"line": line}))
    plan = make_plan(stack, inventory, basis.facts)
    return forecast(plan, basis, Occasion(GO, GO, after(30 * 3600)))


def test_it_has_the_size_that_was_reported() -> None:
    stack, inventory, facts = fleet()
    assert len(inventory.hosts) == 540
    assert {name.rstrip("0123456789") for name in inventory.hosts} == {"db", "store", "app"}
    assert len(stack.databases) == 100
    assert sum(bucket.objects for bucket in facts.buckets.values()) == 300_000_000
    assert sum(bucket.bytes for bucket in facts.buckets.values()) == 70 * 10**12


@pytest.mark.parametrize(("gigabits", "standing"), [(5.1, Standing.MISSED), (5.3, Standing.TIGHT), (7.5, Standing.MET)])
def test_the_line_between_making_it_and_not(gigabits: float, standing: Standing) -> None:
    found = with_line(gigabits).deadline
    assert found
    assert found.standing is standing
    assert rated(found.line_p50 or 0) == "5.2 Gbit/s"


def test_what_stays_behind_is_named_by_bucket_age_and_bytes() -> None:
    found = with_line(4.0).deadline
    assert found
    left = sum(row.bytes for row in found.left_behind)
    assert left == pytest.approx(70e12 - 4.0 * GIGABIT * 30 * 3600, rel=0.01)
    assert {row.age for row in found.left_behind} == {"younger than 30 days", "30 to 365 days", "older than 365 days"}
    assert found.export_hosts_p50 == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_the_prediction_is_held_against_a_simulation_with_failures(seed: int) -> None:
    stack, inventory, facts = fleet()
    basis = Basis(stack, inventory, facts)
    plan = make_plan(stack, inventory, facts)
    predicted = {finish.what: finish for finish in forecast(plan, basis, Occasion(GO, GO)).finishes}
    good = simulate(plan, basis, 300, seed, GOOD_DAY)
    worse = simulate(plan, basis, 300, seed)
    assert worse.failures > 1
    for what in ("out", "up", "proved"):
        median = predicted[what].p50_seconds
        assert getattr(good, f"{what}_p50_seconds") == pytest.approx(median, rel=0.04)
        assert getattr(worse, f"{what}_p50_seconds") == pytest.approx(median, rel=0.06)
        assert getattr(worse, f"{what}_p90_seconds") == pytest.approx(predicted[what].p90_seconds, rel=0.12)


def test_the_files_are_as_their_generator_writes_them() -> None:
    done = subprocess.run([sys.executable, FLEET / "generate.py", "--check"], timeout=60, check=False)
    assert done.returncode == 0


def test_the_command_says_no_with_exit_3_and_within_its_memory() -> None:
    words = ["plan", FLEET / "stack.yaml", "-i", FLEET / "inventory", "--facts", FLEET / "facts.yaml"]
    done = cloudexit(*words, "--deadline", "30h", "--json")
    assert done.returncode == 3
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit_code"] == 3
    assert document["forecast"]["deadline"]["standing"] == "missed"
    measured = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, words), "--deadline", "30h"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    memory, code = map(int, measured.stdout.split())
    assert code == 3
    assert memory < MOST_MEMORY_KB
