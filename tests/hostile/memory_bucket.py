"""A bucket in memory, as an ObjectSource and ObjectSink: every key, versions, parts, tags, and faults on demand."""

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from migrate.export.own_count import OwnCount
from migrate.export.source import (
    Entry,
    ObjectArchived,
    ObjectChanged,
    ObjectFacts,
    ObjectForbidden,
    ObjectMissing,
    Reading,
    SlowDown,
    SourceSilent,
    TransferBroken,
    Upload,
)

ARCHIVE_CLASSES = ("GLACIER", "DEEP_ARCHIVE")


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def multipart_etag(parts: list[bytes]) -> str:
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    return f"{md5(digests)}-{len(parts)}"


@dataclass(frozen=True)
class Stored:
    data: bytes
    etag: str
    last_modified: str
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    storage_class: str = "STANDARD"
    part_sizes: tuple[int, ...] = ()
    version_id: str = ""
    delete_marker: bool = False


@dataclass
class Fault:
    """What the next `times` requests for a key meet; with -1 all of them."""

    kind: str
    times: int = -1


FAULTS = {
    "forbidden": lambda key: ObjectForbidden(key, "AccessDenied"),
    "missing": lambda key: ObjectMissing(key, "NoSuchKey"),
    "slow": lambda key: SlowDown(key, "SlowDown"),
    "silent": lambda key: SourceSilent(key, "connection refused"),
    "broken": lambda key: TransferBroken(key, "the answer broke off"),
}


