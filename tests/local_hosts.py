"""This machine as a host: real commands, a real PostgreSQL and a real Redis, each private to a test.

Commands run in a mount namespace of their own, where the folders that a restore writes to are a test's own.
Only systemd is stood in for, by a script that starts and stops those two servers.
"""

import hashlib
import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import psycopg
import pytest

from migrate.action import StepContext
from migrate.errors import Unreachable
from migrate.export.ledger import Ledger, Mode
from migrate.inventory import Host, Inventory
from migrate.plan import Effect, Phase, Step
from migrate.ports import Completed
from migrate.restore.artifacts import Archive
from migrate.secret import Secret, Secrets
from migrate.stack import Stack
from tests.ownsecrets import OWN_SECRETS_OF_TESTS

OWN_FOLDERS = ("/var/lib/cloudexit", "/srv/media")
GROUPS = ("database", "cache", "app", "worker", "edge", "media")
SOCKETS = Path("/var/run/postgresql")
PASSWORD = "right-horse"
CONTEXT = StepContext()
BIND = 'for folder in $1; do mount --bind "$2$folder" "$folder"; done; shift 2; exec "$@"'


@dataclass
class LocalHosts:
    """ports.Hosts on this machine. `programs` is a folder that comes first in PATH; `down` answers as a dead host."""

    root: Path
    programs: Path
    down: bool = False
    commands: list[str] = field(default_factory=list)

    def run(
        self,
        host: Host,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        as_user: str | None = None,
    ) -> Completed:
        self._answer()
        self.commands.append(shlex.join(command))
        user = ["runuser", "-u", as_user, "--"] if as_user else []
        ended = subprocess.run(
            ["unshare", "-m", "sh", "-ec", BIND, "sh", " ".join(OWN_FOLDERS), str(self.root), *user, *command],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            cwd="/",
            env={"PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
        return Completed(
            host.name, shlex.join(command), ended.returncode, ended.stdout.decode("utf-8", "replace"),
            ended.stderr.decode("utf-8", "replace"),
        )  # fmt: skip

    def put(self, host: Host, local: Path, remote: PurePosixPath, *, mode: int = 0o600) -> None:
        self._answer()
        target = self.on_disk(remote)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, target)
        target.chmod(mode)

    def mirror_tree(self, host: Host, local: Path, remote: PurePosixPath, *, owner: str, timeout: float) -> None:
        self._answer()
        self.on_disk(remote).mkdir(parents=True, exist_ok=True)
        subprocess.run(["rsync", "-rt", f"{local}/", f"{self.on_disk(remote)}/"], check=True, timeout=timeout)

    @contextmanager
    def tunnel(self, host: Host, port: int) -> Iterator[int]:
        self._answer()
        yield port

    def on_disk(self, path: PurePosixPath) -> Path:
        """Where a path of the host lies on this machine."""
        return Path(f"{self.root}{path}")

    def _answer(self) -> None:
        if self.down:
            raise Unreachable("no SSH: timed out", where="here")


@dataclass(frozen=True)
class PrivatePostgresql:
    port: int

    def execute(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(
            host=str(SOCKETS), port=self.port, dbname=database, user="postgres", autocommit=True
        ) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def dump(self, database: str) -> bytes:
        command = ["pg_dump", "-Fc", "-h", str(SOCKETS), "-p", str(self.port), "-U", "postgres", database]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout

    def databases(self) -> set[str]:
        found = self.execute("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate")
        return {row[0] for row in found} - {"postgres"}

    def clear(self) -> None:
        for database in self.databases():
            self.execute("postgres", f'DROP DATABASE "{database}" WITH (FORCE)')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def skip_unless(programs: Sequence[str | Path], why: str) -> None:
    missing = [str(program) for program in programs if not shutil.which(program)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"{why}: needs root and {', '.join(map(str, missing)) or 'nothing else'}")


@contextmanager
def running_postgresql() -> Iterator[PrivatePostgresql]:
    """A cluster of its own, as the user postgres, on a free port."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    skip_unless(["pg_restore", "runuser", "unshare"], "PostgreSQL of this machine")
    if not versions or not (versions[-1] / "initdb").exists():
        pytest.skip("PostgreSQL of this machine: apt-get install postgresql")
    binaries = versions[-1]
    SOCKETS.mkdir(parents=True, exist_ok=True)
    shutil.chown(SOCKETS, "postgres", "postgres")
    folder = Path(tempfile.mkdtemp(prefix="cloudexit-pg-"))
    shutil.chown(folder, "postgres", "postgres")
    port = free_port()

    def as_postgres(*command: str) -> None:
        subprocess.run(
            ["runuser", "-u", "postgres", "--", *command], check=True, cwd="/", timeout=60, stdout=subprocess.DEVNULL
        )

    as_postgres(str(binaries / "initdb"), "-D", str(folder / "data"), "-A", "scram-sha-256", "--locale=C.UTF-8",
                "--auth-local=trust", "-U", "postgres", "--no-sync")  # fmt: skip
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={SOCKETS} -c fsync=off"
    as_postgres(str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-o", options, "-l", str(folder / "log"),
                "-w", "start")  # fmt: skip
    try:
        cluster = PrivatePostgresql(port)
        cluster.execute("postgres", f"CREATE ROLE plaza LOGIN PASSWORD '{PASSWORD}'")
        yield cluster
    finally:
        as_postgres(str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


@dataclass
class PrivateRedis:
    """Stopped and started by `unit_script`, which stands in for systemctl."""

    folder: Path
    port: int
    append_only: bool = False

    def cli(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.port), *words]
        environment = {**os.environ, "REDISCLI_AUTH": PASSWORD}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=20).stdout.strip()

    @property
    def start_command(self) -> str:
        return shlex.join(
            ["redis-server", "--port", str(self.port), "--dir", str(self.folder), "--requirepass", PASSWORD,
             "--daemonize", "yes", "--pidfile", str(self.folder / "pid"), "--save", "900 1",
             "--logfile", str(self.folder / "log"), "--appendonly", "yes" if self.append_only else "no"]
        )  # fmt: skip

    def start(self) -> None:
        subprocess.run(shlex.split(self.start_command), check=True, timeout=20)
        deadline = time.monotonic() + 10
        while self.cli("PING") != "PONG":
            assert time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        if (self.folder / "pid").exists():
            os.kill(int((self.folder / "pid").read_text()), signal.SIGTERM)
            deadline = time.monotonic() + 10
            while (self.folder / "pid").exists():
                assert time.monotonic() < deadline, "redis-server does not stop"
                time.sleep(0.05)

    def unit_script(self) -> str:
        """start, stop and is-active of redis-server.service; every other unit is said to be active."""
        pid = shlex.quote(str(self.folder / "pid"))
        return f"""#!/bin/sh
case "$1 $2" in
"stop redis-server.service")
    [ -e {pid} ] || exit 0
    kill "$(cat {pid})"
    while [ -e {pid} ]; do sleep 0.05; done ;;
"start redis-server.service") [ -e {pid} ] || exec {self.start_command} ;;
"is-active redis-server.service") [ -e {pid} ] && echo active || {{ echo inactive; exit 3; }} ;;
esac
"""


@contextmanager
def running_redis(*, append_only: bool = False) -> Iterator[PrivateRedis]:
    skip_unless(["redis-server", "redis-check-rdb", "unshare"], "Redis of this machine")
    folder = Path(tempfile.mkdtemp(prefix="cloudexit-redis-"))
    server = PrivateRedis(folder, free_port(), append_only)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def hosts_in(folder: Path, systemctl: str = "#!/bin/sh\nexit 0\n") -> Iterator[LocalHosts]:
    """A host whose own folders lie in `folder`; anyone may pass through it, as on a real host's root."""
    root = Path(tempfile.mkdtemp(prefix="cloudexit-host-"))
    root.chmod(0o755)
    for path in OWN_FOLDERS:
        Path(f"{root}{path}").mkdir(parents=True)
        Path(path).mkdir(parents=True, exist_ok=True)  # stays: tests of another process may have mounted theirs on it
    programs = folder / "programs"
    programs.mkdir()
    (programs / "systemctl").write_text(systemctl)
    (programs / "systemctl").chmod(0o755)
    try:
        yield LocalHosts(root, programs)
    finally:
        shutil.rmtree(root)


