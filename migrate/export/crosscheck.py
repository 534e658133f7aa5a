"""Holds the listing against a second source: a listing that agrees with itself proves nothing.

The second source is an S3 Inventory report. It is older than the listing, so the two may differ by what happened
since. What the report names and the listing does not is therefore asked for, object by object: what the source denies
was deleted since; what it still has was hidden from the listing, is taken into the export, and makes the run
incomplete (exit 4): a listing that hid these may hide others. What the listing shows and the report does not is fetched
like everything else: it is new, or the report is short, and both are only told.
"""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from migrate.export.keymap import key_bytes, key_text
from migrate.export.ledger import Ledger
from migrate.export.source import Entry, ObjectMissing, ObjectProblem, ObjectSource

if TYPE_CHECKING:
    from migrate.export.inventory_report import Counted, InventoryReport  # it needs pydantic, and few exports need it

REQUESTS_AT_ONCE = 8
OBJECTS_AT_ONCE = 1000
NAMED_AT_MOST = 20
# An inventory is eventually consistent: what was written so shortly before it may be missing.
REPORT_MAY_LAG = timedelta(hours=48)
COUNTED = (
    "CREATE TEMP TABLE counted (key BLOB, version_id TEXT, is_latest INTEGER, PRIMARY KEY (key, version_id))"
    " WITHOUT ROWID"
)
NOT_LISTED = (
    "SELECT c.key, c.version_id, c.is_latest FROM temp.counted c LEFT JOIN objects o"
    " ON o.key = c.key AND o.version_id = c.version_id AND o.id IN (SELECT id FROM temp.seen) WHERE o.id IS NULL"
)
NOT_COUNTED = (
    "SELECT count(*), total(o.last_modified < ?) FROM temp.seen JOIN objects o USING (id) LEFT JOIN temp.counted c"
    " ON o.key = c.key AND o.version_id = c.version_id WHERE o.delete_marker = 0 AND c.key IS NULL"
)


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """How listing and second source compare; counts of objects.

    `hidden`: the source has them, the report names them, the listing does not show them; `hidden_keys` are the first of
    them. `unanswered`: the same, but the source would not say whether it has them. `deleted_since`: it denies them.
    `not_counted`: listed, and not in the report; `not_counted_old` are those of them that are old enough to be in it.
    """

    second_source: str
    taken: str
    counted: int
    hidden: int
    unanswered: int
    deleted_since: int
    not_counted: int
    not_counted_old: int
    hidden_keys: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        return not (self.hidden or self.unanswered)


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a report the listing ought to show."""

    prefix: str
    wanted: Callable[[str], bool]
    with_versions: bool

    def holds(self, line: "Counted") -> bool:
        current = line.is_latest or self.with_versions
        return current and not line.delete_marker and line.key.startswith(self.prefix) and self.wanted(line.key)


@dataclass(frozen=True, slots=True)
class _Answer:
    entry: Entry | None
    is_denied: bool = False


def cross_check(
    ledger: Ledger,
    source: ObjectSource,
    report: "InventoryReport",
    scope: Scope,
    take: Callable[[list[Entry]], None],
) -> CrossCheck:
    """Compares, and hands what the listing hid to `take`. Raises Missing, Refused or Unreachable (the report)."""
    connection = ledger.connection
    connection.execute("DROP TABLE IF EXISTS temp.counted")
    connection.execute(COUNTED)
    lines = (line for line in report.objects() if scope.holds(line))
    connection.executemany(
        "INSERT OR IGNORE INTO temp.counted VALUES (?, ?, ?)",
        ((key_bytes(line.key), line.version_id if scope.with_versions else "", line.is_latest) for line in lines),
    )
    counted = connection.execute("SELECT count(*) FROM temp.counted").fetchone()[0]
    lag = (report.taken - REPORT_MAY_LAG).isoformat(timespec="seconds").replace("+00:00", "Z")
    not_counted, old = connection.execute(NOT_COUNTED, (lag,)).fetchone()
    hidden: list[Entry] = []
    denied = asked = 0
    for answers in _asked(connection.execute(NOT_LISTED).fetchall(), source):
        asked += len(answers)
        denied += sum(answer.is_denied for answer in answers)
        found = [answer.entry for answer in answers if answer.entry is not None]
        take(found)
        hidden.extend(found)
    return CrossCheck(
        second_source=report.where,
        taken=report.taken.isoformat(timespec="seconds"),
        counted=counted,
        hidden=len(hidden),
        unanswered=asked - denied - len(hidden),
        deleted_since=denied,
        not_counted=not_counted,
        not_counted_old=int(old),
        hidden_keys=tuple(entry.key for entry in hidden[:NAMED_AT_MOST]),
    )


def _asked(rows: list[tuple[bytes, str, int]], source: ObjectSource) -> Iterator[list[_Answer]]:
    waiting = iter(rows)
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as requests:
        while some := list(itertools.islice(waiting, OBJECTS_AT_ONCE)):
            yield list(requests.map(lambda row: _ask(source, *row), some))


def _ask(source: ObjectSource, raw: bytes, version_id: str, is_latest: int) -> _Answer:
    key = key_text(raw)
    try:
        facts = source.head(key, version_id=version_id)
        storage_class = facts.headers.get("x-amz-storage-class", "STANDARD")
        return _Answer(
            Entry(key, facts.size, facts.etag, facts.last_modified, storage_class, version_id, bool(is_latest))
        )
    except ObjectMissing:
        return _Answer(None, is_denied=True)
    except ObjectProblem:
        return _Answer(None)
