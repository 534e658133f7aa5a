"""`cloudexit deploy` before it reaches a host: what it is told, and what it goes on with."""

import json
import shutil
import tarfile
import threading
import time
from pathlib import Path

import pytest

from migrate.action import StepContext
from migrate.check import ChecksHeld
from migrate.cli.assembly import Undertaking
from migrate.cli.deploy import last_attempt
from migrate.errors import CloudexitError, GateHeld, Unreachable, UsageProblem
from migrate.journal import Event, Journal
from migrate.manifest import read_stack
from migrate.secret import load_or_generate
from migrate.target.attempts import Attempt
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


def test_a_file_that_cannot_be_opened_is_wrong_usage(stack: Path) -> None:
    done = cloudexit("deploy", stack.parent / "no-such-file.tar.gz", "--stack", stack, "--json")
    assert done.returncode == 2
    assert [path.name for path in (stack.parent / ".cloudexit").iterdir()] == ["secrets.json"], "no run has begun"
    assert json.loads(done.stdout)["what"] == "the release cannot be opened: No such file or directory"
    with pytest.raises(UsageProblem, match="cannot be opened: Is a directory"):
        read_release(stack.parent, "plaza")


def test_an_archive_that_was_cut_off_anywhere_is_a_gate_and_no_bug(tmp_path: Path) -> None:
    whole = release(tmp_path, "1.0.0").read_bytes()
    for length in range(0, len(whole), 97):
        cut = tmp_path / "cut.tar.gz"
        cut.write_bytes(whole[:length] + bytes(60) * (length % 2))
        with pytest.raises(GateHeld):
            read_release(cut, "plaza")


def test_a_release_json_that_leads_nowhere_is_a_gate_and_no_bug(tmp_path: Path) -> None:
    path = tmp_path / "link.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("release.json")
        link.type, link.linkname = tarfile.SYMTYPE, "nowhere"
        archive.addfile(link)
    with pytest.raises(GateHeld, match="the release cannot be read"):
        read_release(path, "plaza")


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
    ("outcome", "error", "taken_back"),
    [
        (None, None, False),
        ("interrupted", None, False),
        ("unreachable", Unreachable("no SSH"), False),
        ("crashed", None, False),
        ("held", GateHeld("no space left"), False),
        ("held", ChecksHeld("ill", []), True),
        ("interrupted", ChecksHeld("ill", []), False),  # gone on with after it was taken back, and stopped
    ],
)
@pytest.mark.parametrize("command", ["deploy", "rollback"])
def test_what_did_not_come_to_its_end_is_known_to_the_next_rollback(
    stack: Path, tmp_path: Path, command: str, outcome: str | None, error: CloudexitError | None, taken_back: bool
) -> None:
    undertaking = Undertaking.read(stack, None, None)
    undertaking.make_ready()
    assert last_attempt(undertaking, "plaza") is None
    begin(undertaking, command, tmp_path, outcome, error)
    release = BEFORE if command == "rollback" else read_release(release_of(tmp_path), "plaza").installed
    assert last_attempt(undertaking, "plaza") == Attempt(release, command == "rollback", taken_back)
    assert last_attempt(undertaking, "shop") is None


def test_a_command_that_is_gone_on_with_is_the_last_though_its_run_began_before_others(
    stack: Path, tmp_path: Path
) -> None:
    undertaking = Undertaking.read(stack, None, None)
    undertaking.make_ready()
    begin(undertaking, "rollback", tmp_path, "interrupted")
    time.sleep(0.002)
    begin(undertaking, "deploy", tmp_path, "done")
    assert last_attempt(undertaking, "plaza") is None
    time.sleep(0.002)
    begin(undertaking, "rollback", tmp_path, None)
    assert last_attempt(undertaking, "plaza") == Attempt(BEFORE, goes_back=True, taken_back=False)


def test_an_archive_that_was_replaced_since_the_plan_was_made_is_not_deployed(stack: Path, tmp_path: Path) -> None:
    undertaking = Undertaking.read(stack, None, None)
    undertaking.make_ready()
    path = release_of(tmp_path)
    step = deploy_plan(undertaking.stack, undertaking.inventory, read_release(path, "plaza")).steps[0]
    release(tmp_path, "1.0.0", fault="ill")
    action = undertaking.deploy_actions("plaza", path)(threading.Event())["deploy.release"]
    for call in (action.verify, action.apply):
        with pytest.raises(GateHeld, match="the archive is not the one that was read when the plan was made"):
            call(step, StepContext())


def release_of(folder: Path) -> Path:
    return release(folder, "1.0.0")


def begin(
    undertaking: Undertaking, command: str, folder: Path, outcome: str | None, error: CloudexitError | None = None
) -> None:
    """Has the journal tell of a command that ended so; without an outcome it was killed."""
    if command == "rollback":
        plan = rollback_plan(undertaking.stack, undertaking.inventory, "plaza", BEFORE)
    else:
        archive = read_release(release_of(folder), "plaza")
        plan = deploy_plan(undertaking.stack, undertaking.inventory, archive)
    journal = Journal(undertaking.state.journal)
    run = journal.begin_or_resume(command, plan.digest, plan.as_document())
    journal.write(run, plan.steps[0].id, Event.STARTED, {})
    if error:
        journal.write(run, plan.steps[0].id, Event.FAILED, {"error": error.as_document()})
    if outcome:
        journal.end(run, outcome)
    journal.close()
