"""Backups of a home of several servers: rebuilt to a moment, encrypted where they lie, and missed when they stop.

The tests of this module follow each other: what one has made, the next looks at.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from migrate.adapters.http import HttpxClient
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.check import CheckResult, Verdict
from migrate.plan import Effect, Phase, Step
from migrate.servicechecks import BackupCheck, ServiceCheck
from migrate.target.backups import FirstBackup
from migrate.target.checks import ServiceChecks
from migrate.target.recovery import CLUSTER, DEFAULT_PORT
from tests.drill import CLOUDEXIT
from tests.homes import CONTEXT, PLAZA, Home
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
SERVICE, STANZA = "backup", "database"
WORDS = "nobody but the database may read this line"
HASH = "SELECT count(*), md5(string_agg(p::text, '|' ORDER BY id)) FROM posts p"
TO_THE_SECOND = timedelta(seconds=1)
STEP = Step(
    "restore.backup.backup", Phase.RESTORE, "restore.backup", "first backup", Effect.REVERSIBLE, subject=SERVICE
)


@pytest.fixture(scope="module")
def home(fleet: Fleet) -> Iterator[Home]:
    yield fleet.home
    sql(fleet.home, "DROP DATABASE IF EXISTS bygone WITH (FORCE)", database="postgres")
    fleet.home.run(repository(fleet.home), "sh", "-c", f"pg_dropcluster --stop $(ls /etc/postgresql) {CLUSTER}")


def repository(home: Home) -> str:
    return home.inventory.lead("backup").name


def primary(home: Home) -> str:
    return home.inventory.lead("database").name


def sql(home: Home, script: str, *, database: str = "bygone", host: str = "", port: int = 5432) -> str:
    argv = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-p", str(port), "-d", database]
    at = home.inventory.hosts[host or primary(home)]
    done = home.hosts.run(at, ["env", "--chdir=/", *argv], stdin=script.encode(), as_user="postgres")
    assert done, done
    return done.stdout.strip()


def archived(home: Home) -> None:
    """Has the segment of now archived, and waits until it is."""
    segment = sql(home, "SELECT pg_walfile_name(pg_switch_wal())", database="postgres")
    until(lambda: sql(home, "SELECT last_archived_wal FROM pg_stat_archiver", database="postgres") >= segment)


def until(holds: Any, seconds: float = 60.0) -> float:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, "it did not come about"
        time.sleep(0.3)
    return time.monotonic() - began


def asked(home: Home, **bounds: Any) -> CheckResult:
    """One look of a backup check with these bounds."""
    check = ServiceCheck(name="asked", backup=BackupCheck(**bounds))
    service = home.stack.services[SERVICE].model_copy(update={"checks": (check,)})
    stack = home.stack.model_copy(update={"services": {**home.stack.services, SERVICE: service}})
    [result] = checks_of(home, stack).of_service(SERVICE, patient=False)
    return result


def checks_of(home: Home, stack: Any) -> ServiceChecks:
    ports = (HttpxClient(), PsycopgClient(), RedisClient())
    return ServiceChecks(stack, home.inventory, home.secrets, home.hosts, *ports)


def recover(home: Home, to_time: str, *options: str) -> subprocess.CompletedProcess[str]:
    argv = ["recover", STANZA, "--to-time", to_time, "--on", repository(home), "--json", "--stack", str(PLAZA)]
    return subprocess.run(
        [CLOUDEXIT, *argv, "-i", str(home.inventory.path), *options],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def test_before_the_first_backup_nothing_can_be_restored_and_the_check_says_so(home: Home) -> None:
    found = asked(home, newest_moment_within=600.0, full_within=600.0)
    assert found.verdict is Verdict.FAIL and "no full backup" in found.detail, found


def test_the_first_backup_of_the_home_is_made_by_a_step_and_then_every_check_passes(home: Home) -> None:
    first = FirstBackup(home.stack, home.inventory, home.hosts)
    assert first.verify(STEP, CONTEXT) is Verdict.FAIL
    assert first.apply(STEP, CONTEXT).detail["backups"][STANZA].endswith("F")
    assert first.verify(STEP, CONTEXT) is Verdict.PASS
    results = checks_of(home, home.stack).of_service(SERVICE)
    assert [result.verdict for result in results] == [Verdict.PASS] * len(results), results
    assert f"kept on {repository(home)}, apart from" in results[-1].detail


def test_the_timers_make_full_and_incremental_backups(home: Home) -> None:
    units = "pgbackrest-full.timer pgbackrest-incremental.timer pgbackrest-verify.timer"
    assert home.says(repository(home), f"systemctl is-active {units}").split() == ["active"] * 3
    home.says(repository(home), "systemctl start pgbackrest-backup@incr.service")
    info = home.says(repository(home), f"runuser -u postgres -- pgbackrest --stanza={STANZA} info --output=json")
    assert [backup["type"] for backup in json.loads(info)[0]["backup"]] == ["full", "incr"]


def test_a_cluster_is_rebuilt_as_it_was_at_the_moment_before_the_mistake(home: Home) -> None:
    sql(home, "CREATE DATABASE bygone", database="postgres")
    sql(home, "CREATE TABLE posts (id serial PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), body text)")
    sql(home, f"INSERT INTO posts (body) SELECT '{WORDS} ' || md5(n::text) FROM generate_series(1, 2000) n")
    sql(home, "UPDATE posts SET body = body || ' (edited)' WHERE id % 7 = 0; DELETE FROM posts WHERE id % 11 = 0")
    before = sql(home, HASH)
    last_write = sql(home, "SELECT max(at) FROM posts")
    moment = sql(home, "SELECT pg_sleep(0.2); SELECT clock_timestamp(); SELECT pg_sleep(0.2)").strip()
    sql(home, "DELETE FROM posts WHERE id > 5")
    sql(home, "DROP TABLE posts")
    archived(home)
    began = sql(home, "SELECT pg_postmaster_start_time(), pg_is_in_recovery()")

    done = recover(home, datetime.fromisoformat(moment).isoformat())

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    there = {"host": repository(home), "port": found["port"]}
    assert sql(home, HASH, **there) == before and before.startswith("1819|")
    commit = datetime.fromisoformat(found["newest_commit"])
    assert datetime.fromisoformat(last_write) <= commit <= datetime.fromisoformat(moment)
    assert found["port"] == DEFAULT_PORT and "bygone" in found["databases"]
    assert sql(home, "SHOW archive_mode", **there) == "off"
    assert sql(home, "CREATE TABLE writable (); DROP TABLE writable; SELECT 'writes'", **there) == "writes"
    assert sql(home, "SELECT to_regclass('posts') IS NULL") == "t"
    assert sql(home, "SELECT pg_postmaster_start_time(), pg_is_in_recovery()") == began


def test_what_an_earlier_recovery_left_is_not_overwritten_unasked(home: Home) -> None:
    done = recover(home, "newest")
    assert done.returncode == 3 and "--replace" in done.stderr, done
    assert sql(home, "SELECT count(*) FROM posts", host=repository(home), port=DEFAULT_PORT) == "1819"


def test_a_moment_before_the_first_backup_is_refused(home: Home) -> None:
    done = recover(home, (datetime.now(UTC) - timedelta(days=30)).isoformat(), "--replace")
    assert done.returncode == 3 and "the oldest backup was made after that moment" in done.stderr, done


def test_a_moment_after_the_last_commit_gives_all_of_the_archive(home: Home) -> None:
    """PostgreSQL itself refuses a moment that no commit follows."""
    sql(home, "CREATE TABLE posts (id serial PRIMARY KEY, body text); INSERT INTO posts (body) VALUES ('the last')")
    archived(home)
    moment = sql(home, "SELECT clock_timestamp()")
    sql(home, "ALTER SYSTEM SET archive_timeout = 1; SELECT pg_reload_conf()", database="postgres")
    until(lambda: _passed(home, moment))
    done = recover(home, datetime.fromisoformat(moment).isoformat(), "--replace")
    assert done.returncode == 0, done.stderr
    assert sql(home, "SELECT body FROM posts", host=repository(home), port=DEFAULT_PORT) == "the last"


def _passed(home: Home, moment: str) -> bool:
    """Whether all that was committed up to a moment is archived, by the check's own word."""
    back = datetime.now(UTC) - datetime.fromisoformat(moment) - TO_THE_SECOND
    return back > timedelta(0) and bool(asked(home, newest_moment_within=back.total_seconds()))


