"""Bad manifests and inventories: file, line, field, what was expected; exit 2. The example, spoiled in one place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from migrate.errors import DocumentProblems, ExitCode, UsageProblem
from migrate.inventory import hold_against, read_inventory, require_files
from migrate.manifest import read_stack, require_old_home
from migrate.secret import load_or_generate

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
    ("{mail}:25", "{mial}:25", "services.worker.environment.PLAZA_SMTP_URL", "no group"),
    ("data: [database, cache]", "data: [database, cash]", "rehearsal.hosts.data.1", "no group"),
    ('site: "http://{edge}/"', 'site: "http://{edge/"', "3: site", "a brace without"),
    ('site: "http://{edge}/"', 'site: "http://{anyone}/"', "3: site", "no group"),
    ('site: "http://{edge}/"', 'site: "http://{edge}/{secret:session_key}"', "3: site", "a secret in a public"),
    ('site: "http://{edge}/"', 'site: "{edge}"', "3: site", "no web address"),
    ("{secret:session_key}", "a{b", "worker.environment.PLAZA_SECRET_KEY", "a brace without"),
    ("{secret:session_key}", "a\\nb", "worker.environment.PLAZA_SECRET_KEY", "a line break"),
    ("      PLAZA_SECRET_KEY:", "      PLAZA-KEY:", "worker.environment.PLAZA-KEY", "no name of a variable"),
    ("    service: database\n", "    service: cache\n", "databases.plaza.service", "no service of kind postgresql"),
    ("    service: cache\n", "    service: database\n", "caches.plaza.service", "no service of kind redis"),
    ("    service: media\n", "    service: web\n", "media.plaza.service", "no service of kind media"),
    ("upstream: web", "upstream: worker", "services.edge.upstream", "process with a port"),
    ("cloud.example/", "cloud.example", "media.plaza.old_urls.0", "no slash"),
    ("https://plaza-media.s3.cloud.example/", "plaza/", "media.plaza.old_urls.0", "no web address"),
    ('{edge}/media/"', '{edge}/media"', "media.plaza.url", "no slash"),
    ('"http://{edge}/media/"', '"ftp://{edge}/media/"', "media.plaza.url", "no web address"),
    ("write_port: 8081", "write_port: 8080", "services.media.write_port", "is taken by services.media.port"),
    ("    port: 6379", "    port: 22", "services.cache.port", "port 22"),
    ("unit: plaza-web.service", "unit: plaza web", "services.web.unit", "no unit"),
    ("owner: plaza", "owner: postgres", "databases.plaza.owner", "belongs to PostgreSQL"),
    ("owner: plaza", "owner: pg_x", "databases.plaza.owner", "belongs to PostgreSQL"),
    ('"{site}"]', '"{sight}"]', "journeys.member.command.3", "nothing stands for {sight}"),
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
    path.write_text(PLAZA.replace("checks:\n      - {name: healthy, http: {path: /healthz}}", "checks: []", 1))
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
    ("    edge: {hosts: {two: {}}}\n", "", ": all.children.edge: the group 'edge' has no host"),
    (
        "edge: {hosts: {two: {}}}",
        "edge: {hosts: {two: {}}}\n    extra: {hosts: {three: {ansible_host: 192.0.2.3}}}",
        "extra.hosts.three: the host 'three' is in no group",
    ),
    ("all:\n", "every:\n", "no group `all`"),
    ("hosts: {two: {}}", "host: {two: {}}", "unknown key"),
    ("2222", "ssh", "no port"),
    ("{hosts: {one: {}}}\n    media", "[one]\n    media", "not a group"),
    ("2222", "true", "hosts.yml:6: all.children.media.hosts.two.ansible_port: no port"),
    ("2222", "65536", "no port: 65536"),
    ("192.0.2.1}", "''}", "hosts.yml:4: all.children.database.hosts.one.ansible_host: the host 'one' has no address"),
    ("{ansible_host: 192.0.2.1}", "", "hosts.yml:4: all.children.database.hosts.one: the host 'one' has no address"),
    ("192.0.2.1}", "db.example.net}", "firewalls need numbers"),
    ("192.0.2.1}", "192.0.2.2}", "have one address: 192.0.2.2"),
    ("{one: {ansible_host: 192", "{'db[1:3]': {ansible_host: 192", "the host 'one' has no address"),
    (
        "{one: {ansible_host: 192.0.2.1",
        "{'db[1:3]': {cloudexit_first_address: 192.0.2",
        "does not appear to be an IPv4",
    ),
    ("{one: {ansible_host", "{'db[3:1]': {ansible_host", "no range of hosts: 'db[3:1]'"),
    ("{ansible_host: 192.0.2.1}", "{ansible_host: 192.0.2.1, cloudexit_disk: large}", "cloudexit_disk: no amount"),
    ("{ansible_user: root}", "{ansible_connection: local}", "hosts.yml:2: all.vars.ansible_connection: hosts are"),
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


@pytest.mark.parametrize("text", ["x: &a [*a]\n", "name: &a {b: *a}\n"])
@pytest.mark.parametrize("read", [read_stack, read_inventory])
def test_an_anchor_that_contains_itself_is_refused(tmp_path: Path, text: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(UsageProblem, match=r"file.yaml:1: (x.0|name.b): this anchor contains itself"):
        read(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": ""}', "\x00"])
def test_spoiled_secrets_are_never_generated_over(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(text)
    with pytest.raises(UsageProblem) as caught:
        load_or_generate(path, ["b"], {})
    assert caught.value.where == str(path)
    assert "put back a copy" in caught.value.hint
    assert path.read_text() == text


def test_files_that_the_inventory_names_must_be_there_before_a_run(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(SOUND_INVENTORY.replace("{ansible_user: root}", "{cloudexit_known_hosts: pinned}"))
    with pytest.raises(UsageProblem, match=r"hosts.yml:2: all.vars.cloudexit_known_hosts: no such file") as caught:
        require_files(read_inventory(path))
    assert str(caught.value).count("no such file") == 1
    (tmp_path / "pinned").touch()
    require_files(read_inventory(path))


def test_a_missing_inventory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="no such file") as caught:
        read_inventory(tmp_path / "hosts.yml")
    assert "name the inventory" in caught.value.hint


def test_every_variable_of_a_host_is_in_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(SOUND_INVENTORY)
    before = read_inventory(path).digest
    path.write_text(SOUND_INVENTORY.replace("{ansible_user: root}", "{ansible_user: root, since: {2026-11-20: 1}}"))
    assert read_inventory(path).digest != before
    path.write_text(SOUND_INVENTORY)
    assert read_inventory(path).digest == before


def test_the_old_homes_playbook_must_stand_beside_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text(PLAZA)
    with pytest.raises(UsageProblem, match=r"rehearsal.old_home.playbook: no such file") as caught:
        require_old_home(path, read_stack(path))
    assert str(tmp_path / "old_home" / "site.yml") in caught.value.expected
    (tmp_path / "old_home").mkdir()
    (tmp_path / "old_home" / "site.yml").touch()
    require_old_home(path, read_stack(path))
