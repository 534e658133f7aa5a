"""The journal of the export: one row per object, from listed to verified. SQLite, one writer, many readers."""

import contextlib
import json
import os
import socket
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from migrate.errors import Missing, UsageProblem
from migrate.export.keymap import LEDGER, key_bytes, key_text
from migrate.export.ledger_schema import MIGRATIONS, OF_A_RUN, SCHEMA, SCHEMA_VERSION

BUSY_SECONDS = 10.0
ROWS_AT_ONCE = 1000


class State(StrEnum):
    LISTED = "listed"
    ARCHIVED = "archived"
    FETCHED = "fetched"
    VERIFIED = "verified"
    QUARANTINED = "quarantined"
    GONE = "gone"


class Mode(StrEnum):
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Row:
    """One object of the archive. Sizes in bytes; `path` relative to DEST; digest is SHA-256, both hexadecimal.

    `size`, `etag` and `last_modified` are the source's; `path`, `stored_size`, `digest` and `md5` describe what lies on
    disk, which for an object that changed and is not fetched again yet is the older content.
    """

    id: int
    key: str
    version_id: str
    is_latest: bool
    delete_marker: bool
    state: State
    size: int
    etag: str
    last_modified: str
    storage_class: str
    content_type: str | None
    headers: Mapping[str, str]
    metadata: Mapping[str, str]
    tags: Mapping[str, str] | None
    acl: Mapping[str, object] | None
    part_sizes: tuple[int, ...]
    path: str | None
    stored_size: int | None
    digest: str | None
    md5: str | None
    proof: str | None
    reason: str | None
    evidence: Mapping[str, object] | None
    attempts: int
    settled_at: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is: objects and bytes; rate in bytes per second; `seconds_left` is None while it cannot be known."""

    phase: str = "listing"
    listed: int = 0
    listed_bytes: int = 0
    settled: int = 0
    settled_bytes: int = 0
    verified: int = 0
    skipped: int = 0
    quarantined: int = 0
    archived: int = 0
    gone: int = 0
    unverified: int = 0
    fetched_bytes: int = 0
    seconds: float = 0.0
    bytes_per_second: float = 0.0
    seconds_left: float | None = None
    errors: int = 0


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of the engine on this archive; `outcome` is running, complete, incomplete, interrupted or failed."""

    id: int
    started: str
    ended: str | None
    host: str
    pid: int
    options: Mapping[str, object]
    outcome: str
    listing_complete: bool
    progress: Progress
    result: Mapping[str, object] | None


