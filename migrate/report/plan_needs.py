"""What a plan leaves, costs and needs of room, on the terminal."""

import math
from collections.abc import Iterator
from datetime import timedelta

from rich.console import Console
from rich.markup import escape

from migrate.check import Verdict
from migrate.figures import sized
from migrate.forecast.result import Forecast, RoomLine
from migrate.plan import LAG
from migrate.report.layout import Column, say, show_table
from migrate.report.plan_words import few, lasting, moment, year_of
from migrate.report.terminal import MARKS

SHORT_SHOWN = 3
STALE = timedelta(days=7)
"""Sizes that are older than this are worth a word: the app goes on writing."""
LOOK_AGAIN = "look again: cloudexit assess --facts, plan --probe"
BY_HAND = (
    "`run` drives one: share out buckets and prefixes, cloudexit export s3://BUCKET/PREFIX DEST on each, and bring the"
    " archives together"
)
TOO_LATE = "it would ask the old home after its end; writes after the dump are lost, and nobody knows how many"
COST = (
    Column("US$", right=True), Column("what", words=True), Column("how reckoned", words=True, gives_way=2),
    Column("ground", gives_way=1),
)  # fmt: skip
ROOM = (
    Column(""), Column("where", name=True), Column("hosts", right=True, gives_way=1, label="hosts"), Column("of"),
    Column("needed", right=True), Column("there", right=True), Column("ground", gives_way=2),
    Column("how reckoned", words=True, gives_way=3), Column("says who", words=True, gives_way=4),
)  # fmt: skip


def show_archived(console: Console, forecast: Forecast) -> None:
    if not forecast.archived:
        return
    if all(row.asked_for for row in forecast.archived):
        one_by_one = len({row.bucket for row in forecast.archived}) > 1
        by_hand = "; one bucket after the other: ask for all of them now by hand, and they thaw side by side"
        say(console, "\n[bold]archived[/]  this plan has these restored, waits for them, and fetches them"
                     f"{by_hand if one_by_one else ''}")  # fmt: skip
    else:
        say(console, "\n[bold red]archived[/]  this plan does not fetch these, and its export would end incomplete; ask"
                     " for them now: cloudexit export s3://BUCKET DEST --restore-archived TIER, or"
                     " restore_archived in the manifest")  # fmt: skip
    year = year_of(forecast.made_at, forecast.go_at)
    for row in forecast.archived:
        late = row.ask_by is not None and row.ask_by < forecast.go_at
        ask_by = f"; ask by {moment(row.ask_by, year)}"
        when = "" if row.ask_by is None else "; [red]too late[/]" if late else ask_by
        say(console, f"{escape(row.bucket)}: {row.objects:,} objects, {sized(row.bytes)} in {row.storage_class}:"
                     f" {row.tier} takes {lasting(row.hours * 3600)}{when}", indent=2)  # fmt: skip


def show_stays(console: Console, forecast: Forecast) -> None:
    """What no time would bring along, but for archived objects, which have their own part."""
    for row in forecast.stays:
        if not row.breaks:
            count = "" if row.objects is None else f": {row.objects:,} objects, {sized(row.bytes or 0)}"
            say(console, f"\n[bold]stays behind[/]  {escape(row.bucket)}, {row.what}{count}; to bring them along:"
                         f" {escape(row.how)}")  # fmt: skip


def show_cost(console: Console, forecast: Forecast) -> None:
    if not forecast.cost:
        return
    bill = "cannot be told:" if forecast.bill_usd is None else f"${forecast.bill_usd:,.0f}"
    say(console, f"\n[bold]cost[/]  {bill} egress and requests, list prices")
    show_table(console, COST, [
        ("?" if line.usd is None else f"{line.usd:,.2f}", escape(line.what), escape(line.formula), str(line.ground))
        for line in forecast.cost
    ])  # fmt: skip
    for source in dict.fromkeys(line.source for line in forecast.cost if line.source):
        say(console, f"[dim]{escape(source)}[/]", indent=2)


def show_room(console: Console, forecast: Forecast, *, verbose: bool) -> None:
    counts = {verdict: sum(line.verdict is verdict for line in forecast.room) for verdict in Verdict}
    say(console, f"\n[bold]room[/]  {counts[Verdict.PASS]} enough, {counts[Verdict.FAIL]} short,"
                 f" {counts[Verdict.UNKNOWN]} not known")  # fmt: skip
    shown = [line for line in forecast.room if verbose or line.there is not None]
    if shown:
        show_table(console, ROOM, [_room_cells(line) for line in shown])
    unknown = [line for line in forecast.room if line.there is None]
    if unknown and not verbose:
        say(console, f"[yellow]?[/] of {len(unknown)} of {len(forecast.room)} needs nobody said what is there (-v names"
                     " them): say it in inventory or facts; preflight looks before anything is done",
            indent=2)  # fmt: skip


def _room_cells(line: RoomLine) -> list[str]:
    worst = f" ({line.worst_host} has least)" if line.worst_host else ""
    return [
        MARKS[line.verdict], escape(line.where), str(line.hosts), line.resource,
        amount(line.resource, line.needed), amount(line.resource, line.there), str(line.ground or "–"),
        escape(line.formula), escape(line.source + worst),
    ]  # fmt: skip


def gaps(forecast: Forecast) -> Iterator[tuple[str, str]]:
    """Why the plan must not be carried out though it were in time: a word, and what it is about."""
    for row in forecast.stays:
        if row.breaks:
            yield "LEAVES", f"{row.objects:,} objects, {sized(row.bytes or 0)}, of {row.bucket}: {row.what}; {row.how}"
    if forecast.export_hosts > 1:
        yield "BY HAND", f"{forecast.export_hosts} export hosts are reckoned with, and {BY_HAND}"
    if forecast.oldest_fact and forecast.made_at - forecast.oldest_fact > STALE:
        days = (forecast.made_at - forecast.oldest_fact).days
        yield "OLD", f"the oldest size that this rests on was observed {days:,} days ago; {LOOK_AGAIN}"
    late = _late_lags(forecast)
    if late:
        yield "LATE", f"{few(late)}: {TOO_LATE}"
    yield from (("SHORT", short) for short in shortages(forecast))


def _late_lags(forecast: Forecast) -> list[str]:
    available = forecast.deadline.available_seconds if forecast.deadline else math.inf
    return [row.id for row in forecast.steps if row.id.startswith(LAG) and (row.begins_seconds or 0) > available]


def shortages(forecast: Forecast) -> list[str]:
    """What hosts need and have not: the first of it, and how much more."""
    short = [line for line in forecast.room if line.verdict is Verdict.FAIL]
    told = [
        f"{line.where} needs {amount(line.resource, line.needed)} {line.resource} and has"
        f" {amount(line.resource, line.there)}"
        for line in short[:SHORT_SHOWN]
    ]
    return [*told, f"and {len(short) - SHORT_SHOWN} more needs"] if len(short) > SHORT_SHOWN else told


def amount(resource: str, value: float | None) -> str:
    """Bytes of disk and memory, a count of anything else."""
    if value is None:
        return "?"
    return sized(value) if resource in ("disk", "memory") else f"{value:,.0f}"
