"""The archive's folders: every path is walked one component at a time, no symbolic link is ever followed."""

import ctypes
import errno
import hashlib
import os
import stat
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from migrate.errors import UsageProblem
from migrate.export.keymap import OBJECTS, ODD, QUARANTINE, SPOOL, VERSIONS

OPEN_FOLDERS = 256
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OBJECT_MODE = 0o644
FOLDER_MODE = 0o755
LIBC = ctypes.CDLL(None, use_errno=True)
# Spool files of this name outlive the run: see kept.py.
KEPT = "kept-"
SMALL_TEXT_BYTES = 64 * 1024


class PathBlocked(Exception):
    """A path cannot hold a file: a link, a file or a folder stands in the way, or the filesystem refuses the name."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


BLOCKING = {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EEXIST,
            errno.ENOTEMPTY}  # fmt: skip


def new_file(folder: int, name: str) -> BinaryIO:
    """A new empty file in an open folder, open for writing and reading."""
    return os.fdopen(os.open(name, NEW_FILE, OBJECT_MODE, dir_fd=folder), "w+b", buffering=0)


def write_new_file(folder: int, name: str, data: memoryview) -> None:
    """Writes a new file in an open folder, in one go. Raises OSError, and may then leave a part of it."""
    descriptor = os.open(name, NEW_FILE, OBJECT_MODE, dir_fd=folder)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def kept_file(folder: int, name: str) -> BinaryIO:
    """A file in an open folder as it was left, or a new one, open for writing and reading from its beginning."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(name, flags, OBJECT_MODE, dir_fd=folder), "r+b", buffering=0)


