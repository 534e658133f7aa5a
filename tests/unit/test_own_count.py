"""The bucket's own count: when it can be compared, and what a listing that is short of it makes of the run."""

from pathlib import Path

import pytest

from migrate.export.engine import export_bucket
from migrate.export.own_count import CountCheck, OwnCount, hold_count
from migrate.export.results import ExportResult
from migrate.export.scope import ExportOptions
from tests.hostile.memory_bucket import MemoryBucket

COUNTED = OwnCount(200, "2026-11-20T00:00:00Z", "CloudWatch's NumberOfObjects")
VERSIONED = {"Status": "Enabled"}


@pytest.mark.parametrize(
    ("listed", "agrees"),
    [(200, True), (250, True), (198, True), (197, False), (0, False)],
    ids=["equal", "written since", "one in a hundred", "more than that", "nothing"],
)
def test_what_may_differ(listed: int, agrees: bool) -> None:
    check = hold_count(COUNTED, listed, "", ExportOptions(), {})
    assert isinstance(check, CountCheck)
    assert (check.agrees, check.short) == (agrees, 200 - listed)


@pytest.mark.parametrize(
    ("count", "prefix", "options", "versioning", "why"),
    [
        ("the store tells none", "", ExportOptions(), {}, "the store tells none"),
        (COUNTED, "images/", ExportOptions(), {}, "a part of it was asked for"),
        (COUNTED, "", ExportOptions(include=("a*",)), {}, "a part of it was asked for"),
        (COUNTED, "", ExportOptions(exclude=("a*",)), {}, "a part of it was asked for"),
        (COUNTED, "", ExportOptions(), VERSIONED, "older versions"),
        (COUNTED, "", ExportOptions(), "not allowed to look", "older versions"),
    ],
)
def test_what_cannot_be_compared(
    count: OwnCount | str, prefix: str, options: ExportOptions, versioning: object, why: str
) -> None:
    assert why in str(hold_count(count, 200, prefix, options, versioning))


def test_versions_can_be_compared_where_they_are_listed() -> None:
    assert isinstance(hold_count(COUNTED, 200, "", ExportOptions(versions=True), VERSIONED), CountCheck)


def exported(dest: Path, counted: int) -> ExportResult:
    bucket = MemoryBucket()
    for number in range(20):
        bucket.put(f"images/{number}.jpg", b"picture %d" % number)
    bucket.bucket_settings = {"versioning": {}}
    bucket.count = OwnCount(counted, "2026-11-20T00:00:00Z", "the store")
    return export_bucket(bucket, "", dest)


def test_a_listing_that_is_short_makes_the_run_incomplete(tmp_path: Path) -> None:
    result = exported(tmp_path, 30)
    assert (result.verified, result.complete, result.cross_checked) == (20, False, True)
    assert result.as_document()["cross_check"] == {
        "second_source": "the store", "taken": "2026-11-20T00:00:00Z", "counted": 30, "listed": 20,
    }  # fmt: skip


def test_a_listing_that_agrees_is_cross_checked(tmp_path: Path) -> None:
    result = exported(tmp_path, 20)
    assert (result.complete, result.cross_checked) == (True, True)
