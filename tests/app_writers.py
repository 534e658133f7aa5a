"""Somebody who writes to a database as the app does, and remembers what was said to be committed."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import psycopg

PAUSE_SECONDS = 0.01


@dataclass
class Writer:
    """As a context: writes one row after the other until the end of it, and signs in again where that fails."""

    connect: Callable[[], AbstractContextManager[psycopg.Connection]]
    committed: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    longest_gap: float = 0.0
    """Seconds between two rows, or between the last one and the end."""

    def __enter__(self) -> "Writer":
        self._gone = threading.Event()
        self._newest = time.monotonic()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gone.set()
        self._thread.join(60)
        self._note_gap()

    def _write(self) -> None:
        number = 0
        while not self._gone.is_set():
            try:
                with self.connect() as connection:
                    while not self._gone.wait(PAUSE_SECONDS):
                        number += 1
                        connection.execute("INSERT INTO written (number) VALUES (%s)", (number,))
                        self.committed.append(number)
                        self._note_gap()
            except psycopg.Error as fault:
                self.failures.append(str(fault))
                self._gone.wait(0.1)

    def _note_gap(self) -> None:
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self._newest)
        self._newest = now