class MemoryBucket:
    """Safe for threads. `reads` counts the GETs of each key; `page_size` is the listing's."""

    def __init__(self, name: str = "bucket", *, page_size: int = 100, versioned: bool = False) -> None:
        self.bucket = name
        self.where = f"s3://{name} in memory"
        self.page_size = page_size
        self.versioned = versioned
        self.objects: dict[str, list[Stored]] = {}
        self.faults: dict[str, Fault] = {}
        self.reads: dict[str, int] = defaultdict(int)
        self.listing_order: list[str] | None = None
        self.listing_problem: Exception | None = None
        self.opaque = False
        self.heads: dict[str, int] = defaultdict(int)
        self.restores: dict[str, float] = {}
        self.restore_tiers: list[str] = []
        self.restore_seconds = 0.0
        self.restore_refusal: type[ObjectForbidden] | None = None
        self.bucket_settings: dict[str, object] = {"policy": "none"}
        self.count: OwnCount | str = "a bucket in memory keeps no count"
        self._clock = 0
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes, *, parts: tuple[int, ...] = (), **described: object) -> Stored:
        self._clock += 1
        pieces, start = [], 0
        for size in parts:
            pieces.append(data[start : start + size])
            start += size
        stored = Stored(
            data,
            str(described.pop("etag", multipart_etag(pieces) if parts else md5(data))),
            f"2026-01-{self._clock // 86400 + 1:02}T{self._clock // 3600 % 24:02}:{self._clock // 60 % 60:02}"
            f":{self._clock % 60:02}Z",
            part_sizes=parts,
            version_id=f"v{self._clock}" if self.versioned else "",
            **described,  # type: ignore[arg-type]
        )
        self.objects[key] = [*(self.objects.get(key, []) if self.versioned else []), stored]
        return stored

    def remove(self, key: str) -> None:
        if self.versioned:
            self._clock += 1
            marker = Stored(b"", "", f"2026-02-01T00:00:{self._clock % 60:02}Z", version_id=f"v{self._clock}")
            self.objects[key].append(Stored(**{**marker.__dict__, "delete_marker": True}))
        else:
            del self.objects[key]

    def pages(self, prefix: str, *, versions: bool) -> Iterator[tuple[Entry, ...]]:
        order = self.listing_order or sorted(self.objects, key=lambda key: key.encode("utf-8", "surrogateescape"))
        entries = [
            entry
            for key in order
            if key.startswith(prefix)
            for entry in self._entries(key)
            if versions or (entry.is_latest and not entry.delete_marker)
        ]
        for start in range(0, len(entries), self.page_size):
            yield tuple(
                entry if versions else entry._replace(version_id="")
                for entry in entries[start : start + self.page_size]
            )
        if self.listing_problem is not None:
            raise self.listing_problem

    def _entries(self, key: str) -> Iterator[Entry]:
        versions = self.objects[key]
        for number, stored in enumerate(reversed(versions)):
            yield Entry(
                key,
                len(stored.data),
                stored.etag,
                stored.last_modified,
                stored.storage_class,
                stored.version_id,
                number == 0,
                stored.delete_marker,
            )

    def _find(self, key: str, version_id: str) -> Stored:
        for stored in reversed(self.objects.get(key, [])):
            if not version_id or stored.version_id == version_id:
                if stored.delete_marker:
                    break
                return stored
        raise ObjectMissing(key, "NoSuchKey")

    def fault_of(self, key: str) -> str | None:
        """The fault that this request meets, counted."""
        with self._lock:
            fault = self.faults.get(key)
            if fault is None or fault.times == 0:
                return None
            fault.times -= 1
            return fault.kind

    @contextmanager
    def read(self, key: str, *, version_id: str, if_match: str, start: int = 0) -> Iterator[Reading]:
        with self._lock:
            self.reads[key] += 1
        kind = self.fault_of(key)
        if kind in FAULTS:
            raise FAULTS[kind](key)
        stored = self._find(key, version_id)
        if self.is_frozen(stored, key):
            raise ObjectArchived(key, "InvalidObjectState")
        if if_match and stored.etag != if_match:
            raise ObjectChanged(key, "PreconditionFailed")
        yield _MemoryReading(key, self.facts(stored), stored.data, kind, start)

    def facts(self, stored: Stored) -> ObjectFacts:
        encryption = {"x-amz-server-side-encryption": "aws:kms"} if self.opaque else {}
        return ObjectFacts(
            len(stored.data),
            stored.etag,
            stored.last_modified,
            {**stored.headers, **encryption},
            stored.metadata,
            {"from": self.where, "request_id": "1"},
        )

    def head(self, key: str, *, version_id: str) -> ObjectFacts:
        self.heads[key] += 1
        stored = self._find(key, version_id)
        return self.facts(stored) if key not in self.restores else self.facts(self.thawing(stored, key))

    def is_frozen(self, stored: Stored, key: str) -> bool:
        restored = key in self.restores and time.monotonic() >= self.restores[key]
        return stored.storage_class in ARCHIVE_CLASSES and not restored

    def thawing(self, stored: Stored, key: str) -> Stored:
        ongoing = "true" if self.is_frozen(stored, key) else "false"
        return replace(stored, headers={**stored.headers, "x-amz-restore": f'ongoing-request="{ongoing}"'})

    def restore(self, key: str, *, version_id: str, tier: str, days: int, dated: bool) -> None:
        if self.restore_refusal is not None:
            raise self.restore_refusal(key, "AccessDenied")
        self.restores.setdefault(key, time.monotonic() + self.restore_seconds)
        self.restore_tiers.append(tier)

    def acl(self, key: str, *, version_id: str) -> Mapping[str, object]:
        if self._find(key, version_id).tags.get("acl") == "denied":
            raise ObjectForbidden(key, "AccessDenied")
        return {"Owner": {"ID": "o"}, "Grants": []}

    def settings(self) -> Mapping[str, object]:
        return dict(self.bucket_settings)

    def own_count(self) -> OwnCount | str:
        return self.count

    def part_size(self, key: str, *, version_id: str, part: int) -> int | None:
        sizes = self._find(key, version_id).part_sizes
        return sizes[part - 1] if sizes else None

    def tags(self, key: str, *, version_id: str) -> Mapping[str, str]:
        return self._find(key, version_id).tags

    def check(self) -> None:
        if self.listing_problem is not None:
            raise self.listing_problem

    def write(self, upload: Upload, content: BinaryIO) -> str:
        kind = self.fault_of(upload.key)
        if kind in FAULTS:
            raise FAULTS[kind](upload.key)
        stored = self.put(
            upload.key,
            content.read(),
            parts=upload.part_sizes,
            headers=upload.headers,
            metadata=upload.metadata,
            tags=upload.tags,
        )
        return stored.etag

    def delete(self, key: str) -> None:
        if key in self.objects:
            self.remove(key)


class _MemoryReading:
    def __init__(self, key: str, facts: ObjectFacts, data: bytes, fault: str | None, start: int) -> None:
        self.facts = facts
        self._key = key
        self._data = bytes([data[0] ^ 1, *data[1:]]) if fault == "wrong" and data else data
        self._fault = fault
        self._at = start
        self._end = len(self._data) // 2 if fault == "truncated" else len(self._data)

    def break_after(self, count: int) -> None:
        """So many bytes from here on, and then no more."""
        if self._at + count < len(self._data):
            self._end, self._fault = self._at + count, "truncated"

    def read(self, size: int) -> bytes:
        end = self._end
        piece = self._data[self._at : min(self._at + size, end)]
        self._at += len(piece)
        if self._fault == "truncated" and not piece:
            raise TransferBroken(self._key, "the answer broke off")
        return piece