def inventory_of_one(address: str = "127.0.0.1") -> Inventory:
    return Inventory(Path("hosts.yml"), {"here": Host("here", address, GROUPS)})


def stack_with(*, postgresql_port: Any = 5432, redis_port: Any = 6379, **changes: Any) -> Stack:
    """A small stack of one database, one cache and one media tree."""
    always = [{"name": "runs", "unit": "active"}]
    document: dict[str, Any] = {
        "name": "plaza",
        "site": "http://{edge}/",
        "buckets": {"backups": {"holds": "backups"}, "pictures": {"holds": "media"}},
        "databases": {
            "plaza": {
                "service": "database", "owner": "plaza", "password": "database_password",
                "dump": {"bucket": "backups", "pattern": "postgresql/plaza-*.dump"},
                "watermarks": {"posts": "created_at"},
            }
        },
        "caches": {
            "plaza": {
                "service": "cache", "password": "cache_password",
                "snapshot": {"bucket": "backups", "pattern": "redis/plaza-*.rdb"},
            }
        },
        "media": {
            "plaza": {
                "bucket": "pictures", "service": "media", "password": "database_password",
                "url": "http://{edge}/media/", "old_urls": ["https://old.example/pictures/"],
            }
        },
        "secrets": {"database_password": None, "cache_password": None},
        "services": {
            "database": {"kind": "postgresql", "group": "database", "unit": "postgresql.service",
                         "port": postgresql_port, "checks": always},
            "cache": {"kind": "redis", "group": "cache", "unit": "redis-server.service", "port": redis_port,
                      "checks": always},
            "media": {"kind": "media", "group": "media", "unit": "nginx-media.service", "port": 8080,
                      "write_port": 8081, "checks": always},
            "edge": {"kind": "edge", "group": "edge", "unit": "nginx-edge.service", "port": 80, "upstream": "media",
                     "checks": always},
        },
    }  # fmt: skip
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = document
        for parent in parents:
            part = part[parent]
        part[last] = value
    return Stack.model_validate(document)


