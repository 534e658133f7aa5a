"""The lines of a dump: a plain SQL file as it is, an archive of pg_dump through pg_restore."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migrate.errors import UsageProblem

MAGIC = b"PGDMP"
READ_SECONDS = 3600.0
"""Bound on one reading of a dump."""


@contextmanager
def dump_lines(path: Path) -> Iterator[Iterator[str]]:
    """Lines of a dump as SQL. Raises UsageProblem where it cannot be read, or not to its end within an hour."""
    try:
        with path.open("rb") as stream:
            packed = stream.read(len(MAGIC)) == MAGIC
    except OSError as fault:
        raise UsageProblem(f"the dump cannot be read: {fault.strerror}", where=str(path)) from fault
    if not packed:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            yield lines
        return
    yield from _restored(path)


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
