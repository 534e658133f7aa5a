"""The export as a step of a plan: what the manifest says of a bucket reaches the engine."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from migrate.action import Outcome
from migrate.errors import Incomplete, UsageProblem
from migrate.export.archived import Tier
from migrate.export.ledger import Ledger
from migrate.export.scope import Order
from migrate.export.step import BucketExported, options_of
from migrate.stack import Bucket
from tests.hostile.memory_bucket import MemoryBucket
from tests.local_hosts import CONTEXT, stack_with, step_for
from tests.unit.test_export_leaving import report_of


def bucket_of_media() -> MemoryBucket:
    bucket = MemoryBucket("pictures", versioned=True)
    for text in (b"old", b"new"):
        bucket.put("a.jpg", text, tags={"kind": "avatar"})
    bucket.put("b.jpg", b"b")
    return bucket


def exported(archive: Path, sources: Mapping[str, MemoryBucket], **said: Any) -> Outcome:
    stack = stack_with(buckets__pictures={"holds": "media", **said})
    return BucketExported(stack, sources.__getitem__, archive, threading.Event()).apply(step_for("pictures"), CONTEXT)


def test_a_bucket_says_nothing_more_than_what_it_holds() -> None:
    options = options_of(Bucket(holds="media"))
    assert (options.versions, options.tags, options.order, options.restore) == (False, False, Order.LISTED, None)


def test_order_and_tier_reach_the_engine() -> None:
    options = options_of(Bucket(holds="media", order="newest", restore_archived="bulk"))
    assert (options.order, options.restore) == (Order.NEWEST, Tier.BULK)


def test_versions_and_tags_are_in_the_archive(tmp_path: Path) -> None:
    exported(tmp_path, {"pictures": bucket_of_media()}, versions=True, tags=True)
    with Ledger.open(tmp_path / "pictures") as ledger:
        rows = list(ledger.objects())
    assert len(rows) == 3
    assert {str(row.tags) for row in rows if row.key == "a.jpg"} == {"{'kind': 'avatar'}"}


def test_what_a_report_names_and_the_listing_hides_holds_the_step(tmp_path: Path) -> None:
    bucket = MemoryBucket("pictures")
    for name in ("a.jpg", "b.jpg"):
        bucket.put(name, b"x")
    reports, key = report_of(list(bucket.objects), "pictures")
    bucket.listing_order = ["a.jpg"]
    with pytest.raises(Incomplete):
        exported(tmp_path, {"pictures": bucket, "reports": reports}, inventory_report=f"s3://reports/{key}")
    assert (tmp_path / "pictures/objects/b.jpg").exists()


def test_a_report_of_another_bucket_is_refused(tmp_path: Path) -> None:
    reports, key = report_of(["a.jpg"], "another")
    with pytest.raises(UsageProblem):
        exported(tmp_path, {"pictures": bucket_of_media(), "reports": reports}, inventory_report=f"s3://reports/{key}")
