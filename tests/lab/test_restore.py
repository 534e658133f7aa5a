"""A restore on a real host over SSH: systemd's PostgreSQL and Redis, as the playbooks make them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from migrate.adapters.ansible import AnsiblePlaybooks
from migrate.adapters.http import HttpxClient
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.adapters.ssh import SshHosts
from migrate.check import ChecksHeld, Verdict
from migrate.inventory import Host, Inventory, read_inventory
from migrate.lab import HostSpec, Lab
from migrate.restore.artifacts import Archive
from migrate.restore.cache import CacheRestored
from migrate.restore.database import DatabaseLoaded
from migrate.restore.dump import DumpPlaced
from migrate.restore.media import MediaPlaced
from migrate.restore.proof import DatabaseProved
from migrate.restore.rewrite import UrlsRewritten
from migrate.secret import Secrets
from migrate.stack import Stack
from migrate.target.checks import ServiceChecks
from migrate.target.provision import Provision
from migrate.target.services import ServiceStarted
from tests.local_hosts import CONTEXT, archive_dump, archive_object, secrets_of_tests, stack_with, step_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

STEP = step_for("plaza")
ROWS = 400
SOURCE = f"""
CREATE TABLE posts (id bigserial PRIMARY KEY, body text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
INSERT INTO posts (body) SELECT 'https://old.example/pictures/' || i FROM generate_series(1, {ROWS}) i;
ALTER TABLE posts ADD CONSTRAINT slow CHECK (pg_sleep(0.01)::text = '') NOT VALID;
UPDATE pg_constraint SET convalidated = true WHERE conname = 'slow';
"""
"""The check makes a load last for seconds, so that a kill meets it."""
LOAD = """
    import sys
    from pathlib import Path
    from migrate.adapters.ssh import SshHosts
    from migrate.inventory import read_inventory
    from migrate.restore.artifacts import Archive
    from migrate.restore.database import DatabaseLoaded
    from tests.local_hosts import CONTEXT, stack_with, step_for
    inventory, archive = map(Path, sys.argv[1:])
    action = DatabaseLoaded(stack_with(), read_inventory(inventory), SshHosts(), Archive(archive))
    action.apply(step_for("plaza"), CONTEXT)
"""


@dataclass
class Home:
    lab: Lab
    hosts: SshHosts
    stack: Stack
    inventory: Inventory
    secrets: Secrets
    archive: Archive

    @property
    def host(self) -> Host:
        return self.inventory.hosts["data"]

    def as_postgres(self, *command: str, stdin: str = "") -> str:
        done = self.hosts.run(self.host, command, stdin=stdin.encode(), as_user="postgres", timeout=120)
        assert done, done.stderr
        return done.stdout

    def databases(self) -> set[str]:
        return set(self.as_postgres("psql", "-At", "-c", "SELECT datname FROM pg_database").split())

    def drop_databases(self) -> None:
        for name in self.databases() - {"postgres", "template0", "template1"}:
            self.as_postgres("dropdb", "--force", name)

    def checks(self) -> ServiceChecks:
        clients: Any = (HttpxClient(), PsycopgClient(), RedisClient())
        return ServiceChecks(self.stack, self.inventory, self.secrets, self.hosts, *clients)

    @property
    def loading(self) -> DatabaseLoaded:
        return DatabaseLoaded(self.stack, self.inventory, self.hosts, self.archive)


def checked_stack() -> Stack:
    sql = {"name": "answers", "postgresql": {"database": "plaza", "query": "SELECT count(*) > 0 FROM posts"}}
    return stack_with(
        services__database__checks=[{**sql, "within": "20s"}],
        services__cache__checks=[{"name": "answers", "redis": {"cache": "plaza"}, "within": "20s"}],
        services__media__checks=[{"name": "healthy", "http": {"path": "/healthz"}, "within": "20s"}],
    )


@pytest.fixture(scope="module")
def home(module_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One host with every group, provisioned by the playbooks, and an archive with a dump that was made on it."""
    folder = tmp_path_factory.mktemp("restore")
    module_lab.up([HostSpec("data", ("database", "cache", "media", "edge"))])
    module_lab.write_inventory(folder / "hosts.yml", hosts=["data"])
    inventory, stack, secrets = read_inventory(folder / "hosts.yml"), checked_stack(), secrets_of_tests()
    archive = Archive(folder / "archive")
    for bucket in ("backups", "pictures"):
        (archive.folder / bucket).mkdir(parents=True)
    with SshHosts() as hosts:
        home = Home(module_lab, hosts, stack, inventory, secrets, archive)
        playbooks = AnsiblePlaybooks(folder / "ansible")
        Provision(hosts, playbooks, stack, inventory, secrets, home.checks(), "tests").apply(STEP, CONTEXT)
        put_dump(home)
        put_snapshot(home)
        archive_object(archive, "pictures", "images/1.jpg", b"a picture")
        yield home


def put_dump(home: Home) -> None:
    home.as_postgres("createdb", "plaza")
    home.as_postgres("psql", "-q", "-v", "ON_ERROR_STOP=1", "plaza", stdin=SOURCE)
    content = subprocess.run(
        [*home.lab.ssh_argv("data"), "cd / && runuser -u postgres -- pg_dump -Fc plaza"],
        check=True, capture_output=True, timeout=60,
    ).stdout  # fmt: skip
    archive_dump(home.archive, content, {"public.posts": ROWS})
    home.drop_databases()


def put_snapshot(home: Home) -> None:
    """A snapshot of a Redis of its own, made on the host."""
    script = (
        "d=$(mktemp -d) && redis-server --port 7001 --dir $d --daemonize yes --save '' >/dev/null &&"
        " until redis-cli -p 7001 ping >/dev/null 2>&1; do sleep 0.1; done;"
        " redis-cli -p 7001 rpush plaza:jobs a b >/dev/null; redis-cli -p 7001 save >/dev/null;"
        " redis-cli -p 7001 shutdown nosave; cat $d/dump.rdb"
    )
    content = subprocess.run([*home.lab.ssh_argv("data"), script], check=True, capture_output=True, timeout=60).stdout
    record = {"taken_at": "2026-11-20T12:00:00Z", "bytes": len(content), "keys": 1,
              "sha256": hashlib.sha256(content).hexdigest()}  # fmt: skip
    archive_object(home.archive, "backups", "redis/plaza-1.rdb", content)
    archive_object(home.archive, "backups", "redis/plaza-1.rdb.json", json.dumps(record).encode())


def test_a_load_that_was_killed_is_done_again_and_its_remains_are_gone(home: Home) -> None:
    home.drop_databases()
    DumpPlaced(home.stack, home.inventory, home.hosts, home.archive).apply(STEP, CONTEXT)
    command = [sys.executable, "-c", textwrap.dedent(LOAD), str(home.inventory.path), str(home.archive.folder)]
    loader = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    loading = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'plaza_cloudexit_%' AND query LIKE 'COPY%'"
    deadline = time.monotonic() + 60
    while home.as_postgres("psql", "-At", "-c", loading).strip() == "0":
        assert loader.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(loader.pid, signal.SIGKILL)
    loader.wait(timeout=10)
    assert "plaza" not in home.databases()
    home.loading.apply(STEP, CONTEXT)
    assert home.databases() == {"plaza", "postgres", "template0", "template1"}
    assert home.as_postgres("psql", "-At", "-c", "SELECT count(*) FROM posts", "plaza").strip() == str(ROWS)
    assert home.loading.verify(STEP, CONTEXT) is Verdict.PASS
    deadline = time.monotonic() + 10
    while home.hosts.run(home.host, ["pgrep", "-x", "pg_restore"]):
        assert time.monotonic() < deadline, "a pg_restore of the killed attempt still runs"
        time.sleep(0.1)


def test_everything_is_restored_proved_and_healthy(home: Home) -> None:
    actions: list[Any] = [
        DumpPlaced(home.stack, home.inventory, home.hosts, home.archive),
        home.loading,
        UrlsRewritten(home.stack, home.inventory, home.hosts),
        DatabaseProved(home.stack, home.inventory, home.hosts, home.archive),
        CacheRestored(home.stack, home.inventory, home.secrets, home.hosts, RedisClient(), home.archive),
        MediaPlaced(home.stack, home.inventory, home.hosts, home.archive),
    ]
    home.drop_databases()
    for action in actions:
        outcome = action.apply(STEP, CONTEXT)
        assert not [check for check in outcome.checks if check.holds]
    assert [action.verify(STEP, CONTEXT) for action in actions] == [Verdict.PASS] * len(actions)
    for service in ("database", "cache", "media"):
        started = ServiceStarted(home.stack, home.inventory, home.hosts, home.checks())
        assert all(started.apply(step_for(service), CONTEXT).checks)
        assert started.verify(step_for(service), CONTEXT) is Verdict.PASS
    new = f"http://{home.host.address}/media/"
    left = home.as_postgres("psql", "-At", "-c", f"SELECT count(*) FROM posts WHERE body LIKE '{new}%'", "plaza")
    assert left.strip() == str(ROWS)
    with home.hosts.tunnel(home.host, 6379) as port:
        assert RedisClient().list_length(port, home.secrets["cache_password"], "plaza:jobs", timeout=5) == 2
    with home.hosts.tunnel(home.host, 8080) as port:
        picture = HttpxClient().get(f"http://127.0.0.1:{port}/media/images/1.jpg", timeout=5)
    assert (picture.status, picture.body) == (200, b"a picture")


def test_a_service_that_breaks_stops_the_run_with_its_log(home: Home) -> None:
    home.hosts.run(home.host, ["systemctl", "stop", "nginx-media.service"])
    override = '[Service]\nExecStartPre=\nExecStart=\nExecStart=/bin/sh -c "echo what is nonsense >&2; exit 1"\n'
    folder = "/run/systemd/system/nginx-media.service.d"
    breaking = f"mkdir -p {folder} && cat >{folder}/broken.conf && systemctl daemon-reload"
    assert home.hosts.run(home.host, ["sh", "-c", breaking], stdin=override.encode())
    started = ServiceStarted(home.stack, home.inventory, home.hosts, home.checks())
    try:
        with pytest.raises(ChecksHeld) as held:
            started.apply(step_for("media"), CONTEXT)
        assert "media is not healthy" in held.value.what
        assert "nginx-media.service on data:" in held.value.hint and "what is nonsense" in held.value.hint
    finally:
        home.hosts.run(home.host, ["rm", "-r", folder])
        home.hosts.run(home.host, ["systemctl", "daemon-reload"])
        home.hosts.run(home.host, ["systemctl", "reset-failed", "nginx-media.service"])
    assert started.apply(step_for("media"), CONTEXT).checks


def test_a_host_that_is_cut_off_is_unknown_and_not_failed(home: Home) -> None:
    home.lab.cut_off("data")
    home.hosts.close()
    results = home.checks().of_service("media", patient=False)
    assert [result.verdict for result in results] == [Verdict.UNKNOWN]
