"""What one run writes of itself: its row in the ledger, its event log, and when all that it changed is committed."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

from migrate.export.events import EventLog
from migrate.export.ledger import Ledger, Progress, utc_now
from migrate.export.results import ExportResult
from migrate.export.tree import Tree

COMMIT_SECONDS = 1.0
COMMIT_CHANGES = 1000


class Recording:
    """One run. `number` is the ledger's; `where_it_is` tells the progress that each commit writes down."""

    def __init__(self, ledger: Ledger, tree: Tree, options: Mapping[str, object]) -> None:
        self.number = ledger.start_run(options)
        self.events = EventLog(tree, self.number)
        self.where_it_is: Callable[[], Progress] = Progress
        self._ledger = ledger
        self._tree = tree
        self._changes = 0
        self._committed_at = time.monotonic()
        self.events.write("began", options)

    def begin(self) -> None:
        """Opens a transaction where none is open."""
        if not self._ledger.connection.in_transaction:
            self._ledger.connection.execute("BEGIN IMMEDIATE")

    def changed(self, changes: int = 1, *, write_down_soon: bool = False) -> None:
        """Counts what a commit would make durable; `write_down_soon` where much work would be lost."""
        self._changes += COMMIT_CHANGES if write_down_soon else changes

    def commit_when_due(self) -> None:
        late = time.monotonic() - self._committed_at > COMMIT_SECONDS
        if self._changes and (late or self._changes >= COMMIT_CHANGES):
            self.commit()

    def commit(self) -> None:
        """Names first, then the rows that speak of them. Raises OSError, sqlite3.OperationalError."""
        self.begin()
        self._tree.sync_folders()
        self._ledger.connection.execute(
            "UPDATE runs SET progress = ? WHERE id = ?", (json.dumps(asdict(self.where_it_is())), self.number)
        )
        self._ledger.connection.execute("COMMIT")
        self._changes = 0
        self._committed_at = time.monotonic()

    def listing_is_complete(self) -> None:
        """Joins the open transaction."""
        self._ledger.connection.execute("UPDATE runs SET listing_complete = 1 WHERE id = ?", (self.number,))
        self.events.write("listed", self.counts())

    def end(self, outcome: str, result: ExportResult | None = None) -> None:
        """Commits, with how the run ended. Raises OSError, sqlite3.OperationalError."""
        self.commit()
        with self._ledger.transaction():
            self._ledger.connection.execute(
                "UPDATE runs SET ended = ?, outcome = ?, result = ? WHERE id = ?",
                (utc_now(), outcome, json.dumps(result.as_document()) if result else None, self.number),
            )

    def counts(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self.where_it_is()).items() if isinstance(value, int)}
