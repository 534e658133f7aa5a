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
from migrate.export.ledger import Ledger, State
from migrate.export.verify import verify_archive
from tests.hostile.faulty_server import serving
from tests.hostile.memory_bucket import MemoryBucket

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


def test_ctrl_c_stops_in_seconds_and_says_how_to_go_on(tmp_path: Path) -> None:
    with serving(filled()) as server:
        server.delay = 0.4
        process = start(COMMAND, "export", "s3://bucket", tmp_path, "--endpoint-url", server.url)
        end = time.monotonic() + 20
        while not proved(tmp_path):
            assert time.monotonic() < end
            time.sleep(0.1)
        stopped = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert time.monotonic() - stopped < 6
    assert process.returncode == ExitCode.INTERRUPTED
    assert "goes on from here" in errors
    assert proved(tmp_path) < OBJECTS
