"""A file of facts for `plan --facts` from what the account told: what is not known stands in it as a comment.

Pure; observations and manifest in, the text of the file out."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from migrate.assess.observed import GLOBAL, Observed, Resource
from migrate.facts import ARCHIVED_CLASSES, READABLE_CLASSES
from migrate.stack import Bucket, Stack

BUCKET_SOURCE = "CloudWatch: NumberOfObjects and BucketSizeBytes of the bucket; unfinished uploads count too"
EMPTY_SOURCE = "s3:ListObjectVersions: the bucket holds nothing"
INSTANCE_SOURCE = "CloudWatch: what is used of the disk of rds/{}; its logs and other databases count too"
CLUSTER_SOURCE = "CloudWatch: VolumeBytesUsed of rds/{}; other databases of the cluster count too"
HEAD = """\
# Facts for `cloudexit plan --facts`, from account {account}, looked at {at}.
# What the account does not tell is left out and stands in a comment: take the mark away only where you have counted.
"""


@dataclass(frozen=True)
class _Entry:
    """What is known of one thing, as fields and values; or, in `unknown`, why it is not known."""

    fields: Mapping[str, object] = field(default_factory=dict)
    unknown: str = ""
    note: str = ""


@dataclass(frozen=True)
class AccountFacts:
    """The text of the file, and how many buckets, databases and caches of the manifest it knows, and does not."""

    text: str
    known: int
    unknown: int


def account_facts(stack: Stack, observed: Observed, at: str, *, everywhere: bool = True) -> AccountFacts:
    """What the account told of the manifest's parts; `at` is when it was looked at, ISO 8601; `everywhere`: in every
    region, and not only in some that were named."""
    buckets = {name: _bucket(name, bucket, observed, at) for name, bucket in stack.buckets.items()}
    databases = {name: _database(name, observed, everywhere) for name in stack.databases}
    caches = {name: _Entry(unknown="the account does not tell the size of a snapshot") for name in stack.caches}
    sections = {"buckets": buckets, "databases": databases, "caches": caches}
    lines = [HEAD.format(account=observed.account, at=at)]
    for section, entries in sections.items():
        if entries:
            lines += [*_section(section, entries), ""]
    unknown = [bool(entry.unknown) for entries in sections.values() for entry in entries.values()]
    return AccountFacts("\n".join(lines), unknown.count(False), unknown.count(True))


def _section(name: str, entries: Mapping[str, _Entry]) -> Iterator[str]:
    known = any(not entry.unknown for entry in entries.values())
    yield f"{name}:" if known else f"{name}: {{}}"
    for key, entry in entries.items():
        mark = "  # " if entry.unknown else "  "
        if entry.unknown:
            yield f"{mark}{_yaml(key)}: not known: {' '.join(entry.unknown.split())}"
        if entry.note:
            yield f"  # {' '.join(entry.note.split())}"
        if entry.fields:
            yield f"{mark}{_yaml(key)}:"
            yield from (f"{mark}  {part}: {_yaml(value)}" for part, value in entry.fields.items())


def _yaml(value: object) -> str:
    """JSON is YAML, and no name can break out of it."""
    return json.dumps(value)


def _bucket(name: str, wanted: Bucket, observed: Observed, at: str) -> _Entry:
    found = [r for r in observed.resources if (r.service, r.kind, r.name) == ("s3", "bucket", name)]
    if not found:
        listed = not any((u.service, u.region, u.about) == ("s3", GLOBAL, "") for u in observed.unseen)
        return _Entry(unknown="the account holds no such bucket" if listed else "not all buckets could be listed")
    (bucket,) = found
    objects, size = bucket.facts.get("objects"), bucket.facts.get("bytes")
    if not isinstance(objects, int) or not isinstance(size, int):
        return _Entry(unknown="its metrics do not tell the size")
    if size and not objects:
        return _Entry(unknown="its metrics tell of bytes in no object")
    fields: dict[str, object] = {
        "objects": objects, "bytes": size, "ground": "measured",
        "source": BUCKET_SOURCE if "measured_at" in bucket.facts else EMPTY_SOURCE,
        "at": bucket.facts.get("measured_at", at),
    }  # fmt: skip
    if wanted.versions and bucket.facts.get("versioning") == "off":
        fields["versions"] = {"objects": 0, "bytes": 0}
    return _of_classes(bucket, fields, _more_than_wanted(bucket, wanted))


def _more_than_wanted(bucket: Resource, wanted: Bucket) -> str:
    """Why the metrics count more than an export would fetch; empty where they do not."""
    versioning = bucket.facts.get("versioning")
    if wanted.prefix:
        return f"only {wanted.prefix!r} is wanted, and the metrics tell of the whole bucket, which is at most"
    if versioning != "off":
        why = "its versioning could not be seen" if versioning is None else f"its versioning is {versioning}"
        return f"{why}, and the metrics do not tell current from old versions, which are together"
    return ""


def _of_classes(bucket: Resource, fields: dict[str, object], unknown: str) -> _Entry:
    """Storage classes: metrics count bytes by class, but objects of all classes together."""
    by_class = bucket.facts.get("bytes_by_class")
    held = {name: size for name, size in by_class.items() if size} if isinstance(by_class, dict) else {}
    shown = ", ".join(f"{name} {size:,} bytes" for name, size in sorted(held.items()))
    new = sorted(held.keys() - {*READABLE_CLASSES, *ARCHIVED_CLASSES})
    if new:
        return _Entry(fields, unknown or f"storage class {', '.join(new)} is not known here; by class: {shown}")
    if len(held) > 1:
        if held.keys() & set(ARCHIVED_CLASSES):
            why = f"how many objects are archived is not told; by class: {shown}; in all"
            return _Entry(fields, unknown or why)
        note = f"{bucket.name} by class: {shown}; objects by class are not told, so all of it is taken for STANDARD"
        return _Entry(fields, unknown, note)
    for name in held:
        if name != "STANDARD":
            fields["classes"] = {name: {"objects": fields["objects"], "bytes": fields["bytes"]}}
    return _Entry(fields, unknown)


def _database(name: str, observed: Observed, everywhere: bool) -> _Entry:
    """The one instance or cluster that goes by the database's name, or was made with it in it: the only one, if every
    place was seen in which another could be."""
    databases = [r for r in observed.resources if (r.service, r.kind) in (("rds", "instance"), ("rds", "cluster"))]
    fitting = [r for r in databases if name in (r.name, r.facts.get("database"))]
    if len(fitting) != 1:
        which = ", ".join(f"rds/{r.name} ({r.region})" for r in fitting or databases) or "none was seen"
        return _Entry(unknown=f"which database of the account it is cannot be told: {which}")
    (found,) = fitting
    if not everywhere or any(unseen.service == "rds" and not unseen.about for unseen in observed.unseen):
        where = "not every region was looked at" if not everywhere else "not every place could be seen"
        return _Entry(unknown=f"rds/{found.name} ({found.region}) goes by this name, and {where} for another")
    if found.facts.get("engine_family") != "postgresql":
        return _Entry(unknown=f"rds/{found.name} is no PostgreSQL")
    if "used_bytes" not in found.facts:
        return _Entry(unknown=f"the metrics do not tell what rds/{found.name} uses of its disk")
    source = CLUSTER_SOURCE if found.kind == "cluster" else INSTANCE_SOURCE
    return _Entry(
        {
            "bytes": found.facts["used_bytes"], "ground": "measured", "source": source.format(found.name),
            "at": found.facts["measured_at"],
        }
    )  # fmt: skip
