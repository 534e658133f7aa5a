"""Exports one bucket: listing, lanes and ledger side by side, in one loop that alone writes the archive's names."""

import contextlib
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from migrate.errors import Interrupted, Unreachable
from migrate.export.clock import Clock
from migrate.export.dest import GO_ON, check_binding, explained, make_dest
from migrate.export.fetch import SECOND_READ, Fetcher
from migrate.export.intake import Intake
from migrate.export.kept import KEPT_FROM_BYTES, sweep
from migrate.export.lanes import Batch, Ending, Halted, Lanes, LaneSetting, MakeLanes, Outcome, Work, careful_lanes
from migrate.export.ledger import Ledger, Mode, Progress, State, utc_now
from migrate.export.lock import exclusive
from migrate.export.pace import Pace
from migrate.export.placement import Placement
from migrate.export.results import ExportResult
from migrate.export.scope import ExportOptions, Order, chooser
from migrate.export.source import Entry, ObjectSource
from migrate.export.sums import sums_present, write_sums
from migrate.export.tree import Tree

__all__ = ["ExportOptions", "ExportResult", "OnProgress", "export_bucket"]

PAGES_AHEAD = 4
POLL_SECONDS = 0.2
COMMIT_SECONDS = 1.0
COMMIT_CHANGES = 1000
REPORT_SECONDS = 0.25
SILENT_IN_A_ROW = 32
BATCH_OBJECTS = 64

OnProgress = Callable[[Progress], None]
DEFAULT_OPTIONS = ExportOptions()


class _ListingEnded:
    pass


Message = tuple[Entry, ...] | Outcome | Halted | _ListingEnded


def export_bucket(
    source: ObjectSource,
    prefix: str,
    dest: Path,
    options: ExportOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
    make_lanes: MakeLanes = careful_lanes,
) -> ExportResult:
    """Copies everything below `prefix` into the archive at `dest`, and goes on where an earlier run stopped.

    `make_lanes` may know faster ways to the same source than the careful one.

    Raises UsageProblem (DEST cannot be used, or belongs to another source), LockHeld, Missing, Refused or Unreachable
    (the bucket as a whole), Interrupted (`cancel` was set, or Ctrl-C), Incomplete (the disk is full). All but
    UsageProblem are retriable as they stand: what is in the ledger is not fetched again.
    """
    make_dest(dest)
    with exclusive(dest), Tree(dest) as tree:
        tree.prepare()
        with Ledger.open(dest, Mode.WRITE) as ledger:
            binding = check_binding(ledger, source, prefix, options)
            run = _Run(source, prefix, options, ledger, tree, on_progress, cancel or threading.Event(), binding)
            return run.carry_out(make_lanes)


