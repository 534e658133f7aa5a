"""Exports one bucket: listing, lanes and ledger side by side, in one loop that alone writes the archive's names."""

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from migrate.errors import CloudexitError, Interrupted, Unreachable
from migrate.export.account import Account
from migrate.export.clock import Clock
from migrate.export.crosscheck import Scope, cross_check
from migrate.export.dest import GO_ON, check_binding, explained, make_dest
from migrate.export.fetch import Fetcher
from migrate.export.intake import Intake
from migrate.export.kept import KEPT_FROM_BYTES, sweep
from migrate.export.keymap import key_text
from migrate.export.lanes import (
    Batch,
    Ending,
    Halted,
    Lanes,
    LaneSetting,
    MakeLanes,
    Outcome,
    Outcomes,
    Work,
    careful_lanes,
)
from migrate.export.ledger import Ledger, Mode, Progress
from migrate.export.lister import Lister, ListingEnded
from migrate.export.lock import exclusive
from migrate.export.own_count import hold_count
from migrate.export.pace import Pace
from migrate.export.placement import Filed, Placement
from migrate.export.pruning import prune
from migrate.export.recording import Recording
from migrate.export.results import ExportResult
from migrate.export.scope import ExportOptions, Order, chooser
from migrate.export.settings import Settings, ask_settings
from migrate.export.source import Entry, ObjectSource
from migrate.export.sums import SUMS_HOLD, SUMS_STATE, sums_present, write_sums
from migrate.export.thawing import Asked, StaysFrozen, Thawed, Thawing, ThawNews
from migrate.export.tree import Tree

if TYPE_CHECKING:
    from migrate.export.inventory_report import InventoryReport

__all__ = ["ExportOptions", "ExportResult", "OnProgress", "export_bucket"]

POLL_SECONDS = 0.2
REPORT_SECONDS = 0.25
SILENT_IN_A_ROW = 32
BATCH_OBJECTS = 64
SETTLED_AT_ONCE = 256
SETTINGS_SECONDS = 5.0

OnProgress = Callable[[Progress], None]
DEFAULT_OPTIONS = ExportOptions()


QUEUED = (
    f"SELECT q.position, {', '.join(f'o.{name}' for name in Filed._fields)}"
    " FROM temp.queue q JOIN objects o ON o.id = q.id WHERE q.position > ? ORDER BY q.position LIMIT ?"
)
Message = tuple[Entry, ...] | Outcomes | Halted | ThawNews | ListingEnded | Settings


