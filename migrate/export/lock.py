"""One writer per archive: a flock that says who holds it and since when."""

import fcntl
import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from migrate.errors import LockHeld, UsageProblem
from migrate.export.keymap import LOCK

HOLDER_BYTES = 4096


@contextmanager
def exclusive(dest: Path) -> Iterator[None]:
    """Holds the archive's lock. Raises LockHeld, naming the holder; retriable once that run has ended."""
    path = dest / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise UsageProblem(
            f"cannot open the archive's lock: {problem.strerror}",
            where=str(path),
            expected="a folder that this user may write to, with no symbolic link in it",
            hint="choose another DEST or mend its permissions",
        ) from problem
    try:
        _acquire(descriptor, dest)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, dest: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        raise LockHeld(
            f"another run works on this archive: {_holder(descriptor)}",
            where=str(dest),
            expected="one run at a time on one DEST",
            hint="wait for it, or stop it; a lock never outlives its process",
        ) from problem
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "user": _user(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, HOLDER_BYTES, 0))
        return "process {pid} of {user} on {host} since {since}".format(**holder)
    except (ValueError, KeyError, TypeError):
        return "its holder has not written its name yet"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
