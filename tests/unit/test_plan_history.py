"""What an earlier run says of the next one: only of work that was like it."""

from datetime import UTC, datetime

import pytest

from migrate.facts import BucketFacts, Facts
from migrate.figures import Estimate, Ground
from migrate.forecast.basis import Basis
from migrate.forecast.estimates import estimated
from migrate.forecast.history import History, Known
from migrate.plan import Step
from migrate.planner import make_plan
from tests.plan_cases import hosts_of, stack_named

THEN = datetime(2026, 11, 1, tzinfo=UTC)


def export_time(bucket: BucketFacts, known: Known, more: dict[tuple[str, str], Known] | None = None) -> Estimate:
    stack = stack_named("one_bucket")
    inventory = hosts_of(stack, {}, {})
    history = History({("export.bucket", "pictures"): known, **(more or {})})
    basis = Basis(stack, inventory, Facts(buckets={"pictures": bucket}), history)
    step: Step = next(step for step in make_plan(stack, inventory).steps if step.id == "export.pictures")
    found = estimated(step, basis).estimate
    assert found
    return found


def known(seconds: float, objects: int, size: int, *, own_old_home: bool = False) -> Known:
    return Known(seconds, 1, "run", THEN, bytes=size, objects=objects, own_old_home=own_old_home)


def test_the_same_work_takes_the_same_time() -> None:
    found = export_time(BucketFacts(objects=100, bytes=10**9), known(8.0, 100, 10**9))
    assert (found.seconds, found.ground) == (8.0, Ground.KNOWN)


def test_of_bytes_and_objects_the_one_that_grew_more_counts() -> None:
    found = export_time(BucketFacts(objects=250, bytes=10**9), known(8.0, 100, 10**9))
    assert found.seconds == 20.0


@pytest.mark.parametrize(
    ("objects", "size"), [(30_000_000, 3 * 10**9), (10, 10**12), (1, 10**9)], ids=["many", "large", "few"]
)
def test_other_work_is_reckoned_anew(objects: int, size: int) -> None:
    found = export_time(BucketFacts(objects=objects, bytes=size), known(8.0, 10, 10**9))
    assert found.ground is not Ground.KNOWN or found.seconds == 8.0 * size / 10**9


def test_millions_of_small_objects_are_not_a_few_large_ones() -> None:
    """The time of ten objects of 1 GB was taken for that of thirty million of the same bytes."""
    found = export_time(BucketFacts(objects=30_000_000, bytes=3 * 10**9), known(8.0, 10, 10**9))
    assert found.seconds > 3600
    assert found.ground is not Ground.KNOWN


def test_a_drill_with_its_own_old_home_says_nothing_of_the_real_line() -> None:
    found = export_time(BucketFacts(objects=100, bytes=10**9), known(0.5, 100, 10**9, own_old_home=True))
    assert found.ground is not Ground.KNOWN
    assert found.seconds > 7


def test_the_dump_of_a_database_of_that_name_is_not_the_bucket() -> None:
    dump = {("restore.dump", "pictures"): known(60.0, 1, 500 * 10**9)}
    found = export_time(BucketFacts(objects=100, bytes=10**12), known(0.4, 100, 0), dump)
    assert found.ground is not Ground.KNOWN
