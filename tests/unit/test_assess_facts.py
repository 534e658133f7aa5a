"""`assess --facts`: what the account tells of sizes, as a file that `plan --facts` reads; never a guess."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from migrate.assess.account_facts import account_facts
from migrate.assess.observed import Blindness, Observed, Resource, Unseen
from migrate.facts import Facts, read_facts
from migrate.figures import Ground
from migrate.manifest import read_stack
from migrate.stack import Stack
from tests.drill import PLAZA

AT = "2026-11-21T03:00:00Z"
TAKEN = "2026-11-20T00:00:00Z"
MEDIA = "plaza-media"


@pytest.fixture(scope="module")
def plaza() -> Stack:
    return read_stack(PLAZA)


def bucket(name: str = MEDIA, **facts: Any) -> Resource:
    usual = {"objects": 7, "bytes": 70, "bytes_by_class": {"STANDARD": 70}, "versioning": "off", "measured_at": TAKEN}
    facts = {key: value for key, value in {**usual, **facts}.items() if value is not None}
    return Resource(service="s3", kind="bucket", region="us-east-1", name=name, facts=facts)


def database(name: str, kind: str = "instance", **facts: Any) -> Resource:
    usual = {"engine_family": "postgresql", "used_bytes": 5000, "measured_at": TAKEN}
    return Resource(service="rds", kind=kind, region="us-east-1", name=name, facts={**usual, **facts})


def written(tmp_path: Path, stack: Stack, *resources: Resource, unseen: tuple[Unseen, ...] = ()) -> tuple[Facts, str]:
    """The facts as `plan` reads them, and the text of the file."""
    observed = Observed(account="1", caller="ops", regions=(), resources=resources, unseen=unseen)
    facts = account_facts(stack, observed, AT)
    path = tmp_path / "facts.yaml"
    path.write_text(facts.text)
    read = read_facts(path, stack)
    assert facts.known == len(read.buckets) + len(read.databases) + len(read.caches)
    assert facts.known + facts.unknown == len(stack.buckets) + len(stack.databases) + len(stack.caches)
    return read, facts.text


def test_a_bucket_is_known_with_its_ground_source_and_time(tmp_path: Path, plaza: Stack) -> None:
    facts, _ = written(tmp_path, plaza, bucket())
    (known,) = facts.buckets.values()
    assert (known.objects, known.bytes, known.classes) == (7, 70, {})
    assert (known.ground, known.at) == (Ground.MEASURED, datetime(2026, 11, 20, tzinfo=UTC))
    assert "CloudWatch" in known.source


def test_a_bucket_of_one_class_is_wholly_of_it(tmp_path: Path, plaza: Stack) -> None:
    facts, _ = written(tmp_path, plaza, bucket(bytes_by_class={"DEEP_ARCHIVE": 70, "STANDARD": 0}))
    ((storage_class, amount),) = facts.buckets[MEDIA].classes.items()
    assert (storage_class, amount.objects, amount.bytes) == ("DEEP_ARCHIVE", 7, 70)


def test_readable_classes_side_by_side_leave_the_sum_known(tmp_path: Path, plaza: Stack) -> None:
    facts, text = written(tmp_path, plaza, bucket(bytes_by_class={"STANDARD": 60, "STANDARD_IA": 10}))
    assert (facts.buckets[MEDIA].bytes, facts.buckets[MEDIA].classes) == (70, {})
    assert "# plaza-media by class: STANDARD 60 bytes, STANDARD_IA 10 bytes; objects by class are not told" in text


def test_an_empty_bucket_is_known_from_its_list(tmp_path: Path, plaza: Stack) -> None:
    facts, _ = written(tmp_path, plaza, bucket(objects=0, bytes=0, bytes_by_class={}, measured_at=None))
    known = facts.buckets[MEDIA]
    assert (known.objects, known.bytes, known.at) == (0, 0, datetime(2026, 11, 21, 3, tzinfo=UTC))
    assert known.source.startswith("s3:ListObjectVersions")


LISTING = Unseen(service="s3", region="global", action="s3:ListAllMyBuckets", reason=Blindness.NOT_ALLOWED)


@pytest.mark.parametrize(
    ("seen", "unseen", "says"),
    [
        ([], (), "the account holds no such bucket"),
        ([], (LISTING,), "not all buckets could be listed"),
        ([bucket(bytes=None, bytes_by_class=None)], (), "do not tell the size"),
        ([bucket(objects=None)], (), "do not tell the size"),
        ([bucket(objects=0)], (), "bytes in no object"),
        ([bucket(versioning="enabled")], (), "its versioning is enabled"),
        ([bucket(versioning="suspended")], (), "its versioning is suspended"),
        ([bucket(versioning=None)], (), "its versioning could not be seen"),
        ([bucket(bytes_by_class={"STANDARD": 60, "GLACIER": 10})], (), "how many objects are archived is not told"),
        ([bucket(bytes_by_class={"INTELLIGENT_TIERING": 60, "INTELLIGENT_TIERING_ARCHIVE": 10})], (), "archived"),
        ([bucket(bytes_by_class={"GlacierQuantumStorage": 70})], (), "GlacierQuantumStorage is not known here"),
    ],
)  # fmt: skip
def test_what_is_not_known_stays_out_and_says_why(
    tmp_path: Path, plaza: Stack, seen: list[Resource], unseen: tuple[Unseen, ...], says: str
) -> None:
    facts, text = written(tmp_path, plaza, *seen, unseen=unseen)
    assert facts.buckets == {}
    (line,) = [line for line in text.splitlines() if '"plaza-media": not known' in line]
    assert line.startswith("  # ") and says in line


def test_a_prefix_is_not_taken_for_the_whole_bucket(tmp_path: Path, plaza: Stack) -> None:
    odd = plaza.buckets[MEDIA].model_copy(update={"prefix": "a\nb: 1"})
    stack = plaza.model_copy(update={"buckets": {**plaza.buckets, MEDIA: odd}})
    facts, text = written(tmp_path, stack, bucket())
    assert facts.buckets == {}
    assert "is wanted, and the metrics tell of the whole bucket" in text


def test_numbers_in_comments_are_facts_once_their_mark_is_taken_away(tmp_path: Path, plaza: Stack) -> None:
    _, text = written(tmp_path, plaza, bucket(versioning="enabled"))
    lines = [line.replace("  # ", "  ", 1) for line in text.splitlines() if "not known" not in line]
    path = tmp_path / "counted.yaml"
    path.write_text("\n".join(lines).replace("buckets: {}", "buckets:"))
    assert read_facts(path, plaza).buckets[MEDIA].objects == 7


def test_versions_of_a_bucket_that_keeps_none_are_none(tmp_path: Path, plaza: Stack) -> None:
    wanted = plaza.buckets[MEDIA].model_copy(update={"versions": True})
    stack = plaza.model_copy(update={"buckets": {**plaza.buckets, MEDIA: wanted}})
    facts, _ = written(tmp_path, stack, bucket())
    versions = facts.buckets[MEDIA].versions
    assert versions and (versions.objects, versions.bytes) == (0, 0)


@pytest.mark.parametrize(
    ("seen", "known"),
    [
        ([database("plaza")], True),
        ([database("app-1", database="plaza")], True),
        ([database("plaza", "cluster")], True),
        ([database("plaza"), database("other")], True),
        ([database("other")], False),
        ([database("a", database="plaza"), database("b", database="plaza")], False),
        ([database("plaza", engine_family="mysql")], False),
        ([], False),
    ],
)
def test_a_database_is_known_where_it_can_be_told_which(
    tmp_path: Path, plaza: Stack, seen: list[Resource], known: bool
) -> None:
    facts, text = written(tmp_path, plaza, *seen)
    assert list(facts.databases) == (["plaza"] if known else [])
    if known:
        found = facts.databases["plaza"]
        assert (found.bytes, found.ground, found.at) == (5000, Ground.MEASURED, datetime(2026, 11, 20, tzinfo=UTC))
        assert "CloudWatch" in found.source
    else:
        assert '# "plaza": not known' in text


def test_a_database_whose_use_is_not_measured_stays_out(tmp_path: Path, plaza: Stack) -> None:
    seen = database("plaza").model_copy(update={"facts": {"engine_family": "postgresql", "storage_gb": 500}})
    facts, _ = written(tmp_path, plaza, seen)
    assert facts.databases == {}


@pytest.mark.parametrize(
    ("unseen", "everywhere"),
    [((Unseen(service="rds", region="eu-west-1", action="rds:DescribeDBInstances", reason=Blindness.NO_ANSWER),), True),
     ((), False)],
    ids=["a region was silent", "only some regions were asked"],
)  # fmt: skip
def test_the_only_database_that_was_seen_may_not_be_the_only_one(
    plaza: Stack, unseen: tuple[Unseen, ...], everywhere: bool
) -> None:
    observed = Observed(account="1", caller="ops", regions=(), resources=(database("plaza"),), unseen=unseen)
    text = account_facts(plaza, observed, AT, everywhere=everywhere).text
    assert "  # " in text.partition("databases:")[2]
    assert "goes by this name, and not every" in text