class _Run:
    """One run of the engine. The loop's thread alone touches ledger and names."""

    def __init__(
        self,
        source: ObjectSource,
        prefix: str,
        options: ExportOptions,
        ledger: Ledger,
        tree: Tree,
        on_progress: OnProgress | None,
        cancel: threading.Event,
        binding: Mapping[str, str],
    ) -> None:
        self._binding = binding
        self._source = source
        self._prefix = prefix
        self._options = options
        self._ledger = ledger
        self._tree = tree
        self._on_progress = on_progress
        self._cancel = cancel
        self._clock = Clock(options.deadline)
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._room = threading.Semaphore(PAGES_AHEAD)
        self._listing_stop = threading.Event()
        self._listing_done = False
        self._position = 0
        self._outstanding: dict[int, int] = {}
        self._settled: dict[Ending, int] = dict.fromkeys(Ending, 0)
        self._settled_bytes = 0
        self._fetched_bytes = 0
        self._passed_over = [0, 0]
        self._silent = 0
        self._last_reason: str | None = None
        self._gone = 0
        self._changes = 0
        self._committed_at = time.monotonic()
        self._reported_at = 0.0
        self._id = ledger.start_run({"source": source.where, "prefix": prefix, **options.as_document()})
        self._intake = Intake(ledger, tree, self._id, chooser(options.include, options.exclude), with_tags=options.tags)
        self._placement = Placement(ledger, tree, self._intake)

    def carry_out(self, make_lanes: MakeLanes) -> ExportResult:
        with self._recorded(), self._working(make_lanes) as lanes:
            while not self._finished():
                while self._feed(lanes):
                    pass
                self._handle_messages()
                self._commit_when_due()
                self._report()
                self._raise_when_stopped()
            if self._silent:
                self._raise_silent()
        return self._result()

    def _finished(self) -> bool:
        return self._listing_done and not self._outstanding and (self._queue_is_empty() or self._clock.expired)

    def _queue_is_empty(self) -> bool:
        found = self._ledger.connection.execute(
            "SELECT 1 FROM temp.queue WHERE position > ? LIMIT 1", (self._position,)
        ).fetchone()
        return found is None

    @contextlib.contextmanager
    def _working(self, make_lanes: MakeLanes) -> Iterator[Lanes]:
        options, pace = self._options, Pace(self._options.bytes_per_second)
        fetcher = Fetcher(self._source, self._tree, pace, with_tags=options.tags)
        lanes = make_lanes(LaneSetting(fetcher, self._inbox.put, self._tree, pace, options.workers, options.tags))
        threading.Thread(target=self._list, name="listing", daemon=True).start()
        try:
            yield lanes
        finally:
            self._listing_stop.set()
            self._room.release()
            lanes.stop()

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[None]:
        """However the run ends, what it settled is committed and the end is written down."""
        outcome = "failed"
        try:
            yield
            outcome = "ended"
        except KeyboardInterrupt as stop:
            outcome = "interrupted"
            raise Interrupted("the export was stopped", where=self._source.where, hint=GO_ON) from stop
        except Interrupted:
            outcome = "interrupted"
            raise
        except (OSError, sqlite3.OperationalError) as problem:
            raise explained(problem, self._tree.dest) from problem
        finally:
            with contextlib.suppress(sqlite3.OperationalError, OSError):
                self._drain()
                self._write_end(outcome)

    def _drain(self) -> None:
        """Outcomes that were on their way when the run stopped are kept."""
        while True:
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, Outcome):
                self._settle(message)

    def _list(self) -> None:
        try:
            for page in self._source.pages(self._prefix, versions=self._options.versions):
                self._room.acquire()
                if self._listing_stop.is_set():
                    return
                self._inbox.put(page)
            self._inbox.put(_ListingEnded())
        except BaseException as problem:  # noqa: BLE001  a thread has nobody above it: the loop raises it
            self._inbox.put(Halted(problem))

    def _feed(self, lanes: Lanes) -> bool:
        """Hands out one batch; False where there is none to hand out, or the lanes have enough."""
        room = lanes.appetite - len(self._outstanding)
        if room <= 0 or self._clock.expired:
            return False
        rows = self._ledger.connection.execute(
            "SELECT q.position, o.id, o.key, o.version_id, o.size, o.etag"
            " FROM temp.queue q JOIN objects o ON o.id = q.id WHERE q.position > ? ORDER BY q.position LIMIT ?",
            (self._position, min(BATCH_OBJECTS, room)),
        ).fetchall()
        if not rows:
            return False
        self._position = rows[-1][0]
        items = [
            Work(identifier, key.decode("utf-8", "surrogateescape"), version, size, etag)
            for _, identifier, key, version, size, etag in rows
        ]
        fitting = [item for item in items if self._clock.can_finish(item.size, self._options.workers)]
        self._passed_over[0] += len(items) - len(fitting)
        self._passed_over[1] += sum(item.size for item in items) - sum(item.size for item in fitting)
        self._outstanding.update({item.id: item.size for item in fitting})
        if fitting:
            lanes.submit(Batch(tuple(fitting)))
        return True

    def _handle_messages(self) -> None:
        """Waits for one message, then takes what else is there."""
        try:
            message = self._inbox.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return
        self._begin()
        for _ in range(BATCH_OBJECTS):
            self._handle(message)
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return
        self._handle(message)

    def _handle(self, message: Message) -> None:
        if isinstance(message, Halted):
            raise message.problem
        if isinstance(message, Outcome):
            self._settle(message)
            return
        for name, value in self._binding.items():
            self._ledger.set_archive_value(name, value)
        self._binding = {}
        if isinstance(message, _ListingEnded):
            self._gone = self._intake.finish(self._options.order)
            self._listing_done = True
            self._ledger.connection.execute("UPDATE runs SET listing_complete = 1 WHERE id = ?", (self._id,))
        else:
            self._intake.take(message, queue_now=self._options.order is Order.LISTED)
            self._changes += len(message)
            self._room.release()

    def _settle(self, outcome: Outcome) -> None:
        self._begin()
        self._placement.settle(outcome)
        size = self._outstanding.pop(outcome.id, 0)
        self._settled[outcome.ending] += 1
        self._settled_bytes += size
        self._fetched_bytes += outcome.transferred
        self._changes += COMMIT_CHANGES if size >= KEPT_FROM_BYTES else 1  # much work is written down at once
        self._silent = self._silent + 1 if outcome.ending is Ending.SILENT else 0
        self._last_reason = outcome.reason

    def _raise_when_stopped(self) -> None:
        if self._cancel.is_set():
            raise Interrupted("the export was stopped", where=self._source.where, hint=GO_ON)
        if self._silent >= SILENT_IN_A_ROW:
            self._raise_silent()

    def _raise_silent(self) -> None:
        raise Unreachable(
            f"the endpoint no longer answers: {self._last_reason}",
            where=self._source.where,
            expected="a connection, for at least one of the last objects",
            hint=f"check the network; {GO_ON}",
        )

    def _begin(self) -> None:
        if not self._ledger.connection.in_transaction:
            self._ledger.connection.execute("BEGIN IMMEDIATE")

    def _commit_when_due(self) -> None:
        late = time.monotonic() - self._committed_at > COMMIT_SECONDS
        if self._changes and (late or self._changes >= COMMIT_CHANGES):
            self._commit()

    def _commit(self) -> None:
        self._begin()
        self._tree.sync_folders()
        self._ledger.connection.execute(
            "UPDATE runs SET progress = ? WHERE id = ?", (json.dumps(asdict(self._progress())), self._id)
        )
        self._ledger.connection.execute("COMMIT")
        self._changes = 0
        self._committed_at = time.monotonic()

    def _report(self) -> None:
        self._clock.sample(sum(self._settled.values()), self._settled_bytes)
        now = time.monotonic()
        if self._on_progress is not None and now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            self._on_progress(self._progress())

    def _progress(self) -> Progress:
        tally, ended = self._intake.tally, self._settled
        here = tally.skipped + tally.already_fetched + tally.markers
        settled = here + sum(ended.values())
        settled_bytes = tally.skipped_bytes + self._settled_bytes
        left = max(0, tally.listed - settled), max(0, tally.listed_bytes - settled_bytes)
        return Progress(
            phase="fetching" if self._listing_done else "listing",
            listed=tally.listed,
            listed_bytes=tally.listed_bytes,
            settled=settled,
            settled_bytes=settled_bytes,
            verified=ended[Ending.VERIFIED] + tally.skipped + tally.markers,
            skipped=tally.skipped,
            quarantined=ended[Ending.QUARANTINED],
            archived=ended[Ending.ARCHIVED],
            gone=ended[Ending.GONE] + self._gone,
            unverified=ended[Ending.FETCHED] + tally.already_fetched,
            fetched_bytes=self._fetched_bytes,
            seconds=self._clock.seconds,
            bytes_per_second=self._clock.rates()[1],
            seconds_left=self._clock.seconds_left(*left) if self._listing_done else None,
            errors=ended[Ending.FAILED] + ended[Ending.SILENT] + ended[Ending.QUARANTINED],
        )

    def _counts(self) -> dict[State, int]:
        found = dict(
            self._ledger.connection.execute(
                "SELECT state, count(*) FROM objects WHERE seen_run = ? GROUP BY state", (self._id,)
            )
        )
        return {state: found.get(state.value, 0) for state in State}

    def _result(self) -> ExportResult:
        counts = self._counts()
        left = self._ledger.connection.execute(
            "SELECT count(*), total(o.size) FROM temp.queue q JOIN objects o ON o.id = q.id WHERE q.position > ?",
            (self._position,),
        ).fetchone()
        unverified = counts[State.LISTED] + counts[State.FETCHED]
        return ExportResult(
            listed=sum(counts.values()),
            verified=counts[State.VERIFIED],
            quarantined=counts[State.QUARANTINED],
            archived=counts[State.ARCHIVED],
            gone=self._gone + counts[State.GONE],
            skipped=self._intake.tally.skipped,
            bytes=self._fetched_bytes,
            seconds=self._clock.seconds,
            complete=not (unverified or counts[State.QUARANTINED] or counts[State.ARCHIVED]),
            unverified=unverified,
            remaining_objects=left[0] + self._passed_over[0],
            remaining_bytes=int(left[1]) + self._passed_over[1],
            second_read=self._ledger.connection.execute(
                "SELECT count(*) FROM objects WHERE seen_run = ? AND state = 'verified' AND proof = ?",
                (self._id, SECOND_READ),
            ).fetchone()[0],
        )

    def _write_end(self, outcome: str) -> None:
        self._commit()
        if outcome == "ended":
            sweep(self._tree, self._ledger)
        changed = any(self._settled.values())
        if outcome == "ended" and (changed or not sums_present(self._tree.dest)):
            write_sums(self._ledger, self._tree)
        result = self._result() if outcome == "ended" else None
        if result is not None:
            outcome = "complete" if result.complete else "incomplete"
        with self._ledger.transaction():
            self._ledger.connection.execute(
                "UPDATE runs SET ended = ?, outcome = ?, result = ? WHERE id = ?",
                (utc_now(), outcome, json.dumps(result.as_document()) if result else None, self._id),
            )
        if self._on_progress is not None and result is not None:
            self._on_progress(self._progress())
