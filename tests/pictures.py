"""The smallest JPEG whose EXIF says where it was taken, made by hand: TIFF 6.0 and Exif 2.3."""

import struct

GPS_DIRECTORY, LATITUDE, LONGITUDE, MAKE = 0x8825, 2, 4, 0x010F
ASCII, LONG, RATIONAL = 2, 4, 5


def jpeg(*, position: bool) -> bytes:
    """A JPEG of no pixels, with EXIF that names a maker, and a position if wanted."""
    exif = b"Exif\0\0" + _tiff(position)
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + b"\xff\xd9"


def _tiff(position: bool) -> bytes:
    entries = [struct.pack("<HHI4s", MAKE, ASCII, 4, b"abc\0")]
    directory_at = 8
    after = directory_at + 2 + 12 * (2 if position else 1) + 4
    if position:
        entries.append(struct.pack("<HHII", GPS_DIRECTORY, LONG, 1, after))
    head = b"II*\0" + struct.pack("<I", directory_at) + struct.pack("<H", len(entries)) + b"".join(entries)
    return head + struct.pack("<I", 0) + (_gps(after) if position else b"")


def _gps(at: int) -> bytes:
    values_at = at + 2 + 4 * 12 + 4
    degrees = struct.pack("<6I", 52, 1, 31, 1, 12, 1)
    return (
        struct.pack("<H", 4)
        + struct.pack("<HHI4s", 1, ASCII, 2, b"N\0\0\0")
        + struct.pack("<HHII", LATITUDE, RATIONAL, 3, values_at)
        + struct.pack("<HHI4s", 3, ASCII, 2, b"E\0\0\0")
        + struct.pack("<HHII", LONGITUDE, RATIONAL, 3, values_at + len(degrees))
        + struct.pack("<I", 0)
        + degrees * 2
    )
