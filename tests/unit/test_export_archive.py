"""The archive on disk: no link followed, nothing outside touched, damage found, read without this tool."""

import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from migrate.errors import Incomplete, Missing, UsageProblem
from migrate.export.engine import export_bucket
from migrate.export.ledger import Ledger, Mode, State
from migrate.export.lock import exclusive
from migrate.export.results import object_document
from migrate.export.scope import ExportOptions
from migrate.export.sums import sums_line
from migrate.export.tree import PathBlocked, Tree
from migrate.export.verify import verify_archive
from tests.hostile.hostile_keys import HOSTILE_KEYS
from tests.hostile.memory_bucket import MemoryBucket

QUICK = ExportOptions(workers=4)


@pytest.fixture
def bucket() -> MemoryBucket:
    bucket = MemoryBucket()
    for key in ("a.txt", "folder/b.txt", "folder/deep/c.txt", "odd//d.txt"):
        bucket.put(key, f"content of {key}".encode())
    return bucket


@pytest.fixture
def dest(tmp_path: Path, bucket: MemoryBucket) -> Path:
    export_bucket(bucket, "", tmp_path / "archive", QUICK)
    return tmp_path / "archive"


def test_an_intact_archive_verifies(dest: Path) -> None:
    result = verify_archive(dest)
    assert (result.objects, result.matching, result.differences, result.complete) == (4, 4, (), True)


def test_a_flipped_bit_a_cut_file_and_a_missing_one_are_named_and_healed(dest: Path, bucket: MemoryBucket) -> None:
    flipped, cut, missing = (dest / "objects" / name for name in ("a.txt", "folder/b.txt", "folder/deep/c.txt"))
    flipped.write_bytes(b"Content of a.txt")
    cut.write_bytes(b"con")
    missing.unlink()
    result = verify_archive(dest)
    said = {difference.key: difference.what for difference in result.differences}
    assert set(said) == {"a.txt", "folder/b.txt", "folder/deep/c.txt"}
    assert "SHA-256" in said["a.txt"]
    assert "3 bytes" in said["folder/b.txt"]
    assert "missing" in said["folder/deep/c.txt"]
    assert (result.matching, result.unverified, result.complete) == (1, 3, False)
    with Ledger.open(dest) as ledger:
        assert ledger.counts()[State.QUARANTINED] == 3
    assert not verify_archive(dest).complete
    healed = export_bucket(bucket, "", dest, QUICK)
    assert (healed.complete, healed.skipped) == (True, 1)
    assert verify_archive(dest).complete


def test_verify_leaves_an_archive_in_use_alone(dest: Path) -> None:
    (dest / "objects/a.txt").write_bytes(b"Content of a.txt")
    with exclusive(dest):
        assert not verify_archive(dest).complete
    with Ledger.open(dest) as ledger:
        assert ledger.counts()[State.VERIFIED] == 4


def test_files_that_the_ledger_does_not_know_are_named(dest: Path) -> None:
    (dest / "objects/stray").write_text("?")
    (dest / "odd/stray").write_text("?")
    (dest / "objects/link").symlink_to("/etc/passwd")
    said = {difference.path: difference.what for difference in verify_archive(dest).differences}
    assert said == {
        "objects/stray": "a file that the ledger does not know",
        "odd/stray": "a file that the ledger does not know",
        "objects/link": "a symbolic link that the ledger does not know",
    }


def test_what_is_gone_from_the_source_is_still_verified(dest: Path, bucket: MemoryBucket) -> None:
    bucket.remove("a.txt")
    export_bucket(bucket, "", dest, QUICK)
    assert verify_archive(dest).objects == 4
    (dest / "objects/a.txt").write_bytes(b"Content of a.txt")
    result = verify_archive(dest)
    assert [difference.key for difference in result.differences] == ["a.txt"]
    assert not result.complete


def test_a_link_in_the_tree_is_not_followed(tmp_path: Path, bucket: MemoryBucket) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.txt").write_text("mine")
    objects = tmp_path / "archive/objects"
    objects.mkdir(parents=True)
    (objects / "folder").symlink_to(outside)
    (objects / "a.txt").symlink_to(outside / "b.txt")
    result = export_bucket(bucket, "", tmp_path / "archive", QUICK)
    assert result.complete
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"b.txt": "mine"}
    assert not (objects / "a.txt").is_symlink()
    with Ledger.open(tmp_path / "archive") as ledger:
        for row in ledger.objects():
            assert row.path is not None
            assert (tmp_path / "archive" / row.path).read_bytes() == f"content of {row.key}".encode()
            assert row.path.startswith("odd/") == row.key.startswith(("folder/", "odd//"))


