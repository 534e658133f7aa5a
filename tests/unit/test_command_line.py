"""The contract of the command line, by the command itself: streams, exit codes, messages."""

import fcntl
import json
import shutil
import sqlite3
from pathlib import Path
from threading import Event

import pytest
import typer
from typer.core import TyperGroup

from migrate.cli import command_line
from migrate.cli.assembly import Undertaking
from migrate.cli.state import StateFolder
from migrate.inventory import read_inventory
from migrate.journal import Journal
from migrate.manifest import read_stack
from migrate.plan import Phase
from migrate.secret import load_or_generate
from migrate.target.ownsecrets import OWN_SECRETS
from tests.drill import PLAZA, cloudexit

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
    """The example's manifest in a folder of its own, with an inventory whose only host answers nobody."""
    shutil.copy(PLAZA, tmp_path / "stack.yaml")
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(HOSTS)
    (tmp_path / "inventory" / "known_hosts").touch()
    return tmp_path / "stack.yaml"


def with_secrets(stack: Path) -> Path:
    """The manifest, with the secrets of an earlier provision in its state folder."""
    folder = StateFolder.beside(stack, None)
    folder.create()
    load_or_generate(folder.secrets, read_stack(stack).secrets, {}, OWN_SECRETS)
    return stack


def test_plan_prints_one_document_and_touches_nothing(stack: Path) -> None:
    done = cloudexit("plan", stack, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["steps"][0]["id"] == "preflight.hosts"
    assert sorted(path.name for path in stack.parent.iterdir()) == ["inventory", "stack.yaml"]


def test_plan_on_a_pipe_has_no_colour(stack: Path) -> None:
    done = cloudexit("plan", stack)
    assert "restore.database.plaza.load" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["plan", "provision", "restore", "start", "check", "cutover", "export", "rehearse"])
def test_a_broken_manifest_is_exit_2_and_nothing_is_touched(stack: Path, command: str) -> None:
    stack.write_text(stack.read_text().replace("name: plaza\n", "name: plaza\ncolour: red\n", 1))
    done = cloudexit(command, stack)
    assert done.returncode == 2
    assert f"{stack}:3: colour: unknown key" in done.stderr
    assert done.stdout == ""
    assert not (stack.parent / ".cloudexit").exists()


def test_a_failure_with_json_is_one_document_too(stack: Path) -> None:
    stack.write_text("name: [\n")
    done = cloudexit("plan", stack, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_code"] == 2


def test_no_inventory_is_exit_2_with_what_to_do(stack: Path) -> None:
    shutil.rmtree(stack.parent / "inventory")
    done = cloudexit("plan", stack)
    assert done.returncode == 2
    assert "cloudexit init" in done.stderr


@pytest.mark.parametrize("arguments", [["plan", "--colour"], ["fly"], ["run", "a", "b"]])
def test_wrong_usage_is_exit_2(arguments: list[str]) -> None:
    assert cloudexit(*arguments).returncode == 2


def test_a_host_that_cannot_be_reached_is_exit_5_and_named(stack: Path) -> None:
    done = cloudexit("provision", stack)
    assert done.returncode == 5, done.stderr
    assert "one" in done.stderr
    assert "do:" in done.stderr


def test_a_stale_plan_is_refused_and_a_changed_one_too(stack: Path, tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    assert cloudexit("plan", stack, "--out", kept).returncode == 0
    document = json.loads(kept.read_text())
    stack.write_text(stack.read_text().replace("timeout: 120s", "timeout: 90s"))
    stale = cloudexit("run", kept)
    assert stale.returncode == 3
    assert "the plan is stale: the stack has changed" in stale.stderr
    document["steps"][0]["title"] = "something else"
    kept.write_text(json.dumps(document))
    changed = cloudexit("run", kept)
    assert changed.returncode == 2
    assert "changed after it was made" in changed.stderr


def test_the_second_run_on_a_state_folder_is_refused_and_told_who_holds_it(stack: Path) -> None:
    state = StateFolder.beside(stack, None)
    state.create()
    with state.lock.open("w") as held:
        held.write("ana@ops, process 42, since 2026-11-20T03:00:00, run\n")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        done = cloudexit("run", "--stack", stack)
    assert done.returncode == 3
    assert "ana@ops, process 42, since 2026-11-20T03:00:00, run" in done.stderr


def test_the_state_folder_is_private(stack: Path) -> None:
    cloudexit("check", with_secrets(stack))
    assert (stack.parent / ".cloudexit").stat().st_mode & 0o777 == 0o700


def test_status_and_report_without_a_run_say_so(stack: Path) -> None:
    for command in (["status", stack], ["report", "--stack", stack]):
        done = cloudexit(*command)
        assert done.returncode == 2
        assert "nothing was run here yet" in done.stderr


def test_a_failed_run_can_be_looked_at_again(stack: Path) -> None:
    assert cloudexit("provision", stack).returncode == 5
    status = json.loads(cloudexit("status", stack, "--json").stdout)
    assert status["outcome"] == "unreachable"
    assert status["steps"][0]["error"]
    report = cloudexit("report", "--stack", stack, "--json")
    assert json.loads(report.stdout)["proved"] is False
    assert report.returncode == 3
    page = stack.with_name("report.html")
    assert cloudexit("report", "--stack", stack, "--html", page).returncode == 3
    assert "Run 1: not proved" in page.read_text()
    assert cloudexit("report", "--stack", stack, "--html", stack.parent).returncode == 2


def test_what_is_no_operators_error_is_a_bug_with_its_traceback_in_a_file(stack: Path) -> None:
    state = StateFolder.beside(stack, None)
    state.create()
    run = Journal(state.journal).begin_or_resume("check", "digest", {})
    with sqlite3.connect(state.journal) as spoilt:
        spoilt.execute("UPDATE runs SET plan = 'no plan' WHERE id = ?", (run.id,))
    done = cloudexit("check", with_secrets(stack))
    assert done.returncode == 1
    file = Path(done.stderr.strip().rsplit("traceback: ", 1)[1])
    assert "Traceback" in file.read_text()
    file.unlink()


def test_a_journal_that_is_none_is_exit_2(stack: Path) -> None:
    state = StateFolder.beside(stack, None)
    state.create()
    state.journal.write_text("not a database, and longer than its header would be" * 20)
    done = cloudexit("check", with_secrets(stack))
    assert done.returncode == 2
    assert "the journal cannot be read" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["provision", "STACK"], 5), (["check", "STACK"], 3), (["plan", "--bogus"], 2), (["run", "nowhere.json"], 2),
        (["export", "s3://b", "D", "--order", "sideways"], 2), (["verify", "nowhere"], 2), (["report"], 2),
    ],
)  # fmt: skip
def test_with_json_a_failure_is_exactly_one_document(stack: Path, arguments: list[str], code: int) -> None:
    done = cloudexit(*[str(with_secrets(stack)) if word == "STACK" else word for word in arguments], "--json")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["exit_code"] == code


