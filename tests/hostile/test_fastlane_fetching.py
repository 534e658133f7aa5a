"""One worker's fetchers against the faulty server: what they prove, what they leave to the careful lane, what stays."""

import base64
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from awscrt import checksums

from migrate.adapters.fastlane import fetching, large
from migrate.adapters.fastlane.fetching import Bench, Fetching, moment, spool_name
from migrate.adapters.fastlane.large import LargeFetching, Ranges
from migrate.adapters.fastlane.signing import Endpoint, Requests
from migrate.adapters.fastlane.wire import Unfit
from migrate.export.lanes import Ending, Outcome, Work
from tests.hostile.faulty_server import FaultyServer, serving
from tests.hostile.memory_bucket import Fault, MemoryBucket, Stored

SMALL = b"picture" * 5000
PARTS = (3000, 3000, 3000, 1000)
LARGE = os.urandom(sum(PARTS))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(MemoryBucket()) as server:
        yield server


@pytest.fixture
def bench(server: FaultyServer, tmp_path: Path) -> Iterator[Bench]:
    port = urlsplit(server.url).port or 0
    endpoint = Endpoint(False, "127.0.0.1", port, f"127.0.0.1:{port}", "/bucket/", "us-east-1")
    spool = os.open(tmp_path, os.O_RDONLY)
    yield Bench(endpoint, Requests(endpoint, None), None, spool)
    os.close(spool)


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LARGE_BYTES", 5000)
    monkeypatch.setattr(large, "RANGE_BYTES", 1024)


def work_of(stored: Stored, key: str = "k") -> Work:
    return Work(7, key, "", len(stored.data), stored.etag)


def small(bench: Bench, work: Work) -> Outcome:
    fetcher = Fetching(bench)
    try:
        return fetcher.take(fetcher.ask(work))
    finally:
        fetcher.close()


def test_a_plain_object_is_proved_by_its_etag(server: FaultyServer, bench: Bench, tmp_path: Path) -> None:
    stored = server.bucket.put("k", SMALL, headers={"content-type": "image/jpeg"}, metadata={"author": "mia"})
    outcome = small(bench, work_of(stored))
    assert (outcome.ending, outcome.proof, outcome.md5) == (Ending.VERIFIED, "md5-etag", stored.etag)
    assert (outcome.size, outcome.last_modified) == (len(SMALL), stored.last_modified)
    assert (outcome.headers["content-type"], outcome.metadata) == ("image/jpeg", {"author": "mia"})
    assert (tmp_path / str(outcome.spooled)).read_bytes() == SMALL


def test_an_empty_object_is_one_too(server: FaultyServer, bench: Bench, tmp_path: Path) -> None:
    outcome = small(bench, work_of(server.bucket.put("k", b"")))
    assert (tmp_path / str(outcome.spooled)).read_bytes() == b""


@pytest.mark.parametrize("kind", ["wrong", "truncated", "reset", "forbidden", "missing", "slow", "error"])
def test_a_fault_is_left_to_the_careful_lane(server: FaultyServer, bench: Bench, tmp_path: Path, kind: str) -> None:
    work = work_of(server.bucket.put("k", SMALL))
    server.bucket.faults["k"] = Fault(kind, 1)
    with pytest.raises(Unfit) as unfit:
        small(bench, work)
    assert unfit.value.slow_down == (kind == "slow")
    assert not list(tmp_path.iterdir())
    assert small(bench, work).ending is Ending.VERIFIED


def test_what_cannot_be_proved_here_is_left_to_the_careful_lane(server: FaultyServer, bench: Bench) -> None:
    kms = {"x-amz-server-side-encryption": "aws:kms"}
    server.bucket.put("sealed", SMALL, headers=kms)
    server.bucket.put("parts", LARGE, parts=PARTS)
    for key in ("sealed", "parts"):
        stored = server.bucket.objects[key][-1]
        with pytest.raises(Unfit, match=r"not proved|part sizes"):
            small(bench, work_of(stored, key))


def test_another_etag_than_the_listings_is_another_object(server: FaultyServer, bench: Bench) -> None:
    work = work_of(server.bucket.put("k", SMALL))
    server.bucket.put("k", SMALL + b"!")
    with pytest.raises(Unfit, match="the listing said"):
        small(bench, work)


def test_a_spool_that_cannot_be_written_is_left_to_the_careful_lane(
    server: FaultyServer, bench: Bench, tmp_path: Path
) -> None:
    work = work_of(server.bucket.put("k", SMALL))
    (tmp_path / spool_name(work)).symlink_to("elsewhere")
    with pytest.raises(Unfit, match="the spool"):
        small(bench, work)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("date", ["", "2026-01-01T00:00:00Z", "Thu, 01 Foo 2026 00:00:00 GMT"])
def test_a_date_that_is_none_is_unfit(date: str) -> None:
    with pytest.raises(Unfit, match="HTTP date"):
        moment(date)


