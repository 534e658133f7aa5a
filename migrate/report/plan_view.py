"""A plan and its forecast on the terminal: the verdict first, then the steps, the cost, the room."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from migrate.check import Verdict
from migrate.figures import rated, sized, weakest
from migrate.forecast.result import DeadlineForecast, Finish, Forecast, RoomLine, Simulation, Standing, StepForecast
from migrate.plan import Effect, Plan, Step
from migrate.report.terminal import MARKS

ALIKE_SHOWN = 5
"""More steps of one kind than this are one line, but for `-v`."""
PATH_SHOWN = 4
UNBROKEN = ("step", "effect", "reached", "ground", "latest begin", "where", "rests on")
LEGEND = (
    "[dim]▸ a delay here delays the whole; begins: after the go; of several steps: each of them, and when the first"
    " begins; times at the median, and what nine in ten stay below[/]"
)
STANDINGS = {
    Standing.MET: "[bold green]MET[/]",
    Standing.TIGHT: "[bold yellow]TIGHT[/]",
    Standing.MISSED: "[bold red]MISSED[/]",
    Standing.UNKNOWN: "[bold red]CANNOT BE TOLD[/]",
}
EFFECTS = {Effect.READ: "reads", Effect.REVERSIBLE: "changes", Effect.IRREVERSIBLE: "[red]no way back[/]"}
REACHED = {
    "out": "data out of the old home",
    "up": "every service runs",
    "proved": "everything proved",
}


def show_forecast(console: Console, plan: Plan, forecast: Forecast, *, verbose: bool = False) -> None:
    """The whole page. With `verbose` each step and host group has its line, and each time its source."""
    if forecast.deadline:
        _show_deadline(console, forecast, forecast.deadline)
    _show_finishes(console, plan, forecast)
    _show_steps(console, plan, forecast, verbose=verbose)
    _show_archived(console, forecast)
    _show_cost(console, forecast)
    _show_room(console, forecast, verbose=verbose)
    _show_predictions(console, forecast)
    _show_way_back(console, forecast)
    _show_unknowable(console, plan, forecast)
    _say(console, f"\n{len(plan.steps)} steps, plan {plan.digest[:12]}. Nothing was changed anywhere.")
    for reason in forecast.holds:
        _say(console, f"[bold red]held[/]  {escape(reason)}")


def moment(at: datetime | None) -> str:
    """`Sat 21 Nov 08:00 UTC`."""
    return f"{at:%a %d %b %H:%M %Z}" if at else "–"


def pattern(ids: Sequence[str]) -> str:
    """What the ids of several steps have in common, with a star for the rest: `restore.database.*.load`."""
    parts = [name.split(".") for name in ids]
    if len({len(part) for part in parts}) > 1:
        return f"{parts[0][0]}.*"
    return ".".join(same[0] if len(set(same)) == 1 else "*" for same in zip(*parts, strict=True))


def span(seconds: float | None) -> str:
    """A duration as short as its size allows: `1.7 s`, `57 s`, `8 min 06 s`, `25 min`, `30 h 00 min`, `4 d 02 h`."""
    if seconds is None:
        return "?"
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def chance(share: float) -> str:
    """A share of draws; a few hundred of them cannot say that something is certain."""
    if share > 0.99:
        return "over 99%"
    return "under 1%" if share < 0.01 else f"{share:.0%}"


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


def _show_deadline(console: Console, forecast: Forecast, found: DeadlineForecast) -> None:
    _say(console, f"[bold]deadline[/]  {moment(found.deadline)}, {span(found.available_seconds)} after the go"
                  f" ({moment(forecast.go_at)}): {STANDINGS[found.standing]}")  # fmt: skip
    if found.standing is Standing.UNKNOWN:
        _say(console, f"  the time of {len(forecast.untold)} steps cannot be told: {_few(forecast.untold)}")
        return
    for label, text in _deadline_lines(found):
        _say(console, f"  {label:<10}{text}")
    for order in found.orders:
        _say(console, f"  {'order':<10}{order.order}: {order.left_objects:,} objects, {sized(order.left_bytes)} stay:"
                      f" {escape(order.loses)}")  # fmt: skip
    _show_left_behind(console, found)


def _deadline_lines(found: DeadlineForecast) -> Iterator[tuple[str, str]]:
    late = "late by" if (found.slack_p50_seconds or 0) < 0 else "to spare:"
    yield (
        "chance",
        (
            f"{chance(found.chance or 0)}; {late} {span(abs(found.slack_p50_seconds or 0))} in half of all cases,"
            f" slack {span(found.slack_p90_seconds)} in nine of ten"
        ),
    )
    yield "go", f"by {moment(found.go_by)} for nine chances in ten, by {moment(found.even_by)} for an even one"
    yield "give up", f"at {moment(found.give_up_at)}: from then on less than one chance in ten; choose what stays"
    if found.line:
        yield (
            "line",
            (
                f"{rated(found.line)} reckoned with; it takes {_line(found.line_p50)} for an even chance, "
                f"{_line(found.line_p90)} for nine in ten; what holds it up: {found.binding.replace('_', ' ')}"
            ),
        )
    yield (
        "hosts",
        (
            f"{found.export_hosts} export host{'s' if found.export_hosts > 1 else ''} reckoned with; it takes "
            f"{_hosts(found.export_hosts_p50)} for an even chance, {_hosts(found.export_hosts_p90)} for nine in ten"
        ),
    )


def _line(rate: float | None) -> str:
    return rated(rate) if rate else "more than any line"


def _hosts(count: int | None) -> str:
    return str(count) if count else "more than any number"


def _show_left_behind(console: Console, found: DeadlineForecast) -> None:
    if not found.left_behind:
        return
    _say(console, "\n[bold]left behind[/] as planned, in half of all cases")
    table = _table("bucket", "age", ">objects", ">bytes")
    for row in found.left_behind[:24]:
        table.add_row(row.bucket, row.age, f"{row.objects:,}", sized(row.bytes))
    console.print(table)
    if len(found.left_behind) > 24:
        _say(console, f"and {len(found.left_behind) - 24} more rows: --json")


def _show_finishes(console: Console, plan: Plan, forecast: Forecast) -> None:
    if forecast.finishes:
        console.print()
        table = _table("reached", ">half of all cases", "", ">nine in ten", "", "rests on")
        for finish in forecast.finishes:
            table.add_row(
                REACHED[finish.what],
                span(finish.p50_seconds),
                moment(finish.p50_at),
                span(finish.p90_seconds),
                moment(finish.p90_at),
                str(finish.ground),
            )
        console.print(table)
        for finish in forecast.finishes:
            _say(console, f"  {REACHED[finish.what]} waits for {_path(plan, finish)}")
    for more in forecast.more_lanes:
        _say(console, f"  with {more.lanes} steps at once instead of {forecast.lanes} every service runs after"
                      f" {span(more.up_seconds)}, if hosts and line bear it: --side-by-side {more.lanes}")  # fmt: skip
    if forecast.simulation:
        _show_simulation(console, forecast.simulation)
    if forecast.untold:
        _say(console, f"[yellow]?[/] the time of {len(forecast.untold)} of {len(forecast.steps)} steps cannot be told,"
                      f" as the size of their work is not known: {_few(forecast.untold)}")  # fmt: skip
        _say(console, "  do: say what is there in a file of facts (--facts FILE), or measure it: --probe")


def _show_simulation(console: Console, found: Simulation) -> None:
    _say(console, f"  simulated, {found.runs} runs with {found.failures:.1f} failures each and"
                  f" {found.throttled_hours:.0%} of hours at half pace (assumed): data out after"
                  f" {span(found.out_p50_seconds)} in half, {span(found.out_p90_seconds)} in nine of ten; every service"
                  f" runs after {span(found.up_p50_seconds)}, {span(found.up_p90_seconds)}")  # fmt: skip


def _path(plan: Plan, finish: Finish) -> str:
    """The critical path, steps of one kind together, the longest first: `20 x restore.media, start.web`."""
    steps = {step.id: step for step in plan.steps}
    kinds: dict[str, list[Step]] = {}
    for name in finish.critical_path:
        kinds.setdefault(steps[name].kind, []).append(steps[name])
    longest = sorted(kinds.values(), key=lambda alike: -sum(s.estimate.seconds for s in alike if s.estimate))
    shown = [f"{len(alike)} x {alike[0].kind}" if len(alike) > 1 else alike[0].id for alike in longest[:PATH_SHOWN]]
    return ", ".join([*shown, "…"] if len(longest) > PATH_SHOWN else shown)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown


@dataclass(frozen=True)
class _Row:
    """Steps that are shown on one line."""

    steps: tuple[Step, ...]
    found: tuple[StepForecast, ...]


def _rows(plan: Plan, forecast: Forecast, *, verbose: bool) -> Iterator[_Row]:
    together: dict[tuple[str, str], list[int]] = {}
    for index, step in enumerate(plan.steps):
        together.setdefault((step.phase, step.kind), []).append(index)
    shown: set[tuple[str, str]] = set()
    for step, found in zip(plan.steps, forecast.steps, strict=True):
        key = (step.phase, step.kind)
        alike = together[key]
        if verbose or len(alike) <= ALIKE_SHOWN:
            yield _Row((step,), (found,))
        elif key not in shown:
            shown.add(key)
            yield _Row(tuple(plan.steps[i] for i in alike), tuple(forecast.steps[i] for i in alike))


def _show_steps(console: Console, plan: Plan, forecast: Forecast, *, verbose: bool) -> None:
    console.print()
    binds = forecast.deadline is not None and forecast.deadline.standing is not Standing.UNKNOWN
    last = "latest begin" if binds else ">may wait"
    table = _table("", "step", "effect", ">half", ">nine in ten", "ground", ">begins", last, "how reckoned")
    phase = ""
    for row in _rows(plan, forecast, verbose=verbose):
        if row.steps[0].phase != phase:
            phase = row.steps[0].phase
            table.add_row("", f"[bold]{phase}[/]")
        table.add_row(*_cells(row, binds=binds, verbose=verbose))
    console.print(table)
    _say(console, LEGEND)


def _cells(row: _Row, *, binds: bool, verbose: bool) -> list[str]:
    first, found = row.steps[0], row.found[0]
    several = len(row.steps) > 1
    name = f"{pattern([step.id for step in row.steps])} x{len(row.steps)}" if several else first.id
    last = next((one.last_begin for one in row.found if one.last_begin), None)
    wait = min((one.float_seconds for one in row.found if one.float_seconds is not None), default=None)
    return [
        "[bold]▸[/]" if any(one.critical for one in row.found) else "",
        escape(name),
        EFFECTS[first.effect],
        *_times(row.steps),
        "–" if found.begins_seconds is None else f"+{span(found.begins_seconds)}",
        (f"{last:%d %b %H:%M}" if last else "") if binds else ("–" if wait is None else span(wait)),
        _formula(row.steps, verbose=verbose),
    ]


def _times(steps: Sequence[Step]) -> list[str]:
    estimates = [step.estimate for step in steps if step.estimate]
    if len(estimates) < len(steps):
        return ["?", "?", "unknown"]
    ground = weakest([estimate.ground for estimate in estimates])
    lows, highs = [e.seconds for e in estimates], [e.p90_seconds for e in estimates]
    if len(steps) == 1:
        return [span(lows[0]), span(highs[0]), str(ground)]
    each = "" if max(lows) - min(lows) < 1 else "≤ "
    return [each + span(max(lows)), each + span(max(highs)), str(ground)]


def _formula(steps: Sequence[Step], *, verbose: bool) -> str:
    estimate = max((s.estimate for s in steps if s.estimate), key=lambda e: e.seconds, default=None)
    if estimate is None:
        return "[yellow]size not known[/]"
    if not verbose:
        return escape(estimate.formula)
    return escape(f"{steps[0].title}\n{estimate.formula}  [{estimate.source}]")


def _show_archived(console: Console, forecast: Forecast) -> None:
    if not forecast.archived:
        return
    _say(console, "\n[bold red]archived[/]  this plan does not fetch these; ask for them:"
                  " cloudexit export s3://BUCKET DEST --restore-archived TIER")  # fmt: skip
    for row in forecast.archived:
        late = row.ask_by is not None and row.ask_by < forecast.go_at
        when = "" if row.ask_by is None else "; [red]too late[/]" if late else f"; ask by {moment(row.ask_by)}"
        _say(console, f"  {escape(row.bucket)}: {row.objects:,} objects, {sized(row.bytes)} in {row.storage_class}:"
                      f" {row.tier} takes {row.hours:g} h{when}")  # fmt: skip


def _show_cost(console: Console, forecast: Forecast) -> None:
    if not forecast.cost:
        return
    bill = "cannot be told:" if forecast.bill_usd is None else f"${forecast.bill_usd:,.0f}"
    _say(console, f"\n[bold]cost[/]  {bill} egress and requests, list prices")
    table = _table(">US$", "what", "how reckoned", "ground")
    for line in forecast.cost:
        usd = "?" if line.usd is None else f"{line.usd:,.2f}"
        table.add_row(usd, escape(line.what), escape(line.formula), str(line.ground))
    console.print(table)
    for source in dict.fromkeys(line.source for line in forecast.cost if line.source):
        _say(console, f"  [dim]{source}[/]")


def _show_room(console: Console, forecast: Forecast, *, verbose: bool) -> None:
    counts = {verdict: sum(line.verdict is verdict for line in forecast.room) for verdict in Verdict}
    _say(console, f"\n[bold]room[/]  {counts[Verdict.PASS]} enough, {counts[Verdict.FAIL]} short,"
                  f" {counts[Verdict.UNKNOWN]} not known")  # fmt: skip
    shown = [line for line in forecast.room if verbose or line.there is not None]
    if shown:
        table = _table("", "where", ">hosts", "of", ">needed", ">there", "ground", "how reckoned", "says who")
        for line in shown:
            table.add_row(*_room_cells(line))
        console.print(table)
    unknown = [line for line in forecast.room if line.there is None]
    if unknown and not verbose:
        _say(console, f"  [yellow]?[/] nobody said what is there for {len(unknown)} needs (-v names them): say it in"
                      " inventory or facts; preflight looks before anything is done")  # fmt: skip


def _room_cells(line: RoomLine) -> list[str]:
    worst = f" ({line.worst_host} has least)" if line.worst_host else ""
    return [
        MARKS[line.verdict], escape(line.where), str(line.hosts), line.resource,
        amount(line.resource, line.needed), amount(line.resource, line.there), str(line.ground or "–"),
        escape(line.formula), escape(line.source + worst),
    ]  # fmt: skip


def amount(resource: str, value: float | None) -> str:
    """Bytes of disk and memory, a count of anything else."""
    if value is None:
        return "?"
    return sized(value) if resource in ("disk", "memory") else f"{value:,.0f}"


def _show_predictions(console: Console, forecast: Forecast) -> None:
    if not forecast.predictions:
        return
    _say(console, "\n[bold]Ansible's prediction[/] (check mode; tasks that follow from others are not seen by it)")
    for found in forecast.predictions:
        what = f"{found.changes} tasks would change something" if found.changes is not None else found.problem
        _say(
            console, f"  {escape(found.host)}: {escape(what)}{': ' + escape(_few(found.tasks)) if found.tasks else ''}"
        )


def _show_way_back(console: Console, forecast: Forecast) -> None:
    point = forecast.point_of_no_return
    _say(
        console, f"\n[bold]point of no return[/]  {escape(f'{point.step}: ' if point.step else '')}{escape(point.what)}"
    )
    _say(console, f"  before  {escape(point.before)}")
    _say(console, f"  after   {escape(point.after)}")


def _show_unknowable(console: Console, plan: Plan, forecast: Forecast) -> None:
    _say(console, "\n[bold]cannot be known before it runs[/]")
    told: dict[str, str] = {}
    for step, found in zip(plan.steps, forecast.steps, strict=True):
        if found.unknowable:
            told.setdefault(step.kind, found.unknowable)
    for kind, text in told.items():
        _say(console, f"  {kind:<18} {escape(text)}")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        table.add_column(
            column.lstrip(">"),
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right or column in UNBROKEN,
        )
    return table
