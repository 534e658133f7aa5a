"""Probes: bounded, with their cost said first; what they measure is what the plan then rests on."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from migrate.errors import Missing
from migrate.facts import BucketFacts, Facts, FetchFacts, RateFacts
from migrate.figures import Ground
from migrate.forecast.basis import Basis
from migrate.inventory import Host
from migrate.planner import make_plan
from migrate.ports import Completed
from migrate.probing import machines
from migrate.probing.buckets import LIST_PAGES, SAMPLE_BYTES, SAMPLE_OBJECTS, artifacts_of, probe_bucket, probe_usd
from migrate.probing.machines import DISK_BYTES, hosts_to_probe, probe_disk, probe_line
from migrate.stack import Stack
from tests.drill import PLAZA, cloudexit
from tests.hostile.memory_bucket import MemoryBucket
from tests.plan_cases import PLANS, hosts_of
from tests.unit.test_plan_command import HOSTS


@pytest.fixture
def gallery() -> Stack:
    import yaml

    return Stack.model_validate(yaml.safe_load((PLANS / "stacks" / "one_bucket.yaml").read_text()))


def filled(count: int, size: int, page_size: int = 100) -> MemoryBucket:
    bucket = MemoryBucket("pictures", page_size=page_size)
    for number in range(count):
        bucket.put(f"{number:06}", bytes([number % 251]) * size)
    return bucket


def test_a_small_bucket_is_known_whole(tmp_path: Path) -> None:
    bucket = filled(120, 1000)
    bucket.put("dump/1.dump", b"x" * 5000)
    found = probe_bucket(bucket, "", tmp_path)
    assert found.facts
    assert (found.facts.objects, found.facts.bytes) == (121, 125_000)
    assert found.fetch
    assert found.fetch.ground is Ground.MEASURED
    assert list(tmp_path.iterdir()) == []


def test_a_large_bucket_is_only_sampled(tmp_path: Path) -> None:
    bucket = filled(LIST_PAGES * 10 + 5, 100, page_size=10)
    found = probe_bucket(bucket, "", tmp_path)
    assert found.facts is None
    assert found.entries == ()
    assert sum(bucket.reads.values()) <= LIST_PAGES * 10


def test_the_sample_stays_within_its_bytes_and_number(tmp_path: Path) -> None:
    many = filled(SAMPLE_OBJECTS + 50, 10, page_size=1000)
    probe_bucket(many, "", tmp_path)
    assert sum(many.reads.values()) <= SAMPLE_OBJECTS
    large = filled(9, SAMPLE_BYTES // 8)
    probe_bucket(large, "", tmp_path)
    assert sum(1 for reads in large.reads.values() if reads) <= 8


def test_what_must_be_restored_first_is_not_fetched(tmp_path: Path) -> None:
    bucket = MemoryBucket("pictures")
    bucket.put("old", b"x" * 100, storage_class="DEEP_ARCHIVE")
    found = probe_bucket(bucket, "", tmp_path)
    assert found.fetch is None
    assert found.facts
    assert found.facts.classes["DEEP_ARCHIVE"].objects == 1
    assert not bucket.reads


def test_an_empty_bucket_is_known_to_be_empty(tmp_path: Path) -> None:
    found = probe_bucket(MemoryBucket("pictures"), "", tmp_path)
    assert found.facts
    assert found.facts.objects == 0
    assert found.fetch is None


def test_a_bucket_that_is_not_there_says_so(tmp_path: Path) -> None:
    bucket = MemoryBucket("pictures")
    bucket.listing_problem = Missing("no such bucket")
    with pytest.raises(Missing):
        probe_bucket(bucket, "", tmp_path)


def test_sizes_of_the_newest_dump_come_from_the_listing(tmp_path: Path) -> None:
    from migrate.manifest import read_stack

    bucket = MemoryBucket("plaza-backups")
    bucket.put("postgresql/plaza-1.dump", b"x" * 10)
    bucket.put("postgresql/plaza-2.dump", b"x" * 20)
    bucket.put("redis/plaza-1.rdb", b"x" * 7)
    databases, caches = artifacts_of(read_stack(PLAZA), {"plaza-backups": probe_bucket(bucket, "", tmp_path)})
    assert databases["plaza"].dump_bytes == 20
    assert caches["plaza"].bytes == 7


@pytest.mark.parametrize(
    ("line", "ground", "formula"),
    [
        (None, Ground.MEASURED, "1.0 TB / 50.0 MB/s"),
        (RateFacts(rate=1e9, ground=Ground.STATED), Ground.MEASURED, "1.0 TB / 50.0 MB/s"),
        (RateFacts(rate=1e8, ground=Ground.MEASURED), Ground.MEASURED, "1.0 TB / 800.0 Mbit/s"),
    ],
)
def test_a_probe_wins_over_what_was_only_said(
    gallery: Stack, line: RateFacts | None, ground: Ground, formula: str
) -> None:
    fetch = FetchFacts(rate=5e7, per_second=1000, source="probe")
    facts = Facts(buckets={"pictures": BucketFacts(objects=1000, bytes=10**12, fetch=fetch)}, line=line)
    plan = make_plan(gallery, hosts_of(gallery, {}, {}), facts)
    estimate = next(step.estimate for step in plan.steps if step.kind == "export.bucket")
    assert estimate
    assert (estimate.ground, estimate.formula) == (ground, formula)


def test_many_small_objects_go_by_their_number(gallery: Stack) -> None:
    fetch = FetchFacts(rate=5e7, per_second=1000, source="probe")
    facts = Facts(buckets={"pictures": BucketFacts(objects=10**8, bytes=10**9, fetch=fetch)})
    basis = Basis(gallery, hosts_of(gallery, {}, {}), facts)
    plan = make_plan(basis.stack, basis.inventory, facts)
    estimate = next(step.estimate for step in plan.steps if step.kind == "export.bucket")
    assert estimate
    assert estimate.formula == "100,000,000 / 1,000 a second"


def test_the_disk_is_written_within_its_bound_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "DISK_BYTES", 8_000_000)
    found = probe_disk(tmp_path)
    assert found.rate > 0
    assert found.ground is Ground.MEASURED
    assert list(tmp_path.iterdir()) == []
    assert DISK_BYTES <= 256_000_000


def test_one_host_of_each_group_is_asked(gallery: Stack) -> None:
    inventory = hosts_of(gallery, {"media": 40}, {})
    assert [host.name for host in hosts_to_probe(inventory)] == ["media1"]


class Sink:
    """A host that takes everything."""

    def __init__(self) -> None:
        self.taken = 0

    def run(self, host: Host, command: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        self.taken += len(stdin)
        return Completed(host.name, " ".join(command), 0, "", "")


def test_the_line_to_a_host_is_measured_within_its_bound() -> None:
    sink = Sink()
    found = probe_line(sink, Host("one", "192.0.2.1", ()))  # type: ignore[arg-type]
    assert sink.taken == machines.LINK_BYTES
    assert found.rate > 0


def test_the_cost_grows_with_the_buckets() -> None:
    assert 0 < probe_usd(1) < 0.02
    assert probe_usd(10) == pytest.approx(10 * probe_usd(1))


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    shutil.copy(PLAZA, tmp_path / "stack.yaml")
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(HOSTS)
    (tmp_path / "inventory" / "known_hosts").touch()
    return tmp_path / "stack.yaml"


def test_with_a_probe_the_whole_plan_can_be_told(account: str, stack: Path) -> None:
    done = cloudexit("plan", stack, "--probe", "--deadline", "30h", "--json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"probe: 3 buckets, .* at most \$0\.\d\d at list prices", done.stderr)
    assert done.stderr.index("probe: 3 buckets") < done.stderr.index("plaza-media: probe:")
    assert "one: not measured:" in done.stderr
    document = json.loads(done.stdout)
    assert document["forecast"]["untold"] == []
    steps = {step["id"]: step["estimate"] for step in document["steps"]}
    assert steps["export.plaza-media"]["ground"] == "measured"
    assert "probe: 30 objects" in steps["export.plaza-media"]["source"]
    assert sorted(path.name for path in stack.parent.iterdir()) == ["inventory", "stack.yaml"]


def test_no_credentials_are_exit_5(stack: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    done = cloudexit("plan", stack, "--probe")
    assert done.returncode == 5, done.stderr
    assert "credentials" in done.stderr


def test_a_prediction_of_a_silent_host_says_so_and_keeps_nothing(stack: Path) -> None:
    done = cloudexit("plan", stack, "--predict", "--json")
    assert done.returncode == 0, done.stderr
    (prediction,) = json.loads(done.stdout)["forecast"]["predictions"]
    assert prediction["host"] == "one"
    assert prediction["changes"] is None
    assert prediction["problem"]
    assert sorted(path.name for path in stack.parent.iterdir()) == ["inventory", "stack.yaml"]
