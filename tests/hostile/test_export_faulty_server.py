"""The engine and boto3 against a server that fails in every way that servers fail."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrate.adapters.s3 as s3
from migrate.adapters.s3 import Access, S3Source, connect
from migrate.errors import Missing, Refused, Unreachable
from migrate.export import pace
from migrate.export.engine import export_bucket
from migrate.export.kept import KEPT_FROM_BYTES
from migrate.export.ledger import Ledger, State
from migrate.export.results import ExportResult
from migrate.export.scope import ExportOptions
from migrate.export.verify import verify_archive
from tests.hostile.faulty_server import FaultyServer, serving
from tests.hostile.hostile_keys import HOSTILE_KEYS
from tests.hostile.memory_bucket import Fault, MemoryBucket

MIB = 1024 * 1024


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    bucket = MemoryBucket()
    for number in range(12):
        bucket.put(
            f"images/{number:02}.jpg", f"picture {number}".encode() * 5000, headers={"content-type": "image/jpeg"}
        )
    with serving(bucket) as server:
        yield server


def source(server: FaultyServer, bucket: str = "bucket") -> S3Source:
    access = Access(server.url, "us-east-1", access_key_id="testaccess", secret_access_key="testsecret")
    return S3Source(connect(access), bucket)


def export(server: FaultyServer, dest: Path, **options: object) -> ExportResult:
    return export_bucket(source(server), "", dest, ExportOptions(workers=4, **options))  # type: ignore[arg-type]


def state(dest: Path, key: str) -> State:
    with Ledger.open(dest) as ledger:
        found = ledger.find(key)
    assert found is not None
    return found.state


def test_a_hostile_bucket_is_copied_exactly_over_the_wire(server: FaultyServer, tmp_path: Path) -> None:
    bucket = server.bucket
    bucket.page_size = 10
    for key in HOSTILE_KEYS:
        bucket.put(key, b"content of " + key.encode())
    assert export(server, tmp_path / "archive").complete
    with Ledger.open(tmp_path / "archive") as ledger:
        held = {row.key: (tmp_path / "archive" / str(row.path)).read_bytes() for row in ledger.objects()}
    assert held == {key: versions[-1].data for key, versions in bucket.objects.items()}
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize("kind", ["wrong", "truncated", "reset", "error", "slow"])
def test_a_fault_that_passes_is_overcome(server: FaultyServer, tmp_path: Path, kind: str) -> None:
    server.bucket.faults["images/03.jpg"] = Fault(kind, 1)
    server.bucket.faults["images/07.jpg"] = Fault(kind, 2)
    assert export(server, tmp_path).complete
    assert verify_archive(tmp_path).complete


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("wrong", State.QUARANTINED),
        ("forbidden", State.QUARANTINED),
        ("missing", State.GONE),
        ("truncated", State.LISTED),
        ("error", State.LISTED),
    ],
)
def test_a_fault_that_stays_costs_one_object_only(
    server: FaultyServer, tmp_path: Path, kind: str, expected: State
) -> None:
    server.bucket.faults["images/03.jpg"] = Fault(kind)
    result = export(server, tmp_path)
    assert result.verified == 11
    assert state(tmp_path, "images/03.jpg") is expected
    assert result.complete == (expected is State.GONE)


def test_where_the_server_encrypts_and_states_no_checksum_a_second_read_settles_it(
    server: FaultyServer, tmp_path: Path
) -> None:
    encrypted = {"x-amz-server-side-encryption": "aws:kms"}
    server.bucket.put("secret", b"no MD5 of this" * 1000, etag="f" * 32, headers=encrypted)
    result = export(server, tmp_path)
    assert (result.second_read, result.complete, server.bucket.reads["secret"]) == (1, True, 2)
    with Ledger.open(tmp_path) as ledger:
        row = ledger.find("secret")
    assert row is not None
    assert (row.state, row.proof) == (State.VERIFIED, "second-read")


def test_an_outage_in_mid_run_costs_no_object(server: FaultyServer, tmp_path: Path) -> None:
    """Nothing but 500, 503 and 502, for longer than four attempts would last."""
    server.outage_at_read, server.outage_seconds = 3, 8.0
    assert export(server, tmp_path).complete
    assert time.monotonic() > server.outage_until > 0.0


def test_an_endpoint_that_goes_away_for_a_while_costs_no_object(tmp_path: Path) -> None:
    bucket = MemoryBucket()
    for number in range(40):
        bucket.put(f"{number:02}", b"x" * 1000)
    with serving(bucket) as first:
        first.delay = 0.2
        reader, port = source(first), first.server_address[1]
        ended: list[ExportResult] = []
        thread = threading.Thread(
            target=lambda: ended.append(export_bucket(reader, "", tmp_path, ExportOptions(workers=4)))
        )
        thread.start()
        time.sleep(1.0)
        first.cut_off()
    time.sleep(8.0)
    with serving(bucket, port):
        thread.join(60)
    assert ended
    assert (ended[0].complete, ended[0].verified) == (True, 40)


def test_a_large_object_goes_on_where_its_connection_broke(server: FaultyServer, tmp_path: Path) -> None:
    data = os.urandom(KEPT_FROM_BYTES * 2)
    server.bucket.put("large", data)
    server.bucket.faults["large"] = Fault("truncated", 6)
    result = export(server, tmp_path)
    assert result.complete
    assert (tmp_path / "objects/large").read_bytes() == data
    assert result.bytes < len(data) * 1.1 + 2_000_000


def test_an_archived_object_over_the_wire(server: FaultyServer, tmp_path: Path) -> None:
    server.bucket.put("cold", b"brr", storage_class="GLACIER")
    assert export(server, tmp_path).archived == 1
    assert state(tmp_path, "cold") is State.ARCHIVED


def test_a_stalled_connection_is_cut(server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "READ_SECONDS", 1)
    server.bucket.faults["images/03.jpg"] = Fault("stall", 1)
    started = time.monotonic()
    assert export(server, tmp_path).complete
    assert time.monotonic() - started < 15


def test_an_object_overwritten_between_listing_and_reading(server: FaultyServer, tmp_path: Path) -> None:
    class Late(S3Source):
        def read(self, key: str, *, version_id: str, if_match: str, start: int = 0):  # type: ignore[no-untyped-def]
            if key == "images/03.jpg" and not server.bucket.reads[key]:
                server.bucket.put(key, b"overwritten")
                server.bucket.reads[key] = 1
            return super().read(key, version_id=version_id, if_match=if_match, start=start)

    late = Late(source(server)._client, "bucket")
    assert export_bucket(late, "", tmp_path, ExportOptions(workers=2)).complete
    assert (tmp_path / "objects/images/03.jpg").read_bytes() == b"overwritten"


def test_parts_and_tags_over_the_wire(server: FaultyServer, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096 * 3
    server.bucket.put("even", data, parts=(MIB, MIB, MIB), tags={"team": "blue"})
    server.bucket.put("uneven", data, parts=(MIB // 2, 2 * MIB, MIB // 2))
    server.bucket.put("forgotten", data, etag=server.bucket.put("x", data, parts=(MIB, 2 * MIB)).etag)
    server.bucket.remove("x")
    result = export(server, tmp_path, tags=True)
    with Ledger.open(tmp_path) as ledger:
        rows = {row.key: row for row in ledger.objects()}
    assert (rows["even"].proof, rows["even"].part_sizes) == ("multipart-etag", (MIB, MIB, MIB))
    assert rows["even"].tags == {"team": "blue"}
    assert rows["uneven"].part_sizes == (MIB // 2, 2 * MIB, MIB // 2)
    assert rows["forgotten"].state is State.FETCHED
    assert (result.unverified, result.quarantined) == (1, 0)


def test_a_listing_page_that_fails_is_asked_for_again(server: FaultyServer, tmp_path: Path) -> None:
    server.bucket.page_size = 5
    server.listing_faults = 1
    result = export(server, tmp_path)
    assert (result.listed, result.complete) == (12, True)


def test_a_listing_whose_second_page_is_out_for_a_while_goes_on(server: FaultyServer, tmp_path: Path) -> None:
    server.bucket.page_size = 5
    server.listing_fails_after_first = 5
    result = export(server, tmp_path)
    assert (result.listed, result.complete, server.listing_fails_after_first) == (12, True, 0)


def test_a_listing_that_never_comes_to_its_second_page_is_no_complete_one(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PATIENCE_SECONDS", 1.0)
    export(server, tmp_path)
    server.bucket.page_size = 5
    server.listing_fails_after_first = 1000
    with pytest.raises(Unreachable, match="the service fails"):
        export(server, tmp_path)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.counts()[State.GONE] == 0


def test_a_listing_that_keeps_failing_ends_the_run_and_loses_nothing(server: FaultyServer, tmp_path: Path) -> None:
    export(server, tmp_path)
    server.listing_faults = 1000
    with pytest.raises(Unreachable, match="the service fails"):
        export(server, tmp_path)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.counts()[State.VERIFIED] == 12


def test_missing_forbidden_and_silent_are_three_messages(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no such bucket"):
        export_bucket(source(server, "none"), "", tmp_path)
    server.listing_answer = (403, "AccessDenied")
    with pytest.raises(Refused, match="may not be read"):
        export(server, tmp_path)
    server.listing_answer = (403, "ExpiredToken")
    with pytest.raises(Refused, match="credentials were refused"):
        export(server, tmp_path)
    silent = S3Source(connect(Access("http://127.0.0.1:9", "us-east-1", sign=False)), "bucket")
    with pytest.raises(Unreachable, match="does not answer"):
        export_bucket(silent, "", tmp_path)


def test_credentials_that_expire_midway_end_the_run(server: FaultyServer, tmp_path: Path) -> None:
    class Expiring(S3Source):
        def read(self, key: str, *, version_id: str, if_match: str, start: int = 0):  # type: ignore[no-untyped-def]
            if key == "images/07.jpg":
                raise Refused("the credentials were refused (ExpiredToken)", where=self.where)
            return super().read(key, version_id=version_id, if_match=if_match, start=start)

    expiring = Expiring(source(server)._client, "bucket")
    with pytest.raises(Refused, match="ExpiredToken"):
        export_bucket(expiring, "", tmp_path, ExportOptions(workers=1))
    with Ledger.open(tmp_path) as ledger:
        counts = ledger.counts()
    assert counts[State.QUARANTINED] == 0
    assert counts[State.VERIFIED] >= 1
    assert export(server, tmp_path).complete


def test_bursts_of_slow_down_slow_everybody_and_lose_nothing(server: FaultyServer, tmp_path: Path) -> None:
    for number in range(0, 12, 2):
        server.bucket.faults[f"images/{number:02}.jpg"] = Fault("slow", 2)
    assert export(server, tmp_path).complete


def test_settings_that_may_not_be_read_are_recorded_as_such_and_cost_nothing(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.settings_answer = (403, "AccessDenied")
    assert export(server, tmp_path).complete
    with Ledger.open(tmp_path) as ledger:
        assert ledger.archive_value("bucket_policy") == '"not allowed to look (AccessDenied)"'


def test_a_run_can_be_cancelled_while_the_server_stalls(server: FaultyServer, tmp_path: Path) -> None:
    for number in range(12):
        server.bucket.faults[f"images/{number:02}.jpg"] = Fault("stall")
    cancel = threading.Event()
    threading.Timer(0.5, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(Exception, match="stopped"):
        export_bucket(source(server), "", tmp_path, ExportOptions(workers=4), cancel=cancel)
    assert time.monotonic() - started < 8
