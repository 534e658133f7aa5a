"""A run that is killed after it has renamed files, before it has committed whose they are: the next one finds out."""

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from migrate.export.engine import export_bucket
from migrate.export.ledger import Ledger, State
from migrate.export.recording import Recording
from migrate.export.results import ExportResult
from migrate.export.scope import ExportOptions
from migrate.export.verify import verify_archive
from tests.hostile.memory_bucket import MemoryBucket

COMMITS = range(1, 6)


def run(bucket: MemoryBucket, dest: Path) -> ExportResult:
    return export_bucket(bucket, "", dest, ExportOptions(workers=2, versions=bucket.versioned))


def killed(bucket: MemoryBucket, dest: Path, at_commit: int) -> None:
    """A run in a child that ends, by SIGKILL, when it is about to commit for the so-manieth time."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    left = at_commit
    commit = Recording.commit

    def commit_or_die(recording: Recording) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(recording)

    try:
        with patch.object(Recording, "commit", commit_or_die):
            run(bucket, dest)
    finally:
        os._exit(0)


def faults(dest: Path) -> list[str]:
    """What is not as the ledger, and SHA256SUMS, say it is."""
    with Ledger.open(dest) as ledger:
        rows = list(ledger.objects((State.VERIFIED, State.FETCHED, State.GONE)))
    found = [
        f"{row.key} {row.version_id}: other bytes at {row.path}"
        for row in rows
        if row.path and hashlib.sha256((dest / row.path).read_bytes()).hexdigest() != row.digest
    ]
    summed = {}
    for line in (dest / "SHA256SUMS").read_text().splitlines():
        digest, _, path = line.partition("  ")
        summed[path] = digest
        if not (dest / path).exists() or hashlib.sha256((dest / path).read_bytes()).hexdigest() != digest:
            found.append(f"SHA256SUMS: {path}")
    return found + [f"not summed: {row.path}" for row in rows if row.path and row.path not in summed]


@pytest.mark.parametrize("at_commit", COMMITS)
def test_a_new_version_of_a_key(tmp_path: Path, at_commit: int) -> None:
    bucket = MemoryBucket(versioned=True)
    for content in (b"one!", b"two!"):
        bucket.put("k", content)
    run(bucket, tmp_path)
    bucket.put("k", b"tri!")
    killed(bucket, tmp_path, at_commit)
    result = run(bucket, tmp_path)
    assert (result.verified, result.complete, faults(tmp_path)) == (3, True, [])
    assert verify_archive(tmp_path).complete


@pytest.mark.parametrize("at_commit", COMMITS)
def test_a_version_that_vanishes_keeps_its_bytes(tmp_path: Path, at_commit: int) -> None:
    bucket = MemoryBucket(versioned=True)
    for content in (b"one!", b"two!"):
        bucket.put("k", content)
    run(bucket, tmp_path)
    bucket.objects["k"].pop()
    killed(bucket, tmp_path, at_commit)
    assert (run(bucket, tmp_path).complete, faults(tmp_path)) == (True, [])
    kept = {
        path.read_bytes()
        for folder in ("objects", "versions")
        for path in (tmp_path / folder).rglob("*")
        if path.is_file()
    }
    assert kept == {b"one!", b"two!"}


@pytest.mark.parametrize("at_commit", COMMITS)
@pytest.mark.parametrize("then", ["stays", "vanishes"])
def test_an_object_that_is_overwritten(tmp_path: Path, at_commit: int, then: str) -> None:
    bucket = MemoryBucket()
    bucket.put("k", b"one!")
    bucket.put("l", b"kept")
    run(bucket, tmp_path)
    bucket.put("k", b"two!")
    killed(bucket, tmp_path, at_commit)
    if then == "vanishes":
        bucket.remove("k")
    assert (run(bucket, tmp_path).complete, faults(tmp_path)) == (True, [])


@pytest.mark.parametrize("at_commit", COMMITS)
def test_a_key_that_becomes_a_folder(tmp_path: Path, at_commit: int) -> None:
    bucket = MemoryBucket()
    bucket.put("a", b"file")
    run(bucket, tmp_path)
    bucket.put("a/b", b"below")
    bucket.remove("a")
    killed(bucket, tmp_path, at_commit)
    assert (run(bucket, tmp_path).complete, faults(tmp_path)) == (True, [])
    assert verify_archive(tmp_path).complete


def change_latest(bucket: MemoryBucket) -> None:
    bucket.objects["k"].pop()


def mark_deleted(bucket: MemoryBucket) -> None:
    bucket.remove("k")


@pytest.mark.parametrize("change", [change_latest, mark_deleted])
def test_sums_follow_files_that_were_only_renamed(tmp_path: Path, change: Callable[[MemoryBucket], None]) -> None:
    bucket = MemoryBucket(versioned=True)
    for content in (b"one!", b"two!"):
        bucket.put("k", content)
    run(bucket, tmp_path)
    change(bucket)
    assert (run(bucket, tmp_path).complete, faults(tmp_path)) == (True, [])


def test_sums_that_could_not_be_written_are_written_by_the_next_run(tmp_path: Path) -> None:
    bucket = MemoryBucket()
    bucket.put("a", b"one!")
    run(bucket, tmp_path)
    bucket.put("a", b"two!")
    bucket.put("m", b"new")
    with (
        patch("migrate.export.engine.write_sums", side_effect=OSError(28, "No space left on device")),
        pytest.raises(Exception, match="disk is full"),
    ):
        run(bucket, tmp_path)
    result = run(bucket, tmp_path)
    assert (result.skipped, result.complete, faults(tmp_path)) == (2, True, [])


def test_a_gone_object_that_was_damaged_is_fetched_again_when_it_returns(tmp_path: Path) -> None:
    bucket = MemoryBucket()
    stored = bucket.put("k", b"good")
    bucket.put("l", b"kept")
    run(bucket, tmp_path)
    bucket.remove("k")
    run(bucket, tmp_path)
    (tmp_path / "objects/k").write_bytes(b"evil")
    assert not verify_archive(tmp_path).complete
    bucket.objects["k"] = [stored]
    result = run(bucket, tmp_path)
    assert (result.skipped, result.complete, (tmp_path / "objects/k").read_bytes()) == (1, True, b"good")