def test_results_of_the_other_checks_are_kept_when_a_host_cannot_be_reached(stack: Path) -> None:
    document = json.loads(cloudexit("provision", stack, "--json").stdout)
    assert [(c["host"], c["name"], c["verdict"]) for c in document["checks"]] == [("one", "reachable", "fail")]


def test_a_kept_plan_takes_no_other_stack(stack: Path, tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    assert cloudexit("plan", stack, "--out", kept).returncode == 0
    assert cloudexit("run", kept, "-i", "elsewhere.yml").returncode == 2
    assert cloudexit("plan", stack, "--out", tmp_path / "no" / "folder.json").returncode == 2


def test_init_writes_a_manifest_and_an_inventory_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    done = cloudexit("init", tmp_path / "mine")
    assert done.returncode == 0, done.stderr
    stack = read_stack(tmp_path / "mine" / "stack.yaml")
    inventory = read_inventory(tmp_path / "mine" / "inventory" / "hosts.yml")
    assert set(stack.groups()) <= {group for host in inventory.hosts.values() for group in host.groups}
    assert cloudexit("plan", tmp_path / "mine" / "stack.yaml").returncode == 0
    again = cloudexit("init", tmp_path / "mine")
    assert again.returncode == 2
    assert "stands there already" in again.stderr


def commands(group: TyperGroup, prefix: str = "") -> dict[str, set[str]]:
    """Name of each command -> its options."""
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            found |= commands(command, f"{name} ")
        else:
            found[prefix + name] = {option for parameter in command.params for option in parameter.opts}
    return found


def test_every_command_knows_verbose_and_quiet() -> None:
    group = typer.main.get_command(command_line())
    assert isinstance(group, TyperGroup)
    found = commands(group)
    assert len(found) >= 20
    assert {name for name, options in found.items() if not {"-v", "-q"} <= options} == {"lab ssh"}


def test_quiet_leaves_only_the_result(stack: Path, tmp_path: Path) -> None:
    said = cloudexit("plan", stack, "--out", tmp_path / "plan.json")
    done = cloudexit("plan", stack, "--out", tmp_path / "plan.json", "-q")
    assert "kept: " in said.stderr
    assert (done.returncode, done.stderr) == (0, "")
    assert "restore.database.plaza.load" in done.stdout


def test_verbose_adds_detail_to_status_and_report(stack: Path) -> None:
    cloudexit("provision", stack)
    status = [cloudexit("status", stack, *words).stdout for words in ((), ("-v",), ("-q",))]
    assert "began 20" in status[1]
    assert "began 20" not in status[0]
    assert status[2] == status[0]
    report = [cloudexit("report", "--stack", stack, *words) for words in ((), ("-q",))]
    assert [done.stderr for done in report] == ["", ""]
    assert report[0].stdout == report[1].stdout


@pytest.mark.parametrize(
    "command",
    [
        "check STACK", "restore STACK", "logs STACK", "records STACK", "certificate STACK",
        "deploy --rollback --stack STACK", "failover database --stack STACK",
    ],
)  # fmt: skip
def test_who_gives_no_secrets_to_hosts_makes_none(stack: Path, command: str) -> None:
    """A fresh checkout, or the laptop of a colleague: what it would make is not what the home lives with."""
    done = cloudexit(*command.replace("STACK", str(stack)).split(), "--json")
    error = json.loads(done.stdout)
    assert (done.returncode, error["exit_code"]) == (2, 2), done.stderr
    kept = stack.parent / ".cloudexit" / "secrets.json"
    assert "cloudexit_dkim" in error["what"] and error["where"] == str(kept) and "--state" in error["hint"]
    assert not kept.exists()


def test_a_database_can_be_moved_without_secrets(stack: Path) -> None:
    done = cloudexit("failover", "database", "--stack", stack, "--without-provision")
    assert done.returncode == 3 and "nobody can take over from one" in done.stderr
    done = cloudexit("failover", "database", "--stack", stack, "--without-provision", "--rejoin", "one")
    assert done.returncode == 2 and "exclude each other" in done.stderr


def test_an_export_needs_no_secrets_of_the_new_home(stack: Path) -> None:
    """It is the first thing that is done, long before there is one."""
    undertaking = Undertaking.read(stack, None, None)
    assert {step.kind for step in undertaking.plan.only(Phase.EXPORT).steps} <= set(undertaking.export_actions(Event()))
