"""Positions in a sample of a bucket's images: the first bytes of each are read, and thrown away."""

import io
import logging
import random
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from os.path import commonprefix
from pathlib import PurePosixPath
from typing import Any

import exifread
from exifread.core.exceptions import ExifError

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.calls import Calls
from migrate.adapters.s3_errors import ARCHIVED
from migrate.assess.findings import Leak
from migrate.assess.leaking import beyond_sample, positions
from migrate.assess.observed import Blindness, Resource, Unseen
from migrate.export.intake import ARCHIVE_CLASSES

IMAGES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".heic", ".heif", ".hif", ".webp", ".png", ".tif", ".tiff", ".dng", ".avif",
)  # fmt: skip
ENDING = re.compile(r"\.(?=[0-9]*[a-z])[a-z0-9]{1,10}")
UNTELLING = frozenset({".bin", ".blob", ".dat", ".file", ".orig", ".original", ".tmp", ".upload"})
"""Endings that say nothing of the content."""
FIRST_BYTES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*")
"""Of JPEG, PNG and both kinds of TIFF."""
BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"})
"""Of HEIC and AVIF, after `ftyp`: ISO/IEC 23008-12."""
HEAD_BYTES = 256 * 1024
"""Cameras write the position before the picture; a file that has it later is not found out."""
POSITION = ("GPS GPSLatitude", "GPS GPSLongitude")
WORKERS = 8
JUMPS = 4
"""Places beside the beginning at which a long listing is looked into: one page of 1,000 keys each."""
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NOT_READABLE = (
    ExifError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, OSError, EOFError, MemoryError,
    struct.error,
)  # fmt: skip
"""What the library raises, by trial, over bytes that were written to harm it."""
logging.getLogger("exifread").addHandler(logging.NullHandler())
READ_ACTION, LIST_ACTION = "s3:GetObject", "s3:ListBucket"


@dataclass
class _Sample:
    looked_at: int = 0
    keys: int | None = None
    """Keys that were listed; none where they could not be."""
    goes_on: bool = False
    """Whether the bucket has more keys than were listed."""
    with_position: list[str] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)


def sampled_positions(
    calls: Calls, buckets: Sequence[Resource], sample: int
) -> tuple[list[Leak], list[Unseen], list[str]]:
    """Leaks of the buckets of which up to `sample` objects are read, 256 KiB of each at most; what was not seen; and of
    each bucket how many images were looked at, beyond which nothing was looked for."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="assess-images") as pool:
        samples = list(pool.map(lambda bucket: _sample(calls, bucket, sample), buckets))
    pairs = list(zip(buckets, samples, strict=True))
    leaks = [
        positions(bucket.name, found.with_position, found.looked_at) for bucket, found in pairs if found.with_position
    ]
    looked = [beyond_sample(bucket.name, found.looked_at, found.keys, found.goes_on) for bucket, found in pairs]
    return leaks, [unseen for found in samples for unseen in found.unseen], looked


def is_image(content: bytes) -> bool:
    """Whether the first bytes are those of a format that may hold a position."""
    if content.startswith(FIRST_BYTES):
        return True
    return (content[:4] == b"RIFF" and content[8:12] == b"WEBP") or (
        content[4:8] == b"ftyp" and content[8:12] in BRANDS
    )


def has_position(content: bytes) -> bool:
    """Whether the head of an image says where it was taken. What is no image, or a broken one, does not."""
    try:
        tags: Mapping[str, object] = exifread.process_file(io.BytesIO(content), details=False, extract_thumbnail=False)
    except NOT_READABLE:
        return False
    return all(tag in tags for tag in POSITION)


def _sample(calls: Calls, bucket: Resource, sample: int) -> _Sample:
    found = _Sample()
    try:
        objects = {one["Key"]: one for one in _listed(calls, bucket, found)}
    except NotSeen as blind:
        found.unseen.append(_unseen(bucket, blind, LIST_ACTION))
        return found
    found.keys = len(objects)
    images = {key: one for key, one in objects.items() if key.lower().endswith(IMAGES)}
    last = NotSeen(Blindness.NOT_UNDERSTOOD, "every image that was drawn lies in an archive class") if images else None
    for key in _drawn(bucket, objects, sample):
        try:
            content = _head(calls, bucket, key)
        except NotSeen as blind:
            last = blind
            if blind.reason is not Blindness.NOT_UNDERSTOOD and blind.code not in ARCHIVED:
                found.unseen.append(_unseen(bucket, blind, READ_ACTION))
                return found
            continue  # archived, or gone since it was listed
        if key in images:
            last = None
        if is_image(content):
            found.looked_at += 1
            if has_position(content):
                found.with_position.append(key)
    if last and not found.looked_at:
        found.unseen.append(_unseen(bucket, last, READ_ACTION))
    return found


def _drawn(bucket: Resource, objects: Mapping[str, Mapping[str, Any]], sample: int) -> list[str]:
    """Keys to read, `sample` at most: images by their ending, and half of them of those whose ending does not tell."""
    readable = [key for key, one in objects.items() if one.get("StorageClass") not in ARCHIVE_CLASSES]
    named = [key for key in readable if key.lower().endswith(IMAGES)]
    untold = [key for key in readable if objects[key].get("Size", 1) and _does_not_tell(key)]
    of_named = min(len(named), sample - min(len(untold), sample // 2))
    dice = random.Random(bucket.name)
    return dice.sample(named, of_named) + dice.sample(untold, min(len(untold), sample - of_named))


def _does_not_tell(key: str) -> bool:
    if key.endswith("/"):
        return False
    ending = PurePosixPath(key).suffix.lower()
    return ending in UNTELLING or not ENDING.fullmatch(ending)


def _listed(calls: Calls, bucket: Resource, found: _Sample) -> Iterator[Mapping[str, Any]]:
    """The first page, and pages from places drawn by the bucket's name: a second look is the same."""
    first = _page(calls, bucket, "")
    begun = list(first.get("Contents", ()))
    yield from begun
    if not first.get("IsTruncated"):
        return
    found.goes_on = True
    dice = random.Random(bucket.name)
    common = commonprefix([one["Key"] for one in begun])  # noqa: RUF071 - keys are no paths
    for begin in islice(dice.sample(ALPHABET, len(ALPHABET)), JUMPS):
        yield from _page(calls, bucket, common + begin).get("Contents", ())


def _page(calls: Calls, bucket: Resource, after: str) -> Mapping[str, Any]:
    return calls("s3", bucket.region, "list_objects_v2", {"Bucket": bucket.name, "StartAfter": after})


def _head(calls: Calls, bucket: Resource, key: str) -> bytes:
    wanted = {"Bucket": bucket.name, "Key": key, "Range": f"bytes=0-{HEAD_BYTES - 1}"}
    return calls.body(calls("s3", bucket.region, "get_object", wanted), HEAD_BYTES)


def _unseen(bucket: Resource, blind: NotSeen, action: str) -> Unseen:
    return Unseen(
        service="s3", region=bucket.region, action=action, reason=blind.reason, said=blind.said,
        about=f"images of {bucket.name}",
    )  # fmt: skip
