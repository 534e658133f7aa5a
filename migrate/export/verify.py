"""Reads every stored byte again, with no network, and says what differs from the ledger."""

import contextlib
import hashlib
import itertools
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from migrate.errors import GateHeld, Interrupted, UsageProblem
from migrate.export.keymap import OBJECTS, ODD, VERSIONS, key_bytes
from migrate.export.ledger import Ledger, Mode, Row, State, utc_now
from migrate.export.lock import exclusive
from migrate.export.results import Difference, VerifyResult
from migrate.export.tree import PathBlocked, Tree

READ_BYTES = 1024 * 1024
ROWS_AT_ONCE = 500
STORED_STATES = (State.VERIFIED, State.FETCHED, State.GONE)

OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Finding:
    row: Row
    size: int
    what: str | None


def verify_archive(
    dest: Path, on_progress: OnBytes | None = None, cancel: threading.Event | None = None
) -> VerifyResult:
    """Holds every stored file against its digest, and every file against the ledger.

    What is damaged is marked as quarantined in the ledger, so that the next export fetches it again; where the
    archive is read-only or in use, it is only reported. Raises Missing where there is no archive, Interrupted.
    """
    started = time.monotonic()
    cancel = cancel or threading.Event()
    with Ledger.open(dest, Mode.READ) as ledger, Tree(dest) as tree:
        findings: list[_Finding] = []
        objects = size = 0
        for finding in _read_all(ledger, tree, cancel):
            objects += 1
            size += finding.size
            if finding.what is not None:
                findings.append(finding)
            if on_progress is not None:
                on_progress(objects, size)
        strays = tuple(_strays(dest, ledger))
        counts = ledger.counts()
    if findings:
        _mark(dest, findings)
    damaged = {finding.row.id for finding in findings if finding.row.state is State.VERIFIED}
    return VerifyResult(
        objects=objects,
        bytes=size,
        matching=objects - len(findings),
        differences=(*(_difference(finding) for finding in findings), *strays),
        unverified=sum(counts[state] for state in State if state not in (State.VERIFIED, State.GONE)) + len(damaged),
        seconds=time.monotonic() - started,
    )


def _read_all(ledger: Ledger, tree: Tree, cancel: threading.Event) -> Iterator[_Finding]:
    rows = (row for row in ledger.objects(STORED_STATES) if row.path is not None and row.digest is not None)
    executor = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
            yield from executor.map(lambda row: _examine(tree, row, cancel), some)
            if cancel.is_set():
                raise Interrupted("the verification was stopped", where=str(tree.dest), hint="start it again")
    finally:
        cancel_was_set = cancel.is_set()
        cancel.set()
        executor.shutdown(wait=True, cancel_futures=True)
        if not cancel_was_set:
            cancel.clear()


def _examine(tree: Tree, row: Row, cancel: threading.Event) -> _Finding:
    assert row.path is not None
    digest = hashlib.sha256()
    size = 0
    try:
        with tree.open_file(row.path) as stream:
            while not cancel.is_set() and (data := stream.read(READ_BYTES)):
                digest.update(data)
                size += len(data)
    except FileNotFoundError:
        return _Finding(row, 0, "the file is missing")
    except (OSError, PathBlocked) as problem:
        return _Finding(row, size, f"the file cannot be read: {problem}")
    if cancel.is_set():
        return _Finding(row, size, None)
    if size != row.stored_size:
        return _Finding(row, size, f"the file has {size} bytes, the ledger says {row.stored_size}")
    if digest.hexdigest() != row.digest:
        return _Finding(row, size, f"the file's SHA-256 is {digest.hexdigest()}, the ledger says {row.digest}")
    return _Finding(row, size, None)


def _difference(finding: _Finding) -> Difference:
    assert finding.row.path is not None and finding.what is not None
    return Difference(finding.row.path, finding.row.key, finding.what)


def _strays(dest: Path, ledger: Ledger) -> Iterator[Difference]:
    others = {
        path
        for (path,) in ledger.connection.execute(
            "SELECT path FROM objects WHERE path IS NOT NULL AND substr(path, 1, ?) <> ?",
            (len(OBJECTS) + 1, f"{OBJECTS}/"),
        )
    }
    for path, entry in _files(dest):
        if path in others or (path.startswith(f"{OBJECTS}/") and _is_recorded(ledger, path)):
            continue
        kind = "a symbolic link" if entry.is_symlink() else "a file"
        yield Difference(path, None, f"{kind} that the ledger does not know")


def _is_recorded(ledger: Ledger, path: str) -> bool:
    found = ledger.connection.execute(
        "SELECT 1 FROM objects WHERE key = ? AND path = ?", (key_bytes(path.removeprefix(f"{OBJECTS}/")), path)
    )
    return found.fetchone() is not None


def _files(dest: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    waiting = [OBJECTS, ODD, VERSIONS]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(dest / folder))
        except FileNotFoundError:
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                yield path, entry


def _mark(dest: Path, findings: list[_Finding]) -> None:
    with (
        contextlib.suppress(GateHeld, UsageProblem, OSError, sqlite3.OperationalError),
        exclusive(dest),
        Ledger.open(dest, Mode.WRITE) as ledger,
        ledger.transaction(),
    ):
        ledger.connection.executemany(
            "UPDATE objects SET state = CASE state WHEN 'gone' THEN 'gone' ELSE 'quarantined' END, proof = NULL,"
            " reason = ?, evidence = ?, settled_at = ? WHERE id = ? AND digest = ?",
            [
                (
                    f"damaged in the archive: {finding.what}",
                    json.dumps({"what": finding.what, "found_by": "verify", "at": utc_now()}),
                    utc_now(),
                    finding.row.id,
                    finding.row.digest,
                )
                for finding in findings
            ],
        )
