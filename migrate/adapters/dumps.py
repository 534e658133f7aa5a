"""The lines of a dump: a plain SQL file as it is or packed by gzip, an archive of pg_dump through pg_restore."""

import codecs
import gzip
import re
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migrate.errors import UsageProblem

MAGICS = (b"PGDMP", b"toc.dat\0")
"""Of pg_dump's formats custom and tar; pg_restore reads both."""
GZIP = b"\x1f\x8b"
OF_ANOTHER_DATABASE = (b"-- MySQL dump", b"-- MariaDB dump")
HEAD_BYTES = 64 * 1024
CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
"""Signs that a text has not, or seldom."""
UNPACKING = (OSError, EOFError, zlib.error)
READ_SECONDS = 3600.0
"""Bound on one reading of a dump."""
EXPECTED = "a plain SQL dump with COPY, as it is or packed by gzip, or one of pg_dump --format=custom"


@contextmanager
def dump_lines(path: Path) -> Iterator[Iterator[str]]:
    """Lines of a dump as SQL. Raises UsageProblem where it is none, cannot be read, or not to its end in an hour."""
    head = _head(path)
    if head.startswith(MAGICS):
        yield from _restored(path)
        return
    packed = head.startswith(GZIP)
    try:
        _require_text(_unpacked_head(path) if packed else head, path)
        opened = gzip.open if packed else open
        with opened(path, "rt", encoding="utf-8", errors="replace", newline="\n") as lines:
            yield lines
    except UNPACKING as fault:
        raise _unreadable(path, "the dump cannot be read to its end", fault) from fault


def require_file(path: Path) -> None:
    """Raises UsageProblem for what is no regular file: a pipe would be waited for, and a dump is read twice."""
    try:
        regular = path.is_file()
    except OSError as fault:
        raise _unreadable(path, "the dump cannot be read", fault) from fault
    if not regular:
        raise UsageProblem("this is no regular file", where=f"--dump {path}", expected=EXPECTED)


def _head(path: Path) -> bytes:
    require_file(path)
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError as fault:
        raise _unreadable(path, "the dump cannot be read", fault) from fault


def _unpacked_head(path: Path) -> bytes:
    with gzip.open(path, "rb") as stream:
        return stream.read(HEAD_BYTES)


def _require_text(head: bytes, path: Path) -> None:
    control = CONTROL.search(head)
    if (control and (b"\0" in head or not _is_utf8(head))) or head.startswith(MAGICS):
        raise UsageProblem("this is no dump that is understood: no SQL", where=f"--dump {path}", expected=EXPECTED)
    if any(name in head for name in OF_ANOTHER_DATABASE):
        raise UsageProblem("this is a dump of MySQL", where=f"--dump {path}", expected=EXPECTED)


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _unreadable(path: Path, what: str, fault: Exception) -> UsageProblem:
    said = (fault.strerror if isinstance(fault, OSError) else "") or str(fault)
    return UsageProblem(f"{what}: {said}", where=f"--dump {path}", expected=EXPECTED)


def _restored(path: Path) -> Iterator[Iterator[str]]:
    command = ["pg_restore", "--file=-", "--no-owner", "--no-privileges", str(path)]
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except FileNotFoundError as fault:
        raise UsageProblem(
            "pg_restore is not installed here",
            where=str(path),
            expected="PostgreSQL's client, of the dump's version or newer",
            hint="apt-get install postgresql-client, or give a plain SQL dump",
        ) from fault
    overrun = threading.Timer(READ_SECONDS, process.kill)
    overrun.daemon = True
    overrun.start()
    assert process.stdout and process.stderr
    whole = False
    try:
        yield process.stdout
        whole = True
    finally:
        overrun.cancel()
        process.stdout.close()
        if not whole:
            process.kill()
        said = process.stderr.read().strip()
        process.stderr.close()
        code = process.wait(timeout=30)
    if code:
        raise UsageProblem(
            f"the dump cannot be read to its end: {said or f'pg_restore ended with {code}'}",
            where=str(path),
            expected=f"a whole dump, read within {READ_SECONDS / 3600:g} h",
            hint="check it: pg_restore --list",
        )
