"""The fast lane and the careful one make the same archive of the same bucket, whatever the server is like."""

import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.adapters.fastlane.endpoint import lanes_for
from migrate.adapters.s3 import Access, S3Source, open_account
from migrate.export.engine import export_bucket
from migrate.export.keymap import is_safe
from migrate.export.lanes import Lanes, LaneSetting, MakeLanes, Outcome, Work, careful_lanes
from migrate.export.ledger import Ledger, Row
from migrate.export.results import ExportResult
from migrate.export.scope import ExportOptions
from migrate.export.verify import verify_archive
from tests.conformance.test_source_port import FOLDER_SERVER_KEYS, free_port, running
from tests.hostile.faulty_server import FaultyServer, serving
from tests.hostile.hostile_keys import HOSTILE_KEYS
from tests.hostile.memory_bucket import Fault, MemoryBucket

MIB = 1024 * 1024
LARGE = os.urandom(MIB) * 40
PARTS = (16 * MIB, 16 * MIB, 8 * MIB)
# When a thing was settled, in how many attempts, and an MD5 that nobody needs, may differ between lanes.
FREE = ("id", "settled_at", "attempts", "md5")


class Watch:
    """Counts what the careful lane is asked for."""

    def __init__(self, make: MakeLanes) -> None:
        self.careful: Counter[str] = Counter()
        self._make = make

    def __call__(self, setting: LaneSetting) -> Lanes:
        def fetch(work: Work, cancel: threading.Event) -> Outcome:
            self.careful[work.key] += 1
            return setting.fetch(work, cancel)

        return self._make(replace(setting, fetch=fetch))


def access(port_or_url: int | str) -> Access:
    url = port_or_url if isinstance(port_or_url, str) else f"http://127.0.0.1:{port_or_url}"
    return Access(url, "us-east-1", access_key_id="testaccess", secret_access_key="testsecret")


def export(where: Access, bucket: str, dest: Path, *, fast: bool) -> tuple[ExportResult, Counter[str]]:
    account = open_account(where)
    watch = Watch(lanes_for(account, bucket) if fast else careful_lanes)
    result = export_bucket(S3Source(account.client, bucket), "", dest, ExportOptions(workers=8), make_lanes=watch)
    return result, watch.careful


def rows(dest: Path) -> dict[str, Row]:
    with Ledger.open(dest) as ledger:
        return {row.key: row for row in ledger.objects()}


def assert_same(fast: Path, careful: Path) -> None:
    one, other = rows(fast), rows(careful)
    assert one.keys() == other.keys()
    for key, row in one.items():
        for name in Row.__slots__:
            if name not in FREE:
                assert getattr(row, name) == getattr(other[key], name), (key, name)
        assert row.md5 in (None, other[key].md5)
    assert verify_archive(fast).complete
    assert (fast / "SHA256SUMS").read_bytes() == (careful / "SHA256SUMS").read_bytes()


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    bucket = MemoryBucket()
    for number in range(60):
        bucket.put(f"images/{number:02}.jpg", b"picture %d" % number * 5000, headers={"content-type": "image/jpeg"})
    with serving(bucket) as server:
        yield server


def test_a_hostile_bucket_comes_out_the_same(server: FaultyServer, tmp_path: Path) -> None:
    bucket = server.bucket
    for key in HOSTILE_KEYS:
        bucket.put(key, b"content of " + key.encode(), metadata={"of": "hostile"})
    bucket.put("parts", LARGE[: 12 * MIB], parts=(5 * MIB, 5 * MIB, 2 * MIB))
    bucket.put("large/md5", LARGE)
    bucket.put("large/parts", LARGE, parts=PARTS)
    bucket.put("empty", b"")
    bucket.put("kms", b"sealed", headers={"x-amz-server-side-encryption": "aws:kms"})
    fast, asked = export(access(server.url), "bucket", tmp_path / "fast", fast=True)
    careful, _ = export(access(server.url), "bucket", tmp_path / "careful", fast=False)
    assert fast.complete and careful.complete
    assert fast.bytes >= careful.bytes
    assert_same(tmp_path / "fast", tmp_path / "careful")
    assert {"parts", "kms", "../up", "x//y"} & set(bucket.objects) <= asked.keys()
    assert not [key for key in asked if key.startswith(("images/", "large/")) or key == "empty"]


