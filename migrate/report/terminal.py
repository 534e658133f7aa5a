"""A run on the terminal: while it goes on, and its report when it has ended."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from migrate.journal import Event
from migrate.plan import Step

MARKS = {
    "done": "[green]✓[/]",
    "skipped": "[green]✓[/]",
    "failed": "[red]✗[/]",
    "pass": "[green]✓[/]",
    "fail": "[red]✗[/]",
    "unknown": "[yellow]?[/]",
}
FACTS_SHOWN = 5
LONGEST_FACT = 40
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
            note = detail.get("note") or ("…" if event is Event.STARTED else _facts(detail))
            console.print(f"  [dim]{step.id} {escape(str(note))}[/]")
        return
    word = {Event.SKIPPED: "already there, verified", Event.FAILED: "[red]held[/]"}.get(event, "")
    facts = "" if event is Event.FAILED else escape(_facts(detail))
    line = "  ".join(part for part in (word, facts) if part)
    console.print(
        f"{MARKS.get(event, '·')} {step.id:<30} {duration(seconds):>11}  {line}", highlight=False, soft_wrap=True
    )
    for check in detail.get("checks", []):
        if verbose or check["verdict"] != "pass":
            show_check(console, check)


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
    text = escape(f"{where}{check['name']} {check['detail']}")
    console.print(f"    {MARKS[check['verdict']]} {text}", highlight=False, soft_wrap=True)
    if check["verdict"] != "pass" and check["hint"]:
        console.print(f"      do: {escape(check['hint'])}", highlight=False, soft_wrap=True)


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
    console.print(f"outcome: {report['outcome']}, {verdict}", highlight=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return table


def _show_steps(console: Console, report: Mapping[str, Any]) -> None:
    table = _table("", "step", ">time", ">tries", "what")
    for row in report["steps"]:
        table.add_row(
            MARKS.get(row["outcome"], "·"), row["id"], duration(row["seconds"]), str(row["attempts"]), row["title"]
        )
    console.print(table)


def _show_checks(console: Console, report: Mapping[str, Any], *, verbose: bool) -> None:
    checks = report["checks"]
    counts = {word: sum(check["verdict"] == word for check in checks) for word in ("pass", "fail", "unknown")}
    console.print()
    console.print(
        f"[bold]checks[/]  {len(checks)}: {counts['pass']} pass, {counts['fail']} fail, {counts['unknown']} unknown",
        highlight=False,
    )
    table = _table("", "step", "host", "check", "found")
    for check in checks:
        if verbose or check["verdict"] != "pass" or check["step"].startswith("prove."):
            table.add_row(
                MARKS[check["verdict"]], check["step"], check["host"], check["name"], Text(check["detail"][:100])
            )
    console.print(table)


def _show_objects(console: Console, report: Mapping[str, Any]) -> None:
    if not report["objects"]:
        return
    table = _table("bucket", ">listed", ">verified", ">skipped", ">quarantined", ">archived", ">gone", ">bytes")
    for bucket, counts in report["objects"].items():
        numbers = [str(counts.get(k, 0)) for k in ("listed", "verified", "skipped", "quarantined", "archived", "gone")]
        table.add_row(bucket, *numbers, size(counts.get("bytes", 0)))
    console.print()
    console.print(table)


def _show_rewritten(console: Console, report: Mapping[str, Any]) -> None:
    for database, detail in report["rewritten"].items():
        console.print(f"\n[bold]addresses rewritten[/] in {database}: {detail.get('values', 0):,}", highlight=False)
        for column, count in sorted(detail.get("rewritten", {}).items()):
            console.print(f"  {column}: {count:,}", highlight=False)


def _show_recovery(console: Console, report: Mapping[str, Any]) -> None:
    rto = report["rto"]
    console.print(
        f"\n[bold]RTO[/]  basic service {duration(rto['basic_seconds'])}, "
        f"queues drained {duration(rto['drained_seconds'])}",
        highlight=False,
    )
    for database, detail in report["rpo"].items():
        _show_lag(console, database, detail.get("lag"))


def _show_lag(console: Console, database: str, lag: Mapping[str, Any] | None) -> None:
    if lag is None:
        console.print(f"[bold]RPO[/]  {database}: unknown, the old home could not be asked", highlight=False)
        return
    newest = f"newest write missing {lag['newest_missing']}" if lag["newest_missing"] else "no newer write is missing"
    console.print(
        f"[bold]RPO[/]  {database}: {lag['rows_missing']:,} rows over {duration(lag['seconds'])}; {newest}",
        highlight=False,
    )
    for table in lag["tables"]:
        if table["rows_missing"]:
            console.print(f"  {table['table']}: {table['rows_missing']:,} rows", highlight=False)
