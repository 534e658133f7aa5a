"""Names of the provider in files: a folder, a tarball, a wheel, a zip, one within another; each read to a bound."""

import bz2
import gzip
import io
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from migrate.assess.leaking import provider_hosts
from migrate.errors import UsageProblem

MOST_BYTES_OF_A_FILE = 16 * 1024 * 1024
MOST_BYTES = 4 * 1024**3
MOST_DEPTH = 3
NOT_ENTERED = frozenset({".git", ".cloudexit", "__pycache__"})
SDKS = frozenset({"botocore", "boto3", "s3transfer", "awscrt", "aws-sdk", "@aws-sdk", "aws_sdk", "aws-sdk-go-v2"})
"""Libraries of the provider: full of its names by nature, so their presence is told and not each name."""
ZIPS = (".whl", ".zip", ".jar", ".egg", ".pyz", ".pex")
ZIP = b"PK\x03\x04"
TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
USTAR, USTAR_AT = b"ustar", 257
PACKED: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda stream: io.BufferedReader(gzip.GzipFile(fileobj=stream)),
    b"BZh": bz2.BZ2File, b"\xfd7zXZ\0": lzma.LZMAFile,
}  # fmt: skip
"""First bytes of one packed file, and who unpacks it."""
NOT_OPENED = (
    b"\x28\xb5\x2f\xfd",
    b"!<arch>\ndebian-binary",
    b"\xed\xab\xee\xdb",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
)
"""First bytes of Zstandard, of packages of Debian and of RPM, of 7-Zip and RAR."""
HEAD_BYTES = USTAR_AT + len(USTAR)
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, OSError, ValueError)
"""What the archives' libraries raise for a file that is none, or is damaged or encrypted: it is read as bytes then."""
Member = tuple[str, bytes]


@dataclass
class Looked:
    """What was found in files, and what was not looked at."""

    hosts: dict[str, Counter[str]] = field(default_factory=dict)
    """File -> the provider's host names in it."""
    libraries: set[str] = field(default_factory=set)
    """The provider's libraries that lie there."""
    missed: dict[str, str] = field(default_factory=dict)
    """File that was not looked at, or not whole -> why."""
    whole: bool = True
    """Whether all was read before there was too much."""

    def miss(self, name: str, reason: str) -> None:
        if not _libraries(name):
            self.missed.setdefault(name, reason)


def hosts_in(path: Path) -> Looked:
    """Looks through a file or a folder. Raises UsageProblem where it is neither, or may not be read at all."""
    looked = Looked()
    read = 0
    for name, content in _members(path, looked):
        library = _libraries(name)
        if library:
            looked.libraries |= library
            continue
        read += len(content)
        if read > MOST_BYTES:
            looked.whole = False
            return looked
        hosts = provider_hosts(content.decode("latin-1"))
        if hosts:
            looked.hosts[name] = hosts
    return looked


def require_readable_kind(path: Path) -> None:
    """Raises UsageProblem for what is neither a folder nor a regular file: a pipe would be waited for."""
    try:
        kind = path.stat().st_mode
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    if not (stat.S_ISDIR(kind) or stat.S_ISREG(kind)):
        raise UsageProblem(
            "this is neither a folder nor a regular file", where=f"--code {path}", expected="a release or a checkout"
        )


def _libraries(name: str) -> frozenset[str]:
    return SDKS & {part.partition("-")[0] if part.endswith(".whl") else part for part in _parts(name)}


def _parts(name: str) -> Iterator[str]:
    yield from PurePosixPath(name.replace("!", "/")).parts


def _members(path: Path, looked: Looked) -> Iterator[Member]:
    require_readable_kind(path)
    opener = _Opener(looked)
    try:
        if not path.is_dir():
            with path.open("rb") as stream:
                yield from opener.members(path.name, stream, 0)
            return
        os.scandir(path).close()
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    for name, file in _files(path, looked):
        try:
            with file.open("rb") as stream:
                yield from opener.members(name, stream, 0)
        except OSError as fault:
            looked.miss(name, f"cannot be read: {fault.strerror}")