def test_a_folder_server_comes_out_the_same(tmp_path: Path) -> None:
    port = free_port()
    rclone = shutil.which("rclone") or str(Path(sys.executable).with_name("rclone"))
    (tmp_path / "served/one").mkdir(parents=True)
    command = [rclone, "serve", "s3", "--vfs-cache-mode", "off", "--dir-cache-time", "0s", "--addr",
               f"127.0.0.1:{port}", "--auth-key", "testaccess,testsecret", str(tmp_path / "served")]  # fmt: skip
    with running(command, port, tmp_path / "log"):
        # Control characters and very deep folders are more than this server can do in reasonable time.
        for key in (key for key in FOLDER_SERVER_KEYS if key.isprintable() and key.count("/") < 20):
            path = tmp_path / "served/one" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"content of " + key.encode())
        (tmp_path / "served/one/large").write_bytes(LARGE)
        time.sleep(0.1)
        fast, asked = export(access(port), "one", tmp_path / "fast", fast=True)
        careful, _ = export(access(port), "one", tmp_path / "careful", fast=False)
    assert fast.complete and careful.complete
    assert_same(tmp_path / "fast", tmp_path / "careful")
    # This server answers a range with 200: that is not the one case, and the careful lane takes over.
    assert set(asked) <= {"large", *(key for key in rows(tmp_path / "fast") if not is_safe(key))}


@pytest.mark.parametrize("kind", ["wrong", "truncated", "reset", "error", "slow"])
def test_a_fault_that_passes_is_overcome(server: FaultyServer, tmp_path: Path, kind: str) -> None:
    server.bucket.faults["images/03.jpg"] = Fault(kind, 1)
    server.bucket.faults["images/07.jpg"] = Fault(kind, 2)
    result, asked = export(access(server.url), "bucket", tmp_path, fast=True)
    assert result.complete
    assert asked == {"images/03.jpg": 1, "images/07.jpg": 1}
    assert verify_archive(tmp_path).complete


@pytest.mark.parametrize("kind", ["wrong", "forbidden", "missing"])
def test_a_fault_that_stays_ends_as_it_does_on_the_careful_lane(
    server: FaultyServer, tmp_path: Path, kind: str
) -> None:
    server.bucket.faults["images/03.jpg"] = Fault(kind)
    states = []
    for name in ("fast", "careful"):
        result, _ = export(access(server.url), "bucket", tmp_path / name, fast=name == "fast")
        row = rows(tmp_path / name)["images/03.jpg"]
        states.append((result.verified, result.quarantined, row.state, row.reason, row.proof))
    assert states[0] == states[1]


def test_the_bandwidth_holds_for_all_workers_together(server: FaultyServer, tmp_path: Path) -> None:
    account = open_account(access(server.url))
    size = sum(len(versions[-1].data) for versions in server.bucket.objects.values())
    started = time.monotonic()
    options = ExportOptions(bytes_per_second=size / 3)
    source = S3Source(account.client, "bucket")
    assert export_bucket(source, "", tmp_path, options, make_lanes=lanes_for(account, "bucket")).complete
    assert time.monotonic() - started > 2.0


def test_a_second_run_fetches_nothing_and_starts_nobody(server: FaultyServer, tmp_path: Path) -> None:
    export(access(server.url), "bucket", tmp_path, fast=True)
    before = dict(server.bucket.reads)
    again, asked = export(access(server.url), "bucket", tmp_path, fast=True)
    assert (again.skipped, again.bytes, again.complete) == (60, 0, True)
    assert dict(server.bucket.reads) == before
    assert not asked
