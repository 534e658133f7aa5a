"""`cloudexit deploy` before it reaches a host: what it is told, and what it goes on with."""

import json
import shutil
from pathlib import Path

import pytest

from migrate.cli.assembly import Undertaking
from migrate.cli.deploy import under_way
from migrate.journal import Journal
from migrate.manifest import read_stack
from migrate.secret import load_or_generate
from migrate.target.deploy import deploy_plan, rollback_plan
from migrate.target.ownsecrets import OWN_SECRETS
from migrate.target.release import read_release
from migrate.target.standing import Installed
from tests.drill import PLAZA, cloudexit
from tests.hosts_in_memory import inventory_with
from tests.release_archives import release

BEFORE = Installed("1.0.0", "a" * 64)
INVENTORY = inventory_with({"app1": ("app", "worker"), "app2": ("app", "worker")})
HOSTS = """\
all:
  vars: {cloudexit_known_hosts: known_hosts}
  children:
    database: {hosts: {one: {ansible_host: 127.0.0.1, ansible_port: 1}}}
    cache: {hosts: {one: {}}}
    media: {hosts: {one: {}}}
    worker: {hosts: {one: {}}}
    app: {hosts: {one: {}}}
    edge: {hosts: {one: {}}}
    mail: {hosts: {one: {}}}
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """The example's manifest with an inventory whose only host answers nobody."""
    shutil.copy(PLAZA, tmp_path / "stack.yaml")
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(HOSTS)
    (tmp_path / "inventory" / "known_hosts").touch()
    (tmp_path / ".cloudexit").mkdir(mode=0o700)
    path = tmp_path / ".cloudexit" / "secrets.json"
    load_or_generate(path, read_stack(tmp_path / "stack.yaml").secrets, {}, OWN_SECRETS)
    return tmp_path / "stack.yaml"


@pytest.mark.parametrize("words", [[], ["a.tar.gz", "--rollback"]])
def test_an_archive_or_a_rollback_is_wanted_and_not_both(stack: Path, words: list[str]) -> None:
    done = cloudexit("deploy", *words, "--stack", stack)
    assert done.returncode == 2
    assert "an ARCHIVE, or --rollback, and not both" in done.stderr


def test_a_release_that_the_manifest_has_not_is_named(stack: Path) -> None:
    done = cloudexit("deploy", "--rollback", "--release", "shop", "--stack", stack)
    assert done.returncode == 2
    assert "nothing is called 'shop'" in done.stderr and "--release with one of: plaza" in done.stderr


def test_what_is_no_release_is_refused_before_any_host_is_asked(stack: Path) -> None:
    (stack.parent / "a.tar.gz").write_bytes(b"hello")
    done = cloudexit("deploy", stack.parent / "a.tar.gz", "--stack", stack, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["what"].startswith("the release cannot be read")


def test_a_host_that_answers_nobody_is_exit_5(stack: Path, tmp_path: Path) -> None:
    done = cloudexit("deploy", release(tmp_path, "1.0.0"), "--stack", stack)
    assert done.returncode == 5, done.stderr
    assert "one" in done.stderr


def test_another_archive_of_the_same_version_is_another_plan(tmp_path: Path) -> None:
    stack = read_stack(PLAZA)
    plans = []
    for fault in ("", "ill"):
        archive = read_release(release(tmp_path, "1.0.0", fault=fault), "plaza")
        plans.append(deploy_plan(stack, INVENTORY, archive))
    assert [step.id for step in plans[0].steps] == ["deploy.plaza", "start.worker", "start.web"]
    assert plans[0].digest != plans[1].digest


@pytest.mark.parametrize(
    ("outcome", "goes_on"),
    [(None, True), ("interrupted", True), ("unreachable", True), ("held", False), ("done", False)],
)
def test_a_rollback_that_did_not_come_to_its_end_keeps_its_aim(stack: Path, outcome: str | None, goes_on: bool) -> None:
    undertaking = Undertaking.read(stack, None, None)
    undertaking.make_ready()
    assert under_way(undertaking, "plaza") is None
    plan = rollback_plan(undertaking.stack, undertaking.inventory, "plaza", BEFORE)
    journal = Journal(undertaking.state.journal)
    run = journal.begin_or_resume("rollback", plan.digest, plan.as_document())
    if outcome:
        journal.end(run, outcome)
    journal.close()
    assert under_way(undertaking, "plaza") == (BEFORE if goes_on else None)
    assert under_way(undertaking, "shop") is None
