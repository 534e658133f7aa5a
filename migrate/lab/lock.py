"""Locks that say who holds them, and since when; the kernel lets go of them when their holder dies."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from migrate.errors import LockHeld

POLL_SECONDS = 0.25


@contextmanager
def held(
    path: Path, purpose: str, *, wait_seconds: float = 0.0, on_wait: Callable[[str], None] = lambda holder: None
) -> Iterator[None]:
    """Holds the lock file `path`; waits for another holder up to `wait_seconds`, then raises LockHeld (retriable).
    `on_wait` is told once whom it waits for. The folder is root's alone: images hold setuid programs, labs keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    stream = _take(path, time.monotonic() + wait_seconds, on_wait if wait_seconds else lambda holder: None)
    with stream:
        stream.seek(0)
        stream.truncate()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        json.dump({"pid": os.getpid(), "purpose": purpose, "since": since}, stream)
        stream.flush()
        yield


def _take(path: Path, until: float, on_wait: Callable[[str], None]) -> TextIO:
    """The opened and locked file. A holder may remove the file as its last act: then the next one is made anew."""
    told = False
    while True:
        stream = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still_there(stream, path):
                return stream
            stream.close()
            continue
        except BlockingIOError:
            holder = _holder(stream)
            stream.close()
        if time.monotonic() >= until:
            raise LockHeld(
                f"the lab is in use: {holder}",
                where=str(path),
                expected="one command a lab at a time",
                hint="wait for it to end, or stop it",
            )
        if not told:
            on_wait(f"waiting for another command: {holder}")
            told = True
        time.sleep(POLL_SECONDS)


def _is_still_there(stream: TextIO, path: Path) -> bool:
    try:
        return os.fstat(stream.fileno()).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _holder(stream: TextIO) -> str:
    stream.seek(0)
    try:
        note = json.load(stream)
    except ValueError:
        return "its holder left no note yet"
    return f"{note['purpose']}, process {note['pid']}, since {note['since']}"
