"""What an exit needs beyond fetching: pruning, archived classes, ACLs and policies, a second count, the event log."""

import gzip
import hashlib
import json
import threading
import time
import urllib.parse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from migrate.errors import GateHeld, Missing, Unreachable, UsageProblem
from migrate.export import events, thawing
from migrate.export.archived import TERMS, Tier, offers, restore_usd
from migrate.export.engine import export_bucket
from migrate.export.inventory_report import InventoryReport, open_report
from migrate.export.ledger import Ledger, Row, State
from migrate.export.results import ExportResult, object_document
from migrate.export.scope import ExportOptions
from migrate.export.source import ObjectForbidden
from migrate.export.survey import survey_bucket
from migrate.export.verify import verify_archive
from tests.hostile.memory_bucket import Fault, MemoryBucket


@pytest.fixture
def bucket() -> MemoryBucket:
    bucket = MemoryBucket(page_size=7)
    for number in range(20):
        bucket.put(f"images/{number:02}.jpg", f"picture {number}".encode())
    return bucket


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def export(bucket: MemoryBucket, dest: Path, report: InventoryReport | None = None, **options: object) -> ExportResult:
    return export_bucket(bucket, "", dest, ExportOptions(workers=4, **options), inventory=report)  # type: ignore[arg-type]


def row(dest: Path, key: str) -> Row:
    with Ledger.open(dest) as ledger:
        found = ledger.find(key)
    assert found is not None
    return found


# Pruning


