"""What an export would do: lists the source and holds it against the ledger; writes nothing anywhere."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from migrate.export.archived import offers
from migrate.export.intake import ARCHIVE_CLASSES, known_rows, unchanged, was_settled
from migrate.export.keymap import LEDGER, key_bytes, key_text
from migrate.export.ledger import Ledger, Mode
from migrate.export.ledger_schema import OF_A_RUN
from migrate.export.results import ExportResult
from migrate.export.scope import ExportOptions, chooser
from migrate.export.source import Entry, ObjectSource
from migrate.export.tree import Tree


def survey_bucket(source: ObjectSource, prefix: str, dest: Path, options: ExportOptions) -> ExportResult:
    """The result that an export would have if nothing failed: `bytes` and `remaining_*` are what it would fetch.

    Raises Missing, Refused or Unreachable for the bucket as a whole.
    """
    started = time.monotonic()
    wanted = chooser(options.include, options.exclude)
    count = _Count(options)
    if (dest / LEDGER).is_file():
        with Ledger.open(dest, Mode.READ) as ledger, Tree(dest) as tree:
            ledger.connection.executescript(OF_A_RUN)
            for page in source.pages(prefix, versions=options.versions):
                count.take_known([entry for entry in page if wanted(entry.key)], ledger.connection, tree)
            count.gone = _kept(ledger.connection, wanted) - count.recognised
    else:
        for page in source.pages(prefix, versions=options.versions):
            for entry in page:
                if wanted(entry.key):
                    count.take_new(entry)
    return count.result(time.monotonic() - started)


def _kept(connection: sqlite3.Connection, wanted: Callable[[str], bool]) -> int:
    rows = connection.execute("SELECT key FROM objects WHERE state <> 'gone'")
    return sum(1 for (key,) in rows if wanted(key_text(key)))


class _Count:
    def __init__(self, options: ExportOptions) -> None:
        self._options = options
        self.listed = self.skipped = self.archived = self.gone = self.recognised = 0
        self.objects = self.bytes = 0
        self._held: dict[str, tuple[int, int]] = {}

    def take_known(self, entries: list[Entry], connection: sqlite3.Connection, tree: Tree) -> None:
        known = known_rows(connection, [key_bytes(entry.key) for entry in entries])
        for entry in dict.fromkeys(entries):
            row = known.get((key_bytes(entry.key), entry.version_id))
            if row is not None and row.was_seen:
                continue
            if row is not None and row.state != "gone":
                self.recognised += 1
            settled = row is not None and unchanged(entry, row) and was_settled(row, self._options)
            if settled and row is not None and row.path and tree.size(row.path) == row.stored_size:
                self.listed += 1
                self.skipped += 1
            else:
                self.take_new(entry)
        seen = [(row.id,) for row in known.values()]
        connection.executemany("INSERT OR IGNORE INTO temp.seen (id) VALUES (?)", seen)

    def take_new(self, entry: Entry) -> None:
        self.listed += 1
        if entry.delete_marker:
            return
        if entry.storage_class in ARCHIVE_CLASSES:
            self.archived += 1
            held = self._held.get(entry.storage_class, (0, 0))
            self._held[entry.storage_class] = held[0] + 1, held[1] + entry.size
            return
        self.objects += 1
        self.bytes += entry.size

    def result(self, seconds: float) -> ExportResult:
        return ExportResult(
            listed=self.listed,
            verified=self.skipped,
            quarantined=0,
            archived=self.archived,
            gone=self.gone,
            skipped=self.skipped,
            bytes=self.bytes,
            seconds=seconds,
            complete=False,
            unverified=self.objects,
            remaining_objects=self.objects,
            remaining_bytes=self.bytes,
            restore_offers=tuple(offers((name, *held) for name, held in sorted(self._held.items()))),
            dry_run=True,
        )
