"""The pages of a run: its events, its status, its report, at every width."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from migrate.journal import Event, Journal, Run
from migrate.plan import Effect, Phase, Plan, Step
from migrate.report.document import run_report
from migrate.report.status import run_status, show_status
from migrate.report.terminal import show_event, show_report

WIDTHS = (60, 80, 100, 132)
STEPS = (
    Step("preflight.hosts", Phase.PREFLIGHT, "preflight.hosts", "the new hosts are what we need", Effect.READ),
    Step("export.plaza-production-media", Phase.EXPORT, "export.bucket", "every object of plaza-production-media,"
         " verified as it comes", Effect.REVERSIBLE, subject="plaza-production-media"),
    Step("start.web", Phase.START, "start.service", "web starts and is healthy", Effect.REVERSIBLE, subject="web"),
    Step("prove.checks", Phase.PROVE, "prove.checks", "every check of every service", Effect.READ),
)  # fmt: skip
PLAN = Plan("s", "i", STEPS)
LONG = "a sentence that is longer than a narrow terminal is wide, so that it must go on in the line that follows it"
COUNTED = {"listed": 2013456, "verified": 2013400, "skipped": 12, "quarantined": 7, "archived": 30, "gone": 19,
           "bytes": 36_000_000_000}  # fmt: skip


def check(name: str, verdict: str, detail: str, hint: str = "") -> dict[str, Any]:
    return {"name": name, "host": "database-01", "verdict": verdict, "detail": detail, "hint": hint, "severity": "gate"}


CHECKS = [
    check("database: answers", "pass", "SELECT count(*) > 0 FROM users: true"),
    check("edge: front-page", "fail", LONG, "look at the log of nginx-edge.service"),
]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


@pytest.fixture
def run(journal: Journal) -> Run:
    run = journal.begin_or_resume("run", PLAN.digest, PLAN.as_document())
    for step, event, detail in (
        (STEPS[0], Event.DONE, {"hosts": 3}),
        (STEPS[1], Event.DONE, COUNTED),
        (STEPS[3], Event.FAILED, {"checks": CHECKS, "error": {"what": LONG}}),
    ):
        journal.write(run, step.id, Event.STARTED, {})
        journal.write(run, step.id, event, detail, 7620.0)
    return journal.run(run.id)


def held(text: str, width: int) -> str:
    """The page's words on one line; raises where a line is too wide."""
    assert max(map(cell_len, text.splitlines())) <= width
    return " ".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_reads_at_every_width(journal: Journal, run: Run, width: int) -> None:
    told = io.StringIO()
    show_report(Console(file=told, width=width), run_report(journal, run))
    page = held(told.getvalue(), width)
    for whole in ("export.plaza-production-media", "2 h 07 min", "36.0 GB", "2013456", "2013400", "edge: front-page"):
        assert whole in told.getvalue()
    for name in ("listed", "verified", "skipped", "quarantined", "archived", "gone"):
        assert name in page
    assert all(step.title in page for step in STEPS)
    assert set(LONG.split()) <= set(page.split())
    assert "not proved" in page


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("verbose", [False, True])
def test_a_status_reads_at_every_width(journal: Journal, run: Run, tmp_path: Path, width: int, verbose: bool) -> None:
    told = io.StringIO()
    show_status(Console(file=told, width=width), run_status(journal.path, tmp_path / "lock"), verbose=verbose)
    page = held(told.getvalue(), width)
    assert LONG in page
    assert all(step.id in told.getvalue() for step in STEPS)
    assert (STEPS[0].title in page) is verbose


@pytest.mark.parametrize("width", WIDTHS)
def test_events_read_at_every_width(width: int) -> None:
    told = io.StringIO()
    console = Console(file=told, width=width)
    show_event(console, STEPS[1], Event.DONE, COUNTED, 7620.0, verbose=False)
    show_event(console, STEPS[3], Event.FAILED, {"checks": CHECKS}, 1.0, verbose=True)
    page = held(told.getvalue(), width)
    assert "quarantined 7" in page
    assert "do: look at the log of nginx-edge.service" in page