def secrets_of_tests() -> Secrets:
    given = {"database_password": Secret(PASSWORD), "cache_password": Secret(PASSWORD)}
    return Secrets({**OWN_SECRETS_OF_TESTS, **given})


def step_for(subject: str) -> Step:
    return Step("step", Phase.RESTORE, "kind", "title", Effect.REVERSIBLE, subject=subject)


def archive_object(archive: Archive, bucket: str, key: str, content: bytes, *, state: str = "verified") -> Path:
    """Puts an object into an archive, and into its ledger, as the export leaves it."""
    dest = archive.folder / bucket
    path = dest / "objects" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with Ledger.open(dest, Mode.WRITE) as ledger:
        ledger.connection.execute(
            "INSERT OR REPLACE INTO objects (key, state, size, etag, last_modified, storage_class, path, stored_size,"
            " digest) VALUES (?, ?, ?, 'e', '2026-11-20T00:00:00Z', 'STANDARD', ?, ?, ?)",
            (key.encode(), state, len(content), f"objects/{key}", len(content), hashlib.sha256(content).hexdigest()),
        )
    return path


def archive_dump(
    archive: Archive, content: bytes, tables: Mapping[str, int], stamp: str = "20261120T120000Z", **changes: Any
) -> str:
    """Puts a dump and its record into the archive; the record's SHA-256."""
    record = {
        "database": "plaza", "server_version": "15.18", "server_version_num": 150018,
        "taken_at": datetime.now(UTC).isoformat(), "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(), "tables": dict(tables), **changes,
    }  # fmt: skip
    key = f"postgresql/plaza-{stamp}.dump"
    archive_object(archive, "backups", key, content)
    archive_object(archive, "backups", f"{key}.json", json.dumps(record).encode())
    return str(record["sha256"])


def user_exists(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())


@pytest.fixture(scope="session")
def cluster() -> Iterator[PrivatePostgresql]:
    with running_postgresql() as running:
        yield running


@pytest.fixture
def postgresql(cluster: PrivatePostgresql) -> Iterator[PrivatePostgresql]:
    """A cluster with the role `plaza` and no database."""
    cluster.clear()
    yield cluster
    cluster.clear()


@pytest.fixture
def local_hosts(tmp_path: Path) -> Iterator[LocalHosts]:
    skip_unless(["unshare", "runuser"], "this machine as a host")
    with hosts_in(tmp_path) as hosts:
        yield hosts


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    (tmp_path / "archive" / "backups").mkdir(parents=True)
    (tmp_path / "archive" / "pictures").mkdir()
    return Archive(tmp_path / "archive")
