"""A run on the terminal: while it goes on, and its report when it has ended."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from migrate.journal import Event
from migrate.plan import Step
from migrate.report.layout import Column, say, show_table

MARKS = {
    "done": "[green]✓[/]",
    "skipped": "[green]✓[/]",
    "failed": "[red]✗[/]",
    "pass": "[green]✓[/]",
    "fail": "[red]✗[/]",
    "unknown": "[yellow]?[/]",
}
STEPS = (
    Column(""), Column("step", name=True), Column("time", right=True),
    Column("tries", right=True, gives_way=1, label="tries"), Column("what", words=True, gives_way=2),
)  # fmt: skip
CHECKS = (
    Column(""), Column("step", gives_way=2), Column("host", gives_way=1), Column("check", name=True),
    Column("found", words=True, gives_way=3),
)  # fmt: skip
COUNTS = {"listed": 0, "verified": 0, "skipped": 4, "quarantined": 1, "archived": 2, "gone": 3}
"""Counts of a bucket's objects -> which gives way first where the page is narrow."""
OBJECTS = (
    Column("bucket", name=True),
    *(
        Column(count, right=True, gives_way=place, label=count)
        for count, place in zip(COUNTS, (0, 0, 4, 1, 2, 3), strict=True)
    ),
    Column("bytes", right=True),
)
FACTS_SHOWN = 5
LONGEST_FACT = 40
LONGEST_DETAIL = 100
UNSHOWN = {"seconds", "complete", "passed", "of", "dry_run", "cross_checked", "marker", "sha256"}


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12.1 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def size(count: float) -> str:
    """Bytes in the largest decimal unit that leaves a number above one."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def show_event(
    console: Console, step: Step, event: Event, detail: Mapping[str, Any], seconds: float | None, *, verbose: bool
) -> None:
    """One line for each step that ends; with `verbose` also when it begins, and its progress."""
    if event in (Event.STARTED, Event.PROGRESS):
        if verbose:
            note = detail.get("note") or detail.get("task") or ("…" if event is Event.STARTED else _facts(detail))
            say(console, f"[dim]{step.id} {escape(str(note))}[/]", indent=2)
        return
    word = {Event.SKIPPED: "already there, verified", Event.FAILED: "[red]held[/]"}.get(event, "")
    facts = "" if event is Event.FAILED else escape(_facts(detail))
    line = "  ".join(part for part in (word, facts) if part)
    show_step(console, MARKS.get(event, "·"), step.id, duration(seconds), line)
    for check in detail.get("checks", []):
        if verbose or check["verdict"] != "pass":
            show_check(console, check)


def show_step(console: Console, mark: str, name: str, time: str, note: str) -> None:
    """A step on one line, or, where the console is narrow, on one that hangs."""
    say(console, f"{mark} {name:<30} {time:>11}  {note}", hang=4)


def _facts(detail: Mapping[str, Any]) -> str:
    """The few words of a step's detail that fit on its line: no zeros, nothing long, digests in the report only."""
    checks = detail.get("checks", [])
    shown = []
    if checks:
        passed = sum(check["verdict"] == "pass" for check in checks)
        shown.append(f"{passed} of {len(checks)} checks pass")
    for key, value in detail.items():
        if key in UNSHOWN or not isinstance(value, (str, int, float)) or (not value and value is not False):
            continue
        text = _value(key, value)
        if len(text) <= LONGEST_FACT:
            shown.append(f"{key.replace('_', ' ')} {text}")
    return " · ".join(shown[:FACTS_SHOWN])


def _value(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key == "bytes" and isinstance(value, int):
        return size(value)
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_check(console: Console, check: Mapping[str, Any]) -> None:
    """One check with its verdict, and what to do where it did not pass."""
    where = f"{check['host']}: " if check["host"] else ""
    say(console, f"{MARKS[check['verdict']]} {escape(where + check['name'])} {escape(check['detail'])}", indent=4)
    if check["verdict"] != "pass" and check["hint"]:
        say(console, f"do: {escape(check['hint'])}", indent=6)


def show_report(console: Console, report: Mapping[str, Any], *, verbose: bool = False) -> None:
    """The page that ends a run or drill."""
    drill = report["command"] == "rehearse"
    console.rule(f"[bold]{'drill' if drill else 'run'} report, run {report['run']}")
    _show_steps(console, report)
    _show_checks(console, report, verbose=verbose)
    _show_objects(console, report)
    _show_rewritten(console, report)
    _show_recovery(console, report)
    verdict = "[bold green]proved[/]" if report["proved"] else "[bold red]not proved[/]"
    say(console, f"outcome: {report['outcome']}, {verdict}")


def _show_steps(console: Console, report: Mapping[str, Any]) -> None:
    show_table(console, STEPS, [
        (MARKS.get(row["outcome"], "·"), escape(row["id"]), duration(row["seconds"]), str(row["attempts"]),
         escape(row["title"]))
        for row in report["steps"]
    ])  # fmt: skip


def _show_checks(console: Console, report: Mapping[str, Any], *, verbose: bool) -> None:
    checks = report["checks"]
    counts = {word: sum(check["verdict"] == word for check in checks) for word in ("pass", "fail", "unknown")}
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    say(console, f"\n[bold]checks[/]  {len(checks)}: {told}")
    shown = [c for c in checks if verbose or c["verdict"] != "pass" or c["step"].startswith("prove.")]
    if shown:
        show_table(console, CHECKS, [
            (MARKS[c["verdict"]], escape(c["step"]), escape(c["host"]), escape(c["name"]), escape(_found(c)))
            for c in shown
        ])  # fmt: skip


def _found(check: Mapping[str, Any]) -> str:
    """What a check found: of one that passed, the beginning."""
    detail: str = check["detail"]
    return detail[:LONGEST_DETAIL] if check["verdict"] == "pass" else detail


def _show_objects(console: Console, report: Mapping[str, Any]) -> None:
    if report["objects"]:
        console.print()
        show_table(console, OBJECTS, [
            (escape(bucket), *(str(counts.get(name, 0)) for name in COUNTS), size(counts.get("bytes", 0)))
            for bucket, counts in report["objects"].items()
        ])  # fmt: skip


def _show_rewritten(console: Console, report: Mapping[str, Any]) -> None:
    for database, detail in report["rewritten"].items():
        say(console, f"\n[bold]addresses rewritten[/] in {escape(database)}: {detail.get('values', 0):,}")
        for column, count in sorted(detail.get("rewritten", {}).items()):
            say(console, f"{escape(column)}: {count:,}", indent=2)


def _show_recovery(console: Console, report: Mapping[str, Any]) -> None:
    basic, drained = (duration(report["rto"][key]) for key in ("basic_seconds", "drained_seconds"))
    say(console, f"\n[bold]RTO[/]  basic service {basic}, queues drained {drained}")
    for database, detail in report["rpo"].items():
        _show_lag(console, escape(database), detail.get("lag"))


def _show_lag(console: Console, database: str, lag: Mapping[str, Any] | None) -> None:
    if lag is None:
        say(console, f"[bold]RPO[/]  {database}: unknown, the old home could not be asked")
        return
    newest = f"newest write missing {lag['newest_missing']}" if lag["newest_missing"] else "no newer write is missing"
    say(console, f"[bold]RPO[/]  {database}: {lag['rows_missing']:,} rows over {duration(lag['seconds'])}; {newest}")
    for table in lag["tables"]:
        if table["rows_missing"]:
            say(console, f"{escape(table['table'])}: {table['rows_missing']:,} rows", indent=2)
