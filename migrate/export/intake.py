"""Takes listing pages into the ledger: what is new, what changed, what is already here, what vanished."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from migrate.export.fetch import UNMATCHED_READ
from migrate.export.keymap import folders, is_safe, key_bytes, key_text, object_path, odd_path, safe_path
from migrate.export.ledger import Ledger, State, utc_now
from migrate.export.scope import ExportOptions, Order
from migrate.export.source import Entry
from migrate.export.tree import PathBlocked, Tree

ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
REMEMBERED_FOLDERS = 100_000

KNOWN = (
    "SELECT key, version_id, id, is_latest, state, etag, size, last_modified, storage_class, path, stored_size, proof,"
    " delete_marker, tags IS NOT NULL, acl IS NOT NULL, id IN (SELECT id FROM temp.seen) FROM objects"
    " WHERE key IN ({marks})"
)
INSERT = (
    "INSERT INTO objects (id, key, version_id, is_latest, delete_marker, state, size, etag, last_modified,"
    " storage_class, settled_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
CHANGED = (
    "UPDATE objects SET is_latest = ?, delete_marker = ?, state = ?, size = ?, etag = ?, last_modified = ?,"
    " storage_class = ?, proof = NULL, reason = NULL, settled_at = ? WHERE id = ?"
)
OTHERWISE = (
    "UPDATE objects SET reason = CASE state WHEN 'gone' THEN NULL ELSE reason END, state = ?, is_latest = ?,"
    " storage_class = ? WHERE id = ?"
)
ORDERS = {
    Order.LISTED: "id",
    Order.NEWEST: "last_modified DESC, id",
    Order.OLDEST: "last_modified, id",
    Order.SMALLEST: "size, id",
    Order.LARGEST: "size DESC, id",
}


class Known(NamedTuple):
    """What the ledger knows of one object, as far as a listing needs it."""

    key: bytes
    version_id: str
    id: int
    is_latest: int
    state: str
    etag: str
    size: int
    last_modified: str
    storage_class: str
    path: str | None
    stored_size: int | None
    proof: str | None
    delete_marker: int
    has_tags: int
    has_acl: int
    was_seen: int


@dataclass(slots=True)
class IntakeTally:
    """Objects and bytes of a listing so far."""

    listed: int = 0
    listed_bytes: int = 0
    skipped: int = 0
    skipped_bytes: int = 0
    already_fetched: int = 0
    markers: int = 0
    queued: int = 0
    queued_bytes: int = 0
    archived_class: int = 0
    altered: int = 0


class Intake:
    """Takes the pages of one run's listing. The caller owns the transaction."""

    def __init__(self, ledger: Ledger, tree: Tree, wanted: Callable[[str], bool], options: ExportOptions) -> None:
        self.tally = IntakeTally()
        self._connection = ledger.connection
        self._tree = tree
        self._wanted = wanted
        self._options = options
        self._folders: set[str] = set()
        self._last_id: int = self._connection.execute("SELECT coalesce(max(id), 0) FROM objects").fetchone()[0]
        self._new: list[tuple[object, ...]] = []
        self._otherwise: list[tuple[object, ...]] = []

    def take(self, page: Iterable[Entry], *, queue_now: bool) -> None:
        """Records one page; `queue_now` puts its work into the queue in the order of the listing."""
        entries = {(key_bytes(entry.key), entry.version_id): entry for entry in page if self._wanted(entry.key)}
        known = known_rows(self._connection, [key for key, _ in entries])
        seen: list[tuple[int]] = []
        queued: list[tuple[int]] = []
        for identity, entry in entries.items():
            row = known.get(identity)
            if row is not None and row.was_seen:
                continue
            self.tally.listed += 1
            self.tally.listed_bytes += entry.size
            identifier = self._claim_id() if row is None else row.id
            seen.append((identifier,))
            if self._needs_work(identifier, identity[0], entry, row):
                self.tally.queued += 1
                self.tally.queued_bytes += entry.size
                queued.append((identifier,))
        self._write(seen)
        if queue_now:
            self._connection.executemany("INSERT INTO temp.queue (id) VALUES (?)", queued)

    def _claim_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _write(self, seen: list[tuple[int]]) -> None:
        for statement, rows in ((INSERT, self._new), (OTHERWISE, self._otherwise)):
            self._connection.executemany(statement, rows)
            rows.clear()
        self._connection.executemany("INSERT INTO temp.seen (id) VALUES (?)", seen)

    def finish(self, order: Order) -> int:
        """The listing has ended: queues the work that is not queued yet, marks what vanished; returns their count."""
        if order is not Order.LISTED:
            self._connection.execute(
                "INSERT INTO temp.queue (id) SELECT id FROM temp.seen JOIN objects USING (id)"
                f" WHERE state IN ('listed', 'archived') AND delete_marker = 0 ORDER BY {ORDERS[order]}"
            )
        self._connection.create_function("wanted", 1, lambda key: self._wanted(key_text(key)), deterministic=True)
        self._doubt_the_replaced()
        vanished = self._connection.execute(
            "UPDATE objects SET state = 'gone', reason = 'the source no longer lists it', settled_at = ?,"
            " is_latest = is_latest AND version_id = ''"
            " WHERE id NOT IN (SELECT id FROM temp.seen) AND state <> 'gone' AND wanted(key)",
            (utc_now(),),
        )
        self.tally.altered += vanished.rowcount
        return vanished.rowcount

    def _doubt_the_replaced(self) -> None:
        """Of objects that changed, were to be fetched again, and vanished: a killed run may have put the newer bytes in
        place and not have written down whose they are."""
        doubtful = self._connection.execute(
            "SELECT id, path, digest FROM objects"
            " WHERE id NOT IN (SELECT id FROM temp.seen) AND state = 'listed' AND path IS NOT NULL AND wanted(key)"
        ).fetchall()
        unknown = [(identifier,) for identifier, path, digest in doubtful if self._tree.digest(path) != digest]
        self._connection.executemany(
            "UPDATE objects SET path = NULL, stored_size = NULL, digest = NULL, md5 = NULL WHERE id = ?", unknown
        )

    def _needs_work(self, identifier: int, key: bytes, entry: Entry, row: Known | None) -> bool:
        """Takes note of one object; whether its bytes must be fetched."""
        if row is None:
            self._claim_folders(entry.key)
            self._insert(identifier, key, entry)
            return not entry.delete_marker
        settled = self._settled(entry, row)
        if settled is None:
            self._change(entry, row)
            return not entry.delete_marker
        if (settled, entry.is_latest, entry.storage_class) != (row.state, bool(row.is_latest), row.storage_class):
            self.tally.altered += 1
            self._otherwise.append((settled.value, entry.is_latest, entry.storage_class, row.id))
        if entry.delete_marker:
            self.tally.markers += 1
        elif settled is State.VERIFIED:
            self.tally.skipped += 1
            self.tally.skipped_bytes += entry.size
        else:
            self.tally.already_fetched += 1
        return False

    def _insert(self, identifier: int, key: bytes, entry: Entry) -> None:
        state = self._first_state(entry)
        settled_at = utc_now() if entry.delete_marker else None
        known = (identifier, key, entry.version_id, entry.is_latest, entry.delete_marker, state.value)
        self._new.append((*known, entry.size, entry.etag, entry.last_modified, entry.storage_class, settled_at))

    def _change(self, entry: Entry, row: Known) -> None:
        state = self._first_state(entry)
        self.tally.altered += 1
        self._rename_for_latest(entry, row)
        fields = (entry.is_latest, entry.delete_marker, state.value, entry.size, entry.etag, entry.last_modified)
        settled_at = utc_now() if entry.delete_marker else None
        self._connection.execute(CHANGED, (*fields, entry.storage_class, settled_at, row.id))

    def _first_state(self, entry: Entry) -> State:
        if entry.delete_marker:
            self.tally.markers += 1
            return State.VERIFIED
        if entry.storage_class in ARCHIVE_CLASSES:
            self.tally.archived_class += 1
            return State.ARCHIVED
        return State.LISTED

    def _settled(self, entry: Entry, row: Known) -> State | None:
        """The state of an object that needs no work: unchanged at the source, proved before, whole on disk."""
        if not unchanged(entry, row):
            return None
        if entry.delete_marker:
            self._rename_for_latest(entry, row)
            return State.VERIFIED
        if not was_settled(row, self._options):
            return None
        path = self._rename_for_latest(entry, row)
        if path is None or self._tree.size(path) != row.stored_size:
            return None
        if row.state != "gone":
            return State(row.state)
        return State.FETCHED if row.proof == UNMATCHED_READ else State.VERIFIED

    def _rename_for_latest(self, entry: Entry, row: Known) -> str | None:
        """A version that became current, or ceased to be, changes its place; returns where it lies now."""
        if row.path is None or bool(row.is_latest) == entry.is_latest:
            return row.path
        path = object_path(
            entry.key, version_id=entry.version_id, is_latest=entry.is_latest, is_folder=self.is_folder(entry.key)
        )
        if entry.is_latest:
            self.vacate(entry.key, entry.version_id, path)
        return self._move(row.id, row.path, path)

    def is_folder(self, key: str) -> bool:
        """Whether another safe key lies below this one."""
        return self._connection.execute("SELECT 1 FROM folders WHERE path = ?", (key,)).fetchone() is not None

    def folders_among(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that other safe keys lie below; at most a few thousand at a time."""
        safe = [key for key in keys if is_safe(key)]
        marks = ",".join("?" * len(safe))
        return {path for (path,) in self._connection.execute(f"SELECT path FROM folders WHERE path IN ({marks})", safe)}

    def vacate(self, key: str, version_id: str, path: str) -> None:
        """Moves another version of the key away from `path`."""
        occupants = self._connection.execute(
            "SELECT id, version_id FROM objects WHERE key = ? AND version_id <> ? AND path = ?",
            (key_bytes(key), version_id, path),
        ).fetchall()
        for identifier, version in occupants:
            self._move(identifier, path, object_path(key, version_id=version, is_latest=False))

    def _claim_folders(self, key: str) -> None:
        """Notes the folders that a new safe key needs; a stored object of such a name makes room."""
        if not is_safe(key):
            return
        for folder in folders(key):
            if folder in self._folders:
                return
            if len(self._folders) >= REMEMBERED_FOLDERS:
                self._folders.clear()
            self._folders.add(folder)
            new = self._connection.execute("INSERT OR IGNORE INTO folders (path) VALUES (?)", (folder,)).rowcount
            if not new:
                return
            occupants = self._connection.execute(
                "SELECT id FROM objects WHERE key = ? AND path = ?", (key_bytes(folder), safe_path(folder))
            ).fetchall()
            for (identifier,) in occupants:
                self._move(identifier, safe_path(folder), odd_path(folder))

    def _move(self, identifier: int, old: str, new: str) -> str | None:
        """Moves an object's own bytes and no others; returns where they lie.

        A run that was killed between renaming and committing may have moved them already, and put others at `old`.
        """
        self.tally.altered += 1
        digest = self._connection.execute("SELECT digest FROM objects WHERE id = ?", (identifier,)).fetchone()[0]
        try:
            there = digest is not None and self._tree.digest(old) == digest
            moved = self._tree.move(old, new) if there else digest is not None and self._tree.digest(new) == digest
        except PathBlocked:
            moved = False
        self._connection.execute("UPDATE objects SET path = ? WHERE id = ?", (new if moved else None, identifier))
        return new if moved else None


def unchanged(entry: Entry, row: Known) -> bool:
    """Whether the source still shows what the ledger knows."""
    same = (row.etag, row.size, bool(row.delete_marker)) == (entry.etag, entry.size, entry.delete_marker)
    return same and _same_moment(row.last_modified, entry.last_modified)


def was_settled(row: Known, options: ExportOptions) -> bool:
    """Whether an earlier run had nothing left to do for this object."""
    if row.path is None or row.proof is None or row.state not in ("verified", "fetched", "gone"):
        return False
    return (bool(row.has_tags) or not options.tags) and (bool(row.has_acl) or not options.acls)


def known_rows(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[tuple[bytes, str], Known]:
    """What the ledger knows of these keys, all versions."""
    unique = list(dict.fromkeys(keys))
    rows = connection.execute(KNOWN.format(marks=",".join("?" * len(unique))), unique)
    return {(fields[0], fields[1]): Known(*fields) for fields in rows}


def _same_moment(recorded: str, listed: str) -> bool:
    """A GET tells the time to the second, a listing may tell more."""
    if "." in recorded and "." in listed:
        return recorded == listed
    return recorded.partition(".")[0].rstrip("Z") == listed.partition(".")[0].rstrip("Z")
