"""One bucket into one archive: states, resumption, faults, and how a run ends."""

import hashlib
import json
import random
import tempfile
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import Interrupted, LockHeld, Missing, Unreachable, UsageProblem
from migrate.export import fetch, kept, pace
from migrate.export.engine import export_bucket
from migrate.export.ledger import Ledger, Mode, Progress, Row, State
from migrate.export.lock import exclusive
from migrate.export.results import ExportResult
from migrate.export.scope import ExportOptions, Order
from migrate.export.survey import survey_bucket
from tests.hostile.memory_bucket import Fault, MemoryBucket, md5

QUICK = ExportOptions(workers=4)


@pytest.fixture
def bucket() -> MemoryBucket:
    bucket = MemoryBucket(page_size=7)
    for number in range(20):
        bucket.put(f"images/{number:02}.jpg", f"picture {number}".encode(), headers={"content-type": "image/jpeg"})
    return bucket


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def export(bucket: MemoryBucket, dest: Path, **options: object) -> ExportResult:
    return export_bucket(bucket, "", dest, ExportOptions(workers=4, **options))  # type: ignore[arg-type]


def row(dest: Path, key: str, version_id: str = "") -> Row:
    with Ledger.open(dest) as ledger:
        found = ledger.find(key, version_id)
    assert found is not None
    return found


def counts(dest: Path) -> dict[str, int]:
    with Ledger.open(dest) as ledger:
        return {state.value: count for state, count in ledger.counts().items() if count}