def _files(folder: Path, looked: Looked) -> Iterator[tuple[str, Path]]:
    """The regular files of a folder, with their names in it; what is left out is noted."""

    def not_listed(fault: OSError) -> None:
        looked.miss(os.path.relpath(fault.filename, folder), f"cannot be read: {fault.strerror}")

    for parent, folders, files in os.walk(folder, onerror=not_listed):
        within = Path(parent)
        for name in sorted(folders):
            if name in NOT_ENTERED:
                looked.miss(str((within / name).relative_to(folder)), "left out on purpose: history and caches")
        links = [name for name in folders if (within / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in NOT_ENTERED and name not in links)
        for name in sorted([*files, *links]):
            path = within / name
            if _is_regular(path):
                yield str(path.relative_to(folder)), path
            elif not _leads_within(path, folder):
                looked.miss(str(path.relative_to(folder)), "a link that leads out of it, a pipe or a device")


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:  # opening it says why
        return True


def _leads_within(path: Path, folder: Path) -> bool:
    """Whether it is a link to something that is looked at by itself."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # leads nowhere, or in a circle
        return False
    inside = target.is_relative_to(folder.resolve()) and not NOT_ENTERED & set(target.parts)
    return path.is_symlink() and inside and (target.is_dir() or target.is_file())


def _unreadable(path: Path, fault: OSError) -> UsageProblem:
    return UsageProblem(
        f"it cannot be read: {fault.strerror}", where=f"--code {path}", expected="a release, or a checkout"
    )


@dataclass
class _Opener:
    """Opens archives. A member's name is `archive!member`."""

    looked: Looked

    def members(self, name: str, stream: IO[bytes], depth: int) -> Iterator[Member]:
        """The members of an archive, or the head of the file itself."""
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        opened = self._opening(name, head)
        if opened and depth >= MOST_DEPTH:
            self.looked.miss(name, f"an archive more than {MOST_DEPTH} deep")
        elif opened:
            try:
                yield from opened(name, stream, depth)
                return
            except BROKEN:
                self.looked.miss(name, "an archive that is damaged or encrypted, looked at in part")
                stream.seek(0)
        elif head.startswith(NOT_OPENED):
            self.looked.miss(name, "packed in a way that is not opened")
        yield name, self._bounded(name, stream)

    def _opening(self, name: str, head: bytes) -> Callable[[str, IO[bytes], int], Iterator[Member]] | None:
        if name.endswith(ZIPS) or head.startswith(ZIP):
            return self._zipped
        if name.endswith(TARS) or head[USTAR_AT:] == USTAR:
            return self._tarred
        return self._unpacked if head.startswith(tuple(PACKED)) else None

    def _bounded(self, name: str, stream: IO[bytes]) -> bytes:
        content = stream.read(MOST_BYTES_OF_A_FILE + 1)
        if len(content) > MOST_BYTES_OF_A_FILE:
            self.looked.miss(name, f"larger than {MOST_BYTES_OF_A_FILE // 1024:,} KiB, looked at as far as that")
        return content[:MOST_BYTES_OF_A_FILE]

    def _inner(self, name: str, stream: IO[bytes], depth: int) -> Iterator[Member]:
        content = self._bounded(name, stream)
        yield from self.members(name, io.BytesIO(content), depth + 1)

    def _zipped(self, name: str, stream: IO[bytes], depth: int) -> Iterator[Member]:
        with zipfile.ZipFile(stream) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    with archive.open(member) as inner:
                        yield from self._inner(f"{name}!{member.filename}", inner, depth)

    def _tarred(self, name: str, stream: IO[bytes], depth: int) -> Iterator[Member]:
        names, links = set(), {}
        with tarfile.open(fileobj=stream) as archive:
            for member in archive:
                names.add(posixpath.normpath(member.name))
                inner = archive.extractfile(member) if member.isfile() else None
                if inner is not None:
                    yield from self._inner(f"{name}!{member.name}", inner, depth)
                elif not member.isdir():
                    links[member.name] = _target(member)
        for link, target in links.items():
            if target not in names:
                self.looked.miss(f"{name}!{link}", "a link that leads out of it, a pipe or a device")

    def _unpacked(self, name: str, stream: IO[bytes], depth: int) -> Iterator[Member]:
        """One file that is packed, or a tarball that is not called one."""
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        unpack = next(unpack for magic, unpack in PACKED.items() if head.startswith(magic))
        with unpack(stream) as inner:
            if inner.read(HEAD_BYTES)[USTAR_AT:] == USTAR:
                stream.seek(0)
                yield from self._tarred(name, stream, depth)
                return
            inner.seek(0)
            yield from self._inner(f"{name}!{PurePosixPath(name.rpartition('!')[2]).stem}", inner, depth)


def _target(member: tarfile.TarInfo) -> str:
    """The member that a link of an archive leads to; none for a pipe or a device."""
    beside = "" if member.islnk() else posixpath.dirname(member.name)
    return posixpath.normpath(posixpath.join(beside, member.linkname)) if member.linkname else ""
