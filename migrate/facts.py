"""What was observed of both homes, when, and how: the planner's only input beside manifest, inventory and journal.

The text of each field stands here once: docs/reference/facts.md is generated from it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from migrate.documents import Document, FieldPath, read_yaml, validate
from migrate.errors import DocumentProblems, UsageProblem
from migrate.fields import Name, Part
from migrate.figures import Count, Ground, Pace, Rate, Size, no_truth_value
from migrate.stack import Stack

FACTS_HINT = "name the file of facts, or leave --facts out: what is not said is assumed, and shown as assumed"
Spread = Annotated[float, BeforeValidator(no_truth_value), Field(ge=1, le=10)]
Cores = Annotated[int, BeforeValidator(no_truth_value), Field(ge=1, le=100_000)]
ARCHIVED_CLASSES = ("GLACIER", "DEEP_ARCHIVE", "INTELLIGENT_TIERING_ARCHIVE")
"""What cannot be read before it is asked for. The last is what metrics call ArchiveAccess and DeepArchiveAccess."""
READABLE_CLASSES = (
    "STANDARD", "STANDARD_IA", "ONEZONE_IA", "REDUCED_REDUNDANCY", "INTELLIGENT_TIERING", "GLACIER_IR",
    "EXPRESS_ONEZONE", "OUTPOSTS",
)  # fmt: skip


class Observed(Part):
    """A figure or a group of them, and what they rest on."""

    ground: Ground = Ground.MEASURED
    """`measured` (a metric, a count, a probe), `known` (an earlier run), `stated` (somebody said so)."""
    source: str = ""
    """How it was observed: the metric, the command, the person."""
    at: AwareDatetime | None = None
    """When it was observed; with a time zone."""


class Amount(Part):
    """So many objects of so many bytes."""

    objects: Count
    """Number of objects."""
    bytes: Size
    """Bytes together, as `70TB`, `64GiB` or a number."""


class Age(Amount):
    """What was last written before so many days."""

    older_than_days: Count
    """Days; the ages of a bucket stand from the newest to the oldest, and do not overlap."""


class FetchFacts(Observed):
    """How fast the export itself fetched a sample of a bucket, with everything that holds it up from here."""

    rate: Rate
    """Bytes a second."""
    per_second: Pace
    """Objects a second."""


class BucketFacts(Observed):
    """What a bucket holds, from metrics or an inventory report."""

    objects: Count
    """Number of objects, current versions only."""
    bytes: Size
    """Bytes of the current versions."""
    classes: dict[str, Amount] = Field(default_factory=dict)
    """Storage class -> what of the bucket lies in it; what is not said here is STANDARD. GLACIER, DEEP_ARCHIVE and
    INTELLIGENT_TIERING_ARCHIVE must be asked for before they can be read."""
    ages: tuple[Age, ...] = ()
    """What of it is how old; needed to say what would be left behind by age."""
    fetch: FetchFacts | None = None
    """What a probe of it gave; `line` wins over it where that was measured."""
    versions: Amount | None = None
    """Versions that are not current; needed where the manifest says `versions: true`, and to say what stays.
    All are taken for readable at once: of versions that a lifecycle rule has archived the plan knows nothing."""


class DatabaseFacts(Observed):
    """The size of a database at the old home."""

    bytes: Size | None = None
    """Bytes on disk: `SELECT pg_database_size(current_database())`; three times the dump where it is not said."""
    dump_bytes: Size | None = None
    """Bytes of its newest dump; a third of the database where it is not said."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.bytes is None and self.dump_bytes is None:
            raise ValueError("neither bytes nor dump_bytes is said")
        return self


class CacheFacts(Observed):
    """The size of a cache."""

    bytes: Size
    """Bytes of its newest snapshot."""


class RateFacts(Observed):
    """A rate, sustained."""

    rate: Rate
    """As `5.2Gbit/s` or `650MB/s`."""
    spread: Spread | None = None
    """The time that nine in ten such lines stay below, over the median: 1.3 is a third more."""


class PaceFacts(Observed):
    """Things a second, sustained."""

    per_second: Pace
    """Number a second."""
    spread: Spread | None = None
    """As for a rate."""


class Machine(Observed):
    """What a machine has."""

    cores: Cores | None = None
    """Processor cores."""
    memory: Size | None = None
    """Memory that is free."""
    disk: Size | None = None
    """Bytes that are free where its data will lie."""
    files: Count | None = None
    """Files (inodes) that are free there; empty for a filesystem without a bound."""


class ExportHosts(Machine):
    """The machines that fetch from the old home; each of them as described."""

    hosts: Annotated[int, BeforeValidator(no_truth_value), Field(ge=1, le=10_000)] = 1
    """How many fetch side by side. This program drives one; more are started by hand, each with its own prefixes."""


