"""What was attempted, by whom, and how it ended: append-only, each record on disk before the next step begins."""

import fcntl
import getpass
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from migrate.errors import LockHeld, UsageProblem

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, command TEXT NOT NULL, plan_digest TEXT NOT NULL, plan TEXT NOT NULL,
    operator TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT, outcome TEXT
);
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, step TEXT NOT NULL, event TEXT NOT NULL,
    at TEXT NOT NULL, seconds REAL, detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_step ON records (run, step);
"""


class Event(StrEnum):
    STARTED = "started"
    PROGRESS = "progress"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    RECORDED = "recorded"


@dataclass(frozen=True)
class Record:
    run: int
    step: str
    event: Event
    at: datetime
    seconds: float | None
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One run of a plan; `outcome` is empty while it goes on or after it was killed."""

    id: int
    command: str
    plan_digest: str
    plan: Mapping[str, Any]
    operator: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str


class Journal:
    """Safe from several threads of one process. Readers in other processes open it with `read_only`."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        if not read_only:
            path.touch(mode=0o600)
        target = f"file:{path}?mode=ro" if read_only else str(path)
        self._connection = sqlite3.connect(
            target, uri=read_only, check_same_thread=False, isolation_level=None, timeout=30
        )
        try:
            self._prepare(read_only)
        except sqlite3.DatabaseError as fault:
            raise UsageProblem(
                f"the journal cannot be read: {fault}",
                where=str(path),
                expected="a journal that cloudexit wrote",
                hint="move the file away: steps are looked at again, and what is there is not done twice",
            ) from fault

    def _prepare(self, read_only: bool) -> None:
        if not read_only:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(SCHEMA)
        self._connection.execute("SELECT command, plan_digest, outcome FROM runs LIMIT 1")

    def close(self) -> None:
        self._connection.close()

    def begin_or_resume(self, command: str, plan_digest: str, plan: Mapping[str, Any]) -> Run:
        """The command's last run if it is the same plan and did not end in success, else a new one."""
        last = self.unfinished(command, plan_digest)
        if last:
            self._execute("UPDATE runs SET ended_at = NULL, outcome = NULL WHERE id = ?", last.id)
            return self.run(last.id)
        operator = f"{getpass.getuser()}@{socket.gethostname()}"
        cursor = self._execute(
            "INSERT INTO runs (command, plan_digest, plan, operator, started_at) VALUES (?, ?, ?, ?, ?)",
            command, plan_digest, json.dumps(plan), operator, _now(),
        )  # fmt: skip
        return self.run(int(cursor.lastrowid or 0))

    def unfinished(self, command: str, plan_digest: str) -> Run | None:
        """The command's last run, if it would be gone on with."""
        last = next((run for run in reversed(self.runs()) if run.command == command), None)
        return last if last and last.plan_digest == plan_digest and last.outcome != "done" else None

    def end(self, run: Run, outcome: str) -> None:
        self._execute("UPDATE runs SET ended_at = ?, outcome = ? WHERE id = ?", _now(), outcome, run.id)

    def write(self, run: Run, step: str, event: Event, detail: Mapping[str, Any], seconds: float | None = None) -> None:
        """Fsynced before it returns."""
        self._execute(
            "INSERT INTO records (run, step, event, at, seconds, detail) VALUES (?, ?, ?, ?, ?, ?)",
            run.id, step, event.value, _now(), seconds, json.dumps(detail, default=str),
        )  # fmt: skip

    def runs(self) -> list[Run]:
        return [_run(row) for row in self._execute("SELECT * FROM runs ORDER BY id")]

    def run(self, number: int) -> Run:
        row = self._execute("SELECT * FROM runs WHERE id = ?", number).fetchone()
        if row is None:
            raise KeyError(number)
        return _run(row)

    def last_run(self) -> Run | None:
        row = self._execute("SELECT * FROM runs ORDER BY id DESC LIMIT 1").fetchone()
        return _run(row) if row else None

    def records(self, run: Run) -> list[Record]:
        rows = self._execute(
            "SELECT run, step, event, at, seconds, detail FROM records WHERE run = ? ORDER BY id", run.id
        )
        return [Record(r[0], r[1], Event(r[2]), datetime.fromisoformat(r[3]), r[4], json.loads(r[5])) for r in rows]

    def finished(self, run: Run, step: str) -> Record | None:
        """The newest record of a step's success in this run."""
        ends = [r for r in self.records(run) if r.step == step and r.event is not Event.PROGRESS]
        return ends[-1] if ends and ends[-1].event in (Event.DONE, Event.SKIPPED) else None

    def last_done(self, run: Run, step: str) -> Record | None:
        """The newest record of the step being carried out (not skipped) in this run."""
        done = [r for r in self.records(run) if r.step == step and r.event is Event.DONE]
        return done[-1] if done else None

    def _execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        with self._lock:
            return self._connection.execute(sql, values)


def _run(row: tuple[Any, ...]) -> Run:
    return Run(
        row[0], row[1], row[2], json.loads(row[3]), row[4], datetime.fromisoformat(row[5]),
        datetime.fromisoformat(row[6]) if row[6] else None, row[7] or "",
    )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def exclusive(lock_file: Path, command: str) -> Iterator[None]:
    """One run on a state folder at a time; raises LockHeld with who holds it since when.

    The kernel releases the lock when its holder dies, however it dies."""
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise LockHeld(
                f"another run works here: {stream.read().strip() or 'its holder has not said who it is'}",
                where=str(lock_file.parent),
                hint="wait for it, or watch it: cloudexit status --watch",
            ) from fault
        stream.seek(0)
        stream.truncate()
        stream.write(f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}, since {_now()}, {command}\n")
        stream.flush()
        yield