@pytest.mark.usefixtures("small_ranges")
class TestLarge:
    def fetch(self, bench: Bench, work: Work) -> Outcome:
        return LargeFetching(bench).fetch(work)

    def kept(self, tmp_path: Path) -> Path:
        return tmp_path / "kept-7"

    def test_ranges_are_hashed_once_and_in_order(self, server: FaultyServer, bench: Bench, tmp_path: Path) -> None:
        fetcher = LargeFetching(bench)
        for etag in (None, "0" * 32):
            described = {} if etag is None else {"etag": etag}
            stored = server.bucket.put("k", LARGE, **described)
            if etag is None:
                assert fetcher.fetch(work_of(stored)).proof == "md5-etag"
                assert self.kept(tmp_path).read_bytes() == LARGE
                self.kept(tmp_path).unlink()
            else:
                with pytest.raises(Unfit, match="not proved"):
                    fetcher.fetch(work_of(stored))
                assert not self.kept(tmp_path).exists()

    def test_a_multipart_etag_is_proved_from_the_real_parts(self, server: FaultyServer, bench: Bench) -> None:
        outcome = self.fetch(bench, work_of(server.bucket.put("k", LARGE, parts=PARTS)))
        assert (outcome.proof, outcome.part_sizes) == ("multipart-etag", PARTS)
        assert outcome.md5 is not None

    def test_a_checksum_makes_md5_needless_and_keeps_the_parts(self, server: FaultyServer, bench: Bench) -> None:
        crc = base64.b64encode(checksums.crc64nvme(LARGE).to_bytes(8, "big")).decode()
        headers = {"x-amz-checksum-crc64nvme": crc, "x-amz-checksum-type": "FULL_OBJECT"}
        outcome = self.fetch(bench, work_of(server.bucket.put("k", LARGE, parts=PARTS, headers=headers)))
        assert (outcome.proof, outcome.part_sizes, outcome.md5) == ("crc64nvme", PARTS, None)
        assert outcome.digest is not None

    def test_it_goes_on_where_it_stopped(self, server: FaultyServer, bench: Bench, tmp_path: Path) -> None:
        work = work_of(server.bucket.put("k", LARGE))
        self.kept(tmp_path).write_bytes(LARGE[:7000])
        before = server.bucket.reads["k"]
        assert self.fetch(bench, work).ending is Ending.VERIFIED
        assert server.bucket.reads["k"] - before == 3  # ranges of 1024 bytes from 7000 to 10000
        assert self.kept(tmp_path).read_bytes() == LARGE

    @pytest.mark.parametrize("kind", ["truncated", "reset", "forbidden", "error"])
    def test_a_broken_range_leaves_a_beginning(
        self, server: FaultyServer, bench: Bench, tmp_path: Path, kind: str
    ) -> None:
        work = work_of(server.bucket.put("k", LARGE))
        server.bucket.faults["k"] = Fault(kind, 1)
        with pytest.raises(Unfit):
            self.fetch(bench, work)
        assert LARGE.startswith(self.kept(tmp_path).read_bytes())
        assert self.fetch(bench, work).ending is Ending.VERIFIED

    def test_a_wrong_beginning_is_not_kept(self, server: FaultyServer, bench: Bench, tmp_path: Path) -> None:
        work = work_of(server.bucket.put("k", LARGE))
        self.kept(tmp_path).write_bytes(b"?" * 5000)
        with pytest.raises(Unfit, match="not proved"):
            self.fetch(bench, work)
        assert not self.kept(tmp_path).exists()

    def test_another_size_than_the_listings_is_another_object(self, server: FaultyServer, bench: Bench) -> None:
        work = work_of(server.bucket.put("k", LARGE))
        with pytest.raises(Unfit, match="ties the ranges"):
            self.fetch(bench, work._replace(size=work.size + 1))

    def test_a_spool_that_is_a_link_is_not_followed(self, server: FaultyServer, bench: Bench, tmp_path: Path) -> None:
        work = work_of(server.bucket.put("k", LARGE))
        self.kept(tmp_path).symlink_to("elsewhere")
        with pytest.raises(Unfit, match="the spool"):
            self.fetch(bench, work)
        assert not (tmp_path / "elsewhere").exists()


def test_ranges_come_in_order_whoever_is_first() -> None:
    ranges = Ranges(0, 3 * large.RANGE_BYTES - 5, [memoryview(bytearray(large.RANGE_BYTES)) for _ in range(2)])
    first, second = ranges.take(), ranges.take()
    assert first is not None and second is not None
    ranges.bring(second[0], second[1], second[2])
    late = threading.Timer(0.1, ranges.bring, first)
    late.start()
    order = ranges.in_order()
    assert len(next(order)) == len(next(order)) == large.RANGE_BYTES
    third = ranges.take()
    assert third is not None
    assert len(third[1]) == large.RANGE_BYTES - 5
    assert ranges.take() is None
    ranges.fail(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        next(order)
