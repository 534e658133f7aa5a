"""`python -m plaza.backup`: a dump of the database and a snapshot of Redis, each with a record, into S3.

The snapshot is taken before the dump. A snapshot that is older than the database lacks a few timeline
entries, which the worker adds again; a younger one would name posts that the database does not have,
and whose numbers it would give to other posts.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from plaza.errors import BackupFailed, SettingsError
from plaza.media import open_s3
from plaza.snapshot import read_key_count

PROGRAM_SECONDS = 3600


@dataclass(frozen=True)
class DatabaseRecord:
    """What stands beside a dump, so that a restore can be held against it."""

    database: str
    server_version: str
    server_version_num: int
    taken_at: str
    bytes: int
    sha256: str
    tables: dict[str, int]


@dataclass(frozen=True)
class CacheRecord:
    """What stands beside a Redis snapshot; `keys` includes `expiring`, those with a lifetime."""

    taken_at: str
    bytes: int
    sha256: str
    keys: int
    expiring: int


@dataclass(frozen=True)
class Backup:
    """Where things are, and where the backups go."""

    database_url: str
    redis_url: str
    store: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Backup":
        """Read PLAZA_DATABASE_URL, PLAZA_REDIS_URL and PLAZA_BACKUP_STORE; raise SettingsError."""
        names = ("PLAZA_DATABASE_URL", "PLAZA_REDIS_URL", "PLAZA_BACKUP_STORE")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise SettingsError(f"not set: {', '.join(missing)}")
        found = cls(*(environment[name] for name in names))
        if urlsplit(found.store).scheme != "s3":
            raise SettingsError("PLAZA_BACKUP_STORE must be s3://BUCKET?endpoint_url=URL")
        return found

    def run(self, folder: Path) -> list[str]:
        """Take both and upload them; return the keys of the dump and the snapshot. Raise BackupFailed."""
        snapshot, cache_record = self.take_snapshot(folder)
        dump, database_record = self.take_dump(folder)
        return [
            self.upload("redis", snapshot, cache_record.taken_at, ".rdb", asdict(cache_record)),
            self.upload("postgresql", dump, database_record.taken_at, ".dump", asdict(database_record)),
        ]

    def take_dump(self, folder: Path) -> tuple[Path, DatabaseRecord]:
        """Dump and count in one snapshot, so that the counts are exactly those of the dump."""
        target = folder / "plaza.dump"
        with psycopg.connect(self.database_url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            snapshot, taken_at = _one_row(connection, "SELECT pg_export_snapshot(), now()")
            command = ["pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={target}"]
            run_program([*command, "--no-password"], libpq_environment(self.database_url))
            tables = count_rows(connection)
            info = connection.info
            record = DatabaseRecord(
                database=info.dbname,
                server_version=info.parameter_status("server_version") or "",
                server_version_num=info.server_version,
                taken_at=rfc3339(taken_at),
                bytes=target.stat().st_size,
                sha256=sha256_of(target),
                tables=tables,
            )
        return target, record

    def take_snapshot(self, folder: Path) -> tuple[Path, CacheRecord]:
        """Ask Redis for a snapshot as a replica does: it forks, saves, and sends the file."""
        target = folder / "plaza.rdb"
        parts = urlsplit(self.redis_url)
        # On the command line anybody could read it.
        secret = {"REDISCLI_AUTH": unquote(parts.password)} if parts.password else {}
        address = ["-h", parts.hostname or "127.0.0.1", "-p", str(parts.port or 6379)]
        taken_at = rfc3339(datetime.now(UTC))
        run_program(["redis-cli", *address, "--rdb", str(target)], {**os.environ, **secret})
        try:
            keys, expiring = read_key_count(target)
        except (OSError, ValueError) as error:
            raise BackupFailed(f"redis-cli wrote no snapshot that can be read: {error}") from error
        size = target.stat().st_size
        return target, CacheRecord(taken_at, size, sha256_of(target), keys, expiring)

    def upload(self, folder: str, path: Path, taken_at: str, suffix: str, record: dict[str, Any]) -> str:
        """Put the file, then its record: who finds a record finds a whole file. Return the file's key."""
        bucket = urlsplit(self.store).netloc
        client, refusals = open_s3(urlsplit(self.store).query)
        stamp = datetime.fromisoformat(taken_at).strftime("%Y%m%dT%H%M%SZ")
        key = f"{folder}/plaza-{stamp}{suffix}"
        text = json.dumps(record, indent=2) + "\n"
        try:
            with path.open("rb") as body:
                client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/octet-stream")
            client.put_object(Bucket=bucket, Key=f"{key}.json", Body=text.encode(), ContentType="application/json")
        except refusals as error:
            raise BackupFailed(f"put s3://{bucket}/{key}: {error}") from error
        return key


def count_rows(connection: Connection[TupleRow]) -> dict[str, int]:
    """Exact counts by `schema.table`, as this transaction sees them."""
    tables = connection.execute(
        """
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2
        """
    ).fetchall()
    counts = {}
    for schema, table in tables:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
        (counts[f"{schema}.{table}"],) = _one_row(connection, query)
    return counts


def _one_row(connection: Connection[TupleRow], query: str | sql.Composed) -> TupleRow:
    row = connection.execute(query).fetchone()
    if row is None:
        raise BackupFailed(f"the database answered nothing to {query!r}")
    return row


def libpq_environment(database_url: str) -> dict[str, str]:
    """The URL as PG… variables, since anybody may read a command line."""
    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    found = {names[key]: str(value) for key, value in conninfo_to_dict(database_url).items() if key in names}
    return {**os.environ, **found}


def run_program(command: list[str], environment: Mapping[str, str]) -> None:
    """Run a program to its end; raise BackupFailed with what it said."""
    if shutil.which(command[0]) is None:
        raise BackupFailed(f"{command[0]} is not installed")
    try:
        subprocess.run(  # noqa: S603 -- our own arguments
            command, env=environment, check=True, capture_output=True, text=True, timeout=PROGRAM_SECONDS
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip()
        raise BackupFailed(f"{command[0]} ended with {error.returncode}: {said}") from error
    except subprocess.TimeoutExpired as error:
        raise BackupFailed(f"{command[0]} did not end within {PROGRAM_SECONDS} s") from error


def sha256_of(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def rfc3339(moment: datetime) -> str:
    """UTC, to the microsecond, with a Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def main() -> int:
    """Exit 0 with one JSON line, 2 on bad settings, 1 if a backup could not be made."""
    try:
        backup = Backup.from_environment(os.environ)
        with tempfile.TemporaryDirectory(prefix="plaza-backup-") as folder:
            keys = backup.run(Path(folder))
    except SettingsError as error:
        print(f"plaza.backup: {error}", file=sys.stderr)
        return 2
    except (BackupFailed, psycopg.Error) as error:
        print(f"plaza.backup: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"event": "backup", "keys": keys}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
