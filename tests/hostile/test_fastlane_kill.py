"""Workers that are killed lose no object; a killed engine leaves no worker; secrets are in no command line."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.adapters.fastlane import lanes as fastlanes
from migrate.adapters.fastlane.endpoint import lanes_for
from migrate.adapters.s3 import Access, S3Source, open_account
from migrate.export.engine import export_bucket
from migrate.export.results import ExportResult
from migrate.export.scope import ExportOptions
from migrate.export.verify import verify_archive
from tests.hostile.faulty_server import FaultyServer, serving
from tests.hostile.memory_bucket import MemoryBucket
from tests.hostile.test_export_kill import COMMAND, start

OBJECTS = 400
PATIENCE_SECONDS = 20.0


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    bucket = MemoryBucket()
    for number in range(OBJECTS):
        bucket.put(f"images/{number:04}.jpg", os.urandom(2000 + number))
    bucket.put("large", os.urandom(1024 * 1024) * 36)
    with serving(bucket) as server:
        server.delay = 0.05
        yield server


def workers_of(parent: int) -> dict[int, str]:
    """Process id -> command line of the parent's workers."""
    found = {}
    for task in Path(f"/proc/{parent}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # threads end at any moment
            for child in (task / "children").read_text().split():
                command = command_of(int(child)).replace("\0", " ")
                if fastlanes.MODULE in command:
                    found[int(child)] = command
    return found


def awaited_workers(parent: int) -> dict[int, str]:
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := workers_of(parent)):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("rounds", [1, fastlanes.REPLACEMENTS + 4])
def test_killed_workers_lose_nothing(server: FaultyServer, tmp_path: Path, rounds: int) -> None:
    account = open_account(Access(server.url, "us-east-1", access_key_id="a", secret_access_key="b"))
    ended: list[ExportResult] = []
    source = S3Source(account.client, "bucket")
    thread = threading.Thread(
        target=lambda: ended.append(
            export_bucket(source, "", tmp_path, ExportOptions(workers=8), make_lanes=lanes_for(account, "bucket"))
        )
    )
    thread.start()
    killed: set[int] = set()
    while thread.is_alive() and len(killed) < rounds:
        for worker in set(workers_of(os.getpid())) - killed:
            time.sleep(0.25)
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
    thread.join(PATIENCE_SECONDS * 3)
    assert killed
    assert ended
    assert (ended[0].verified, ended[0].complete) == (OBJECTS + 1, True)
    assert verify_archive(tmp_path).complete
    assert not workers_of(os.getpid())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_engine(server: FaultyServer, tmp_path: Path, how: signal.Signals) -> None:
    server.delay = 0.3
    process = start(COMMAND, "export", "s3://bucket", tmp_path / "d", "--endpoint-url", server.url)
    found = awaited_workers(process.pid)
    assert all("testsecret" not in command and "testaccess" not in command for command in found.values())
    time.sleep(0.5)
    process.send_signal(how)
    process.communicate(timeout=PATIENCE_SECONDS)
    end = time.monotonic() + PATIENCE_SECONDS
    while alive := [worker for worker in found if fastlanes.MODULE in command_of(worker)]:
        assert time.monotonic() < end, alive
        time.sleep(0.05)
    server.delay = 0.0
    again = start(COMMAND, "export", "s3://bucket", tmp_path / "d", "--endpoint-url", server.url)
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert verify_archive(tmp_path / "d").complete


def command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
