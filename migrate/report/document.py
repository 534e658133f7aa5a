"""The report of a run as one JSON document, made from the journal alone, so that it can be made again at any time."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from migrate.journal import Event, Journal, Record, Run
from migrate.plan import Phase

REPORT_FORMAT = 1
ENDS = (Event.DONE, Event.SKIPPED, Event.FAILED)


def run_report(journal: Journal, run: Run) -> dict[str, Any]:
    """The report of a run or drill; `proved` is true only when every step of the plan ended well.

    Times are RFC 3339 in UTC, durations seconds.
    """
    records = journal.records(run)
    steps = [_step_row(step, [r for r in records if r.step == step["id"]]) for step in run.plan["steps"]]
    checks = [{**check, "step": row["id"]} for row in steps for check in row["detail"].get("checks", [])]
    return {
        "format": REPORT_FORMAT,
        "run": run.id,
        "command": run.command,
        "plan_digest": run.plan_digest,
        "operator": run.operator,
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "outcome": run.outcome or "unfinished",
        "proved": all(row["outcome"] in ("done", "skipped") for row in steps),
        "rto": recovery_time(run.plan["steps"], records),
        "rpo": _details(steps, "cutover.lag"),
        "objects": _details(steps, "export.bucket"),
        "rewritten": _details(steps, "restore.rewrite"),
        "steps": steps,
        "checks": checks,
    }


def _step_row(step: Mapping[str, Any], records: list[Record]) -> dict[str, Any]:
    """Seconds are those of the attempt that did the work: a resumed run skips what an earlier attempt had done."""
    ends = [record for record in records if record.event in ENDS]
    worked = [record for record in ends if record.event is Event.DONE] or ends
    last = ends[-1] if ends else None
    detail = dict(worked[-1].detail) if worked else {}
    if last and last.event is Event.FAILED:
        detail = dict(last.detail)
    return {
        "id": step["id"],
        "phase": step["phase"],
        "kind": step["kind"],
        "title": step["title"],
        "subject": step["subject"],
        "outcome": _outcome(records, last),
        "attempts": sum(record.event is Event.STARTED for record in records),
        "started_at": records[0].at.isoformat() if records else None,
        "ended_at": last.at.isoformat() if last else None,
        "seconds": round(worked[-1].seconds or 0.0, 2) if worked else None,
        "predicted_seconds": step["estimate"]["seconds"] if step.get("estimate") else None,
        "detail": detail,
    }


def _outcome(records: list[Record], last: Record | None) -> str:
    if last and records[-1].event in ENDS:
        return "done" if any(r.event is Event.DONE for r in records) and last.event is Event.SKIPPED else last.event
    return "under way" if records else "waiting"


def _details(steps: Iterable[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    """Subject -> detail of the steps of a kind that have ended."""
    return {
        row["subject"]: {key: value for key, value in row["detail"].items() if key != "checks"}
        for row in steps
        if row["kind"] == kind and row["detail"]
    }


def recovery_time(steps: Iterable[Mapping[str, Any]], records: list[Record]) -> dict[str, Any]:
    """Seconds from the first step at the new home (preflight) until users are served, and until queues have drained.

    The laboratory's own set-up does not count: a real new home's hosts exist when the clock starts.
    """
    started = [step["id"] for step in steps if step["kind"] == "start.service"]
    begin = _first(records, [step["id"] for step in steps if step["phase"] == Phase.PREFLIGHT], Event.STARTED)
    basic = _when_all_done(records, started)
    drained = _when_all_done(records, ["start.drained"])
    return {
        "from": begin.isoformat() if begin else None,
        "basic_seconds": _between(begin, basic),
        "drained_seconds": _between(begin, drained),
    }


def _first(records: Iterable[Record], steps: list[str], event: Event) -> datetime | None:
    return min((r.at for r in records if r.step in steps and r.event is event), default=None)


def _when_all_done(records: list[Record], steps: list[str]) -> datetime | None:
    """The moment at which the last of the steps was done for the first time; None while one is not."""
    moments = []
    for step in steps:
        first = min((r.at for r in records if r.step == step and r.event in (Event.DONE, Event.SKIPPED)), default=None)
        if first is None:
            return None
        moments.append(first)
    return max(moments, default=None)


def _between(begin: datetime | None, end: datetime | None) -> float | None:
    return round((end - begin).total_seconds(), 2) if begin and end else None
