"""The way back: writes an archive into a bucket, and proves each object there."""

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_after_attempt, wait_random_exponential

from migrate.errors import Interrupted
from migrate.export.ledger import Ledger, Mode, Row, State
from migrate.export.results import Difference, ImportResult
from migrate.export.source import Entry, ObjectMissing, ObjectProblem, ObjectSink, SlowDown, TransferBroken, Upload
from migrate.export.tree import PathBlocked, Tree
from migrate.export.verification import MIB, even_parts

MAX_ATTEMPTS = 4
LONGEST_WAIT_SECONDS = 5.0
DEFAULT_WORKERS = 16
POLL_SECONDS = 0.5
READ_BYTES = MIB
LARGEST_PUT_BYTES = 1024 * MIB
PART_BYTES = 64 * MIB
MOST_PARTS = 10_000
STORED_STATES = (State.VERIFIED, State.FETCHED)
OnObjects = Callable[[int, int], None]


class _Fate(Enum):
    WRITTEN = "written"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class _Report:
    row: Row
    fate: _Fate
    why: str = ""


def import_archive(
    dest: Path,
    sink: ObjectSink,
    prefix: str = "",
    *,
    replace: bool = False,
    workers: int = DEFAULT_WORKERS,
    on_progress: OnObjects | None = None,
    cancel: threading.Event | None = None,
) -> ImportResult:
    """Writes every stored object of the archive below `prefix`, oldest version first.

    An object that is there already with the same content is left alone; one with other content is a conflict, unless
    `replace`. Raises UsageProblem or Missing (no archive), Missing, Refused or Unreachable (the bucket as a
    whole), Interrupted. Retriable: what is there already is not written again.
    """
    started = time.monotonic()
    cancel = cancel or threading.Event()
    sink.check()
    tally = dict.fromkeys(_Fate, 0)
    problems: list[Difference] = []
    size = 0
    with Ledger.open(dest, Mode.READ) as ledger, Tree(dest) as tree:
        writer = _Writer(sink, tree, prefix, replace, cancel)
        for report in _spread(writer.write_key, _by_key(ledger), workers, cancel, sink.where):
            tally[report.fate] += 1
            size += report.row.size if report.fate is _Fate.WRITTEN else 0
            if report.fate in (_Fate.CONFLICT, _Fate.FAILED):
                problems.append(Difference(report.row.path or "", report.row.key, report.why))
            if on_progress is not None:
                on_progress(sum(tally.values()), size)
        counts = ledger.counts()
    return ImportResult(
        objects=sum(tally.values()),
        written=tally[_Fate.WRITTEN],
        unchanged=tally[_Fate.UNCHANGED],
        conflicts=tally[_Fate.CONFLICT],
        failed=tally[_Fate.FAILED],
        not_stored=counts[State.LISTED] + counts[State.ARCHIVED] + counts[State.QUARANTINED],
        bytes=size,
        seconds=time.monotonic() - started,
        problems=tuple(problems),
    )


def _by_key(ledger: Ledger) -> Iterator[list[Row]]:
    """The stored versions of each key, oldest first."""
    for _, rows in itertools.groupby(ledger.objects(STORED_STATES), key=lambda row: row.key):
        yield sorted(rows, key=lambda row: (row.is_latest, row.last_modified))


def _spread(
    work: Callable[[list[Row]], list[_Report]],
    keys: Iterator[list[Row]],
    workers: int,
    cancel: threading.Event,
    where: str,
) -> Iterator[_Report]:
    executor = ThreadPoolExecutor(max_workers=workers)
    waiting: set[Future[list[_Report]]] = set()
    try:
        while True:
            waiting |= {executor.submit(work, rows) for rows in itertools.islice(keys, workers * 2 - len(waiting))}
            if not waiting:
                return
            done, waiting = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
            if cancel.is_set():
                raise Interrupted("the import was stopped", where=where, hint="the same command goes on from here")
    except KeyboardInterrupt as stop:
        cancel.set()
        raise Interrupted("the import was stopped", where=where, hint="the same command goes on from here") from stop
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