def export_bucket(
    source: ObjectSource,
    prefix: str,
    dest: Path,
    options: ExportOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
    make_lanes: MakeLanes = careful_lanes,
    inventory: "InventoryReport | None" = None,
) -> ExportResult:
    """Copies everything below `prefix` into the archive at `dest`, and goes on where an earlier run stopped.

    `make_lanes` may know faster ways to the same source than the careful one; `inventory` is what the listing is held
    against.

    Raises UsageProblem (DEST cannot be used, or belongs to another source), LockHeld, Missing, Refused or Unreachable
    (the bucket as a whole), Interrupted (`cancel` was set, or Ctrl-C), Incomplete (the disk is full). All but
    UsageProblem are retriable as they stand: what is in the ledger is not fetched again.
    """
    make_dest(dest)
    try:
        with exclusive(dest), Tree(dest) as tree:
            tree.prepare()
            with Ledger.open(dest, Mode.WRITE) as ledger:
                binding = check_binding(ledger, source, prefix, options)
                run = _Run(source, prefix, options, ledger, tree, on_progress, cancel or threading.Event(), binding)
                run.inventory = inventory
                return run.carry_out(make_lanes)
    except (OSError, sqlite3.OperationalError) as problem:
        raise explained(problem, dest) from problem


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
        self._listing_done = False
        self._position = 0
        self.inventory: InventoryReport | None = None
        self._outstanding: dict[int, Work] = {}
        self._lister: Lister | None = None
        self._thawing: Thawing | None = None
        self._result: ExportResult | None = None
        self._silent = 0
        self._last_reason: str | None = None
        self._reported_at = 0.0
        told = {"source": source.where, "prefix": prefix, **options.as_document()}
        self._record = Recording(ledger, tree, told)
        # Until this run has ended, nobody knows whether the sums still hold: it may be killed.
        self._sums_hold = ledger.archive_value(SUMS_STATE) == SUMS_HOLD
        ledger.set_archive_value(SUMS_STATE, f"run {self._record.number} has not ended")
        self._wanted = chooser(options.include, options.exclude)
        self._intake = Intake(ledger, tree, self._wanted, options)
        self._account = Account(ledger, self._intake.tally, self._clock)
        self._placement = Placement(ledger, tree, self._intake)
        self._record.where_it_is = self._progress
        self._settings = ask_settings(source, self._inbox.put)

    def carry_out(self, make_lanes: MakeLanes) -> ExportResult:
        with self._recorded(), self._working(make_lanes) as lanes:
            self._work(lanes)
            if self.inventory is not None:
                self._cross_check(self.inventory)
                self._work(lanes)
            if self._silent:
                self._raise_silent()
            if self._options.prune:
                self._prune()
            self._settings.join(SETTINGS_SECONDS)
        assert self._result is not None
        return self._result

    def _work(self, lanes: Lanes) -> None:
        while not self._finished():
            while self._feed(lanes):
                pass
            self._handle_messages(lanes)
            self._record.commit_when_due()
            self._report()
            self._raise_when_stopped()

    def _finished(self) -> bool:
        if not self._listing_done or self._outstanding:
            return False
        is_waiting = self._thawing is not None and self._thawing.is_waiting
        return self._clock.expired or (self._queue_is_empty() and not is_waiting)

    def _queue_is_empty(self) -> bool:
        found = self._ledger.connection.execute(
            "SELECT 1 FROM temp.queue WHERE position > ? LIMIT 1", (self._position,)
        ).fetchone()
        return found is None

    @contextlib.contextmanager
    def _working(self, make_lanes: MakeLanes) -> Iterator[Lanes]:
        options, pace = self._options, Pace(self._options.bytes_per_second)
        fetcher = Fetcher(self._source, self._tree, pace, with_tags=options.tags, with_acls=options.acls)
        extras = options.tags or options.acls
        lanes = make_lanes(LaneSetting(fetcher, self._inbox.put, self._tree, pace, options.workers, extras))
        if options.restore is not None:
            self._thawing = Thawing(self._source, options.restore, self._inbox.put)
        self._lister = lister = Lister(self._source, self._prefix, self._inbox.put, versions=options.versions)
        try:
            yield lanes
        finally:
            lister.stop()
            if self._thawing is not None:
                self._thawing.stop()
            lanes.stop()

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[None]:
        """However the run ends, what it settled is committed and the end is written down."""
        outcome, why = "failed", ""
        try:
            yield
            outcome = self._end()
        except KeyboardInterrupt as stop:
            outcome = "interrupted"
            raise Interrupted("the export was stopped", where=self._source.where, hint=GO_ON) from stop
        except Interrupted:
            outcome = "interrupted"
            raise
        except (OSError, sqlite3.OperationalError) as problem:
            why = str(problem)
            raise
        except CloudexitError as problem:
            why = problem.what
            raise
        finally:
            if self._result is None:
                with contextlib.suppress(sqlite3.OperationalError, OSError):
                    self._drain()
                    self._record.end(outcome)
            self._record.events.close({"outcome": outcome, "why": why or None, "counts": self._record.counts()})

    def _drain(self) -> None:
        """Outcomes that were on their way when the run stopped are kept."""
        while True:
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(message, (list, Settings)):
                self._record.begin()
                self._settle(message) if isinstance(message, list) else self._take_settings(message)

    def _feed(self, lanes: Lanes) -> bool:
        """Hands out one batch; False where there is none to hand out, or the lanes have enough."""
        room = lanes.appetite - len(self._outstanding)
        if room <= 0 or self._clock.expired:
            return False
        rows = self._ledger.connection.execute(QUEUED, (self._position, min(BATCH_OBJECTS, room))).fetchall()
        if not rows:
            return False
        self._position = rows[-1][0]
        filed = [Filed(fields[1], key_text(fields[2]), *fields[3:]) for fields in rows]
        items = [Work(row.id, row.key, row.version_id, row.size, row.etag) for row in filed]
        fitting = [item for item in items if self._clock.can_finish(item.size, self._options.workers)]
        self._account.passed_over += len(items) - len(fitting)
        self._account.passed_over_bytes += sum(item.size for item in items) - sum(item.size for item in fitting)
        self._outstanding.update({item.id: item for item in fitting})
        for row in filed:
            if row.id in self._outstanding:
                self._placement.expect(row)
        if any(row.path is not None for row in filed):
            self._record.commit()  # new bytes may come under an old name only when the row no longer vouches for them
        if fitting:
            lanes.submit(Batch(tuple(fitting)))
        return True

    def _handle_messages(self, lanes: Lanes) -> None:
        """Waits for one message, then takes what else is there."""
        try:
            message = self._inbox.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return
        self._record.begin()
        for _ in range(BATCH_OBJECTS):
            self._handle(message, lanes)
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return
        self._handle(message, lanes)

    def _handle(self, message: Message, lanes: Lanes) -> None:
        match message:
            case Halted():
                raise message.problem
            case list():
                self._settle(message)
            case Settings():
                self._take_settings(message)
            case Asked() | Thawed() | StaysFrozen():
                self._hear_of_thawing(message, lanes)
            case _:
                self._take_listing(message)

    def _take_settings(self, told: Settings) -> None:
        told.record(self._ledger)
        versioning = told.values.get("versioning")
        self._account.own_count = lambda listed: hold_count(told.count, listed, self._prefix, self._options, versioning)
        self._record.changed()

    def _take_listing(self, message: "tuple[Entry, ...] | ListingEnded") -> None:
        for name, value in self._binding.items():
            self._ledger.set_archive_value(name, value)
        self._binding = {}
        if isinstance(message, ListingEnded):
            self._account.gone = self._intake.finish(self._options.order)
            self._listing_done = True
            self._record.listing_is_complete()
        else:
            self._intake.take(message, queue_now=self._options.order is Order.LISTED)
            self._record.changed(len(message))
            if self._lister is not None:
                self._lister.page_taken()

    def _settle(self, outcomes: Outcomes) -> None:
        for start in range(0, len(outcomes), SETTLED_AT_ONCE):
            some = outcomes[start : start + SETTLED_AT_ONCE]
            self._record.begin()
            self._placement.settle(some)
            for outcome in some:
                self._take_account(outcome)
            self._record.commit_when_due()

    def _take_account(self, outcome: Outcome) -> None:
        work = self._outstanding.pop(outcome.id, None)
        size = work.size if work is not None else 0
        self._account.settle(outcome, size)
        if work is not None and outcome.ending not in (Ending.VERIFIED, Ending.CANCELLED):
            self._record.events.tell_of(work, outcome)
            if outcome.ending is Ending.ARCHIVED and self._thawing is not None:
                self._thawing.submit(work, self._ledger.rows([work.id])[0].storage_class)
        self._record.changed(write_down_soon=size >= KEPT_FROM_BYTES)
        self._silent = self._silent + 1 if outcome.ending is Ending.SILENT else 0
        self._last_reason = outcome.reason

    def _hear_of_thawing(self, news: ThawNews, lanes: Lanes) -> None:
        work = news.work
        if self._thawing is not None:
            self._thawing.heard(news)
        if isinstance(news, Thawed):
            self._account.take_back(Ending.ARCHIVED, work.size)
            self._outstanding[work.id] = work
            lanes.submit(Batch((work,)))
            return
        self._ledger.connection.execute("UPDATE objects SET reason = ? WHERE id = ?", (news.reason, work.id))
        self._record.events.write("restore", {"key": work.key, "why": news.reason})
        self._record.changed()

    def _cross_check(self, report: "InventoryReport") -> None:
        self._record.commit()
        scope = Scope(self._prefix, self._wanted, with_versions=self._options.versions)
        found = cross_check(self._ledger, self._source, report, scope, self._take_hidden)
        self._account.cross_check = found
        self._record.events.write("cross-checked", {**asdict(found), "agrees": found.agrees})

    def _take_hidden(self, entries: list[Entry]) -> None:
        with self._ledger.transaction():
            self._intake.take(entries, queue_now=True)

    def _prune(self) -> None:
        self._record.commit()
        self._account.pruned = prune(self._ledger, self._tree, self._source, self._wanted)
        self._record.events.write("pruned", asdict(self._account.pruned))

    def _progress(self) -> Progress:
        return self._account.progress(listing_done=self._listing_done)

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

    def _report(self) -> None:
        self._clock.sample(self._account.settled.total(), self._account.settled_bytes)
        now = time.monotonic()
        if self._on_progress is not None and now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            self._on_progress(self._progress())

    def _end(self) -> str:
        """All is settled: what belongs to the end of a run is written, and the result is taken from the ledger."""
        self._drain()
        self._record.commit()
        sweep(self._tree, self._ledger)
        changed = any(self._account.settled.values()) or self._account.pruned.objects or self._intake.tally.altered
        if changed or not self._sums_hold or not sums_present(self._tree.dest):
            write_sums(self._ledger, self._tree)
        self._ledger.set_archive_value(SUMS_STATE, SUMS_HOLD)
        result = self._account.result(self._position)
        outcome = "complete" if result.complete else "incomplete"
        self._record.end(outcome, result)
        self._result = result
        if self._on_progress is not None:
            self._on_progress(self._progress())
        return outcome
