"""Where a run is, read from the journal by any process."""

import fcntl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from migrate.errors import UsageProblem
from migrate.forecast.moments import after
from migrate.forecast.remaining import Standing, remaining
from migrate.journal import Event, Journal, Run
from migrate.plan import Plan
from migrate.report.document import run_report
from migrate.report.layout import say
from migrate.report.plan_words import REACHED
from migrate.report.terminal import MARKS, duration, show_step, size

WORDS = {"waiting": "·", "under way": "[yellow]▸[/]"}


def run_status(journal_path: Path, lock: Path) -> dict[str, Any]:
    """The last run's steps and the progress of those under way. `under_way` says whether a process works on it."""
    journal = Journal(journal_path, read_only=True)
    run = journal.last_run()
    if run is None:
        return {"run": None, "under_way": False, "left": {}, "steps": []}
    report = run_report(journal, run)
    progress = {r.step: dict(r.detail) for r in journal.records(run) if r.event is Event.PROGRESS}
    is_under_way = is_held(lock)
    journal.close()
    now = datetime.now(UTC)
    steps = [
        {
            **{key: row[key] for key in ("id", "phase", "outcome", "seconds", "started_at", "title")},
            "progress": progress.get(row["id"], {}) if row["outcome"] == "under way" else {},
            "error": row["detail"].get("error", {}).get("what", "") if row["outcome"] == Event.FAILED else "",
        }
        for row in report["steps"]
    ]
    return {
        "run": run.id,
        "command": run.command,
        "outcome": report["outcome"],
        "under_way": is_under_way,
        "started_at": report["started_at"],
        "done": sum(row["outcome"] in ("done", "skipped") for row in steps),
        "total": len(steps),
        "left": _left(run, steps, now if is_under_way else None),
        "steps": steps,
    }


def _left(run: Run, steps: Sequence[Mapping[str, Any]], now: datetime | None) -> dict[str, Any]:
    """`out`, `up` and `proved`, where not reached: when they will be; nothing where the plan is of another format.
    `now` is None where nobody works on it: then no step goes on, and what it said of itself is old."""
    try:
        plan = Plan.from_document(run.plan, f"run {run.id}")
    except UsageProblem:
        return {}
    found = remaining(plan, {row["id"]: _standing(row, now) for row in steps})
    return {
        what: {
            **{f"p{share}_seconds": round(one.spread.at(share / 100), 1) for share in (50, 90)},
            **{
                f"p{share}_at": after(now, one.spread.at(share / 100)).isoformat() if now else None
                for share in (50, 90)
            },
            "untold": list(one.untold),
        }
        for what, one in found.items()
    }


def _standing(row: Mapping[str, Any], now: datetime | None) -> Standing:
    if row["outcome"] in ("done", "skipped"):
        return Standing(done=True)
    if row["outcome"] != "under way" or now is None:
        return Standing()
    elapsed = (now - datetime.fromisoformat(row["started_at"])).total_seconds()
    return Standing(elapsed_seconds=elapsed, seconds_left=row["progress"].get("seconds_left"))


def is_held(lock: Path) -> bool:
    """Whether a living process holds a lock file."""
    if not lock.exists():
        return False
    with lock.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(stream, fcntl.LOCK_UN)
        return False


def show_status(console: Console, status: Mapping[str, Any], *, verbose: bool = False) -> None:
    """The last run's steps; with `verbose` also what each does, and when it began."""
    state = "goes on" if status["under_way"] else status.get("outcome", "")
    say(console, f"run {status['run']} ({status.get('command')}): {status.get('done')} of {status.get('total')} steps,"
                 f" {state}")  # fmt: skip
    _show_left(console, status)
    for row in status["steps"]:
        mark = MARKS.get(row["outcome"], WORDS.get(row["outcome"], "·"))
        time = duration(row["seconds"]) if row["outcome"] != "under way" else _since(row["started_at"])
        show_step(console, mark, row["id"], time, escape(_first_line(row["error"]) or _progress(row["progress"])))
        if verbose:
            began = f"; began {row['started_at']}" if row["started_at"] else ""
            say(console, f"[dim]{escape(row['title'])}{began}[/]", indent=4)


def _first_line(error: str) -> str:
    """Of an error that tells of several places, the first; the report has them all."""
    first, *more = error.splitlines() or [""]
    return f"{first} …" if more else first


def _show_left(console: Console, status: Mapping[str, Any]) -> None:
    """Of a run that goes on when each thing will be reached, or how long at least it takes; of another how much is left
    when it goes on."""
    for what, left in status["left"].items():
        is_told = status["under_way"] and not left["untold"]
        at = f": {clock(left['p50_at'])}, nine in ten by {clock(left['p90_at'])}" if is_told else ""
        say(console, f"{REACHED[what]}: {_how_long(left)}{at}", indent=2)


def _how_long(left: Mapping[str, Any]) -> str:
    if not left["untold"]:
        return f"{duration(left['p50_seconds'])} left"
    steps = f"of {len(left['untold'])} of the steps before it the time is not known"
    return f"at least {duration(left['p50_seconds'])} left; {steps}" if left["p50_seconds"] >= 1 else steps


def clock(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%a %H:%M %Z}"


def _since(moment: str) -> str:
    return duration((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def _progress(progress: Mapping[str, Any]) -> str:
    """`812 of 2,013 objects, 33.0 MB, 12.1 MB/s, 3.0 s left`; a step may say it in its own words as `note`, and a
    playbook says its `task`."""
    said = progress.get("note") or progress.get("task")
    if said:
        return str(said)
    if "listed" not in progress:
        return ""
    parts = [
        f"{progress.get('settled', 0):,} of {progress['listed']:,} objects",
        size(progress.get("settled_bytes", 0)),
    ]
    if progress.get("bytes_per_second"):
        parts.append(f"{size(progress['bytes_per_second'])}/s")
    if progress.get("seconds_left") is not None:
        parts.append(f"{duration(progress['seconds_left'])} left")
    return ", ".join(parts)
