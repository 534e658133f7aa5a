"""Gives fetched objects their names and writes down how the work on each ended."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from migrate.export.intake import Intake
from migrate.export.keymap import QUARANTINE, key_bytes, key_text, object_path, odd_path, quarantine_folder
from migrate.export.lanes import Ending, Outcome
from migrate.export.ledger import Ledger, State, utc_now
from migrate.export.source import ObjectFacts
from migrate.export.tree import PathBlocked, Tree
from migrate.export.verification import CHECKSUM_HEADER

KEPT_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "x-amz-mp-parts-count",
        "x-amz-object-lock-legal-hold",
        "x-amz-object-lock-mode",
        "x-amz-object-lock-retain-until-date",
        "x-amz-replication-status",
        "x-amz-server-side-encryption",
        "x-amz-storage-class",
        "x-amz-version-id",
        "x-amz-website-redirect-location",
    }
)
FILED = (
    "SELECT id, key, version_id, is_latest, state, size, etag, last_modified, path, evidence FROM objects WHERE id = ?"
)
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


def kept_headers(facts: ObjectFacts | Outcome) -> dict[str, str]:
    """The response headers that describe the object rather than the response."""
    return {
        name: value for name, value in facts.headers.items() if name in KEPT_HEADERS or name.startswith(CHECKSUM_HEADER)
    }


@dataclass(frozen=True, slots=True)
class Filed:
    """What settling an outcome must know of the object's row."""

    id: int
    key: str
    version_id: str
    is_latest: int
    state: str
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

    def settle(self, outcome: Outcome) -> State:
        """Names the file, writes the row, and returns the object's state. A cancelled object stays as it was."""
        found = self._ledger.connection.execute(FILED, (outcome.id,)).fetchone()
        if found is None:
            raise LookupError(f"the ledger has no object {outcome.id}")
        row = Filed(found[0], key_text(found[1]), *found[2:])
        if outcome.ending is Ending.CANCELLED:
            return State(row.state)
        state = STATES[outcome.ending]
        if state in (State.VERIFIED, State.FETCHED):
            self._store(row, outcome, state)
        else:
            self._record_unstored(row, outcome, state)
        return state

    def _store(self, row: Filed, outcome: Outcome, state: State) -> None:
        assert outcome.spooled is not None
        path = self._place(row, outcome.spooled)
        if row.path is not None and row.path != path:
            self._tree.remove(row.path)
        if row.evidence is not None:
            folder = quarantine_folder(row.key, row.version_id)
            for name in ("bytes", "evidence.json"):
                self._tree.remove(f"{folder}/{name}")
        changed = outcome.etag != row.etag
        self._ledger.connection.execute(
            STORED,
            (
                state.value,
                outcome.size,
                outcome.etag,
                outcome.last_modified if changed else row.last_modified,
                outcome.headers.get("content-type"),
                json.dumps(kept_headers(outcome)),
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
                utc_now(),
                row.id,
            ),
        )

    def _place(self, row: Filed, spooled: str) -> str:
        """Puts the file where its key belongs; where a foreign link or folder stands in the way, among the odd ones."""
        path = object_path(
            row.key,
            version_id=row.version_id,
            is_latest=bool(row.is_latest),
            is_folder=self._intake.is_folder(row.key),
        )
        if row.version_id:
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
