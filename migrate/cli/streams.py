"""Standard output and standard error, whoever reads them: a reader that leaves, a full disk, a closed stream.

A run is worth more than its page: whatever becomes of the streams, the command goes on, and its result stands where it
keeps it. What was lost on the way is known in the end, and `main` makes an exit code of it.
"""

import io
import os
import sys
from collections.abc import Sized
from typing import TYPE_CHECKING

from migrate.errors import OutsideProblem

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD = (0, 1, 2)
OUTPUT, ERROR = 1, 2


class ResultLost(OutsideProblem):
    """The result could not be written to standard output."""


class Lenient(io.FileIO):
    """A descriptor that takes everything, and remembers why it could not pass it on."""

    lost: OSError | None = None
    """The first failure, other than a reader that left."""
    reader_left = False

    def write(self, data: "ReadableBuffer", /) -> int:
        if self.lost is None and not self.reader_left:
            try:
                return super().write(data)
            except BrokenPipeError:
                self.reader_left = True
            except OSError as fault:
                self.lost = fault
        return len(data) if isinstance(data, Sized) else 0


def guard() -> None:
    """Puts lenient streams into the place of the standard ones. No other file gets the number of one that is closed."""
    for number in STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
    sys.stdout, sys.stderr = _guarded(OUTPUT), _guarded(ERROR)


def _guarded(number: int) -> io.TextIOWrapper:
    old = sys.stdout if number == OUTPUT else sys.stderr
    if old is not None:
        old.flush()
    raw = Lenient(number, "w", closefd=False)
    # What a terminal's encoding lacks is shown escaped, and ends nobody's run.
    errors = "backslashreplace" if old is None or old.errors == "strict" else old.errors
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=old.encoding if old is not None else "utf-8",
        errors=errors,
        line_buffering=raw.isatty() or number == ERROR,
    )


def _raw(stream: object) -> Lenient | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, Lenient) else None


def reader_left() -> bool:
    """Whether nobody reads standard output any more: what writes without end should end."""
    raw = _raw(sys.stdout)
    return raw is not None and (raw.reader_left or raw.lost is not None)


def lost_result() -> ResultLost | None:
    """Flushes standard output; the problem, where something of it was lost to other than a reader that left."""
    sys.stdout.flush()
    raw = _raw(sys.stdout)
    if raw is None or raw.lost is None:
        return None
    return ResultLost(
        f"the result could not be written: {raw.lost.strerror}",
        where="standard output",
        expected="room for it where it goes",
        hint="make room, or send it elsewhere, and give the same command again; of a run: cloudexit report",
    )
