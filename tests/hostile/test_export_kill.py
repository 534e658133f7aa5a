"""kill -9 at random moments, in a loop: nothing is lost, nothing wrong is believed, nothing proved is fetched again."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from migrate.errors import ExitCode
from migrate.export.engine import export_bucket
from migrate.export.kept import KEPT_FROM_BYTES
from migrate.export.ledger import Ledger, State
from migrate.export.scope import ExportOptions
from migrate.export.status import archive_status
from migrate.export.verify import verify_archive
from tests.hostile.faulty_server import serving
from tests.hostile.memory_bucket import Fault, MemoryBucket

OBJECTS = 160
ROUNDS = 40
REPOSITORY = Path(__file__).parents[2]
EXPORT = """
import json, sys
from pathlib import Path
from migrate.adapters.s3 import Access, S3Source, connect
from migrate.errors import CloudexitError
from migrate.export.engine import export_bucket
from migrate.export.scope import ExportOptions
print("started", flush=True)
access = Access(sys.argv[1], "us-east-1", access_key_id="a", secret_access_key="b")
try:
    result = export_bucket(S3Source(connect(access), "bucket"), "", Path(sys.argv[2]), ExportOptions(workers=8))
except CloudexitError as end:
    print(end, file=sys.stderr)
    sys.exit(int(end.exit_code))
print(json.dumps(result.as_document()))
"""


COMMAND = "from migrate.cli import main; main()"


def start(code: str, *words: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "AWS_ACCESS_KEY_ID": "testaccess",
            "AWS_SECRET_ACCESS_KEY": "testsecret",
        },
    )


def proved(dest: Path) -> int:
    """How many objects the ledger calls verified; each is held against the bytes on disk."""
    if not (dest / "ledger.sqlite").exists():
        return 0
    with Ledger.open(dest) as ledger:
        assert ledger.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = list(ledger.objects((State.VERIFIED,)))
    for row in rows:
        content = (dest / str(row.path)).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.digest
    return len(rows)


def filled() -> MemoryBucket:
    bucket = MemoryBucket(page_size=50)
    for number in range(OBJECTS):
        bucket.put(f"images/{number % 17:02}/{number:04}.jpg", os.urandom(2000 + number))
    for number in range(0, OBJECTS, 8):
        bucket.put(f"images/{number % 17:02}/{number:04}.jpg/thumbnail", b"a key below another")
    bucket.put("video.mp4", os.urandom(KEPT_FROM_BYTES * 2 + 5), parts=(KEPT_FROM_BYTES, KEPT_FROM_BYTES, 5))
    return bucket


def test_killed_at_random_moments_it_goes_on(tmp_path: Path) -> None:
    dice = random.Random(20261120)
    dest = tmp_path / "archive"
    bucket = filled()
    before = kills = 0
    with serving(bucket) as server:
        server.delay = 0.1
        for _ in range(ROUNDS):
            process = start(EXPORT, server.url, dest)
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            try:
                process.wait(timeout=dice.uniform(0.6, 1.7))
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            after = proved(dest)
            assert after >= before
            before = after
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert kills
    result = json.loads(output)
    assert (result["listed"], result["verified"], result["complete"]) == (
        len(bucket.objects),
        len(bucket.objects),
        True,
    )
    assert result["skipped"] >= before
    assert verify_archive(dest).complete
    with Ledger.open(dest) as ledger:
        for row in ledger.objects():
            assert (dest / str(row.path)).read_bytes() == bucket.objects[row.key][0].data


def test_a_large_object_goes_on_at_the_missing_bytes_after_kill_9(tmp_path: Path) -> None:
    size = KEPT_FROM_BYTES * 3
    bucket = MemoryBucket()
    bucket.put("large", os.urandom(size), parts=(KEPT_FROM_BYTES,) * 3)
    with serving(bucket) as server:
        process = start(COMMAND, "export", "s3://bucket", tmp_path, "--endpoint-url", server.url, "--bandwidth", "8M")
        end = time.monotonic() + 30
        while kept_bytes(tmp_path) < size // 2:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = kept_bytes(tmp_path)
        assert there < size
        assert (archive_status(tmp_path)["under_way"], archive_status(tmp_path)["outcome"]) == (False, "interrupted")
        again = start(COMMAND, "export", "s3://bucket", tmp_path, "--endpoint-url", server.url, "--json")
        output, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    result = json.loads(output)
    assert (result["verified"], result["bytes"]) == (1, size - there)
    assert (tmp_path / "objects/large").read_bytes() == bucket.objects["large"][0].data
    assert list((tmp_path / ".spool").iterdir()) == []


def kept_bytes(dest: Path) -> int:
    return sum(path.stat().st_size for path in dest.glob(".spool/kept-*") if path.suffix != ".json")


def test_a_beginning_that_the_crash_spoiled_or_that_belongs_to_older_content_is_not_believed(tmp_path: Path) -> None:
    bucket = MemoryBucket()
    data = os.urandom(KEPT_FROM_BYTES + 10)
    for key in ("spoiled", "changed", "vanished"):
        bucket.put(key, data)
        bucket.faults[key] = Fault("truncated")
    options = ExportOptions(workers=2)
    assert export_bucket(bucket, "", tmp_path, options).unverified == 3
    bucket.faults.clear()
    (spoiled,) = (path for path in tmp_path.glob(".spool/kept-*") if path.read_bytes()[:10].startswith(b'["spoiled"'))
    with spoiled.with_suffix("").open("r+b") as stream:
        stream.write(b"\0" * 4096)
    bucket.put("changed", data[::-1])
    bucket.remove("vanished")
    assert export_bucket(bucket, "", tmp_path, options).complete
    assert (tmp_path / "objects/spoiled").read_bytes() == data
    assert (tmp_path / "objects/changed").read_bytes() == data[::-1]
    assert list((tmp_path / ".spool").iterdir()) == []


def test_ctrl_c_stops_in_seconds_and_says_how_to_go_on(tmp_path: Path) -> None:
    with serving(filled()) as server:
        server.delay = 4.0  # several requests are under way at once: the run must outlast the look at it
        process = start(COMMAND, "export", "s3://bucket", tmp_path, "--endpoint-url", server.url)
        end = time.monotonic() + 40
        while not proved(tmp_path):
            assert time.monotonic() < end
            time.sleep(0.1)
        status = start(COMMAND, "status", tmp_path, "--json")
        told = json.loads(status.communicate(timeout=20)[0])
        assert (told["under_way"], told["outcome"], told["pid"], told["bucket"]) == (
            True,
            "running",
            process.pid,
            "bucket",
        )
        assert 0 < told["progress"]["verified"] < OBJECTS
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "goes on from here" in errors
    assert proved(tmp_path) < OBJECTS
    output, _ = start(COMMAND, "status", tmp_path).communicate(timeout=20)
    assert "run 1 from s3://bucket/ is interrupted" in output
