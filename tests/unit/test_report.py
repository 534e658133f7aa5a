"""The report is made from the journal alone."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from migrate.figures import Estimate, Ground, Limit
from migrate.journal import Event, Journal, Run, exclusive
from migrate.plan import Effect, Phase, Plan, Step
from migrate.report.document import run_report
from migrate.report.plan_view import show_forecast
from migrate.report.run_page import run_page
from migrate.report.status import is_held, run_status, show_status
from migrate.report.terminal import duration, show_report, size
from tests.plan_cases import PLANS, read_case

STEPS = (
    Step("preflight.hosts", Phase.PREFLIGHT, "preflight.hosts", "hosts", Effect.READ),
    Step("export.media", Phase.EXPORT, "export.bucket", "media", Effect.REVERSIBLE, subject="media"),
    Step("start.web", Phase.START, "start.service", "web", Effect.REVERSIBLE, ("export.media",), subject="web"),
    Step("start.drained", Phase.START, "start.drained", "drained", Effect.READ, ("start.web",)),
)
PLAN = Plan("s", "i", STEPS)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def begin(journal: Journal) -> Run:
    return journal.begin_or_resume("run", PLAN.digest, PLAN.as_document())


def do(journal: Journal, run: Run, step: str, event: Event = Event.DONE, **detail: object) -> None:
    journal.write(run, step, Event.STARTED, {})
    journal.write(run, step, event, detail, 2.0)


def outcomes(journal: Journal, run: Run) -> dict[str, str]:
    return {row["id"]: row["outcome"] for row in run_report(journal, run)["steps"]}


def test_a_run_is_proved_only_when_every_step_ended_well(journal: Journal) -> None:
    run = begin(journal)
    for step in STEPS[:-1]:
        do(journal, run, step.id)
    assert run_report(journal, run)["proved"] is False
    do(journal, run, "start.drained")
    assert run_report(journal, run)["proved"] is True


def test_outcomes_of_steps(journal: Journal) -> None:
    run = begin(journal)
    do(journal, run, "preflight.hosts")
    do(journal, run, "export.media", Event.FAILED, error={"what": "no"})
    journal.write(run, "start.web", Event.STARTED, {})
    assert list(outcomes(journal, run).values()) == ["done", "failed", "under way", "waiting"]


def test_a_resumed_step_keeps_the_time_and_words_of_the_attempt_that_did_the_work(journal: Journal) -> None:
    run = begin(journal)
    do(journal, run, "export.media", verified=7)
    journal.write(run, "export.media", Event.STARTED, {})
    journal.write(run, "export.media", Event.SKIPPED, {"verified": 7}, 0.1)
    row = run_report(journal, run)["steps"][1]
    assert (row["outcome"], row["seconds"], row["attempts"]) == ("done", 2.0, 2)
    assert run_report(journal, run)["objects"] == {"media": {"verified": 7}}


def test_a_step_that_failed_and_was_then_done_is_done(journal: Journal) -> None:
    run = begin(journal)
    do(journal, run, "start.web", Event.FAILED, error={"what": "no"})
    do(journal, run, "start.web")
    assert outcomes(journal, run)["start.web"] == "done"


def test_recovery_counts_from_preflight_to_the_last_service_and_to_drained_queues(journal: Journal) -> None:
    run = begin(journal)
    do(journal, run, "preflight.hosts")
    do(journal, run, "start.web")
    rto = run_report(journal, run)["rto"]
    assert rto["basic_seconds"] is not None
    assert rto["basic_seconds"] >= 0
    assert rto["drained_seconds"] is None
    do(journal, run, "start.drained")
    rto = run_report(journal, run)["rto"]
    assert rto["drained_seconds"] >= rto["basic_seconds"]


def test_checks_are_gathered_with_their_steps(journal: Journal) -> None:
    run = begin(journal)
    check = {"name": "disk", "verdict": "fail", "host": "a", "detail": "1 GB", "hint": "more", "severity": "gate"}
    do(journal, run, "preflight.hosts", Event.FAILED, checks=[check], error={"what": "held"})
    assert run_report(journal, run)["checks"] == [{**check, "step": "preflight.hosts"}]


def test_the_page_shows_every_step_and_the_verdict(journal: Journal) -> None:
    run = begin(journal)
    for step in STEPS:
        do(journal, run, step.id, listed=5, verified=5, bytes=1200)
    journal.end(run, "done")
    page = io.StringIO()
    show_report(Console(file=page, width=140), run_report(journal, journal.run(run.id)))
    text = page.getvalue()
    assert all(step.id in text for step in STEPS)
    assert "outcome: done, proved" in text
    assert "1.2 kB" in text
    assert "\x1b" not in text


def test_markup_in_what_the_world_says_is_shown_as_it_is() -> None:
    page = io.StringIO()
    case = read_case(PLANS / "empty_bucket.yaml")
    steps = tuple(replace(step, title="[red]title[/]") for step in case.plan.steps)
    show_forecast(Console(file=page, width=200), replace(case.plan, steps=steps), case.forecast, verbose=True)
    assert "[red]title[/]" in page.getvalue()


def test_the_report_is_a_json_document(journal: Journal) -> None:
    run = begin(journal)
    do(journal, run, "export.media", path=str(Path("/x")))
    assert json.loads(json.dumps(run_report(journal, run)))["run"] == run.id


def test_status_shows_progress_of_what_is_under_way(journal: Journal, tmp_path: Path) -> None:
    run = begin(journal)
    do(journal, run, "preflight.hosts")
    journal.write(run, "export.media", Event.STARTED, {})
    journal.write(
        run, "export.media", Event.PROGRESS,
        {"listed": 2000, "settled": 500, "settled_bytes": 5e6, "bytes_per_second": 1e6, "seconds_left": 15.0},
    )  # fmt: skip
    status = run_status(tmp_path / "journal.sqlite", tmp_path / "lock")
    assert (status["done"], status["total"], status["under_way"]) == (1, 4, False)
    page = io.StringIO()
    show_status(Console(file=page, width=140), status)
    assert "500 of 2,000 objects, 5.0 MB, 1.0 MB/s, 15.0 s left" in page.getvalue()


def test_status_shows_the_task_that_a_playbook_is_at(journal: Journal, tmp_path: Path) -> None:
    run = begin(journal)
    journal.write(run, "preflight.hosts", Event.STARTED, {})
    journal.write(run, "preflight.hosts", Event.PROGRESS, {"task": "postgresql : Wait (data2: 12/99 kB (12%))"})
    page = io.StringIO()
    show_status(Console(file=page, width=140), run_status(tmp_path / "journal.sqlite", tmp_path / "lock"))
    assert "data2: 12/99 kB (12%)" in page.getvalue()


def test_status_says_when_what_is_left_is_reached(journal: Journal, tmp_path: Path) -> None:
    estimate = Estimate(((Limit("a", 600.0, 1.0, Ground.KNOWN, "a drill", "600 s"),),))
    plan = Plan("s", "i", (STEPS[0], *(replace(step, estimate=estimate) for step in STEPS[1:])))
    run = journal.begin_or_resume("run", plan.digest, plan.as_document())
    do(journal, run, "preflight.hosts")
    journal.write(run, "export.media", Event.STARTED, {})
    journal.write(run, "export.media", Event.PROGRESS, {"listed": 2000, "seconds_left": 1200.0})
    with exclusive(tmp_path / "lock", "run"):
        left = run_status(tmp_path / "journal.sqlite", tmp_path / "lock")["left"]
        page = io.StringIO()
        show_status(Console(file=page, width=140), run_status(tmp_path / "journal.sqlite", tmp_path / "lock"))
    assert {what: round(one["p50_seconds"], -2) for what, one in left.items()} == {
        "out": 1200, "up": 1800, "proved": 2400
    }  # fmt: skip
    assert all(one["untold"] == [] for one in left.values())
    assert re.search(
        r"data out of the old home: (20|19) min \d\d s left: \w+ \d\d:\d\d UTC, nine in ten by", page.getvalue()
    )


def test_the_clock_of_a_run_that_nobody_works_on_stands(journal: Journal, tmp_path: Path) -> None:
    estimate = Estimate(((Limit("a", 600.0, 1.0, Ground.KNOWN, "a drill", "600 s"),),))
    plan = Plan("s", "i", tuple(replace(step, estimate=estimate) for step in STEPS))
    run = journal.begin_or_resume("run", plan.digest, plan.as_document())
    do(journal, run, "preflight.hosts")
    journal.write(run, "export.media", Event.STARTED, {})
    journal.write(run, "export.media", Event.PROGRESS, {"listed": 2000, "seconds_left": 3.0})
    left = run_status(tmp_path / "journal.sqlite", tmp_path / "lock")["left"]["out"]
    assert left["p50_seconds"] == pytest.approx(600, rel=0.02)
    assert left["p50_at"] is None


def test_status_of_steps_of_unknown_time_says_at_least(journal: Journal, tmp_path: Path) -> None:
    run = begin(journal)
    do(journal, run, "preflight.hosts")
    page = io.StringIO()
    show_status(Console(file=page, width=140), run_status(tmp_path / "journal.sqlite", tmp_path / "lock"))
    assert "every service runs: of 2 of the steps before it the time is not known" in page.getvalue()


def test_status_of_a_run_that_is_done_has_nothing_left(journal: Journal, tmp_path: Path) -> None:
    run = begin(journal)
    for step in STEPS:
        do(journal, run, step.id)
    assert run_status(tmp_path / "journal.sqlite", tmp_path / "lock")["left"] == {}


def test_the_page_of_a_run_shows_steps_predictions_and_faults(journal: Journal) -> None:
    estimate = Estimate(((Limit("a", 600.0, 1.0, Ground.KNOWN, "a drill", "600 s"),),))
    plan = Plan("s", "i", tuple(replace(step, estimate=estimate, title=f"<b>{step.id}</b>") for step in STEPS))
    run = journal.begin_or_resume("run", plan.digest, plan.as_document())
    do(journal, run, "preflight.hosts")
    check = {"name": "<i>", "verdict": "fail", "detail": "<script>", "hint": "", "host": "one", "severity": "gate"}
    do(journal, run, "export.media", Event.FAILED, error={"what": "a <fault>", "hint": "mend it"}, checks=[check])
    journal.end(run, "held")
    page = run_page(run_report(journal, journal.run(run.id)), "plaza")
    assert "Run 1: not proved" in page
    assert "Held at <code>export.media</code>" in page
    assert "10 min 00 s" in page
    assert "what: a &lt;fault&gt;<br>do: mend it" in page
    assert "&lt;b&gt;start.web&lt;/b&gt;" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_lock_that_nobody_holds_is_not_held(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    (tmp_path / "lock").write_text("someone, long ago")
    assert not is_held(tmp_path / "lock")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.42, "0.4 s"), (59.94, "59.9 s"), (61, "1 min 01 s"), (3599, "59 min 59 s"), (7620, "2 h 07 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (36_000, "36.0 kB"), (7e13, "70.0 TB")])
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text