def test_everything_is_fetched_proved_and_recorded(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("page.html", b"<p>", headers={"content-type": "text/html", "cache-control": "no-cache", "date": "now"},
               metadata={"author": "mia"})  # fmt: skip
    result = export(bucket, dest)
    assert (result.listed, result.verified, result.skipped, result.complete) == (21, 21, 0, True)
    assert result.bytes == sum(len(versions[0].data) for versions in bucket.objects.values())
    page = row(dest, "page.html")
    assert (dest / "objects/page.html").read_bytes() == b"<p>"
    assert (page.state, page.proof, page.path) == (State.VERIFIED, "md5-etag", "objects/page.html")
    assert page.digest == hashlib.sha256(b"<p>").hexdigest()
    assert page.md5 == md5(b"<p>")
    assert page.headers == {"content-type": "text/html", "cache-control": "no-cache"}
    assert (page.content_type, page.metadata) == ("text/html", {"author": "mia"})
    assert page.last_modified == bucket.objects["page.html"][0].last_modified
    assert list((dest / ".spool").iterdir()) == []


def test_a_second_run_fetches_nothing(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    bucket.reads.clear()
    result = export(bucket, dest)
    assert (result.listed, result.verified, result.skipped, result.bytes) == (20, 20, 20, 0)
    assert not bucket.reads


def test_what_changed_is_fetched_and_what_vanished_is_gone_but_kept(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    bucket.reads.clear()
    bucket.put("images/03.jpg", b"a new picture")
    bucket.put("images/99.jpg", b"one more")
    bucket.remove("images/05.jpg")
    result = export(bucket, dest)
    assert (result.listed, result.verified, result.skipped, result.gone) == (20, 20, 18, 1)
    assert set(bucket.reads) == {"images/03.jpg", "images/99.jpg"}
    assert (dest / "objects/images/03.jpg").read_bytes() == b"a new picture"
    assert (dest / "objects/images/05.jpg").read_bytes() == b"picture 5"
    assert row(dest, "images/05.jpg").state is State.GONE
    assert result.complete


def test_what_came_back_unchanged_is_not_fetched_again(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    taken = bucket.objects.pop("images/05.jpg")
    export(bucket, dest)
    bucket.objects["images/05.jpg"] = taken
    bucket.reads.clear()
    assert export(bucket, dest).skipped == 20
    assert not bucket.reads
    assert row(dest, "images/05.jpg").state is State.VERIFIED


def test_what_changed_vanished_and_came_back_is_fetched(bucket: MemoryBucket, dest: Path) -> None:
    """The old bytes on disk must not pass for the new ones."""
    export(bucket, dest)
    changed = bucket.put("images/05.jpg", b"another picture")
    bucket.faults["images/05.jpg"] = Fault("missing", 1)
    assert export(bucket, dest).gone == 1
    bucket.objects["images/05.jpg"] = [changed]
    export(bucket, dest)
    assert (dest / "objects/images/05.jpg").read_bytes() == b"another picture"


def test_a_file_that_was_lost_or_cut_is_fetched_again(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    (dest / "objects/images/03.jpg").unlink()
    (dest / "objects/images/04.jpg").write_bytes(b"cut")
    result = export(bucket, dest)
    assert (result.skipped, result.verified) == (18, 20)
    assert (dest / "objects/images/04.jpg").read_bytes() == b"picture 4"


@pytest.mark.parametrize("kind", ["wrong", "truncated", "broken", "slow", "silent"])
def test_a_fault_that_passes_is_overcome(bucket: MemoryBucket, dest: Path, kind: str) -> None:
    bucket.faults["images/03.jpg"] = Fault(kind, 2)
    assert export(bucket, dest).complete
    assert row(dest, "images/03.jpg").attempts == 3


def test_bytes_that_stay_wrong_are_quarantined_with_evidence(bucket: MemoryBucket, dest: Path) -> None:
    bucket.faults["images/03.jpg"] = Fault("wrong")
    result = export(bucket, dest)
    assert (result.verified, result.quarantined, result.complete) == (19, 1, False)
    found = row(dest, "images/03.jpg")
    assert found.state is State.QUARANTINED
    assert found.evidence is not None
    kept = dest / str(found.evidence["kept"])
    assert kept.read_bytes() != b"picture 3"
    evidence = json.loads((kept.parent / "evidence.json").read_text())
    assert evidence["compared"]["md5-etag"] == {"expected": md5(b"picture 3"), "came": md5(kept.read_bytes())}
    assert (evidence["key"], evidence["attempts"]) == ("images/03.jpg", 4)
    assert not (dest / "objects/images/03.jpg").exists()


def test_a_later_run_clears_the_quarantine(bucket: MemoryBucket, dest: Path) -> None:
    bucket.faults["images/03.jpg"] = Fault("wrong")
    export(bucket, dest)
    bucket.faults.clear()
    assert export(bucket, dest).complete
    found = row(dest, "images/03.jpg")
    assert (found.state, found.evidence, found.reason) == (State.VERIFIED, None, None)
    assert [path for path in (dest / "quarantine").rglob("*") if path.is_file()] == []


def test_a_damaged_object_does_not_displace_the_good_one_of_an_earlier_run(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    bucket.put("images/03.jpg", b"a new picture")
    bucket.faults["images/03.jpg"] = Fault("wrong")
    assert export(bucket, dest).quarantined == 1
    assert (dest / "objects/images/03.jpg").read_bytes() == b"picture 3"


def test_one_forbidden_and_one_vanished_object_stop_nothing(bucket: MemoryBucket, dest: Path) -> None:
    bucket.faults["images/03.jpg"] = Fault("forbidden")
    bucket.faults["images/04.jpg"] = Fault("missing")
    result = export(bucket, dest)
    assert (result.verified, result.quarantined, result.gone, result.complete) == (18, 1, 1, False)
    evidence = row(dest, "images/03.jpg").evidence
    assert evidence is not None
    assert evidence["said"] == "AccessDenied"


def test_an_object_that_never_arrives_stays_listed_with_the_reason(bucket: MemoryBucket, dest: Path) -> None:
    bucket.faults["images/03.jpg"] = Fault("truncated")
    result = export(bucket, dest)
    assert (result.verified, result.unverified, result.complete) == (19, 1, False)
    found = row(dest, "images/03.jpg")
    assert (found.state, found.reason, found.attempts) == (State.LISTED, "the answer broke off", 4)


def test_an_archived_object_is_archived_and_fetched_once_it_is_restored(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("cold", b"brr", storage_class="GLACIER")
    result = export(bucket, dest)
    assert (result.archived, result.verified, result.complete) == (1, 20, False)
    assert row(dest, "cold").state is State.ARCHIVED
    bucket.put("cold", b"brr")
    assert export(bucket, dest).complete


def test_an_object_overwritten_after_the_listing_is_read_at_one_version(bucket: MemoryBucket, dest: Path) -> None:
    class Overwriting(MemoryBucket):
        def read(self, key: str, *, version_id: str, if_match: str, start: int = 0):  # type: ignore[no-untyped-def]
            if key == "images/03.jpg" and not self.reads[key]:
                self.put(key, b"overwritten just now")
            return super().read(key, version_id=version_id, if_match=if_match, start=start)

    racing = Overwriting()
    racing.objects = bucket.objects
    assert export(racing, dest).complete
    found = row(dest, "images/03.jpg")
    assert (dest / "objects/images/03.jpg").read_bytes() == b"overwritten just now"
    assert (found.etag, found.size) == (md5(b"overwritten just now"), 20)
    assert export(racing, dest).skipped == 20


def test_where_the_source_says_nothing_a_second_read_settles_it_and_the_ledger_says_so(
    bucket: MemoryBucket, dest: Path
) -> None:
    bucket.opaque = True
    result = export(bucket, dest)
    assert (result.verified, result.second_read, result.complete) == (20, 20, True)
    found = row(dest, "images/03.jpg")
    assert (found.state, found.proof, bucket.reads["images/03.jpg"]) == (State.VERIFIED, "second-read", 2)
    assert found.reason is not None
    assert "no usable checksum" in found.reason
    bucket.reads.clear()
    again = export(bucket, dest)
    assert (again.skipped, again.second_read) == (20, 20)
    assert not bucket.reads


def test_where_the_source_says_nothing_and_two_reads_differ_nothing_is_believed(
    bucket: MemoryBucket, dest: Path
) -> None:
    bucket.opaque = True
    bucket.faults["images/03.jpg"] = Fault("wrong", 1)
    assert export(bucket, dest).complete
    assert (dest / "objects/images/03.jpg").read_bytes() == b"picture 3"
    assert row(dest, "images/03.jpg").attempts == 2


def test_what_the_source_says_and_nobody_can_match_stays_unverified(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("video", b"v" * 30, etag="0" * 32 + "-3")
    result = export(bucket, dest)
    assert (result.unverified, result.second_read, result.complete) == (1, 0, False)
    found = row(dest, "video")
    assert (found.state, found.proof) == (State.FETCHED, "second-read, unmatched")
    taken = bucket.objects.pop("video")
    export(bucket, dest)
    bucket.objects["video"] = taken
    assert export(bucket, dest).unverified == 1


def test_uneven_parts_between_an_even_first_and_last_are_asked_for(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("video", bytes(range(17)), parts=(4, 3, 5, 4, 1))
    bucket.put("damaged", bytes(range(17)), parts=(4, 3, 5, 4, 1))
    bucket.faults["damaged"] = Fault("wrong")
    assert export(bucket, dest).quarantined == 1
    found = row(dest, "video")
    assert (found.proof, found.part_sizes, found.attempts) == ("multipart-etag", (4, 3, 5, 4, 1), 2)


@given(
    st.integers(min_value=100, max_value=700),
    st.lists(st.integers(min_value=1, max_value=300), max_size=12),
    st.sampled_from([(), (100, 250), (40, 40, 40)]),
)
@settings(max_examples=60, deadline=None)
def test_wherever_a_large_object_breaks_off_each_of_its_bytes_comes_once(
    size: int, pieces: list[int], parts: tuple[int, ...]
) -> None:
    class Breaking(MemoryBucket):
        @contextmanager
        def read(self, key: str, *, version_id: str, if_match: str, start: int = 0):  # type: ignore[no-untyped-def]
            with super().read(key, version_id=version_id, if_match=if_match, start=start) as reading:
                if pieces:
                    reading.break_after(pieces.pop())
                yield reading

    data = random.Random(size).randbytes(size)
    bucket = Breaking()
    bucket.put("large", data, parts=(*parts, size - sum(parts)) if 0 < sum(parts) < size else ())
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(kept, "KEPT_FROM_BYTES", 100),
        patch.object(fetch, "CHUNK_BYTES", 64),
        patch.object(fetch, "LONGEST_WAIT_SECONDS", 0.0),
    ):
        result = export_bucket(bucket, "", Path(folder), ExportOptions(workers=1))
        assert (result.complete, result.bytes) == (True, size)
        assert (Path(folder) / "objects/large").read_bytes() == data


def test_filters_choose_and_do_not_make_the_rest_gone(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("notes.txt", b"x")
    export(bucket, dest)
    result = export(bucket, dest, include=("images/*",), exclude=("*/03.jpg", "*/04.jpg"))
    assert (result.listed, result.skipped, result.gone) == (18, 18, 0)
    assert counts(dest) == {"verified": 21}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.NEWEST, ["c", "b", "a"]),
        (Order.OLDEST, ["a", "b", "c"]),
        (Order.SMALLEST, ["b", "c", "a"]),
        (Order.LARGEST, ["a", "c", "b"]),
    ],
)
def test_the_order_decides_what_comes_first(dest: Path, order: Order, expected: list[str]) -> None:
    bucket = MemoryBucket(page_size=1)
    for key, size in (("a", 30), ("b", 10), ("c", 20)):
        bucket.put(key, b"." * size)
    assert export_bucket(bucket, "", dest, ExportOptions(workers=1, order=order)).complete
    assert list(bucket.reads) == expected


def test_after_the_deadline_nothing_is_started_and_the_rest_is_counted(bucket: MemoryBucket, dest: Path) -> None:
    result = export(bucket, dest, deadline=datetime.now(UTC) - timedelta(seconds=1))
    assert (result.verified, result.remaining_objects, result.complete) == (0, 20, False)
    assert result.remaining_bytes == sum(len(versions[0].data) for versions in bucket.objects.values())
    assert export(bucket, dest).complete


def test_bandwidth_is_kept(dest: Path) -> None:
    bucket = MemoryBucket()
    for number in range(6):
        bucket.put(str(number), b"." * 50_000)
    started = time.monotonic()
    assert export(bucket, dest, bytes_per_second=300_000.0).complete
    assert time.monotonic() - started >= 0.8


def test_tags_are_recorded_on_request_and_fetched_for_what_lacks_them(bucket: MemoryBucket, dest: Path) -> None:
    bucket.put("tagged", b"x", tags={"team": "blue"})
    export(bucket, dest)
    assert row(dest, "tagged").tags is None
    export(bucket, dest, tags=True)
    assert row(dest, "tagged").tags == {"team": "blue"}
    assert row(dest, "images/03.jpg").tags == {}
    assert export(bucket, dest, tags=True).skipped == 21


def test_versions_and_delete_markers(dest: Path) -> None:
    bucket = MemoryBucket(versioned=True)
    first = bucket.put("page", b"one")
    second = bucket.put("page", b"two")
    bucket.put("other", b"kept")
    bucket.put("removed", b"was here")
    bucket.remove("removed")
    result = export(bucket, dest, versions=True)
    assert (result.listed, result.verified, result.complete) == (5, 5, True)
    assert (dest / "objects/page").read_bytes() == b"two"
    old = row(dest, "page", first.version_id)
    assert old.path is not None
    assert old.path.startswith("versions/")
    assert (dest / old.path).read_bytes() == b"one"
    assert not (dest / "objects/removed").exists()

    third = bucket.put("page", b"three")
    assert export(bucket, dest, versions=True).complete
    assert (dest / "objects/page").read_bytes() == b"three"
    moved = row(dest, "page", second.version_id)
    assert (dest / str(moved.path)).read_bytes() == b"two"

    bucket.objects["page"] = [version for version in bucket.objects["page"] if version.version_id != third.version_id]
    bucket.reads.clear()
    assert export(bucket, dest, versions=True).gone == 1
    assert (dest / "objects/page").read_bytes() == b"two"
    assert (dest / str(row(dest, "page", third.version_id).path)).read_bytes() == b"three"
    assert not bucket.reads


def test_an_archive_belongs_to_one_source(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    with pytest.raises(UsageProblem, match="holds bucket 'bucket', not 'other'"):
        export(MemoryBucket("other"), dest)
    with pytest.raises(UsageProblem, match="versions"):
        export(bucket, dest, versions=True)


def test_the_second_run_at_a_time_is_refused_and_told_who_holds_the_lock(bucket: MemoryBucket, dest: Path) -> None:
    dest.mkdir()
    with exclusive(dest), pytest.raises(LockHeld, match=r"process \d+ of \S+ on \S+ since \d{4}-"):
        export(bucket, dest)


def test_a_listing_that_fails_midway_is_no_complete_listing(bucket: MemoryBucket, dest: Path) -> None:
    export(bucket, dest)
    kept = {key: versions for key, versions in bucket.objects.items() if key < "images/10"}
    bucket.objects = {**kept, "images/new": [bucket.put("images/new", b"n")]}
    bucket.listing_problem = Unreachable("the service fails", where=bucket.where)
    with pytest.raises(Unreachable):
        export(bucket, dest)
    with Ledger.open(dest) as ledger:
        run = ledger.last_run()
        assert run is not None
        assert (run.outcome, run.listing_complete) == ("failed", False)
        assert ledger.counts()[State.GONE] == 0


def test_a_silent_endpoint_ends_the_run_instead_of_failing_every_object(
    dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PATIENCE_SECONDS", 1.0)
    bucket = MemoryBucket(page_size=50)
    for number in range(400):
        bucket.put(str(number), b"x")
        bucket.faults[str(number)] = Fault("silent")
    with pytest.raises(Unreachable, match="no longer answers"):
        export_bucket(bucket, "", dest, ExportOptions(workers=32))
    assert sum(bucket.reads.values()) < 1600
    assert counts(dest) == {"listed": 400}


def test_an_endpoint_that_falls_silent_near_the_end_is_unreachable_not_merely_incomplete(
    bucket: MemoryBucket, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PATIENCE_SECONDS", 1.0)
    bucket.faults["images/19.jpg"] = Fault("silent")
    with pytest.raises(Unreachable, match="no longer answers"):
        export_bucket(bucket, "", dest, ExportOptions(workers=1))
    assert counts(dest) == {"verified": 19, "listed": 1}


def test_cancel_stops_in_seconds_and_the_next_run_goes_on(bucket: MemoryBucket, dest: Path) -> None:
    cancel = threading.Event()
    seen: list[Progress] = []

    def stop_early(progress: Progress) -> None:
        seen.append(progress)
        if progress.verified:
            cancel.set()

    started = time.monotonic()
    with pytest.raises(Interrupted, match="stopped"):
        export_bucket(
            bucket, "", dest, ExportOptions(workers=1, bytes_per_second=20.0), on_progress=stop_early, cancel=cancel
        )
    assert time.monotonic() - started < 5
    with Ledger.open(dest) as ledger:
        run = ledger.last_run()
        assert run is not None
        assert run.outcome == "interrupted"
    done = counts(dest).get("verified", 0)
    assert 0 < done < 20
    assert export(bucket, dest).skipped == done


def test_progress_reads_the_same_in_another_terminal(bucket: MemoryBucket, dest: Path) -> None:
    told: list[Progress] = []
    export_bucket(bucket, "", dest, QUICK, on_progress=told.append)
    with Ledger.open(dest, Mode.READ) as ledger:
        recorded = ledger.progress()
    assert (recorded.listed, recorded.settled, recorded.verified) == (20, 20, 20)
    assert (told[-1].listed, told[-1].settled) == (recorded.listed, recorded.settled)


def test_a_dry_run_writes_nothing_and_predicts_the_run(bucket: MemoryBucket, dest: Path) -> None:
    expected = survey_bucket(bucket, "", dest, QUICK)
    assert not dest.exists()
    assert (expected.listed, expected.remaining_objects, expected.dry_run) == (20, 20, True)
    assert expected.bytes == export(bucket, dest).bytes
    bucket.put("images/03.jpg", b"changed")
    bucket.remove("images/05.jpg")
    before = sorted((path, path.stat().st_mtime_ns) for path in dest.rglob("*"))
    again = survey_bucket(bucket, "", dest, QUICK)
    assert (again.listed, again.skipped, again.gone, again.bytes) == (19, 18, 1, 7)
    assert sorted((path, path.stat().st_mtime_ns) for path in dest.rglob("*")) == before


def test_a_missing_bucket_ends_the_run(bucket: MemoryBucket, dest: Path) -> None:
    bucket.objects.clear()
    bucket.listing_problem = Missing("there is no such bucket", where=bucket.where)
    with pytest.raises(Missing):
        export(bucket, dest)


def test_an_empty_bucket_is_complete(dest: Path) -> None:
    result = export(MemoryBucket(), dest)
    assert (result.listed, result.complete) == (0, True)


def test_dest_that_is_a_file_is_refused(bucket: MemoryBucket, dest: Path) -> None:
    dest.write_text("mine")
    with pytest.raises(UsageProblem, match="cannot make"):
        export(bucket, dest)
    assert dest.read_text() == "mine"