class _Writer:
    """Writes the versions of one key. Called from many threads."""

    def __init__(self, sink: ObjectSink, tree: Tree, prefix: str, replace: bool, cancel: threading.Event) -> None:
        self._sink = sink
        self._tree = tree
        self._prefix = prefix
        self._replace = replace
        self._cancel = cancel

    def write_key(self, rows: list[Row]) -> list[_Report]:
        try:
            if len(rows) > 1 or rows[0].delete_marker:
                return self._write_history(rows)
            return [self._compare(rows[0]) or self._write(rows[0])]
        except ObjectProblem as problem:
            return [_Report(row, _Fate.FAILED, problem.detail) for row in rows]

    def _write_history(self, rows: list[Row]) -> list[_Report]:
        """All versions of a key, after those of them that the target holds already."""
        held = self._history(self._prefix + rows[0].key)
        if len(held) > len(rows):
            held = held[-len(rows) :]
        if all(_is_same(entry, row) for entry, row in zip(held, rows, strict=False)):
            there = [_Report(row, _Fate.UNCHANGED) for row in rows[: len(held)]]
            return there + [self._write(row) for row in rows[len(held) :]]
        if self._replace:
            return [self._write(row) for row in rows]
        why = f"{self._sink.where} holds other versions of {rows[0].key!r}; --replace writes these after them"
        return [_Report(row, _Fate.CONFLICT, why) for row in rows]

    def _history(self, key: str) -> list[Entry]:
        """What the target holds of a key, oldest first."""
        newest_first = []
        for entry in itertools.chain.from_iterable(self._sink.pages(key, versions=True)):
            if entry.key != key:
                break  # a listing shows the key itself before those that begin with it
            newest_first.append(entry)
        newest_first.reverse()  # within a second, only the listing tells which was first
        return sorted(newest_first, key=lambda entry: (entry.is_latest, entry.last_modified))

    def _compare(self, row: Row) -> _Report | None:
        """Whether the target holds the key already; None where it is to be written."""
        key = self._prefix + row.key
        try:
            facts = self._retrying()(self._sink.head, key, version_id="")
        except ObjectMissing:
            return None
        if facts.size == row.size and (facts.etag in (row.etag, row.md5) or self._digest_there(key) == row.digest):
            return _Report(row, _Fate.UNCHANGED)
        if self._replace:
            return None
        return _Report(row, _Fate.CONFLICT, f"{self._sink.where} holds another {key!r}; --replace overwrites it")

    def _write(self, row: Row) -> _Report:
        key = self._prefix + row.key
        if row.delete_marker:
            self._retrying()(self._sink.delete, key)
            return _Report(row, _Fate.WRITTEN)
        parts = _parts(row)
        if row.path is None or (row.md5 is None and not parts):
            return _Report(row, _Fate.FAILED, "the archive holds no bytes of it")
        upload = Upload(key, row.stored_size or 0, row.md5 or "", row.headers, row.metadata, row.tags or {}, parts)
        try:
            etag = self._retrying()(self._send, upload, row.path)
        except (OSError, PathBlocked) as problem:
            return _Report(row, _Fate.FAILED, f"the archive's file cannot be read: {problem}")
        if etag in (row.etag, row.md5) or self._digest_there(key) == row.digest:
            return _Report(row, _Fate.WRITTEN)
        return _Report(row, _Fate.FAILED, "what was read back from the target is not what was written")

    def _send(self, upload: Upload, path: str) -> str:
        with self._tree.open_file(path) as content:
            return self._sink.write(upload, content)

    def _digest_there(self, key: str) -> str:
        digest = hashlib.sha256()
        with self._sink.read(key, version_id="", if_match="") as reading:
            while not self._cancel.is_set() and (data := reading.read(READ_BYTES)):
                digest.update(data)
        return digest.hexdigest()

    def _retrying(self) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(MAX_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.1, max=LONGEST_WAIT_SECONDS),
            retry=retry_if_exception_type((TransferBroken, SlowDown)),
            sleep=sleep_using_event(self._cancel),
            reraise=True,
        )


def _is_same(entry: Entry, row: Row) -> bool:
    if entry.delete_marker or row.delete_marker:
        return entry.delete_marker == row.delete_marker
    return entry.size == row.size and entry.etag in (row.etag, row.md5)


def _parts(row: Row) -> tuple[int, ...]:
    """The parts that the object had, so that its ETag comes out the same; none where one PUT holds it."""
    size = row.stored_size or 0
    if row.part_sizes or size <= LARGEST_PUT_BYTES:
        return row.part_sizes
    part = max(PART_BYTES, -(-size // MOST_PARTS))
    return even_parts(size, part)
