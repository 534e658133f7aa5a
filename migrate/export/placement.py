"""Gives fetched objects their names and writes down how the work on each ended."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from migrate.export.headers import describing
from migrate.export.intake import Intake
from migrate.export.keymap import QUARANTINE, key_bytes, key_text, object_path, odd_path, quarantine_folder
from migrate.export.lanes import Ending, Outcome
from migrate.export.ledger import Ledger, State, utc_now
from migrate.export.tree import PathBlocked, Tree

FILED = "SELECT id, key, version_id, is_latest, size, etag, last_modified, path, evidence FROM objects WHERE id = ?"
STORED = (
    "UPDATE objects SET state = ?, size = ?, etag = ?, last_modified = ?, content_type = ?, headers = ?, metadata = ?,"
    " tags = ?, acl = ?, part_sizes = ?, path = ?, stored_size = ?, digest = ?, md5 = ?, proof = ?, reason = ?,"
    " evidence = NULL, attempts = ?, settled_at = ? WHERE id = ?"
)
UNSTORED = (
    "UPDATE objects SET state = ?, proof = NULL, reason = ?, evidence = ?, attempts = ?, settled_at = ? WHERE id = ?"
)
STATES = {
    Ending.VERIFIED: State.VERIFIED,
    Ending.FETCHED: State.FETCHED,
    Ending.QUARANTINED: State.QUARANTINED,
    Ending.ARCHIVED: State.ARCHIVED,
    Ending.GONE: State.GONE,
    Ending.FAILED: State.LISTED,
    Ending.SILENT: State.LISTED,
}


class Filed(NamedTuple):
    """What settling an outcome must know of the object's row."""

    id: int
    key: str
    version_id: str
    is_latest: int
    size: int
    etag: str
    last_modified: str
    path: str | None
    evidence: str | None


class Placement:
    """Settles outcomes. The caller owns the transaction."""

    def __init__(self, ledger: Ledger, tree: Tree, intake: Intake) -> None:
        self._ledger = ledger
        self._tree = tree
        self._intake = intake
        self._expected: dict[int, Filed] = {}
        self._unwritten: list[tuple[object, ...]] = []

    def expect(self, row: Filed) -> None:
        """Notes the row of an object that is about to be fetched, so that settling it need not read it again.

        Only of an object that lies nowhere yet: whatever moves files meanwhile cannot make such a row untrue.
        """
        if row.path is None and row.evidence is None:
            self._expected[row.id] = row

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Names the files and writes the rows. A cancelled object stays as it was."""
        now = utc_now()
        rows = {outcome.id: self._filed(outcome.id) for outcome in outcomes if outcome.ending is not Ending.CANCELLED}
        stored = {outcome.id for outcome in outcomes if outcome.ending in (Ending.VERIFIED, Ending.FETCHED)}
        folders = self._intake.folders_among([rows[identity].key for identity in stored])
        for outcome in outcomes:
            row = rows.get(outcome.id)
            if row is None:
                continue
            if outcome.id in stored:
                self._store(row, outcome, now, is_folder=row.key in folders)
            else:
                self._record_unstored(row, outcome, STATES[outcome.ending])
        self._write()

    def _filed(self, identity: int) -> Filed:
        if (row := self._expected.pop(identity, None)) is not None:
            return row
        found = self._ledger.connection.execute(FILED, (identity,)).fetchone()
        if found is None:
            raise LookupError(f"the ledger has no object {identity}")
        return Filed(found[0], key_text(found[1]), *found[2:])

    def _write(self) -> None:
        rows, self._unwritten = self._unwritten, []
        self._ledger.connection.executemany(STORED, rows)

    def _store(self, row: Filed, outcome: Outcome, now: str, *, is_folder: bool) -> None:
        assert outcome.spooled is not None
        path = self._place(row, outcome.spooled, is_folder=is_folder)
        if row.path is not None and row.path != path:
            self._tree.remove(row.path)
        if row.evidence is not None:
            folder = quarantine_folder(row.key, row.version_id)
            for name in ("bytes", "evidence.json"):
                self._tree.remove(f"{folder}/{name}")
        changed = outcome.etag != row.etag
        self._unwritten.append(
            (
                STATES[outcome.ending].value,
                outcome.size,
                outcome.etag,
                outcome.last_modified if changed else row.last_modified,
                outcome.headers.get("content-type"),
                _as_json(tuple(describing(outcome.headers).items())),
                json.dumps(dict(outcome.metadata)) if outcome.metadata else "{}",
                json.dumps(dict(outcome.tags)) if outcome.tags is not None else None,
                json.dumps(dict(outcome.acl)) if outcome.acl is not None else None,
                json.dumps(outcome.part_sizes) if outcome.part_sizes else "[]",
                path,
                outcome.size,
                outcome.digest,
                outcome.md5,
                outcome.proof,
                outcome.reason,
                outcome.attempts,
                now,
                row.id,
            )
        )

    def _place(self, row: Filed, spooled: str, *, is_folder: bool) -> str:
        """Puts the file where its key belongs; where a foreign link or folder stands in the way, among the odd ones."""
        path = object_path(
            row.key,
            version_id=row.version_id,
            is_latest=bool(row.is_latest),
            is_folder=is_folder,
        )
        if row.version_id:
            self._write()  # a row of the same key must show where its file lies
            self._intake.vacate(row.key, row.version_id, path)
        try:
            self._tree.place(spooled, path)
        except PathBlocked:
            fallback = odd_path(f"{row.key}\0{row.version_id}" if row.version_id else row.key)
            if not self._set_strays_aside(path):
                path = fallback
            try:
                self._tree.place(spooled, path)
            except PathBlocked:
                path = fallback
                self._tree.place(spooled, path)
        return path

    def _set_strays_aside(self, path: str) -> bool:
        """A crash between rename and commit may leave a file where a folder must be: it is moved, never deleted."""
        components = path.split("/")
        for end in range(2, len(components)):
            folder = "/".join(components[:end])
            if self._tree.size(folder) is not None:
                stray = hashlib.sha256(key_bytes(folder)).hexdigest()
                return self._tree.move(folder, f"{QUARANTINE}/stray-{stray}")
        return False

    def _record_unstored(self, row: Filed, outcome: Outcome, state: State) -> None:
        evidence = dict(outcome.evidence) if outcome.evidence is not None else None
        if state is State.QUARANTINED and evidence is not None:
            evidence = self._quarantine(row, outcome, evidence)
        self._ledger.connection.execute(
            UNSTORED,
            (
                state.value,
                outcome.reason,
                json.dumps(evidence) if evidence is not None else None,
                outcome.attempts,
                utc_now(),
                row.id,
            ),
        )

    def _quarantine(self, row: Filed, outcome: Outcome, evidence: Mapping[str, object]) -> dict[str, object]:
        folder = quarantine_folder(row.key, row.version_id)
        told = {
            "key": row.key,
            "version_id": row.version_id,
            "listed_etag": row.etag,
            "listed_size": row.size,
            **evidence,
        }
        if outcome.spooled is not None:
            self._tree.place(outcome.spooled, f"{folder}/bytes")
            told["kept"] = f"{folder}/bytes"
        self._tree.write_text(f"{folder}/evidence.json", json.dumps(told, indent=1, ensure_ascii=True) + "\n")
        return told


@lru_cache(maxsize=4096)
def _as_json(headers: tuple[tuple[str, str], ...]) -> str:
    """Most objects of a bucket have the same headers."""
    return json.dumps(dict(headers))
