"""The head of a pg_dump custom-format archive: which database, which server, which pg_dump. Pure; bytes in, values out.

Layout: PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c, ReadHead and ReadInt.
"""

import io
from dataclasses import dataclass
from itertools import takewhile

MAGIC = b"PGDMP"
CUSTOM = 1
HEAD_BYTES = 8192
LONGEST_NAME = 1024
COMPRESSION_IS_A_BYTE = (1, 15)
"""Since archive version 1.15 (PostgreSQL 16) the compression is one byte, an algorithm; before, an integer, a level."""
VERSIONS_STAND_IN_HEAD = (1, 10)


@dataclass(frozen=True)
class Head:
    """Versions as PostgreSQL prints them, such as `15.6 (Debian 15.6-1)`."""

    archive_version: tuple[int, int]
    database: str
    server_version: str
    dump_version: str

    @property
    def server_major(self) -> int:
        return major(self.server_version)

    @property
    def dump_major(self) -> int:
        return major(self.dump_version)


class NotCustomFormat(ValueError):
    """The bytes are no head of a custom-format archive; the message says what they are instead."""


def major(version: str) -> int:
    """Major version of PostgreSQL from what it prints; raises NotCustomFormat where there is no number."""
    leading = "".join(takewhile(str.isdigit, version))
    if not leading:
        raise NotCustomFormat(f"no version of PostgreSQL: {version!r}")
    return int(leading)


def read_head(content: bytes) -> Head:
    """The head of an archive from its first HEAD_BYTES bytes. Raises NotCustomFormat."""
    if not content.startswith(MAGIC):
        raise NotCustomFormat(_what_else(content))
    stream = io.BytesIO(content[len(MAGIC) :])
    version = (_byte(stream), _byte(stream))
    _byte(stream)  # revision
    integer_bytes = _byte(stream)
    _byte(stream)  # width of offsets
    if _byte(stream) != CUSTOM:
        raise NotCustomFormat("a pg_dump archive of another format (directory or tar)")
    if version < VERSIONS_STAND_IN_HEAD:
        raise NotCustomFormat(f"an archive of version {version[0]}.{version[1]}, older than PostgreSQL 8.0 writes")
    if version >= COMPRESSION_IS_A_BYTE:
        _byte(stream)
    else:
        _integer(stream, integer_bytes)
    for _ in range(7):  # the time it was made at, as a struct tm
        _integer(stream, integer_bytes)
    names = [_text(stream, integer_bytes) for _ in range(3)]
    return Head(version, *names)


def _byte(stream: io.BytesIO) -> int:
    read = stream.read(1)
    if not read:
        raise NotCustomFormat("an archive that ends within its head")
    return read[0]


def _integer(stream: io.BytesIO, width: int) -> int:
    negative = _byte(stream)
    value = sum(_byte(stream) << (8 * position) for position in range(width))
    return -value if negative else value


def _text(stream: io.BytesIO, width: int) -> str:
    length = _integer(stream, width)
    if length < 0:
        return ""
    read = stream.read(length)
    if length > LONGEST_NAME or len(read) != length:
        raise NotCustomFormat("an archive whose head is damaged")
    return read.decode("utf-8", "replace")


def _what_else(content: bytes) -> str:
    if not content:
        return "an empty file"
    if content[:2] == b"\x1f\x8b":
        return "a gzip file"
    if content.lstrip()[:2] in (b"--", b"\\c") or b"CREATE TABLE" in content:
        return "a plain SQL dump"
    if content.lstrip()[:1] in (b"<", b"{"):
        return f"a text document: {content[:60].decode('utf-8', 'replace')!r}"
    return f"no pg_dump archive: it begins with {content[:8].hex(' ')}"