COLUMNS = (
    "id, key, version_id, is_latest, delete_marker, state, size, etag, last_modified, storage_class, content_type,"
    " headers, metadata, tags, acl, part_sizes, path, stored_size, digest, md5, proof, reason, evidence, attempts,"
    " settled_at"
)


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Ledger:
    """The ledger of one archive. Open it with `Ledger.open`; a writer must hold the archive's lock."""

    def __init__(self, connection: sqlite3.Connection, path: Path, mode: Mode) -> None:
        self.connection = connection
        self.path = path
        self._mode = mode

    @classmethod
    def open(cls, dest: Path, mode: Mode = Mode.READ) -> "Ledger":
        """Opens DEST's ledger; WRITE makes one where there is none.

        Raises Missing where DEST holds no ledger, UsageProblem where it is none of ours or newer than this program.
        """
        path = dest / LEDGER
        if mode is Mode.READ and not path.is_file():
            raise Missing(
                "there is no archive here",
                where=str(dest),
                expected=f"a folder that `cloudexit export` has made, with {LEDGER} in it",
                hint="give the DEST of an export",
            )
        try:
            if mode is Mode.WRITE and not path.exists():
                _lay(path)
            ledger = cls(_connect(path, mode), path, mode)
            ledger._check_schema()
        except sqlite3.DatabaseError as problem:
            if "disk is full" in str(problem):
                raise
            raise UsageProblem(
                f"the ledger cannot be opened: {problem}",
                where=str(path),
                expected="a SQLite database that this user may open",
                hint="check permissions and free space; `sqlite3 FILE 'pragma integrity_check'` tells more",
            ) from problem
        return ledger

    def counts(self) -> dict[State, int]:
        """Objects by state, every state present. Reads the whole table."""
        found = dict(self.connection.execute("SELECT state, count(*) FROM objects GROUP BY state"))
        return {state: found.get(state.value, 0) for state in State}

    def objects(self, states: Iterable[State] = tuple(State)) -> Iterator[Row]:
        """Rows in the order of their keys, a stable snapshot each thousand."""
        wanted = [state.value for state in states]
        marks = ",".join("?" * len(wanted))
        after: tuple[bytes, str] = (b"", "")
        first = True
        while True:
            comparison = ">=" if first else ">"
            rows = self.connection.execute(
                f"SELECT {COLUMNS} FROM objects WHERE (key, version_id) {comparison} (?, ?) AND state IN ({marks})"
                " ORDER BY key, version_id LIMIT ?",
                (*after, *wanted, ROWS_AT_ONCE),
            ).fetchall()
            yield from map(row_of, rows)
            if len(rows) < ROWS_AT_ONCE:
                return
            after, first = (rows[-1][1], rows[-1][2]), False

    def find(self, key: str, version_id: str = "") -> Row | None:
        found = self.connection.execute(
            f"SELECT {COLUMNS} FROM objects WHERE key = ? AND version_id = ?", (key_bytes(key), version_id)
        ).fetchone()
        return row_of(found) if found else None

    def rows(self, ids: Sequence[int]) -> list[Row]:
        """The rows with these ids, in the order of the ids."""
        marks = ",".join("?" * len(ids))
        found = {
            fields[0]: row_of(fields)
            for fields in self.connection.execute(f"SELECT {COLUMNS} FROM objects WHERE id IN ({marks})", tuple(ids))
        }
        return [found[identity] for identity in ids if identity in found]

    def last_run(self) -> RunRecord | None:
        found = self.connection.execute(
            "SELECT id, started, ended, host, pid, options, outcome, listing_complete, progress, result"
            " FROM runs ORDER BY id DESC LIMIT 1"
        ).fetchone()
        if found is None:
            return None
        return RunRecord(
            id=found[0],
            started=found[1],
            ended=found[2],
            host=found[3],
            pid=found[4],
            options=json.loads(found[5]),
            outcome=found[6],
            listing_complete=bool(found[7]),
            progress=Progress(**json.loads(found[8])),
            result=json.loads(found[9]) if found[9] else None,
        )

    def progress(self) -> Progress:
        """Where the last run is; all zero before the first."""
        run = self.last_run()
        return run.progress if run else Progress()

    def archive_value(self, name: str) -> str | None:
        found = self.connection.execute("SELECT value FROM archive WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else None

    def set_archive_value(self, name: str, value: str) -> None:
        with self.transaction():
            self.connection.execute("INSERT OR REPLACE INTO archive (name, value) VALUES (?, ?)", (name, value))

    def start_run(self, options: Mapping[str, object]) -> int:
        """Records a new run; runs that a crash left open are marked as interrupted."""
        with self.transaction():
            self.connection.execute("UPDATE runs SET outcome = 'interrupted' WHERE outcome = 'running'")
            cursor = self.connection.execute(
                "INSERT INTO runs (started, host, pid, options) VALUES (?, ?, ?, ?)",
                (utc_now(), socket.gethostname(), os.getpid(), json.dumps(options)),
            )
        assert cursor.lastrowid is not None
        self.connection.executescript(OF_A_RUN)
        return cursor.lastrowid

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits on leaving, or joins the transaction that is already open; rolls back on an error."""
        if self.connection.in_transaction:
            yield
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def close(self) -> None:
        """A ledger at rest is one plain file that can be read from any medium, unless somebody is reading it now."""
        if self._mode is Mode.WRITE:
            with contextlib.suppress(sqlite3.OperationalError):
                self.connection.execute("PRAGMA busy_timeout = 0")
                self.connection.execute("PRAGMA journal_mode = DELETE")
        self.connection.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_schema(self) -> None:
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and self._mode is Mode.WRITE:
            self.connection.executescript(f"BEGIN; {SCHEMA}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            return
        while version in MIGRATIONS and self._mode is Mode.WRITE:
            self.connection.executescript(f"BEGIN; {MIGRATIONS[version]}; PRAGMA user_version = {version + 1}; COMMIT;")
            version += 1
        if version != SCHEMA_VERSION:
            raise UsageProblem(
                f"the ledger has schema version {version}",
                where=str(self.path),
                expected=f"version {SCHEMA_VERSION}",
                hint="an export into it brings an older one up to date; a newer one needs a newer cloudexit",
            )


def row_of(fields: Sequence[object]) -> Row:
    """A row of COLUMNS as a value."""
    values = dict(zip(Row.__slots__, fields, strict=True))
    values["key"] = key_text(values["key"])  # type: ignore[arg-type]
    values["is_latest"] = bool(values["is_latest"])
    values["delete_marker"] = bool(values["delete_marker"])
    values["state"] = State(str(values["state"]))
    for name in ("headers", "metadata", "tags", "acl", "evidence"):
        values[name] = json.loads(values[name]) if values[name] is not None else None  # type: ignore[arg-type]
    values["part_sizes"] = tuple(json.loads(values["part_sizes"]))  # type: ignore[arg-type]
    return Row(**values)  # type: ignore[arg-type]


def _lay(path: Path) -> None:
    """Makes an empty ledger under another name, then gives it its own: who looks never sees one without its tables."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    connection = _session(f"file:{quote(str(fresh.absolute()))}")
    connection.executescript(f"BEGIN; {SCHEMA}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    connection.close()
    fresh.rename(path)


def _connect(path: Path, mode: Mode) -> sqlite3.Connection:
    location = f"file:{quote(str(path.absolute()))}"
    if mode is Mode.WRITE:
        connection = _session(location)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection
    try:
        connection = _session(location + "?mode=ro")
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        # A read-only medium holds no shared-memory file; with no write-ahead log beside it, the file is whole.
        if path.with_name(path.name + "-wal").exists():
            raise
        connection = _session(location + "?mode=ro&immutable=1")
    return connection


def _session(location: str) -> sqlite3.Connection:
    return sqlite3.connect(location, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
