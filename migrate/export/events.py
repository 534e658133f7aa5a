"""A JSON-lines log of each run in DEST: when it began, what went wrong with which object, how it ended.

`events/<run>.jsonl`, one object a line with `at` (UTC) and `event`. Bounded: so many lines a run, so many runs. Nothing
in it comes from credentials: requests are named by their ids, never by their headers or signed addresses.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from typing import BinaryIO

from migrate.export.lanes import Outcome, Work
from migrate.export.ledger import utc_now
from migrate.export.tree import PathBlocked, Tree

FOLDER = "events"
MOST_LINES = 10_000
MOST_RUNS = 20


class EventLog:
    """The log of one run. A disk that cannot take it does not stop the run; the ledger is what counts."""

    def __init__(self, tree: Tree, run: int) -> None:
        self._lines = self._dropped = 0
        try:
            self._stream: BinaryIO | None = tree.append_file(f"{FOLDER}/{run:06}.jsonl")
            for name in sorted(tree.names(FOLDER))[:-MOST_RUNS]:
                tree.remove(f"{FOLDER}/{name}")
        except (OSError, PathBlocked):
            self._stream = None

    def write(self, event: str, told: Mapping[str, object]) -> None:
        """Adds a line, up to the bound."""
        if self._lines < MOST_LINES:
            self._append(event, told)
        else:
            self._dropped += 1

    def tell_of(self, work: Work, outcome: Outcome) -> None:
        """An object that did not end verified."""
        named = {"key": work.key, "version_id": work.version_id or None, "size": work.size}
        self.write(outcome.ending.value, {**named, "attempts": outcome.attempts, "why": outcome.reason})

    def close(self, told: Mapping[str, object]) -> None:
        """The last line, which says how many were left out."""
        self._append("ended", {**told, **({"lines_left_out": self._dropped} if self._dropped else {})})
        if self._stream is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._stream.fileno())
            self._stream.close()
            self._stream = None

    def _append(self, event: str, told: Mapping[str, object]) -> None:
        if self._stream is None:
            return
        line = json.dumps({"at": utc_now(), "event": event, **told}, default=str) + "\n"
        try:
            self._stream.write(line.encode())
        except OSError:
            self._stream = None
        self._lines += 1
