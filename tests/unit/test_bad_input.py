"""Bad manifests and inventories: file, line, field, what was expected; exit 2. The example, spoiled in one place."""

from pathlib import Path

import pytest

from migrate.errors import DocumentProblems, ExitCode, UsageProblem
from migrate.inventory import hold_against, read_inventory
from migrate.manifest import read_stack

PLAZA = (Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml").read_text()

SPOILED = [
    ("name: plaza\n", "name: plaza\ncolour: red\n", "colour", "unknown key"),
    ("name: plaza\n", "name: Plaza!\n", "name", "not as expected: 'Plaza!'"),
    ("{holds: media}", "{holds: videos}", "buckets.plaza-media.holds", "not as expected: 'videos'"),
    ("after: [database, cache, media]", "after: [database, cash, media]", "services.worker.after.1", "no service"),
    ("after: [database, cache, media]", "after: [database, cache, edge]", "services", "a cycle"),
    ("dump: {bucket: plaza-backups", "dump: {bucket: plaza-backup", "databases.plaza.dump.bucket", "no bucket"),
    ("password: cache_password", "password: cash_password", "caches.plaza.password", "no secret"),
    ("{name: running, unit: active}", "{name: running}", "services.worker.checks.0", "exactly one of"),
    ("within: 120s", "within: soon", "services.worker.checks.1.within", "not a duration"),
    ("within: 120s", "within: 0s", "services.worker.checks.1.within", "not as expected"),
    ("    port: 8000\n", "    port: 80000\n", "services.web.port", "not as expected: 80000"),
    ("    upstream: web\n", "", "services.edge", "needs `port` and `upstream`"),
    ("    upstream: web\n", "    upstream: wep\n", "services.edge.upstream", "no service"),
    ("{secret:session_key}", "{secret:session}", "services.worker.environment.PLAZA_SECRET_KEY", "no secret"),
    ('site: "http://{edge}/"', 'site: "http://{egde}/"', "site", "no group"),
    ('url: "http://{edge}/media/"', 'url: "http://{}/media/"', "media.plaza.url", "no group"),
    ("@{database}:5432", "@{databse}:5432", "services.worker.environment.PLAZA_DATABASE_URL", "no group"),
    ("data: [database, cache]", "data: [database, cash]", "rehearsal.hosts.data.1", "no group"),
    ("name: plaza\n", "name: plaza\nname: again\n", "name", "stands twice"),
    ("buckets:\n", "buckets\n", ":", "not valid YAML"),
]


@pytest.mark.parametrize(("sound", "spoiled", "field", "what"), SPOILED, ids=[f"{c[2]} {c[3]}" for c in SPOILED])
def test_a_spoiled_manifest_is_named_by_line_and_field(
    tmp_path: Path, sound: str, spoiled: str, field: str, what: str
) -> None:
    assert sound in PLAZA
    path = tmp_path / "stack.yaml"
    path.write_text(PLAZA.replace(sound, spoiled, 1))
    with pytest.raises(UsageProblem) as caught:
        read_stack(path)
    message = str(caught.value)
    assert what in message
    assert field in message
    assert f"{path}:" in message
    assert caught.value.exit_code is ExitCode.USAGE


def test_the_line_is_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text(PLAZA.replace("{holds: media}", "{holds: videos}"))
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "videos" in text)
    with pytest.raises(UsageProblem, match=f"stack.yaml:{line}: "):
        read_stack(path)


def test_a_service_without_a_check_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text(PLAZA.replace("checks:\n      - {name: answers, redis: {cache: plaza}}", "checks: []"))
    with pytest.raises(UsageProblem, match="at least one check"):
        read_stack(path)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text(PLAZA.replace("{holds: media}", "{holds: videos}").replace("port: 8000", "port: none"))
    with pytest.raises(DocumentProblems) as caught:
        read_stack(path)
    assert len(caught.value.problems) == 2


SOUND_INVENTORY = """\
all:
  vars: {ansible_user: root}
  children:
    database: {hosts: {one: {ansible_host: 192.0.2.1}}}
    cache: {hosts: {one: {}}}
    media: {hosts: {two: {ansible_host: 192.0.2.2, ansible_port: 2222}}}
    worker: {hosts: {one: {}}}
    app: {hosts: {one: {}}}
    edge: {hosts: {two: {}}}
"""

SPOILED_INVENTORIES = [
    ("    edge: {hosts: {two: {}}}\n", "", "the group 'edge' has no host"),
    ("edge: {hosts: {two: {}}}", "edge: {hosts: {two: {}}}\n    extra: {hosts: {three: {}}}", "'three' is in no group"),
    ("all:\n", "every:\n", "no group `all`"),
    ("hosts: {two: {}}", "host: {two: {}}", "unknown key"),
    ("2222", "ssh", "no port"),
    ("{hosts: {one: {}}}\n    media", "[one]\n    media", "not a group"),
]


@pytest.mark.parametrize(("sound", "spoiled", "what"), SPOILED_INVENTORIES, ids=[c[2] for c in SPOILED_INVENTORIES])
def test_a_spoiled_inventory_is_refused(tmp_path: Path, sound: str, spoiled: str, what: str) -> None:
    assert sound in SOUND_INVENTORY
    (tmp_path / "stack.yaml").write_text(PLAZA)
    path = tmp_path / "hosts.yml"
    path.write_text(SOUND_INVENTORY.replace(sound, spoiled, 1))
    with pytest.raises(UsageProblem) as caught:
        hold_against(read_stack(tmp_path / "stack.yaml"), read_inventory(path))
    assert what in str(caught.value)
    assert str(path) in str(caught.value)


def test_hosts_gather_their_groups_and_variables(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(SOUND_INVENTORY)
    inventory = read_inventory(path)
    assert inventory.hosts["one"].groups == ("database", "cache", "worker", "app")
    assert inventory.hosts["two"].port == 2222
    assert inventory.address("edge") == "192.0.2.2"


def test_a_missing_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="no such file") as caught:
        read_stack(tmp_path / "stack.yaml")
    assert "cloudexit init" in caught.value.hint