@pytest.mark.parametrize("name", ["objects", ".spool", "quarantine"])
def test_the_archives_own_folders_may_be_no_links(tmp_path: Path, bucket: MemoryBucket, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / name).symlink_to(outside)
    with pytest.raises(UsageProblem, match="cannot use"):
        export_bucket(bucket, "", archive, QUICK)
    assert list(outside.iterdir()) == []


def test_a_link_for_a_lock_or_a_sum_file_is_not_followed(tmp_path: Path, bucket: MemoryBucket) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "SHA256SUMS").symlink_to(outside)
    export_bucket(bucket, "", archive, QUICK)
    (archive / "lock").unlink()
    (archive / "lock").symlink_to(outside)
    with pytest.raises(UsageProblem, match="lock"):
        export_bucket(bucket, "", archive, QUICK)
    assert outside.read_text() == "mine"


def test_a_stray_file_where_a_folder_must_be_is_set_aside(tmp_path: Path, bucket: MemoryBucket) -> None:
    """What a crash between rename and commit leaves behind."""
    objects = tmp_path / "archive/objects"
    objects.mkdir(parents=True)
    (objects / "folder").write_text("left by a crash")
    assert export_bucket(bucket, "", tmp_path / "archive", QUICK).complete
    assert (objects / "folder/b.txt").read_text() == "content of folder/b.txt"
    (aside,) = (tmp_path / "archive/quarantine").glob("stray-*")
    assert aside.read_text() == "left by a crash"


def test_a_very_deep_key_moves_when_it_becomes_a_folder(tmp_path: Path) -> None:
    """Deeper than the number of folders that are kept open."""
    deep = "/".join("z" * 1 for _ in range(500))
    bucket = MemoryBucket()
    bucket.put(deep, b"deep")
    export_bucket(bucket, "", tmp_path / "archive", QUICK)
    bucket.put(f"{deep}/below", b"deeper")
    assert export_bucket(bucket, "", tmp_path / "archive", QUICK).skipped == 1
    assert verify_archive(tmp_path / "archive").complete


def test_coreutils_alone_check_the_archive(tmp_path: Path) -> None:
    bucket = MemoryBucket()
    for key in HOSTILE_KEYS:
        bucket.put(key, key.encode())
    export_bucket(bucket, "", tmp_path, QUICK)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path, check=False).returncode == 0
    assert len((tmp_path / "SHA256SUMS").read_bytes().splitlines()) == len(HOSTILE_KEYS)
    (tmp_path / "objects/back\\slash").write_text("damaged")
    assert subprocess.run(check, cwd=tmp_path, check=False, capture_output=True).returncode == 1


def test_the_page_about_the_archive_can_be_followed_without_this_tool(tmp_path: Path) -> None:
    """Every command of docs/reference/archive.md, run as it stands."""
    if shutil.which("sqlite3") is None:
        pytest.skip("there is no sqlite3 command here")
    bucket = MemoryBucket()
    for key in ("a", "a/b", "odd//key"):
        bucket.put(key, f"content of {key}".encode(), headers={"content-type": "text/x-key"})
    bucket.put("cold", b"brr", storage_class="GLACIER")
    export_bucket(bucket, "", tmp_path, QUICK)
    page = (Path(__file__).parents[2] / "docs/reference/archive.md").read_text()
    commands = [line for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.splitlines()]
    assert len(commands) >= 8
    surroundings = {"PATH": os.environ["PATH"], "DEST": str(tmp_path), "KEY": "odd//key"}
    told = [
        subprocess.run(["bash", "-euc", command], check=True, capture_output=True, text=True, env=surroundings).stdout
        for command in commands
    ]
    assert told[1].splitlines() == ["archived|1|3", "verified|3|45"]
    assert "a/b|objects/a/b" in told[2]
    assert told[3].startswith("cold|archived|")
    assert told[4] == "content of odd//key"
    assert told[5].startswith("text/x-key|")
    assert 'bucket_policy|"none"' in told[6]
    assert "|incomplete|" in told[7]
    assert '"event": "ended"' in told[8]


