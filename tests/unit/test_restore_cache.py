"""From a snapshot in the archive to a running Redis, on a real Redis."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pytest

from migrate.adapters.redis import RedisClient
from migrate.check import Verdict
from migrate.errors import GateHeld
from migrate.restore.artifacts import Archive, SnapshotRecord, StoredArtifact
from migrate.restore.cache import CacheRestored, Snapshot, compare_keys, parse_settings
from tests.local_hosts import (
    CONTEXT,
    LocalHosts,
    PrivateRedis,
    archive_object,
    hosts_in,
    inventory_of_one,
    running_redis,
    secrets_of_tests,
    stack_with,
    step_for,
)

STEP = step_for("plaza")
MARKER = PurePosixPath("/var/lib/cloudexit/cache-plaza.json")


@dataclass
class Home:
    redis: PrivateRedis
    hosts: LocalHosts
    archive: Archive

    @property
    def action(self) -> CacheRestored:
        return CacheRestored(
            stack_with(redis_port=self.redis.port), inventory_of_one(), secrets_of_tests(), self.hosts, RedisClient(),
            self.archive,
        )  # fmt: skip

    def archive_snapshot(self, content: bytes, **changes: object) -> None:
        record = {"taken_at": "2026-11-20T12:00:00Z", "bytes": len(content), "keys": 4,
                  "sha256": hashlib.sha256(content).hexdigest(), **changes}  # fmt: skip
        archive_object(self.archive, "backups", "redis/plaza-1.rdb", content)
        archive_object(self.archive, "backups", "redis/plaza-1.rdb.json", json.dumps(record).encode())


@pytest.fixture
def home(tmp_path: Path, archive: Archive) -> Iterator[Home]:
    with running_redis() as redis, hosts_in(tmp_path, redis.unit_script()) as hosts:
        yield Home(redis, hosts, archive)


@pytest.fixture(scope="module")
def snapshot() -> bytes:
    """Four keys, one of them with a time to live, in two databases."""
    with running_redis() as redis:
        redis.cli("SET", "a", "1")
        redis.cli("RPUSH", "plaza:jobs", "x", "y")
        redis.cli("SET", "session", "s", "EX", "86400")
        redis.cli("-n", "3", "SET", "b", "2")
        assert redis.cli("SAVE") == "OK"
        return (redis.folder / "dump.rdb").read_bytes()


def test_a_snapshot_is_restored_and_said_to_be(home: Home, snapshot: bytes) -> None:
    home.archive_snapshot(snapshot)
    assert home.action.verify(STEP, CONTEXT) is Verdict.FAIL
    outcome = home.action.apply(STEP, CONTEXT)
    assert home.redis.cli("LRANGE", "plaza:jobs", "0", "-1") == "x\ny"
    assert home.redis.cli("-n", "3", "GET", "b") == "2"
    assert (home.redis.folder / "dump.rdb").owner() == "redis"
    assert outcome.detail["keys"] == 4 and outcome.detail["expires"] == 1
    assert home.action.verify(STEP, CONTEXT) is Verdict.PASS


def test_what_the_app_does_later_does_not_undo_it(home: Home, snapshot: bytes) -> None:
    home.archive_snapshot(snapshot)
    home.action.apply(STEP, CONTEXT)
    home.redis.cli("DEL", "a")
    home.redis.cli("SET", "new", "1")
    assert home.action.verify(STEP, CONTEXT) is Verdict.PASS


def test_an_emptied_cache_is_not_taken_for_restored(home: Home, snapshot: bytes) -> None:
    home.archive_snapshot(snapshot)
    home.action.apply(STEP, CONTEXT)
    home.redis.cli("FLUSHALL")
    assert home.action.verify(STEP, CONTEXT) is Verdict.FAIL
    home.action.apply(STEP, CONTEXT)
    assert home.redis.cli("GET", "a") == "1"


Spoil = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda good: good[:-20], "redis-check-rdb"),
        (lambda good: good[:30] + bytes([good[30] ^ 0xFF]) + good[31:], "redis-check-rdb"),
        (lambda good: b"<Error>" + good, "no Redis snapshot"),
        (lambda good: b"REDIS9999" + good[9:], "redis-check-rdb"),
    ],
    ids=["truncated", "flipped", "another file", "newer version"],
)
def test_a_spoilt_snapshot_stops_nothing(home: Home, snapshot: bytes, spoil: Spoil, said: str) -> None:
    home.redis.cli("SET", "there", "1")
    pid = (home.redis.folder / "pid").read_text()
    home.archive_snapshot(spoil(snapshot))
    with pytest.raises(GateHeld, match=said):
        replace(home.action, replace=True).apply(STEP, CONTEXT)
    assert (home.redis.folder / "pid").read_text() == pid
    assert home.redis.cli("GET", "there") == "1"


def test_a_snapshot_other_than_its_record_is_refused(home: Home, snapshot: bytes) -> None:
    home.archive_snapshot(snapshot, sha256="0" * 64)
    with pytest.raises(GateHeld, match="not what its record describes"):
        home.action.apply(STEP, CONTEXT)
    home.archive_snapshot(snapshot, keys=5)
    with pytest.raises(GateHeld, match="it holds 4 keys"):
        home.action.apply(STEP, CONTEXT)


def test_a_cache_that_is_not_empty_is_refused_and_replaced_only_on_demand(home: Home, snapshot: bytes) -> None:
    home.redis.cli("SET", "precious", "1")
    home.archive_snapshot(snapshot)
    with pytest.raises(GateHeld, match="not empty: 1 keys") as held:
        home.action.apply(STEP, CONTEXT)
    assert "--replace" in held.value.hint
    assert home.redis.cli("GET", "precious") == "1"
    replace(home.action, replace=True).apply(STEP, CONTEXT)
    assert home.redis.cli("GET", "precious") == ""
    assert home.redis.cli("GET", "a") == "1"


def test_an_attempt_killed_while_redis_was_stopped_goes_on(home: Home, snapshot: bytes) -> None:
    home.archive_snapshot(snapshot)
    sha256 = hashlib.sha256(snapshot).hexdigest()
    home.hosts.on_disk(MARKER).write_text(json.dumps({"sha256": sha256, "state": "placing", "lasting_keys": 0}))
    home.redis.stop()
    (home.redis.folder / "dump.rdb").write_bytes(snapshot)
    assert home.action.verify(STEP, CONTEXT) is Verdict.FAIL
    home.action.apply(STEP, CONTEXT)
    assert home.action.verify(STEP, CONTEXT) is Verdict.PASS
    assert home.redis.cli("GET", "a") == "1"


def test_a_snapshot_is_not_loaded_twice_over_what_the_app_wrote(home: Home, snapshot: bytes) -> None:
    home.archive_snapshot(snapshot)
    home.action.apply(STEP, CONTEXT)
    home.redis.cli("SET", "new", "1")
    with pytest.raises(GateHeld, match="not empty: 5 keys"):
        home.action.apply(STEP, CONTEXT)
    assert home.redis.cli("GET", "new") == "1"


def test_an_append_only_redis_goes_on_from_the_snapshot(tmp_path: Path, archive: Archive, snapshot: bytes) -> None:
    with running_redis(append_only=True) as redis, hosts_in(tmp_path, redis.unit_script()) as hosts:
        home = Home(redis, hosts, archive)
        home.archive_snapshot(snapshot)
        redis.cli("SET", "older", "1")
        replace(home.action, replace=True).apply(STEP, CONTEXT)
        assert (redis.cli("GET", "a"), redis.cli("GET", "older")) == ("1", "")
        redis.cli("SET", "later", "1")
        redis.stop()
        (redis.folder / "dump.rdb").unlink()
        redis.start()
        assert (redis.cli("GET", "a"), redis.cli("GET", "later")) == ("1", "1")
        assert home.action.verify(STEP, CONTEXT) is Verdict.PASS


def test_the_password_stands_in_no_command(home: Home, snapshot: bytes) -> None:
    home.archive_snapshot(snapshot)
    home.action.apply(STEP, CONTEXT)
    assert home.hosts.commands and not any("right-horse" in command for command in home.hosts.commands)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (10, Verdict.PASS),
        (8, Verdict.PASS),
        (7, Verdict.PASS),
        (6, Verdict.FAIL),
        (11, Verdict.FAIL),
        (0, Verdict.FAIL),
    ],
)
def test_only_expiring_keys_explain_a_smaller_count(found: int, verdict: Verdict) -> None:
    artifact = StoredArtifact("b", "k", Path("k"), "0" * 64)
    record = SnapshotRecord.model_validate_json(
        '{"taken_at": "2026-11-20T12:00:00Z", "bytes": 1, "sha256": "%s", "keys": 10}' % ("0" * 64)
    )
    assert compare_keys("plaza", Snapshot(artifact, record, keys=10, expires=3), found).verdict is verdict


def test_settings_are_read_between_other_replies() -> None:
    assert parse_settings("OK\ndir\n/data\nERR unknown command\nappendonly\nyes\n") == {
        "dir": "/data",
        "appendonly": "yes",
    }
