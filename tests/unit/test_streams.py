"""A reader that went away, a full disk, a stream that is closed: what each command does with its result then."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from migrate.cli.output import Output
from migrate.cli.state import StateFolder
from migrate.export.ledger import Ledger, Mode
from migrate.journal import Event, Journal
from migrate.plan import Effect, Phase, Plan, Step
from tests.drill import CLOUDEXIT

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
FLEET_PLAN = ["plan", FLEET / "stack.yaml", "-i", FLEET / "inventory", "--facts", FLEET / "facts.yaml"]
STEPS = tuple(Step(f"step.{n}", Phase.PROVE, "prove.checks", "a title", Effect.READ) for n in range(2000))


@pytest.fixture
def run_of_before(tmp_path: Path) -> Path:
    """A manifest's folder with a run whose report is longer than a pipe holds."""
    state = StateFolder.beside(tmp_path / "stack.yaml", None)
    state.create()
    plan = Plan("s", "i", STEPS)
    journal = Journal(state.journal)
    run = journal.begin_or_resume("check", plan.digest, plan.as_document())
    journal.write(run, STEPS[0].id, Event.STARTED, {})
    journal.close()
    return tmp_path / "stack.yaml"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    Ledger.open(folder, Mode.WRITE).close()
    return folder


def command(words: list[object], shell: str = "", **surroundings: str) -> "subprocess.CompletedProcess[str]":
    """Bash carries out the command with `shell` behind its words."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {shell}', "-", str(CLOUDEXIT), *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **surroundings},
    )  # fmt: skip


def words_of(name: str, stack: Path, archive: Path) -> list[object]:
    return {
        "plan": [*FLEET_PLAN],
        "plan --json": [*FLEET_PLAN, "--json"],
        "status": ["status", stack],
        "status --json": ["status", stack, "--json"],
        "report": ["report", "--stack", stack],
        "report --json": ["report", "--stack", stack, "--json"],
        "export-ls": ["export-ls", archive],
        "export-ls --json": ["export-ls", archive, "--json"],
        "verify": ["verify", archive],
        "verify --json": ["verify", archive, "--json"],
        "assess --policy": ["assess", "--policy"],
        "lab list --json": ["lab", "list", "--json"],
        "help": ["--help"],
        "failure --json": ["plan", "nowhere.yaml", "--json"],
    }[name]


WRITING = ["plan", "plan --json", "status", "status --json", "report", "report --json", "export-ls --json", "verify",
           "verify --json", "assess --policy", "lab list --json", "help"]  # fmt: skip


@pytest.mark.parametrize("name", WRITING)
@pytest.mark.parametrize(("shell", "said"), [(">/dev/full", "No space left"), (">&-", "Bad file descriptor")])
def test_a_result_that_could_not_be_written_is_exit_5_and_said(
    name: str, shell: str, said: str, run_of_before: Path, archive: Path, tmp_path: Path
) -> None:
    done = command(words_of(name, run_of_before, archive), shell, TMPDIR=str(tmp_path))
    assert done.returncode == 5, done.stderr
    assert "standard output: the result could not be written" in done.stderr
    assert said in done.stderr
    assert "do:" in done.stderr
    assert not list(tmp_path.glob("cloudexit-traceback-*"))


def test_a_failure_keeps_its_own_code_where_its_document_is_lost(run_of_before: Path, archive: Path) -> None:
    done = command(words_of("failure --json", run_of_before, archive), ">/dev/full")
    assert done.returncode == 2
    assert "nowhere.yaml" in done.stderr


@pytest.mark.parametrize(
    ("name", "code"),
    [("plan", 0), ("plan --json", 0), ("status", 0), ("report", 3), ("report --json", 3), ("verify", 0), ("help", 0)],
)
def test_a_reader_that_leaves_changes_neither_the_code_nor_the_end(
    name: str, code: int, run_of_before: Path, archive: Path, tmp_path: Path
) -> None:
    done = command(words_of(name, run_of_before, archive), "| true; exit ${PIPESTATUS[0]}", TMPDIR=str(tmp_path))
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    assert not list(tmp_path.glob("cloudexit-traceback-*"))


def test_a_plan_that_holds_says_so_though_nobody_reads_its_page(tmp_path: Path) -> None:
    done = command([*FLEET_PLAN, "--deadline", "30h"], "| head -1 >/dev/null; exit ${PIPESTATUS[0]}")
    assert done.returncode == 3
    assert "the deadline: missed" in done.stderr


def test_a_reader_of_the_prose_that_leaves_does_not_end_the_command(tmp_path: Path) -> None:
    words = [*FLEET_PLAN, "--out", tmp_path / "plan.json", "--json"]
    done = command(words, f"2> >(true) >{tmp_path / 'result.json'}")
    assert done.returncode == 0
    assert json.loads((tmp_path / "result.json").read_text())["exit_code"] == 0
    assert (tmp_path / "plan.json").stat().st_size > 1000


def test_a_watch_ends_when_nobody_reads_it(run_of_before: Path) -> None:
    lock = StateFolder.beside(run_of_before, None).lock
    watch = f'exec 9>{lock}; flock 9; "$@" --watch 9>&- | true; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", watch, "-", str(CLOUDEXIT), "status", str(run_of_before)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_its_page_and_its_document(encoding: str) -> None:
    page = command([*FLEET_PLAN], PYTHONIOENCODING=encoding)
    assert page.returncode == 0, page.stderr
    document = command([*FLEET_PLAN, "--json"], PYTHONIOENCODING=encoding)
    assert json.loads(document.stdout)["exit_code"] == 0


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_document_holds_no_number_that_json_has_not(number: float, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        Output(as_json=True).document({"seconds": number})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("columns", "width"), [("60", 60), ("200", 200), ("", 132), ("wide", 132), ("0", 132), ("-5", 132), ("7", 40)]
)
def test_columns_count_where_there_is_no_terminal(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    output = Output()
    assert (output.results.width, output.prose.width) == (width, width)
