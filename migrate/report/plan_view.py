"""A plan and its forecast on the terminal: the verdict first, then the steps, the cost, the room."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.markup import escape

from migrate.figures import rated, rated_up, sized, weakest
from migrate.forecast.result import DeadlineForecast, Finish, Forecast, Simulation, Standing, StepForecast
from migrate.plan import Effect, Plan, Step
from migrate.report.layout import Column, said, say, show_table
from migrate.report.plan_needs import gaps, show_archived, show_cost, show_room, show_stays
from migrate.report.plan_words import (
    REACHED,
    chance,
    day_and_hour,
    few,
    lasting,
    moment,
    needed_line,
    pattern,
    slack,
    span,
    year_of,
)  # fmt: skip

ALIKE_SHOWN = 5
"""More steps of one kind than this are one line, but for `-v`."""
PATH_SHOWN = 4
LEFT_SHOWN = 24
TELL = "say what is there in a file of facts (--facts FILE), or measure it: --probe"
LEGEND = (
    "[dim]▸ a delay here delays the whole; begins: after the go; of several steps: each of them, and when the first"
    " begins; times at the median, and what nine in ten stay below; latest begin: for the deadline, in brackets for the"
    " end of the whole[/]"
)
STANDINGS = {
    Standing.MET: "[bold green]MET[/]",
    Standing.TIGHT: "[bold yellow]TIGHT[/]",
    Standing.MISSED: "[bold red]MISSED[/]",
    Standing.UNKNOWN: "[bold red]CANNOT BE TOLD[/]",
}
EFFECTS = {Effect.READ: "reads", Effect.REVERSIBLE: "changes", Effect.IRREVERSIBLE: "[red]no way back[/]"}
FINISHES = (
    Column("reached", name=True), Column("half of cases", right=True), Column("at", gives_way=2, label="half at"),
    Column("nine in ten", right=True), Column("at", gives_way=2, label="nine in ten at"),
    Column("rests on", gives_way=3, label="rests on"),
)  # fmt: skip
LEFT_BEHIND = (
    Column("bucket", name=True), Column("age", gives_way=1), Column("objects", right=True), Column("bytes", right=True),
)  # fmt: skip
UNKNOWABLE = (Column("  step"), Column("what", words=True))


def show_forecast(console: Console, plan: Plan, forecast: Forecast, *, verbose: bool = False) -> None:
    """The whole page. With `verbose` each step and host group has its line, and each time its source."""
    for word, gap in gaps(forecast):
        say(console, f"[bold red]{word}[/]  {escape(gap)}")
    if forecast.deadline:
        _show_deadline(console, forecast, forecast.deadline)
    if forecast.finishes and (forecast.deadline or forecast.holds):
        console.print()
    _show_finishes(console, plan, forecast)
    _show_steps(console, plan, forecast, verbose=verbose)
    show_archived(console, forecast)
    show_stays(console, forecast)
    show_cost(console, forecast)
    show_room(console, forecast, verbose=verbose)
    _show_predictions(console, forecast)
    _show_way_back(console, forecast)
    _show_unknowable(console, plan, forecast)
    say(console, f"\n{len(plan.steps)} steps, plan {plan.digest[:12]}. Nothing was changed anywhere.")
    for reason in forecast.holds:
        say(console, f"[bold red]held[/]  {escape(reason)}")


def _show_deadline(console: Console, forecast: Forecast, found: DeadlineForecast) -> None:
    if found.standing is Standing.UNKNOWN:
        say(console, f"{STANDINGS[found.standing]}  whether the data is out in time")
    else:
        say(console, f"{STANDINGS[found.standing]}  {chance(found.chance or 0)} chance that the data is out in time")
    year = _year(forecast)
    said(console, "deadline", f"{moment(found.deadline, year)}, {lasting(found.available_seconds)} after the go"
                              f" ({moment(forecast.go_at, year)})")  # fmt: skip
    if found.standing is Standing.UNKNOWN:
        said(console, "why", _untold(forecast))
        said(console, "do", TELL)
        return
    for label, text in _deadline_lines(found, forecast):
        said(console, label, text)
    for order in found.orders:
        said(console, "order", f"{order.order}: {order.left_objects:,} objects, {sized(order.left_bytes)} stay:"
                               f" {escape(order.loses)}")  # fmt: skip
    _show_left_behind(console, found)


def _deadline_lines(found: DeadlineForecast, forecast: Forecast) -> Iterator[tuple[str, str]]:
    yield "slack", slack(found)
    safe, even, last = (_with_over(at, forecast) for at in (found.go_by, found.even_by, found.give_up_at))
    yield "go", f"by {safe} for nine chances in ten, by {even} for an even one"
    yield "give up", f"at {last}: from then on less than one chance in ten; choose what stays"
    for more in (found.together_p50, found.together_p90):
        if more:
            share = "an even chance" if more is found.together_p50 else "nine in ten"
            yield "both", f"neither alone is enough; {more.export_hosts} hosts on {rated_up(more.line)} for {share}"
    if found.line:
        yield (
            "line",
            f"it takes {_both(needed_line(found.line_p50), needed_line(found.line_p90))};"
            f" reckoned with {rated(found.line)}; what holds it up: {found.binding.replace('_', ' ')}",
        )
    yield (
        "hosts",
        f"it takes {_both(_hosts(found.export_hosts_p50), _hosts(found.export_hosts_p90))};"
        f" reckoned with {found.export_hosts} export host{'s' if found.export_hosts > 1 else ''}",
    )


def _year(forecast: Forecast) -> int:
    return year_of(forecast.made_at, forecast.go_at)


def _with_over(at: datetime | None, forecast: Forecast) -> str:
    """The moment; one that lies before the go cannot be met any more."""
    over = at is not None and at < forecast.go_at
    return f"{moment(at, _year(forecast))}{' [red](over)[/]' if over else ''}"


def _both(even: str, safe: str) -> str:
    return f"{safe} for nine in ten" if even == safe else f"{even} for an even chance, {safe} for nine in ten"


def _hosts(count: int | None) -> str:
    return str(count) if count else "more than any number"


def _show_left_behind(console: Console, found: DeadlineForecast) -> None:
    if not found.left_behind:
        return
    say(console, "\n[bold]left behind[/] as planned, in half of all cases")
    show_table(
        console,
        LEFT_BEHIND,
        [(escape(r.bucket), r.age, f"{r.objects:,}", sized(r.bytes)) for r in found.left_behind[:LEFT_SHOWN]],
    )
    if len(found.left_behind) > LEFT_SHOWN:
        say(console, f"and {len(found.left_behind) - LEFT_SHOWN} more rows: --json")


def _show_finishes(console: Console, plan: Plan, forecast: Forecast) -> None:
    year = _year(forecast)
    if forecast.finishes:
        show_table(console, FINISHES, [
            (REACHED[finish.what], span(finish.p50_seconds), moment(finish.p50_at, year),
             span(finish.p90_seconds), moment(finish.p90_at, year), str(finish.ground))
            for finish in forecast.finishes
        ])  # fmt: skip
        for reached, path in _paths(plan, forecast.finishes):
            say(console, f"{reached} for {escape(path)}", indent=2)
    for more in forecast.more_lanes:
        say(console, f"with {more.lanes} steps at once instead of {forecast.lanes} every service runs after"
                     f" {span(more.up_seconds)}, if hosts and line bear it: --side-by-side {more.lanes}",
            indent=2)  # fmt: skip
    if forecast.simulation:
        _show_simulation(console, forecast.simulation)
    told_above = forecast.deadline is not None and forecast.deadline.standing is Standing.UNKNOWN
    if forecast.untold and not told_above:
        say(console, f"[yellow]?[/] {_untold(forecast)}")
        say(console, f"do: {TELL}", indent=2)


def _untold(forecast: Forecast) -> str:
    """Which times cannot be told, and why."""
    count = len(forecast.untold)
    return (
        f"the time of {count} step{'' if count == 1 else 's'} of {len(forecast.steps)} cannot be told, as the size of"
        f" {'its' if count == 1 else 'their'} work is not known: {escape(few(forecast.untold))}"
    )


def _show_simulation(console: Console, found: Simulation) -> None:
    say(console, f"simulated, {found.runs} runs with {found.failures:.1f} failures each and"
                 f" {found.throttled_hours:.0%} of hours at half pace (assumed): data out after"
                 f" {span(found.out_p50_seconds)} in half, {span(found.out_p90_seconds)} in nine of ten; every service"
                 f" runs after {span(found.up_p50_seconds)}, {span(found.up_p90_seconds)}", indent=2)  # fmt: skip


def _paths(plan: Plan, finishes: Sequence[Finish]) -> Iterator[tuple[str, str]]:
    """What is reached, and what it waits for; what waits for the same is told together."""
    told: dict[str, list[str]] = {}
    for finish in finishes:
        told.setdefault(_path(plan, finish), []).append(REACHED[finish.what])
    for path, reached in told.items():
        yield f"{' and '.join(reached)} {'wait' if len(reached) > 1 else 'waits'}", path


def _path(plan: Plan, finish: Finish) -> str:
    """The critical path, steps of one kind together, the longest first: `20 x restore.media, start.web`."""
    steps = {step.id: step for step in plan.steps}
    kinds: dict[str, list[Step]] = {}
    for name in finish.critical_path:
        kinds.setdefault(steps[name].kind, []).append(steps[name])
    longest = sorted(kinds.values(), key=lambda alike: -sum(s.estimate.seconds for s in alike if s.estimate))
    shown = [f"{len(alike)} x {alike[0].kind}" if len(alike) > 1 else alike[0].id for alike in longest[:PATH_SHOWN]]
    return ", ".join([*shown, "…"] if len(longest) > PATH_SHOWN else shown)


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
    last = (
        Column("latest begin", gives_way=4, label="latest begin")
        if binds
        else Column("may wait", right=True, gives_way=4, label="may wait")
    )
    columns = (
        Column(""), Column("step", name=True), Column("effect", gives_way=5), Column("half", right=True),
        Column("nine in ten", right=True, gives_way=1, label="nine in ten"), Column("ground", gives_way=6),
        Column("begins", right=True, gives_way=3, label="begins"), last,
        Column("how reckoned", words=True, gives_way=7),
    )  # fmt: skip
    rows: list[Sequence[str] | str] = []
    phase = ""
    for row in _rows(plan, forecast, verbose=verbose):
        if row.steps[0].phase != phase:
            phase = row.steps[0].phase
            rows.append(f"   [bold]{phase}[/]")
        rows.append(_cells(row, _year(forecast), binds=binds, verbose=verbose))
    show_table(console, columns, rows)
    say(console, LEGEND)


def _cells(row: _Row, year: int, *, binds: bool, verbose: bool) -> list[str]:
    first, found = row.steps[0], row.found[0]
    several = len(row.steps) > 1
    name = f"{pattern([step.id for step in row.steps])} x{len(row.steps)}" if several else first.id
    last = min((one.last_begin for one in row.found if one.last_begin), default=None)
    late = min((one.latest_begin for one in row.found if one.latest_begin), default=None)
    wait = min((one.float_seconds for one in row.found if one.float_seconds is not None), default=None)
    return [
        "[bold]▸[/]" if any(one.critical for one in row.found) else "",
        escape(name),
        EFFECTS[first.effect],
        *_times(row.steps),
        "–" if found.begins_seconds is None else f"+{span(found.begins_seconds)}",
        _latest(last, late, year) if binds else ("–" if wait is None else span(wait)),
        _formula(row.steps, verbose=verbose),
    ]


def _latest(last: datetime | None, late: datetime | None, year: int) -> str:
    """Until when it may begin for the deadline's sake; in brackets, where that does not bind it, for the end's sake."""
    if last:
        return day_and_hour(last, year)
    return f"[dim]({day_and_hour(late, year)})[/]" if late else ""


def _times(steps: Sequence[Step]) -> list[str]:
    estimates = [step.estimate for step in steps if step.estimate]
    if len(estimates) < len(steps):
        return ["?", "?", "unknown"]
    ground = weakest([estimate.ground for estimate in estimates])
    lows, highs = [e.seconds for e in estimates], [e.p90_seconds for e in estimates]
    if len(steps) == 1:
        return [span(lows[0]), span(highs[0]), str(ground)]
    each = "" if max(lows) - min(lows) < 1 else "≤"
    return [each + span(max(lows)), each + span(max(highs)), str(ground)]


def _formula(steps: Sequence[Step], *, verbose: bool) -> str:
    estimate = max((s.estimate for s in steps if s.estimate), key=lambda e: e.seconds, default=None)
    if estimate is None:
        return "[yellow]size not known[/]"
    if not verbose:
        return escape(estimate.formula)
    return escape(f"{steps[0].title}\n{estimate.formula}  [{estimate.source}]")


def _show_predictions(console: Console, forecast: Forecast) -> None:
    if not forecast.predictions:
        return
    say(console, "\n[bold]Ansible's prediction[/] (check mode; tasks that follow from others are not seen by it)")
    for found in forecast.predictions:
        what = f"{found.changes} tasks would change something" if found.changes is not None else found.problem
        named = f": {few(found.tasks)}" if found.tasks else ""
        say(console, escape(f"{found.host}: {what}{named}"), indent=2)


def _show_way_back(console: Console, forecast: Forecast) -> None:
    point = forecast.point_of_no_return
    say(
        console, f"\n[bold]point of no return[/]  {escape(f'{point.step}: ' if point.step else '')}{escape(point.what)}"
    )
    said(console, "before", escape(point.before), width=8)
    said(console, "after", escape(point.after), width=8)


def _show_unknowable(console: Console, plan: Plan, forecast: Forecast) -> None:
    say(console, "\n[bold]cannot be known before it runs[/]")
    told: dict[str, str] = {}
    for step, found in zip(plan.steps, forecast.steps, strict=True):
        if found.unknowable:
            told.setdefault(step.kind, found.unknowable)
    show_table(console, UNKNOWABLE, [(f"  {kind}", escape(text)) for kind, text in told.items()])
