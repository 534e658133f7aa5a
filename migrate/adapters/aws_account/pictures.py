"""Positions in a sample of a bucket's images: the first bytes of each are read, and thrown away."""

import io
import logging
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from os.path import commonprefix
from typing import Any

import exifread
from exifread.core.exceptions import ExifError

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.calls import Calls
from migrate.adapters.s3_errors import ARCHIVED
from migrate.assess.findings import Leak
from migrate.assess.leaking import positions
from migrate.assess.observed import Blindness, Resource, Unseen

IMAGES = (".jpg", ".jpeg", ".heic", ".heif", ".webp", ".png", ".tif", ".tiff", ".avif")
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
ARCHIVE_CLASSES = ("GLACIER", "DEEP_ARCHIVE")


@dataclass
class _Sample:
    looked_at: int = 0
    with_position: list[str] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)


def sampled_positions(calls: Calls, buckets: Sequence[Resource], sample: int) -> tuple[list[Leak], list[Unseen]]:
    """Leaks of the buckets of which up to `sample` images are read, 256 KiB of each at most; and what was not seen."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="assess-images") as pool:
        samples = list(pool.map(lambda bucket: _sample(calls, bucket, sample), buckets))
    leaks = [
        positions(bucket.name, found.with_position, found.looked_at)
        for bucket, found in zip(buckets, samples, strict=True)
        if found.with_position
    ]
    return leaks, [unseen for found in samples for unseen in found.unseen]


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
        images = {one["Key"]: one for one in _listed(calls, bucket) if one["Key"].lower().endswith(IMAGES)}
    except NotSeen as blind:
        found.unseen.append(_unseen(bucket, blind, LIST_ACTION))
        return found
    keys = [key for key, image in images.items() if image.get("StorageClass") not in ARCHIVE_CLASSES]
    last = NotSeen(Blindness.NOT_UNDERSTOOD, "every image that was drawn lies in an archive class") if images else None
    for key in random.Random(bucket.name).sample(keys, min(sample, len(keys))):
        try:
            content = _head(calls, bucket, key)
        except NotSeen as blind:
            last = blind
            if blind.reason is not Blindness.NOT_UNDERSTOOD and blind.code not in ARCHIVED:
                found.unseen.append(_unseen(bucket, blind, READ_ACTION))
                return found
            continue  # archived, or gone since it was listed
        found.looked_at += 1
        if has_position(content):
            found.with_position.append(key)
    if last and not found.looked_at:
        found.unseen.append(_unseen(bucket, last, READ_ACTION))
    return found


def _listed(calls: Calls, bucket: Resource) -> Iterator[Mapping[str, Any]]:
    """The first page, and pages from places drawn by the bucket's name: a second look is the same."""
    first = _page(calls, bucket, "")
    begun = list(first.get("Contents", ()))
    yield from begun
    if not first.get("IsTruncated"):
        return
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
