"""The user's journey holds on a whole Plaza, again and again, and fails where something is wrong."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from werkzeug.serving import make_server

from plaza.application import create_app
from plaza.backends import open_backends
from plaza.settings import Settings
from plaza.worker import Worker
from support import Pristine

JOURNEY = Path(__file__).parents[2] / "journey.py"
BASES = (("users", "avatar_url"), ("images", "url"), ("images", "thumbnail_url"), ("posts", "body"))
JSON_BASES = (("posts", "card"), ("users", "profile"))
OLD = "https://media.old.example/"


@pytest.fixture
def site(settings: Settings) -> Iterator[str]:
    """A Plaza that has moved: its old addresses are rewritten, and server and worker run."""
    server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True)
    address = f"http://127.0.0.1:{server.server_port}/"
    with psycopg.connect(settings.database_url) as connection:
        for table, column in BASES:
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, %s, %s)", [OLD, f"{address}media/"])  # noqa: S608
        for table, column in JSON_BASES:
            text = f"replace({column}::text, %s, %s)::jsonb"
            connection.execute(f"UPDATE {table} SET {column} = {text}", [OLD, f"{address}media/"])  # noqa: S608
    moved = replace(settings, media_url=f"{address}media/")
    app = create_app(moved)
    server.app = app
    worker = Worker(open_backends(moved), "worker-of-the-journey")
    threads = [threading.Thread(target=run) for run in (server.serve_forever, worker.run)]
    for thread in threads:
        thread.start()
    yield address
    worker.stopping = True
    server.shutdown()
    for thread in threads:
        thread.join(10)
    server.server_close()
    worker.backends.close()
    app.extensions["plaza.backends"].close()


@pytest.fixture
def archive(tmp_path: Path, pristine: Pristine) -> Path:
    """What the export of the old bucket would have left."""
    (tmp_path / "archive" / "plaza-media").mkdir(parents=True)
    (tmp_path / "archive" / "plaza-media" / "objects").symlink_to(pristine.media)
    return tmp_path / "archive"


def walk(site: str, archive: Path, **environment: str) -> tuple[int, dict[str, str]]:
    done = subprocess.run(
        [sys.executable, JOURNEY, "--site", site, "--old-host", "media.old.example"],
        env={**os.environ, "CLOUDEXIT_ARCHIVE": str(archive), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(step) == {"step", "verdict", "detail", "seconds"} for step in steps)
    return done.returncode, {step["step"]: step["verdict"] for step in steps}


def test_the_journey_holds_twice(site: str, archive: Path) -> None:
    for _ in range(2):
        status, steps = walk(site, archive)
        assert status == 0
        assert len(steps) == 7
        assert set(steps.values()) == {"pass"}


def test_it_fails_when_something_is_wrong(site: str, archive: Path, settings: Settings) -> None:
    for picture in Path(settings.media_store.removeprefix("file://")).glob("images/**/*.jpg"):
        data = picture.read_bytes()
        picture.unlink()  # the file may be linked into other folders
        picture.write_bytes(data[:-1] + b"\0")
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("UPDATE posts SET body = body || %s WHERE author_id = 1", [f" {OLD}images/x.jpg"])
    status, steps = walk(site, archive)
    assert status == 1
    assert {name for name, verdict in steps.items() if verdict == "fail"} == {"load-image", "no-old-address"}


def test_it_fails_at_the_door_with_a_wrong_password(site: str, archive: Path) -> None:
    status, steps = walk(site, archive, PLAZA_DEMO_PASSWORD="wrong")
    assert status == 1
    assert steps["sign-in"] == "fail"


def test_it_fails_where_nobody_answers(archive: Path) -> None:
    status, steps = walk("http://127.0.0.1:9/", archive)
    assert status == 1
    assert set(steps.values()) == {"fail"}