class Tree:
    """File operations below DEST. Not thread-safe but for what concerns the spool, and `open_file`."""

    def __init__(self, dest: Path) -> None:
        self.dest = dest
        self._root = os.open(dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folders: OrderedDict[str, int] = OrderedDict()
        self._touched: set[str] = set()
        self._spool = -1

    def prepare(self) -> None:
        """Makes the archive's own folders and empties the spool of all that is not kept.

        Raises UsageProblem where a folder cannot be used.
        """
        for name in (OBJECTS, ODD, VERSIONS, QUARANTINE, SPOOL):
            try:
                self._folder(name, create=True)
            except (PathBlocked, OSError) as problem:
                raise UsageProblem(
                    f"cannot use {name}: {problem}",
                    where=str(self.dest),
                    expected="a writable folder of the archive itself; symbolic links are not followed",
                    hint="choose another DEST, or move what stands in the way",
                ) from problem
        self._spool = os.open(SPOOL, FOLDER_FLAGS, dir_fd=self._root)
        for name in self.spooled_names():
            if not name.startswith(KEPT):
                os.unlink(name, dir_fd=self._spool)

    def spooled_names(self) -> list[str]:
        return os.listdir(self._spool)  # noqa: PTH208 - a descriptor, not a path

    def spool_file(self, name: str) -> BinaryIO:
        """A new empty file of the spool, open for writing and reading."""
        return new_file(self._spool, name)

    @property
    def spool(self) -> int:
        """The spool's descriptor, for `new_file` in another process."""
        return self._spool

    def sync_spool(self) -> None:
        """Makes everything that was written to the archive's filesystem durable, in one go. Raises OSError."""
        if LIBC.syncfs(self._spool):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), SPOOL)

    def kept_file(self, name: str) -> BinaryIO:
        """A file of the spool as it was left, or a new one, open for writing and reading from its beginning."""
        return kept_file(self._spool, name)

    def spooled_size(self, name: str) -> int | None:
        """Bytes of a regular file of the spool; None where there is none."""
        try:
            status = os.stat(name, dir_fd=self._spool, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def spooled_text(self, name: str) -> str | None:
        """The text of a small file of the spool; None where there is none."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._spool)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read(SMALL_TEXT_BYTES).decode("utf-8", "replace")

    def discard(self, name: str) -> None:
        """Removes a file of the spool, if it is there."""
        try:
            os.unlink(name, dir_fd=self._spool)
        except FileNotFoundError:
            return

    def place(self, spooled: str, path: str) -> None:
        """Renames a spooled file to `path`. Raises PathBlocked; the spooled file is then still there."""
        folder, name = self._parent(path, create=True)
        try:
            os.rename(spooled, name, src_dir_fd=self._spool, dst_dir_fd=folder)
        except OSError as problem:
            raise _blocked_or_same(problem, path) from problem

    def move(self, old: str, new: str) -> bool:
        """Renames a stored file; False where there is none at `old`. Raises PathBlocked."""
        try:
            old_folder, old_name = self._parent(old, create=False)
        except FileNotFoundError:
            return False
        old_folder = os.dup(old_folder)  # the second walk may push it out of the cache
        try:
            new_folder, new_name = self._parent(new, create=True)
            os.rename(old_name, new_name, src_dir_fd=old_folder, dst_dir_fd=new_folder)
        except FileNotFoundError:
            return False
        except OSError as problem:
            raise _blocked_or_same(problem, new) from problem
        finally:
            os.close(old_folder)
        self._touched.add(old.rpartition("/")[0])
        return True

    def size(self, path: str) -> int | None:
        """Bytes of the regular file at `path`; None where there is none or a link stands in the way."""
        try:
            folder, name = self._parent(path, create=False)
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, PathBlocked):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def digest(self, path: str) -> str | None:
        """SHA-256, hexadecimal, of the regular file at `path`; None where there is none, or it cannot be read."""
        try:
            with self.open_file(path) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        except (OSError, PathBlocked):
            return None

    def open_file(self, path: str) -> BinaryIO:
        """Opens a stored file for reading. Raises OSError or PathBlocked."""
        folder = os.dup(self._root)
        components = path.split("/")
        try:
            for component in components[:-1]:
                below = os.open(component, FOLDER_FLAGS, dir_fd=folder)
                os.close(folder)
                folder = below
            file = os.open(components[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            raise
        except OSError as problem:
            raise _blocked_or_same(problem, path) from problem
        finally:
            os.close(folder)
        return os.fdopen(file, "rb", buffering=0)

    def append_file(self, path: str) -> BinaryIO:
        """A stored file to add to, made if need be. Raises OSError or PathBlocked."""
        folder, name = self._parent(path, create=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.fdopen(os.open(name, flags, OBJECT_MODE, dir_fd=folder), "ab", buffering=0)
        except OSError as problem:
            raise _blocked_or_same(problem, path) from problem

    def names(self, folder: str) -> list[str]:
        """What lies in a folder of the archive. Raises OSError or PathBlocked."""
        return os.listdir(self._folder(folder, create=False))  # noqa: PTH208 - a descriptor, not a path

    def write_text(self, path: str, text: str) -> None:
        """Writes a small file in one step, under its name only when whole."""
        spooled = f"text-{os.getpid()}"
        self.discard(spooled)
        with self.spool_file(spooled) as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))
            os.fsync(stream.fileno())
        self.place(spooled, path)

    def remove(self, path: str) -> None:
        """Removes a stored file, if it is there."""
        try:
            folder, name = self._parent(path, create=False)
            os.unlink(name, dir_fd=folder)
        except (FileNotFoundError, PathBlocked):
            return
        self._touched.add(path.rpartition("/")[0])

    def sync_folders(self) -> None:
        """Makes the renames since the last call durable."""
        for path in self._touched:
            try:
                os.fsync(self._folder(path, create=False))
            except (FileNotFoundError, PathBlocked):
                continue
        self._touched.clear()

    def close(self) -> None:
        for descriptor in self._folders.values():
            os.close(descriptor)
        self._folders.clear()
        if self._spool >= 0:
            os.close(self._spool)
        os.close(self._root)

    def __enter__(self) -> "Tree":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _parent(self, path: str, *, create: bool) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        descriptor = self._folder(folder, create=create)
        if create:
            self._touched.add(folder)
        return descriptor, name

    def _folder(self, path: str, *, create: bool) -> int:
        if not path:
            return self._root
        known = self._folders.get(path)
        if known is not None:
            self._folders.move_to_end(path)
            return known
        parent, _, name = path.rpartition("/")
        above = self._folder(parent, create=create)
        try:
            descriptor = self._enter(above, name, parent, create=create)
        except FileNotFoundError:
            raise
        except OSError as problem:
            raise _blocked_or_same(problem, path) from problem
        self._folders[path] = descriptor
        if len(self._folders) > OPEN_FOLDERS:
            os.close(self._folders.popitem(last=False)[1])
        return descriptor

    def _enter(self, above: int, name: str, parent: str, *, create: bool) -> int:
        try:
            return os.open(name, FOLDER_FLAGS, dir_fd=above)
        except FileNotFoundError:
            if not create:
                raise
            os.mkdir(name, FOLDER_MODE, dir_fd=above)
            self._touched.add(parent)
            return os.open(name, FOLDER_FLAGS, dir_fd=above)


def _blocked_or_same(problem: OSError, path: str) -> Exception:
    if problem.errno in BLOCKING:
        return PathBlocked(path, problem.strerror or str(problem))
    return problem
