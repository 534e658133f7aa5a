"""Dumps and snapshots: their records are true, and they restore."""

import hashlib
import json
import shutil
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest
import redis

from plaza import people, posts, schema
from plaza.backends import Backends
from plaza.backup import Backup
from plaza.errors import BackupFailed, SettingsError
from plaza.media import open_s3
from plaza.settings import Settings
from plaza.snapshot import read_key_count

pytestmark = pytest.mark.skipif(
    not (shutil.which("pg_dump") and shutil.which("redis-cli")),
    reason="pg_dump and redis-cli are not installed (Debian: postgresql-client, redis-tools)",
)


@pytest.fixture
def backup(settings: Settings, s3_endpoint: str) -> Backup:
    return Backup(settings.database_url, settings.redis_url, f"s3://plaza-backups?endpoint_url={s3_endpoint}")


def fetch(endpoint: str, key: str) -> bytes:
    client, _ = open_s3(f"endpoint_url={endpoint}")
    data: bytes = client.get_object(Bucket="plaza-backups", Key=key)["Body"].read()
    return data


def test_a_backup_with_its_records(backup: Backup, s3_endpoint: str, tmp_path: Path, database_server: str) -> None:
    keys = backup.run(tmp_path)
    assert [key.split("/")[0] for key in keys] == ["redis", "postgresql"]
    for key in keys:
        data, record = fetch(s3_endpoint, key), json.loads(fetch(s3_endpoint, f"{key}.json"))
        assert record["bytes"] == len(data)
        assert record["sha256"] == hashlib.sha256(data).hexdigest()
    assert record["database"] == "plaza"
    assert record["server_version_num"] >= 130000
    assert record["tables"]["public.posts"] == 300
    assert record["tables"]["public.users"] == 40
    with psycopg.connect(f"{database_server}/postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS restored")
        connection.execute("CREATE DATABASE restored TEMPLATE template0")
    restored = f"{database_server}/restored"
    subprocess.run(["pg_restore", "--dbname", restored, "--exit-on-error", tmp_path / "plaza.dump"], check=True)
    with psycopg.connect(restored) as connection:
        for table, rows in record["tables"].items():
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (rows,)  # noqa: S608
    assert schema.create_schema(restored) is False


def test_counts_are_those_of_the_dump_while_people_write(backup: Backup, backends: Backends, tmp_path: Path) -> None:
    stop = threading.Event()
    author = people.person_by_id(backends.database, 1)

    def write() -> None:
        while not stop.is_set():
            posts.publish(backends, author, posts.Draft("In the middle of a dump"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        path, record = backup.take_dump(tmp_path)
    finally:
        stop.set()
        writer.join()
    command = ["pg_restore", "--data-only", "--table=posts", "--file=-", str(path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = text.split("FROM stdin;\n")[1].split("\n\\.\n")[0].splitlines()
    assert record.tables["public.posts"] == len(rows)


def test_a_snapshot_loads_with_as_many_keys_as_its_record_says(
    backup: Backup, backends: Backends, tmp_path: Path
) -> None:
    with backends.cache.pipeline() as pipe:
        for number in range(5000):
            pipe.set(f"session:{number}", number, ex=1000 + number if number % 2 else None)
        pipe.execute()
    path, record = backup.take_snapshot(tmp_path)
    assert (record.keys, record.expiring) == (5000, 2500) == read_key_count(path)
    program = shutil.which("redis-server")
    assert program is not None
    socket = tmp_path / "redis.sock"
    command: list[str | Path] = [
        program,
        "--port",
        "0",
        "--unixsocket",
        socket,
        "--dir",
        tmp_path,
        "--dbfilename",
        path.name,
        "--save",
        "",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                found = redis.Redis(unix_socket_path=str(socket)).dbsize()
                break
            except redis.ConnectionError:
                threading.Event().wait(0.02)
        assert found == 5000
    finally:
        server.terminate()
        server.wait(10)


def test_an_empty_redis_has_a_snapshot_too(backup: Backup, tmp_path: Path) -> None:
    _, record = backup.take_snapshot(tmp_path)
    assert (record.keys, record.expiring) == (0, 0)


def test_a_wrong_password_fails_and_is_told_to_nobody(settings: Settings, tmp_path: Path) -> None:
    wrong = settings.redis_url.replace("redis%20password", "hush-hush")
    with pytest.raises(BackupFailed, match="redis-cli") as caught:
        Backup(settings.database_url, wrong, "s3://x").take_snapshot(tmp_path)
    assert "hush-hush" not in str(caught.value)


def test_a_bucket_that_is_not_there_fails(backup: Backup, s3_endpoint: str, tmp_path: Path) -> None:
    lost = Backup(backup.database_url, backup.redis_url, f"s3://no-such-bucket?endpoint_url={s3_endpoint}")
    with pytest.raises(BackupFailed, match="no-such-bucket"):
        lost.run(tmp_path)


def test_settings_name_what_is_missing() -> None:
    with pytest.raises(SettingsError, match="PLAZA_BACKUP_STORE"):
        Backup.from_environment({"PLAZA_DATABASE_URL": "x", "PLAZA_REDIS_URL": "x"})
