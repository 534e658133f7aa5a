"""The file of facts: what is no number, no class, or cannot be, is refused by line and field."""

from pathlib import Path

import pytest

from migrate.errors import DocumentProblems, UsageProblem
from migrate.facts import ARCHIVED_CLASSES, Facts, read_facts
from migrate.figures import parse_rate, parse_size, rated, rated_up
from tests.plan_cases import stack_named

BUCKET = "buckets: {{pictures: {{{}}}}}"
REFUSED = {
    "rate of truth": ("line: {rate: true}", "line.rate"),
    "rate without bound": ("line: {rate: .inf}", "line.rate"),
    "rate that is no number": ("line: {rate: .nan}", "line.rate"),
    "rate beyond every line": ("line: {rate: 1.0e+308}", "line.rate"),
    "rate of nothing": ("line: {rate: 1.0e-300}", "line.rate"),
    "pace without bound": ("requests: {per_second: .inf}", "requests.per_second"),
    "pace of truth": ("requests: {per_second: true}", "requests.per_second"),
    "pace of nothing": ("listing: {per_second: 1.0e-300}", "listing.per_second"),
    "spread of truth": ("line: {rate: 1, spread: true}", "line.spread"),
    "cores of truth": ("export: {cores: true}", "export.cores"),
    "hosts beyond counting": ("export: {hosts: 100000000}", "export.hosts"),
    "size of truth": (BUCKET.format("objects: 1, bytes: true"), "buckets.pictures.bytes"),
    "size without bound": (BUCKET.format(f"objects: 1, bytes: {'9' * 400}"), "buckets.pictures.bytes"),
    "size with too many digits": (BUCKET.format(f"objects: 1, bytes: {'9' * 400}TB"), "buckets.pictures.bytes"),
    "count of truth": (BUCKET.format("objects: true, bytes: 1"), "buckets.pictures.objects"),
    "count without bound": (BUCKET.format(f"objects: {'9' * 30}, bytes: 1"), "buckets.pictures.objects"),
    "bytes in no object": (BUCKET.format("objects: 0, bytes: 5"), "buckets.pictures"),
    "versions in no object": (
        BUCKET.format("objects: 1, bytes: 5, versions: {objects: 0, bytes: 7}"), "buckets.pictures.versions"
    ),
    "class in no object": (
        BUCKET.format("objects: 1, bytes: 5, classes: {GLACIER: {objects: 0, bytes: 5}}"),
        "buckets.pictures.classes.GLACIER",
    ),
    "class mistyped": (
        BUCKET.format("objects: 1, bytes: 5, classes: {GLACEIR: {objects: 1, bytes: 5}}"),
        "buckets.pictures.classes.GLACEIR",
    ),
    "class in small letters": (
        BUCKET.format("objects: 1, bytes: 5, classes: {glacier: {objects: 1, bytes: 5}}"),
        "buckets.pictures.classes.glacier",
    ),
}  # fmt: skip


def read(tmp_path: Path, text: str, stack: str = "one_bucket") -> Facts:
    path = tmp_path / "facts.yaml"
    path.write_text(text)
    return read_facts(path, stack_named(stack))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{buckets: {backups: {objects: 0, bytes: 0}}}", "buckets.backups: the bucket is empty, and the dump of notes"),
        ("{buckets: {releases: {objects: 0, bytes: 0}}}", "buckets.releases: the bucket is empty, and the artifact"),
        (
            "{buckets: {backups: {objects: 9, bytes: 1GB}}, databases: {notes: {dump_bytes: 10GB}}}",
            "databases.notes: its dump of 10,000,000,000 bytes is larger than backups",
        ),
        (
            "{buckets: {backups: {objects: 9, bytes: 1GB}}, caches: {notes: {bytes: 2GB}}}",
            "caches.notes: its snapshot of 2,000,000,000 bytes is larger than backups",
        ),
    ],
)
def test_what_cannot_lie_in_its_bucket_is_refused(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(DocumentProblems) as refused:
        read(tmp_path, text, "notes")
    assert f"facts.yaml:1: {field}" in str(refused.value)


@pytest.mark.parametrize(("text", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_by_line_and_field(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises((DocumentProblems, UsageProblem)) as refused:
        read(tmp_path, text)
    assert f"facts.yaml:1: {field}" in str(refused.value)


@pytest.mark.parametrize("name", ["STANDARD", "GLACIER_IR", *ARCHIVED_CLASSES])
def test_classes_of_s3_are_known(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, BUCKET.format(f"objects: 1, bytes: 5, classes: {{{name}: {{objects: 1, bytes: 5}}}}"))
    assert found.buckets["pictures"].classes[name].bytes == 5


def test_an_empty_bucket_is_one(tmp_path: Path) -> None:
    assert read(tmp_path, BUCKET.format("objects: 0, bytes: 0")).buckets["pictures"].objects == 0


def test_empty_objects_are_objects(tmp_path: Path) -> None:
    assert read(tmp_path, BUCKET.format("objects: 7, bytes: 0")).buckets["pictures"].objects == 7


@pytest.mark.parametrize("value", ["9" * 400 + "TB", "9" * 400, True, False])
def test_what_is_no_size_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r"number|digits"):
        parse_size(value)


@pytest.mark.parametrize("value", ["9" * 400 + "TB/s", True])
def test_what_is_no_rate_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r"number|digits"):
        parse_rate(value)


@pytest.mark.parametrize(
    ("rate", "shown", "needed"),
    [
        (777_875_000, "6.2 Gbit/s", "6.3 Gbit/s"),
        (650_000_000, "5.2 Gbit/s", "5.2 Gbit/s"),
        (650_010_000, "5.2 Gbit/s", "5.3 Gbit/s"),
        (125_000, "1.0 Mbit/s", "1.0 Mbit/s"),
        (1, "8.0 bit/s", "8.0 bit/s"),
    ],
)
def test_what_is_needed_is_never_rounded_down(rate: float, shown: str, needed: str) -> None:
    assert (rated(rate), rated_up(rate)) == (shown, needed)