def test_a_repository_that_takes_nothing_more_is_missed_and_missed_no_more_when_it_is_back(home: Home) -> None:
    within = {"newest_moment_within": 10.0}
    until(lambda: asked(home, **within))
    home.says(repository(home), "systemctl stop pgbackrest.service")
    try:
        sql(home, "INSERT INTO posts (body) VALUES ('written while nobody kept it'); SELECT pg_switch_wal()")
        until(lambda: not asked(home, **within))
        missed = asked(home, **within)
    finally:
        home.says(repository(home), "systemctl start pgbackrest.service")
    assert missed.verdict is Verdict.FAIL, missed
    assert "s back" in missed.detail and "of WAL wait" in missed.detail, missed
    until(lambda: sql(home, "SELECT pg_switch_wal()", database="postgres") and asked(home, **within))
    sql(home, "ALTER SYSTEM RESET archive_timeout; SELECT pg_reload_conf()", database="postgres")


def test_nothing_in_the_repository_can_be_read_without_the_secret(home: Home) -> None:
    folder = "/var/lib/pgbackrest"
    recovered = f"/var/lib/postgresql/*/{CLUSTER}"
    words = "the last"
    assert home.says(repository(home), f"grep -rlF '{words}' {recovered} | head -1") != ""
    assert home.run(repository(home), "grep", "-rlF", "-e", words, "-e", WORDS, "-e", "[backup", folder).stdout == ""
    plain = home.says(repository(home), f"find {folder} -type f -size +0 -exec head -qc 8 {{}} + | tr -d '\\0'")
    files = home.says(repository(home), f"find {folder} -type f -size +0 | wc -l")
    assert plain.count("Salted__") == int(files) and int(files) > 10
    modes = home.says(
        primary(home), "stat -c %a:%U:%G /etc/pgbackrest.conf; grep -c cipher /etc/pgbackrest.conf || true"
    )
    assert modes.split() == ["640:root:postgres", "0"]


def test_the_words_of_a_verification_are_read_since_its_exit_status_says_nothing(home: Home) -> None:
    keeper = repository(home)
    unit = "pgbackrest-verify.service"
    home.says(keeper, f"systemctl start {unit}")
    bundle = home.says(keeper, f"ls /var/lib/pgbackrest/backup/{STANZA}/*F/bundle/1")
    home.says(keeper, f"cp -a {bundle} /var/tmp/whole && printf x | dd of={bundle} bs=1 seek=100000 conv=notrunc")
    try:
        by_hand = home.run(keeper, "runuser", "-u", "postgres", "--", "pgbackrest", f"--stanza={STANZA}", "verify")
        spoiled = home.run(keeper, "systemctl", "start", unit)
        found = asked(home, full_within=3600.0)
    finally:
        home.says(keeper, f"mv /var/tmp/whole {bundle}")
    assert by_hand.exit_status == 0 and "checksum invalid: 1" in by_hand.stdout, by_hand
    assert spoiled.exit_status != 0
    assert found.verdict is Verdict.FAIL and "last verification: exit-code" in found.detail, found
    home.says(keeper, f"systemctl start {unit}")
    assert asked(home, full_within=3600.0)