class Facts(Part):
    """The whole file of facts. Whatever is left out is assumed, and shown as assumed."""

    buckets: dict[str, BucketFacts] = Field(default_factory=dict)
    """Bucket of the manifest -> what it holds."""
    databases: dict[Name, DatabaseFacts] = Field(default_factory=dict)
    """Database of the manifest -> its size."""
    caches: dict[Name, CacheFacts] = Field(default_factory=dict)
    """Cache of the manifest -> its size."""
    line: RateFacts | None = None
    """From the old home to one export host."""
    uplink: RateFacts | None = None
    """What all export hosts together can take in, where that is less than the sum of their lines."""
    inside: RateFacts | None = None
    """From the export host to a host of the new home."""
    disk_write: RateFacts | None = None
    """Sequential writes of one export host, in its archive."""
    disk_read: RateFacts | None = None
    """Sequential reads of a host of the new home."""
    requests: PaceFacts | None = None
    """Objects that the source gives a second, per bucket."""
    listing: PaceFacts | None = None
    """Keys that the source lists a second, per bucket."""
    database_load: RateFacts | None = None
    """Bytes of a dump that one database host loads a second."""
    export: ExportHosts | None = None
    """The machines that fetch."""
    hosts: dict[Name, Machine] = Field(default_factory=dict)
    """Group of the inventory -> what each of its hosts has; wins over the inventory's variables."""


def read_facts(path: Path, stack: Stack) -> Facts:
    """Reads a file of facts and holds its names against the manifest.

    Raises UsageProblem or DocumentProblems with file, line and field."""
    document = read_yaml(path, FACTS_HINT)
    facts = validate(document, Facts)
    problems = [*_unknown_names(document, facts, stack), *_impossible(document, facts)]
    problems += [] if problems else _misplaced(document, facts, stack)
    if problems:
        raise DocumentProblems(problems)
    return facts


def _unknown_names(document: Document, facts: Facts, stack: Stack) -> Iterator[UsageProblem]:
    groups = dict.fromkeys(stack.groups())
    for section, kind, said, known in (
        ("buckets", "bucket", facts.buckets, stack.buckets),
        ("databases", "database", facts.databases, stack.databases),
        ("caches", "cache", facts.caches, stack.caches),
        ("hosts", "group", facts.hosts, groups),
    ):
        for name in said:
            if name not in known:
                yield document.problem(
                    (section, name),
                    f"the manifest has no {kind} {name!r}",
                    expected=", ".join(list(known)[:10]) or f"no {kind} at all",
                )


def _impossible(document: Document, facts: Facts) -> Iterator[UsageProblem]:
    for name, bucket in facts.buckets.items():
        field: FieldPath = ("buckets", name)
        yield from _of_nothing(document, field, bucket)
        known = (*READABLE_CLASSES, *ARCHIVED_CLASSES)
        for storage_class in bucket.classes:
            if storage_class not in known:
                yield document.problem(
                    (*field, "classes", storage_class), "no storage class of S3", expected=", ".join(known),
                    hint="of another store: leave it out if it can be read at once, else count it as GLACIER",
                )  # fmt: skip
        for part, amounts in (("classes", list(bucket.classes.values())), ("ages", list(bucket.ages))):
            for what in ("objects", "bytes"):
                total = sum(getattr(amount, what) for amount in amounts)
                if total > getattr(bucket, what):
                    yield document.problem(
                        (*field, part), f"{total:,} {what} are more than the bucket holds",
                        expected=f"at most {getattr(bucket, what):,} together",
                    )  # fmt: skip
        days = [age.older_than_days for age in bucket.ages]
        if days != sorted(set(days)):
            yield document.problem((*field, "ages"), "not from the newest to the oldest", expected="growing days")


def _misplaced(document: Document, facts: Facts, stack: Stack) -> Iterator[UsageProblem]:
    """What cannot lie in the bucket that the manifest names for it."""
    held = [
        *((("databases", name), d.dump.bucket, _dump(facts, name), "dump") for name, d in stack.databases.items()),
        *(
            (("caches", name), c.snapshot.bucket, _snapshot(facts, name), "snapshot")
            for name, c in stack.caches.items()
        ),
        *((("releases", name), r.artifact.bucket, None, "artifact") for name, r in stack.releases.items()),
    ]
    for field, name, size, what in held:
        bucket = facts.buckets.get(name)
        if bucket is None:
            continue
        if not bucket.objects:
            yield document.problem(
                ("buckets", name), f"the bucket is empty, and the {what} of {field[1]} is to lie in it",
                expected="the objects that are there", hint=f"is {name} the right bucket in {'.'.join(field)}?",
            )  # fmt: skip
        elif size is not None and size > bucket.bytes:
            yield document.problem(
                field, f"its {what} of {size:,} bytes is larger than {name}, in which it lies",
                expected=f"at most {bucket.bytes:,} bytes",
            )  # fmt: skip


def _dump(facts: Facts, name: str) -> int | None:
    said = facts.databases.get(name)
    return said.dump_bytes if said else None


def _snapshot(facts: Facts, name: str) -> int | None:
    said = facts.caches.get(name)
    return said.bytes if said else None


def _of_nothing(document: Document, field: FieldPath, bucket: BucketFacts) -> Iterator[UsageProblem]:
    amounts: list[tuple[FieldPath, BucketFacts | Amount]] = [(field, bucket)]
    amounts += [((*field, "classes", name), amount) for name, amount in bucket.classes.items()]
    amounts += [((*field, "ages", number), amount) for number, amount in enumerate(bucket.ages)]
    amounts += [((*field, "versions"), bucket.versions)] if bucket.versions else []
    for where, amount in amounts:
        if amount.bytes and not amount.objects:
            yield document.problem(
                where, f"{amount.bytes:,} bytes in no object", expected="the number of objects that hold them"
            )