def test_a_sum_line_is_escaped_as_coreutils_do() -> None:
    assert sums_line("0" * 64, "a\\b\nc") == b"\\" + b"0" * 64 + b"  a\\\\b\\nc\n"
    assert sums_line("0" * 64, "plain") == b"0" * 64 + b"  plain\n"


def test_there_is_no_archive_where_there_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no archive here"):
        Ledger.open(tmp_path)


def test_a_ledger_of_another_schema_is_refused(dest: Path) -> None:
    connection = sqlite3.connect(dest / "ledger.sqlite")
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(UsageProblem, match="schema version 999"):
        Ledger.open(dest)


def test_a_ledger_of_the_schema_before_is_brought_up_to_date_by_an_export(dest: Path, bucket: MemoryBucket) -> None:
    connection = sqlite3.connect(dest / "ledger.sqlite")
    connection.executescript(
        "ALTER TABLE objects DROP COLUMN acl; ALTER TABLE objects ADD COLUMN seen_run; PRAGMA user_version = 1;"
    )
    connection.close()
    with pytest.raises(UsageProblem, match="schema version 1"):
        Ledger.open(dest)
    assert export_bucket(bucket, "", dest, QUICK).skipped == 4
    assert verify_archive(dest).complete


def test_a_file_that_is_no_ledger_is_refused(dest: Path) -> None:
    (dest / "ledger.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UsageProblem, match="cannot be opened"):
        Ledger.open(dest, Mode.WRITE)


def test_a_ledger_at_rest_is_one_file_and_reading_leaves_no_trace(dest: Path) -> None:
    before = sorted(entry.name for entry in dest.iterdir())
    assert not [name for name in before if name.endswith(("-wal", "-shm"))]
    with Ledger.open(dest) as ledger:
        assert len(list(ledger.objects())) == 4
        assert sorted(entry.name for entry in dest.iterdir()) == before


def test_a_row_is_what_export_ls_prints(dest: Path) -> None:
    with Ledger.open(dest) as ledger:
        row = ledger.find("a.txt")
    assert row is not None
    document = object_document(row)
    contract = ["key", "version_id", "path", "size", "etag", "digest", "state", "content_type", "metadata", "tags",
                "last_modified"]  # fmt: skip
    assert [name for name in document if name in contract] == contract
    assert (document["path"], document["state"], document["version_id"]) == ("objects/a.txt", "verified", None)


@pytest.fixture
def small_disk(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A tmpfs of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_the_run_and_spares_the_ledger(small_disk: Path) -> None:
    bucket = MemoryBucket()
    for number in range(40):
        bucket.put(f"{number:02}", bytes([number]) * 50_000)
    with pytest.raises(Incomplete, match="the disk is full") as full:
        export_bucket(bucket, "", small_disk / "archive", QUICK)
    assert "goes on from here" in str(full.value)
    with Ledger.open(small_disk / "archive") as ledger:
        held = ledger.counts()[State.VERIFIED]
        assert ledger.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    result = export_bucket(bucket, "", small_disk / "archive", QUICK)
    assert result.complete
    assert result.skipped >= held
    assert verify_archive(small_disk / "archive").complete


def test_a_read_only_dest_is_refused_and_a_read_only_archive_can_be_read(small_disk: Path, dest: Path) -> None:
    shutil.copytree(dest, small_disk / "archive")
    (small_disk / "archive/objects/a.txt").write_bytes(b"Content of a.txt")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(UsageProblem, match="Read-only"):
        export_bucket(MemoryBucket(), "", small_disk / "archive", QUICK)
    result = verify_archive(small_disk / "archive")
    assert (len(result.differences), result.complete) == (1, False)


def test_the_tree_refuses_to_walk_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real/file-link").symlink_to(tmp_path / "real/file")
    with Tree(tmp_path) as tree:
        for path in ("link/file", "real/file-link"):
            with pytest.raises(PathBlocked):
                tree.open_file(path)
            assert tree.size(path) is None
        with pytest.raises(PathBlocked):
            tree.move("real/file", "link/moved")
        assert tree.size("real/file") == 1
        assert tree.move("real/none", "real/new") is False
