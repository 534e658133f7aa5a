"""Names of the provider in files: a folder, a tarball, a wheel, a zip, one within another; each read to a bound."""

import io
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from migrate.assess.leaking import provider_hosts

MOST_BYTES_OF_A_FILE = 16 * 1024 * 1024
MOST_BYTES = 4 * 1024**3
MOST_DEPTH = 3
NOT_ENTERED = frozenset({".git", ".cloudexit", "__pycache__"})
SDKS = frozenset({"botocore", "boto3", "s3transfer", "awscrt", "aws-sdk", "@aws-sdk", "aws_sdk", "aws-sdk-go-v2"})
"""Libraries of the provider: full of its names by nature, so their presence is told and not each name."""
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
                yield from _opened(str(file.relative_to(path)), _read(file), 0)
        return
    yield from _opened(path.name, path.read_bytes(), 0)


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MOST_BYTES_OF_A_FILE)


def _opened(name: str, content: bytes, depth: int) -> Iterator[Member]:
    """The members of an archive, or the file itself. A member's name is `archive!member`."""
    if depth < MOST_DEPTH and name.endswith((".whl", ".zip", ".jar", ".egg")):
        yield from _zipped(name, content, depth)
    elif depth < MOST_DEPTH and name.endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")):
        yield from _tarred(name, content, depth)
    else:
        yield name, content


def _zipped(name: str, content: bytes, depth: int) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    with archive.open(member) as stream:
                        inner = stream.read(MOST_BYTES_OF_A_FILE)
                    yield from _opened(f"{name}!{member.filename}", inner, depth + 1)
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, NotImplementedError):
        yield name, content


def _tarred(name: str, content: bytes, depth: int) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    inner = stream.read(MOST_BYTES_OF_A_FILE)
                    yield from _opened(f"{name}!{member.name}", inner, depth + 1)
    except (tarfile.TarError, EOFError, OSError):
        yield name, content
