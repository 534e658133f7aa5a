"""The newest artifact, its record, and the head of a dump."""

import struct

import pytest

from migrate.errors import ExitCode, GateHeld, Missing
from migrate.restore.artifacts import Archive, DumpRecord, SnapshotRecord, parse_record, require_same_bytes
from migrate.restore.custom_format import Head, NotCustomFormat, read_head
from migrate.stack import Artifact
from tests.local_hosts import archive_dump, archive_object

DUMPS = Artifact(bucket="backups", pattern="postgresql/plaza-*.dump")
GOOD = (
    '{"database": "plaza", "server_version": "15.1", "server_version_num": 150001, "taken_at": "2026-11-20T12:00:00Z",'
    ' "bytes": 7, "sha256": "%s", "tables": {"public.t": 1}, "more": true}'
) % ("a" * 64)


def test_the_newest_by_key_is_taken(archive: Archive) -> None:
    for stamp in ("20261120T120000Z", "20261120T130000Z", "20261119T235959Z"):
        archive_dump(archive, b"dump " + stamp.encode(), {}, stamp)
    archive_object(archive, "backups", "postgresql/other-20270101T000000Z.dump", b"")
    archive_object(archive, "backups", "postgresql/plaza-20270101T000000Z.dump", b"", state="gone")
    newest = archive.newest(DUMPS)
    assert newest.key == "postgresql/plaza-20261120T130000Z.dump"
    assert newest.path.read_bytes() == b"dump 20261120T130000Z"


def test_nothing_that_matches_is_a_gate(archive: Archive) -> None:
    archive_object(archive, "backups", "elsewhere/x.dump", b"")
    with pytest.raises(GateHeld, match="no artifact in the archive matches"):
        archive.newest(DUMPS)


def test_a_bucket_that_was_not_exported_is_missing(archive: Archive) -> None:
    with pytest.raises(Missing):
        archive.newest(DUMPS)


@pytest.mark.parametrize("state", ["listed", "fetched", "archived", "quarantined"])
def test_only_a_verified_artifact_is_taken(archive: Archive, state: str) -> None:
    archive_object(archive, "backups", "postgresql/plaza-1.dump", b"x", state=state)
    with pytest.raises(GateHeld, match=f"{state}, not verified"):
        archive.newest(DUMPS)


def test_an_artifact_without_a_record_is_refused(archive: Archive) -> None:
    archive_object(archive, "backups", "postgresql/plaza-1.dump", b"x")
    with pytest.raises(GateHeld, match="no record beside it") as held:
        archive.record(archive.newest(DUMPS), DumpRecord)
    assert held.value.where == "backups/postgresql/plaza-1.dump.json"


def test_a_record_that_is_not_verified_is_refused(archive: Archive) -> None:
    archive_object(archive, "backups", "postgresql/plaza-1.dump", b"x")
    archive_object(archive, "backups", "postgresql/plaza-1.dump.json", GOOD.encode(), state="quarantined")
    with pytest.raises(GateHeld, match="not verified"):
        archive.record(archive.newest(DUMPS), DumpRecord)


def test_a_good_record_may_say_more() -> None:
    record = parse_record(GOOD.encode(), DumpRecord, "here")
    assert (record.major, record.tables, record.taken_at.tzname()) == (15, {"public.t": 1}, "UTC")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (('"bytes": 7', '"bytes": "7"'), "bytes"),
        (('"bytes": 7', '"bytes": -7'), "bytes"),
        (('"database": "plaza", ', ""), "database"),
        (('"public.t": 1', '"public.t": null'), "tables.public.t"),
        (('"public.t": 1', '"public.t": true'), "tables.public.t"),
        (("a" * 64, "a" * 63), "sha256"),
        (("2026-11-20T12:00:00Z", "yesterday"), "taken_at"),
        (("150001", "15"), "server_version_num"),
        (("{", "["), "document"),
    ],
)
def test_a_malformed_record_is_refused_by_key_and_field(change: tuple[str, str], field: str) -> None:
    with pytest.raises(GateHeld) as held:
        parse_record(GOOD.replace(*change, 1).encode(), DumpRecord, "backups/key.json")
    assert f"malformed: {field}: " in held.value.what
    assert held.value.where == "backups/key.json" and held.value.exit_code is ExitCode.GATE


def test_a_snapshot_record_needs_its_keys() -> None:
    text = '{"taken_at": "2026-11-20T12:00:00Z", "bytes": 1, "sha256": "%s", "keys": 5}' % ("b" * 64)
    assert parse_record(text.encode(), SnapshotRecord, "here").keys == 5
    with pytest.raises(GateHeld, match="malformed: keys: "):
        parse_record(text.replace('"keys"', '"kyes"').encode(), SnapshotRecord, "here")


def test_bytes_are_held_against_the_record(archive: Archive) -> None:
    archive_dump(archive, b"good", {})
    artifact = archive.newest(DUMPS)
    record = archive.record(artifact, DumpRecord)
    require_same_bytes(artifact, record)
    artifact.path.write_bytes(b"gooD")
    with pytest.raises(GateHeld, match="SHA-256"):
        require_same_bytes(artifact, record)
    artifact.path.write_bytes(b"goo")
    with pytest.raises(GateHeld, match="3 bytes"):
        require_same_bytes(artifact, record)


def head(version: tuple[int, int], compression: bytes, width: int = 4) -> bytes:
    def integer(value: int) -> bytes:
        return bytes([value < 0]) + abs(value).to_bytes(width, "little")

    def text(value: str) -> bytes:
        return integer(len(value)) + value.encode()

    times = b"".join(integer(value) for value in (1, 2, 3, 4, 5, 126, -1))
    names = text("plaza") + text("16.3 (Debian 16.3-1)") + text("17beta1")
    return b"PGDMP" + bytes([*version, 0, width, 8, 1]) + compression + times + names + b"rest"


@pytest.mark.parametrize(
    ("version", "compression"),
    [((1, 12), b"\x01\x01\x00\x00\x00"), ((1, 14), b"\x00\x06\x00\x00\x00"), ((1, 15), b"\x02"), ((1, 16), b"\x00")],
)
def test_heads_of_all_supported_versions(version: tuple[int, int], compression: bytes) -> None:
    found = read_head(head(version, compression))
    assert found == Head(version, "plaza", "16.3 (Debian 16.3-1)", "17beta1")
    assert (found.server_major, found.dump_major) == (16, 17)


def test_every_cut_of_a_head_is_refused() -> None:
    whole = head((1, 15), b"\x00")[: -len(b"rest")]
    for length in range(len(whole)):
        with pytest.raises(NotCustomFormat):
            read_head(whole[:length])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"--\n-- PostgreSQL database dump", "plain SQL"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "a text document"),
        (b"PGDMP\x01\x0e\x00\x04\x08\x05", "another format"),
        (struct.pack(">Q", 7), "begins with 00 00"),
    ],
)
def test_what_is_no_dump_is_named(content: bytes, said: str) -> None:
    with pytest.raises(NotCustomFormat, match=said):
        read_head(content)
