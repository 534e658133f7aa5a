"""Names of the provider in files: a folder, a tarball, a wheel, a zip, one within another; each read to a bound."""

import io
import lzma
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from migrate.assess.leaking import provider_hosts

MOST_BYTES_OF_A_FILE = 16 * 1024 * 1024
MOST_BYTES = 4 * 1024**3
MOST_DEPTH = 3
NOT_ENTERED = frozenset({".git", ".cloudexit", "__pycache__"})
SDKS = frozenset({"botocore", "boto3", "s3transfer", "awscrt", "aws-sdk", "@aws-sdk", "aws_sdk", "aws-sdk-go-v2"})
"""Libraries of the provider: full of its names by nature, so their presence is told and not each name."""
ZIPS = (".whl", ".zip", ".jar", ".egg")
TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError, OSError, ValueError)
"""What the archives' libraries raise for a file that is none, or is damaged or encrypted: it is read as bytes then."""
Member = tuple[str, bytes]


def hosts_in(path: Path) -> tuple[dict[str, Counter[str]], set[str], bool]:
    """File -> the provider's host names in it; the provider's libraries that lie there; whether all was read."""
    found: dict[str, Counter[str]] = {}
    sdks: set[str] = set()
    read = 0
    for name, content in _members(path):
        library = SDKS & {part.partition("-")[0] if part.endswith(".whl") else part for part in _parts(name)}
        if library:
            sdks |= library
            continue
        read += len(content)
        if read > MOST_BYTES:
            return found, sdks, False
        hosts = provider_hosts(content.decode("latin-1"))
        if hosts:
            found[name] = hosts
    return found, sdks, True


def _parts(name: str) -> Iterator[str]:
    yield from PurePosixPath(name.replace("!", "/")).parts


def _members(path: Path) -> Iterator[Member]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and not file.is_symlink() and not NOT_ENTERED & set(file.relative_to(path).parts):
                with file.open("rb") as stream:
                    yield from _opened(str(file.relative_to(path)), stream, 0)
        return
    with path.open("rb") as stream:
        yield from _opened(path.name, stream, 0)


def _opened(name: str, stream: IO[bytes], depth: int) -> Iterator[Member]:
    """The members of an archive, or the head of the file itself. A member's name is `archive!member`."""
    try:
        if depth < MOST_DEPTH and name.endswith(ZIPS):
            yield from _zipped(name, stream, depth)
            return
        if depth < MOST_DEPTH and name.endswith(TARS):
            yield from _tarred(name, stream, depth)
            return
    except BROKEN:
        stream.seek(0)
    yield name, stream.read(MOST_BYTES_OF_A_FILE)


def _zipped(name: str, stream: IO[bytes], depth: int) -> Iterator[Member]:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as inner:
                    content = inner.read(MOST_BYTES_OF_A_FILE)
                yield from _opened(f"{name}!{member.filename}", io.BytesIO(content), depth + 1)


def _tarred(name: str, stream: IO[bytes], depth: int) -> Iterator[Member]:
    with tarfile.open(fileobj=stream) as archive:
        for member in archive:
            inner = archive.extractfile(member) if member.isfile() else None
            if inner is not None:
                content = inner.read(MOST_BYTES_OF_A_FILE)
                yield from _opened(f"{name}!{member.name}", io.BytesIO(content), depth + 1)
