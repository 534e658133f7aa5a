"""What a bucket gives: how fast it lists, how fast the export fetches a sample, and what it holds if it is small."""

import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast

from migrate.export.engine import export_bucket
from migrate.export.intake import ARCHIVE_CLASSES
from migrate.export.lanes import MakeLanes, careful_lanes
from migrate.export.scope import ExportOptions
from migrate.export.source import Entry, ObjectSource
from migrate.facts import Amount, BucketFacts, CacheFacts, DatabaseFacts, FetchFacts, PaceFacts
from migrate.figures import sized
from migrate.forecast.cost import EGRESS_TIERS, GET_USD_A_THOUSAND, GIGABYTE, LIST_USD_A_THOUSAND
from migrate.stack import Artifact, Stack

LIST_PAGES = 5
LIST_SECONDS = 20.0
ENOUGH_KEYS = 2000
"""Fewer keys come in a page or two, which says nothing of a pace."""
SAMPLE_OBJECTS = 1000
SAMPLE_BYTES = 64_000_000
SAMPLE_SECONDS = 20.0
SEED = 7
DEAREST_EGRESS = max(price for _, price in EGRESS_TIERS)


def probe_usd(buckets: int) -> float:
    """What probes of so many buckets cost at most, at list prices: lists, GETs and egress, as if each was repeated."""
    lists = LIST_PAGES / 1000 * LIST_USD_A_THOUSAND
    gets = 2 * SAMPLE_OBJECTS / 1000 * GET_USD_A_THOUSAND
    return buckets * (lists + gets + 2 * SAMPLE_BYTES / GIGABYTE * DEAREST_EGRESS)


@dataclass(frozen=True)
class ProbedBucket:
    """What was seen of a bucket. `facts` where it was listed whole; `fetch` where a sample could be fetched."""

    listing: PaceFacts | None
    facts: BucketFacts | None
    fetch: FetchFacts | None
    entries: tuple[Entry, ...] = ()


def probe_bucket(
    source: ObjectSource, prefix: str, scratch: Path, make_lanes: MakeLanes = careful_lanes
) -> ProbedBucket:
    """Lists a few pages and exports a sample of them into a folder below `scratch` that is removed again.

    Raises Missing, Refused or Unreachable for the bucket as a whole."""
    began = time.monotonic()
    entries, whole = _listed(source, prefix)
    now = datetime.now(UTC)
    seconds = max(time.monotonic() - began, 1e-3)
    enough = len(entries) >= ENOUGH_KEYS
    source_of = f"probe: {len(entries):,} keys"
    listing = PaceFacts(per_second=len(entries) / seconds, source=source_of, at=now) if enough else None
    facts = _facts_of(entries, now) if whole else None
    return ProbedBucket(
        listing, facts, _fetched(source, prefix, entries, scratch, make_lanes), entries if whole else ()
    )


def _listed(source: ObjectSource, prefix: str) -> tuple[tuple[Entry, ...], bool]:
    """Entries of the first pages, and whether that was all."""
    entries: list[Entry] = []
    until = time.monotonic() + LIST_SECONDS
    pages = source.pages(prefix, versions=False)
    for number, page in enumerate(pages, 1):
        entries += page
        if number == LIST_PAGES or time.monotonic() > until:
            return tuple(entries), next(iter(pages), None) is None
    return tuple(entries), True


def _facts_of(entries: tuple[Entry, ...], now: datetime) -> BucketFacts:
    classes: dict[str, list[int]] = {}
    for entry in entries:
        classes.setdefault(entry.storage_class, []).append(entry.size)
    return BucketFacts(
        objects=len(entries),
        bytes=sum(entry.size for entry in entries),
        classes={name: Amount(objects=len(held), bytes=sum(held)) for name, held in classes.items()},
        source="probe: listed whole",
        at=now,
    )


def _fetched(
    source: ObjectSource, prefix: str, entries: tuple[Entry, ...], scratch: Path, make_lanes: MakeLanes
) -> FetchFacts | None:
    sample = _sample(entries)
    if not sample:
        return None
    options = ExportOptions(deadline=datetime.now(UTC) + timedelta(seconds=SAMPLE_SECONDS))
    with tempfile.TemporaryDirectory(prefix="cloudexit-probe-", dir=scratch) as folder:
        sampled = cast(ObjectSource, _Sampled(source, sample))
        result = export_bucket(sampled, prefix, Path(folder) / "sample", options, make_lanes=make_lanes)
    if not result.verified or not result.bytes or result.seconds <= 0:
        return None
    return FetchFacts(
        rate=result.bytes / result.seconds,
        per_second=result.verified / result.seconds,
        source=f"probe: {result.verified:,} objects, {sized(result.bytes)} in {result.seconds:.1f} s",
        at=datetime.now(UTC),
    )


def _sample(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Some of them, at random, within the bounds; what must be restored first is left out."""
    candidates = [e for e in entries if e.storage_class not in ARCHIVE_CLASSES and 0 < e.size <= SAMPLE_BYTES]
    random.Random(SEED).shuffle(candidates)
    chosen: list[Entry] = []
    left = SAMPLE_BYTES
    for entry in candidates[: 4 * SAMPLE_OBJECTS]:
        if entry.size <= left and len(chosen) < SAMPLE_OBJECTS:
            chosen.append(entry)
            left -= entry.size
    return tuple(sorted(chosen, key=lambda entry: entry.key))


class _Sampled:
    """A source that lists a sample and is otherwise itself."""

    def __init__(self, source: ObjectSource, sample: tuple[Entry, ...]) -> None:
        self._source = source
        self._entries = sample

    def pages(self, prefix: str, *, versions: bool) -> Iterator[tuple[Entry, ...]]:
        yield self._entries

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)


def artifacts_of(
    stack: Stack, probed: Mapping[str, ProbedBucket]
) -> tuple[dict[str, DatabaseFacts], dict[str, CacheFacts]]:
    """Sizes of the newest dumps and snapshots that were seen in buckets listed whole."""
    databases, caches = {}, {}
    for name, database in stack.databases.items():
        size = _newest(database.dump, probed)
        if size is not None:
            databases[name] = DatabaseFacts(dump_bytes=size, source=f"probe: newest dump in {database.dump.bucket}")
    for name, cache in stack.caches.items():
        size = _newest(cache.snapshot, probed)
        if size is not None:
            caches[name] = CacheFacts(bytes=size, source=f"probe: newest snapshot in {cache.snapshot.bucket}")
    return databases, caches


def _newest(artifact: Artifact, probed: Mapping[str, ProbedBucket]) -> int | None:
    bucket = probed.get(artifact.bucket)
    matching = [entry for entry in bucket.entries if fnmatchcase(entry.key, artifact.pattern)] if bucket else []
    return max(matching, key=lambda entry: entry.key).size if matching else None
