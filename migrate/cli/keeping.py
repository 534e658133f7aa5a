"""Files that a command leaves where the operator says: whole or not at all."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from migrate.errors import UsageProblem

ELSEWHERE = "name a file in a folder that may be written"


def require_keepable(path: Path) -> None:
    """Raises UsageProblem where `path` cannot become a file, before anything else is done."""
    try:
        if path.is_dir():
            raise UsageProblem("this is a folder", where=str(path), expected="a file", hint=ELSEWHERE)
        if not path.parent.is_dir():
            raise UsageProblem(
                "there is no such folder", where=str(path.parent), expected="a folder that is there", hint=ELSEWHERE
            )
    except OSError as fault:
        raise _unwritable(path, fault) from fault


def keep(path: Path, text: str) -> None:
    """Writes a file, which holds the old text until it holds the whole new one. Raises UsageProblem."""
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, and not replaced
            path.write_text(text)
            return
        target = path.resolve()
        temporary = _written(target, text)
        with _removed_on_failure([temporary]):
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o777)
            temporary.replace(target)
    except OSError as fault:
        raise _unwritable(path, fault) from fault


def keep_new(files: Mapping[Path, str]) -> None:
    """Writes files that are not there yet: all of them or none. Raises UsageProblem."""
    made: list[Path] = []
    with _removed_on_failure(made):
        for path, text in files.items():
            try:
                temporary = _written(path, text)
                made.append(temporary)
                temporary.rename(path)
                made.append(path)
            except OSError as fault:
                raise _unwritable(path, fault) from fault


@contextmanager
def folder_for(folder: Path) -> Iterator[None]:
    """Makes a folder with those above it; where what is done with it fails, they go again. Raises UsageProblem."""
    missing: list[Path] = []
    try:
        try:
            missing += [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as fault:
            raise _unwritable(folder, fault) from fault
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise


def _written(path: Path, text: str) -> Path:
    """A file beside `path` that is on disk, with `text` in it."""
    temporary = path.with_name(f".{path.name[:200]}.{token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with _removed_on_failure([temporary]), os.fdopen(descriptor, "w", errors="backslashreplace") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return temporary


@contextmanager
def _removed_on_failure(paths: list[Path]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for path in paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def _unwritable(path: Path, fault: OSError) -> UsageProblem:
    return UsageProblem(f"it cannot be written: {fault.strerror}", where=str(path), hint=ELSEWHERE)
