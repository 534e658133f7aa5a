"""How many keys a Redis snapshot holds, read from the head of the file.

Redis writes the sizes of each database before its keys: exact at the moment of the fork, while asking the
server gives the count of some other moment. Format: https://rdb.fnordig.de/file_format.html
"""

from pathlib import Path
from typing import BinaryIO

MAGIC = b"REDIS"
AUXILIARY, RESIZE, SELECT, END = 0xFA, 0xFB, 0xFE, 0xFF
INTEGER_BYTES = {0: 1, 1: 2, 2: 4}


def read_key_count(path: Path) -> tuple[int, int]:
    """Return the keys of database 0 and how many of them expire; raise ValueError if it is no snapshot."""
    with path.open("rb") as handle:
        if handle.read(5) != MAGIC or not handle.read(4).isdigit():
            raise ValueError(f"{path} does not start like a Redis snapshot")
        while True:
            code = _read(handle, 1)[0]
            if code == AUXILIARY:
                _skip_string(handle)
                _skip_string(handle)
            elif code == SELECT:
                if _read_length(handle) != 0:
                    raise ValueError(f"{path} holds more than database 0")
            elif code == RESIZE:
                return _read_length(handle), _read_length(handle)
            elif code == END:
                return 0, 0
            else:
                raise ValueError(f"{path} has an entry of kind {code:#x} before its first key")


def _read(handle: BinaryIO, count: int) -> bytes:
    data = handle.read(count)
    if len(data) != count:
        raise ValueError("the snapshot ends early")
    return data


def _read_length(handle: BinaryIO) -> int:
    first = _read(handle, 1)[0]
    if first >> 6 == 0:
        return first & 0x3F
    if first >> 6 == 1:
        return (first & 0x3F) << 8 | _read(handle, 1)[0]
    if first in (0x80, 0x81):
        return int.from_bytes(_read(handle, 4 if first == 0x80 else 8), "big")
    raise ValueError("a length was expected, and a specially encoded value was found")


def _skip_string(handle: BinaryIO) -> None:
    first = _read(handle, 1)[0]
    if first >> 6 == 3:
        if first & 0x3F not in INTEGER_BYTES:
            raise ValueError("a compressed string stands before the first key")
        _read(handle, INTEGER_BYTES[first & 0x3F])
    else:
        handle.seek(-1, 1)
        _read(handle, _read_length(handle))