def test_what_is_gone_is_kept_until_it_is_pruned(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    bucket.remove("images/05.jpg")
    export(bucket, dest)
    assert (dest / "objects/images/05.jpg").exists()
    result = export(bucket, dest, prune=True)
    assert (result.pruned, result.pruned_bytes, result.complete) == (1, 9, True)
    assert not (dest / "objects/images/05.jpg").exists()
    assert (row(dest, "images/05.jpg").state, row(dest, "images/05.jpg").path) == (State.GONE, None)
    assert object_document(row(dest, "images/05.jpg"))["path"] is None
    assert "images/05.jpg" not in (dest / "SHA256SUMS").read_text()
    assert verify_archive(dest).complete
    assert export(bucket, dest, prune=True).pruned == 0


def test_pruning_touches_nothing_that_the_source_still_has(bucket: MemoryBucket, dest: Path) -> None:
    """A listing that lost objects must not cost them their copies."""
    export(bucket, dest)
    bucket.listing_order = ["images/00.jpg"]
    result = export(bucket, dest, prune=True)
    assert (result.gone, result.pruned) == (19, 0)
    assert (dest / "objects/images/05.jpg").exists()


def test_pruning_waits_for_a_complete_listing_and_keeps_to_the_filters(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    bucket.remove("images/05.jpg")
    bucket.remove("images/06.jpg")
    export(bucket, dest)
    bucket.listing_problem = Unreachable("the service fails", where=bucket.where)
    with pytest.raises(Unreachable):
        export(bucket, dest, prune=True)
    assert (dest / "objects/images/05.jpg").exists()
    bucket.listing_problem = None
    assert export(bucket, dest, prune=True, exclude=("*/06.jpg",)).pruned == 1
    assert (dest / "objects/images/06.jpg").exists()


def test_what_was_pruned_and_came_back_is_fetched_again(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    taken = bucket.objects.pop("images/05.jpg")
    export(bucket, dest, prune=True)
    bucket.objects["images/05.jpg"] = taken
    assert export(bucket, dest).complete
    assert (dest / "objects/images/05.jpg").read_bytes() == b"picture 5"


# Archived classes


def test_archived_objects_are_listed_with_what_each_tier_costs_and_takes(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("cold", b"." * 2048, storage_class="GLACIER")
    bucket.put("colder", b"." * 1024, storage_class="DEEP_ARCHIVE")
    for result in (survey_bucket(bucket, "", dest, ExportOptions()), export(bucket, dest)):
        told = {(offer.storage_class, offer.tier): offer for offer in result.restore_offers}
        assert set(told) == {("GLACIER", "expedited"), ("GLACIER", "standard"), ("GLACIER", "bulk"),
                             ("DEEP_ARCHIVE", "standard"), ("DEEP_ARCHIVE", "bulk")}  # fmt: skip
        assert (told["GLACIER", "standard"].objects, told["GLACIER", "standard"].bytes) == (1, 2048)
        assert told["DEEP_ARCHIVE", "bulk"].hours_to == 48
        assert json.loads(json.dumps(result.as_document()))["restore_offers"][0]["objects"] == 1


def test_the_cost_of_a_restore_is_that_of_the_providers_own_example() -> None:
    """15 million objects, 100 TB: $750 + $1,024 standard, as its knowledge center has it; the copy comes on top."""
    size = 102_400 * 2**30
    assert restore_usd(TERMS["GLACIER", Tier.STANDARD], 15_000_000, size, copied=False) == 1774.0
    assert restore_usd(TERMS["GLACIER", Tier.EXPEDITED], 15_000_000, size, copied=False) == 153_072.0
    copy = 102_400 * 0.023 * 7 / 30
    assert restore_usd(TERMS["GLACIER", Tier.BULK], 15_000_000, size) == pytest.approx(copy, abs=0.001)
    assert list(offers([("COLD_STORE_OF_ANOTHER", 1, 1)])) == []


def test_archived_objects_are_asked_for_and_fetched_when_they_are_there(
    bucket: MemoryBucket, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(thawing.LOOK_SECONDS, Tier.STANDARD, 0.2)
    bucket.restore_seconds = 2.0
    bucket.put("cold", b"brr", storage_class="GLACIER")
    waiting: list[tuple[int, int]] = []
    result = export_bucket(
        bucket, "", dest, ExportOptions(workers=4, restore=Tier.STANDARD),
        on_progress=lambda progress: waiting.append((progress.verified, progress.archived)),
    )  # fmt: skip
    assert (result.verified, result.archived, result.complete) == (21, 0, True)
    assert (20, 1) in waiting  # the others did not wait
    assert waiting[-1] == (21, 0)
    assert bucket.restore_tiers == ["standard"]
    assert (dest / "objects/cold").read_bytes() == b"brr"


def test_a_restore_that_is_refused_leaves_the_object_archived_with_the_reason(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("cold", b"brr", storage_class="GLACIER")
    bucket.restore_refusal = ObjectForbidden
    result = export(bucket, dest, restore=Tier.BULK)
    assert (result.archived, result.complete) == (1, False)
    assert row(dest, "cold").reason == "it cannot be restored: AccessDenied"


def test_a_deadline_ends_the_wait_for_a_restore_and_the_next_run_goes_on(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("cold", b"brr", storage_class="GLACIER")
    bucket.restore_seconds = 3600.0
    started = time.monotonic()
    result = export(bucket, dest, restore=Tier.BULK, deadline=datetime.now(UTC) + timedelta(seconds=2))
    assert time.monotonic() - started < 10
    assert (result.verified, result.archived) == (20, 1)
    assert "its restore (bulk) was asked for at 2" in str(row(dest, "cold").reason)
    bucket.restores["cold"] = 0.0
    assert export(bucket, dest).complete


# ACLs and the bucket's settings


def test_acls_are_recorded_on_request_and_a_denied_one_costs_nothing(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("private", b"x", tags={"acl": "denied"})
    assert export(bucket, dest).complete
    assert row(dest, "private").acl is None
    assert export(bucket, dest, acls=True).complete
    assert row(dest, "private").acl == {"not allowed to look": "AccessDenied"}
    assert row(dest, "images/03.jpg").acl == {"Owner": {"ID": "o"}, "Grants": []}
    assert export(bucket, dest, acls=True).skipped == 21


def test_a_bucket_policy_is_recorded_and_a_later_refusal_does_not_erase_it(bucket: MemoryBucket, dest: Path) -> None:
    bucket.bucket_settings = {"policy": {"Policy": "{}"}, "acl": "not allowed to look (AccessDenied)"}
    export(bucket, dest)
    bucket.bucket_settings = {"policy": "not allowed to look (AccessDenied)", "acl": {"Grants": []}}
    export(bucket, dest)
    with Ledger.open(dest) as ledger:
        assert ledger.archive_value("bucket_policy") == '{"Policy": "{}"}'
        assert ledger.archive_value("bucket_acl") == '{"Grants": []}'


# A second count


def report_of(keys: list[str], bucket: str = "bucket", **changed: object) -> tuple[MemoryBucket, str]:
    """An inventory report as the provider writes it, in a bucket of its own."""
    lines = "".join(f'"{bucket}","{urllib.parse.quote_plus(key)}","3","2026-01-01T00:00:00.000Z"\n' for key in keys)
    packed = gzip.compress(lines.encode())
    manifest = {
        "sourceBucket": bucket,
        "destinationBucket": "arn:aws:s3:::reports",
        "version": "2016-11-30",
        "creationTimestamp": str(int(datetime(2026, 11, 19, tzinfo=UTC).timestamp() * 1000)),
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size, LastModifiedDate",
        "files": [{"key": "data/1.csv.gz", "size": len(packed),
                   "MD5checksum": hashlib.md5(packed, usedforsecurity=False).hexdigest()}],
        **changed,
    }  # fmt: skip
    reports = MemoryBucket("reports")
    reports.put("data/1.csv.gz", packed)
    reports.put("manifest.json", json.dumps(manifest).encode())
    return reports, "manifest.json"


def test_a_listing_and_an_inventory_report_that_agree(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("odd name\nünd +%41", b"x")
    report = open_report(*report_of(list(bucket.objects)), "bucket")
    result = export(bucket, dest, report)
    assert (result.cross_checked, result.complete) == (True, True)
    assert not isinstance(result.cross_check, str)
    assert (result.cross_check.counted, result.cross_check.not_counted, result.cross_check.hidden) == (21, 0, 0)


def test_what_the_listing_hides_is_fetched_all_the_same_and_the_run_is_incomplete(
    bucket: MemoryBucket, dest: Path
) -> None:
    report = open_report(*report_of(list(bucket.objects)), "bucket")
    bucket.listing_order = sorted(bucket.objects)[:15]
    result = export(bucket, dest, report)
    assert not isinstance(result.cross_check, str)
    assert (result.cross_check.hidden, result.cross_check.deleted_since) == (5, 0)
    assert result.cross_check.hidden_keys[0] == "images/15.jpg"
    assert (result.verified, result.complete) == (20, False)
    assert (dest / "objects/images/19.jpg").read_bytes() == b"picture 19"


def test_what_time_explains_is_no_difference(bucket: MemoryBucket, dest: Path) -> None:
    """Deleted since the report: the source denies them. Written since: the report cannot know them."""
    report = open_report(*report_of([*bucket.objects, "deleted since"]), "bucket")
    bucket.put("written since", b"x")
    result = export(bucket, dest, report)
    assert not isinstance(result.cross_check, str)
    assert (result.cross_check.deleted_since, result.cross_check.not_counted, result.complete) == (1, 1, True)


def test_filters_and_prefix_hold_for_the_report_too(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("notes/a", b"x")
    report = open_report(*report_of(list(bucket.objects)), "bucket")
    result = export(bucket, dest, report, include=("images/*",))
    assert not isinstance(result.cross_check, str)
    assert (result.cross_check.counted, result.complete) == (20, True)


def test_without_a_second_source_the_result_says_so(bucket: MemoryBucket, dest: Path) -> None:
    result = export(bucket, dest)
    assert not result.cross_checked
    assert str(result.cross_check).startswith("not cross-checked: no inventory report")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fileFormat": "Parquet"}, "Parquet"),
        ({"sourceBucket": "other"}, "bucket other"),
        ({"files": 3}, "no manifest"),
    ],
)
def test_a_report_that_cannot_be_used_is_refused_before_anything_is_done(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        open_report(*report_of(["a"], **changed), "bucket")


def test_a_report_that_is_missing_or_damaged_ends_the_run(bucket: MemoryBucket, dest: Path) -> None:
    with pytest.raises(Missing):
        open_report(MemoryBucket("reports"), "manifest.json", "bucket")
    reports, manifest = report_of(list(bucket.objects))
    report = open_report(reports, manifest, "bucket")
    reports.faults["data/1.csv.gz"] = Fault("wrong")
    with pytest.raises(Unreachable, match="MD5"):
        export(bucket, dest, report)
    assert export(bucket, dest).skipped == 20


# The event log and the deadline


def log_of(dest: Path, run: int) -> list[dict[str, object]]:
    return [json.loads(line) for line in (dest / f"events/{run:06}.jsonl").read_text().splitlines()]


def test_each_run_leaves_a_log_of_what_went_wrong(bucket: MemoryBucket, dest: Path) -> None:
    bucket.faults["images/03.jpg"] = Fault("wrong")
    bucket.faults["images/04.jpg"] = Fault("forbidden")
    export(bucket, dest)
    told = log_of(dest, 1)
    assert (told[0]["event"], told[0]["source"]) == ("began", bucket.where)
    assert sorted(str(line["event"]) for line in told) == ["began", "ended", "listed", "quarantined", "quarantined"]
    assert {line["key"] for line in told if line["event"] == "quarantined"} == {"images/03.jpg", "images/04.jpg"}
    assert (told[-1]["event"], told[-1]["outcome"]) == ("ended", "incomplete")


def test_the_log_is_bounded(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_LINES", 10)
    monkeypatch.setattr(events, "MOST_RUNS", 3)
    bucket = MemoryBucket()
    for number in range(30):
        bucket.put(str(number), b"x")
        bucket.faults[str(number)] = Fault("forbidden")
    for _ in range(5):
        export(bucket, dest)
    assert sorted(path.name for path in (dest / "events").iterdir()) == [f"00000{run}.jsonl" for run in (3, 4, 5)]
    told = log_of(dest, 5)
    assert len(told) == 11
    assert told[-1]["lines_left_out"] == 22


def test_a_run_that_fails_says_why_in_its_log(bucket: MemoryBucket, dest: Path) -> None:
    bucket.listing_problem = Unreachable("the service fails", where=bucket.where)
    with pytest.raises(Unreachable):
        export(bucket, dest)
    assert (log_of(dest, 1)[-1]["outcome"], log_of(dest, 1)[-1]["why"]) == ("failed", "the service fails")


def test_before_the_deadline_what_cannot_finish_is_not_started_and_what_can_is(dest: Path) -> None:
    bucket = MemoryBucket()
    for number in range(60):
        bucket.put(f"small/{number:02}", b"." * 20_000)
    bucket.put("zz-huge", b"." * 4_000_000)
    deadline = datetime.now(UTC) + timedelta(seconds=6)
    started = time.monotonic()
    result = export_bucket(bucket, "", dest, ExportOptions(workers=2, bytes_per_second=400_000.0, deadline=deadline))
    assert time.monotonic() - started < 7
    assert (result.verified, result.remaining_objects, result.remaining_bytes) == (60, 1, 4_000_000)
    assert "zz-huge" not in bucket.reads
    assert not result.complete


def test_two_runs_never_work_on_one_archive_at_once(bucket: MemoryBucket, dest: Path) -> None:
    cancel = threading.Event()
    slow = threading.Thread(
        target=lambda: export_bucket(bucket, "", dest, ExportOptions(workers=1, bytes_per_second=40.0), cancel=cancel)
    )
    slow.start()
    try:
        while not (dest / "ledger.sqlite").exists():
            time.sleep(0.01)
        with pytest.raises(GateHeld, match="another run"):
            export(bucket, dest)
    finally:
        slow.join()
