"""Locks that say who holds them, and since when; the kernel lets go of them when their holder dies."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from migrate.errors import LockHeld

POLL_SECONDS = 0.25


@contextmanager
def held(path: Path, purpose: str, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds the lock file `path`; waits for another holder up to `wait_seconds`, then raises LockHeld (retriable)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait_seconds
    with path.open("a+", encoding="utf-8") as stream:
        while not _taken(stream):
            if time.monotonic() >= until:
                raise LockHeld(
                    f"the lab is in use: {_holder(stream)}",
                    where=str(path),
                    expected="one command a lab at a time",
                    hint="wait for it to end, or stop it",
                )
            time.sleep(POLL_SECONDS)
        stream.seek(0)
        stream.truncate()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        json.dump({"pid": os.getpid(), "purpose": purpose, "since": since}, stream)
        stream.flush()
        yield


def _taken(stream: TextIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(stream: TextIO) -> str:
    stream.seek(0)
    try:
        note = json.load(stream)
    except ValueError:
        return "its holder left no note yet"
    return f"{note['purpose']}, process {note['pid']}, since {note['since']}"
