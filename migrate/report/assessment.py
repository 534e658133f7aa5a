"""An assessment as a page for a tired person: the verdict, what holds us, the first hour; the rest below."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from migrate.assess.findings import Assessment, Conclusion, Deed, Finding, Hold, Leak, Stop
from migrate.assess.knowledge import ASSUMED
from migrate.assess.observed import Fact, Unseen
from migrate.report.terminal import size

NAMED = 3
COLOURS = {Conclusion.FREE: "green", Conclusion.UNKNOWN: "yellow"}
SIZES = {"bytes": 1, "storage_gb": 10**9}
"""Facts that are sizes -> bytes in one."""
SHOWN_FACTS = (
    "called", "users", "bytes", "objects", "items", "messages", "storage_gb", "engine", "version", "type", "expires",
    "origin", "access_keys", "subscriptions", "tasks", "runtime", "records",
)  # fmt: skip


def show_assessment(console: Console, found: Assessment, *, verbose: bool = False) -> None:
    """The whole page; `verbose` names every resource and every question without an answer."""
    _show_verdict(console, found)
    asked = [stop for stop in found.vendors if stop.asked]
    _show_stops(console, f"WITHOUT {', '.join(stop.vendor for stop in asked)}", asked)
    _show_captive(console, found.findings, verbose=verbose)
    _show_first_hour(console, found)
    _show_leaks(console, found)
    _show_vendors(console, [stop for stop in found.vendors if not stop.asked], alone=not asked)
    _show_others(console, found.findings, verbose=verbose)
    _show_unseen(console, found.unseen, verbose=verbose)


def hours(value: float) -> str:
    """`20 min`, `2 h`, `48 h`, `7 days`."""
    if value < 1:
        return f"{value * 60:.0f} min"
    return f"{value:.0f} h" if value < 72 else f"{value / 24:.0f} days"


def _show_verdict(console: Console, found: Assessment) -> None:
    colour = COLOURS.get(found.verdict, "red")
    totals = found.totals
    console.print(f"[bold {colour}]{found.verdict.upper()}[/]  (exit {found.exit_code})", highlight=False)
    for reason in found.because:
        _say(console, f"  {reason}", style="bold")
    _say(
        console,
        f"  account {found.account}, {_regions(found.regions)}, {totals.resources:,} resources: "
        f"{totals.captive:,} captive, {totals.replaceable:,} replaceable, {totals.portable:,} portable",
        style="dim",
    )
    if totals.buckets:
        text = f"  {totals.buckets:,} buckets, {totals.objects:,} objects, {size(totals.bytes)}, by their metrics"
        _say(console, text, style="dim")
    _say(console, f"  seen at {found.at} as {found.caller}, in {found.seconds:.0f} s", style="dim")


def _regions(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} regions"


def _heading(console: Console, title: str, note: str = "") -> None:
    console.print(f"\n[bold]{title}[/]" + (f"  [dim]{escape(note)}[/]" if note else ""), highlight=False)


def _say(console: Console, text: str, *, indent: int = 0, style: str = "") -> None:
    console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False), highlight=False)


def _show_captive(console: Console, findings: Sequence[Finding], *, verbose: bool) -> None:
    captive = [finding for finding in findings if finding.hold is Hold.CAPTIVE]
    if not captive:
        return
    _heading(console, "WHAT HOLDS US", "cannot leave; each needs an answer in the manifest")
    order = sorted(captive, key=lambda finding: (not finding.unanswered, _sort(finding)))
    for _, group in groupby(order, key=lambda finding: (not finding.unanswered, _sort(finding), finding.answer)):
        alike = list(group)
        one = alike[0]
        mark = "[red]✗[/]" if one.unanswered else "[green]✓[/]"
        title = f"{one.resource.service} {one.resource.kind}" + (f" ×{len(alike):,}" if len(alike) > 1 else "")
        console.print(f" {mark} [bold]{escape(title)}[/]  {escape(_names(alike, verbose=verbose))}", highlight=False)
        _say(console, one.why, indent=4)
        if one.answer:
            _say(console, f"answer: {one.answer}", indent=4, style="green")
            continue
        _say(console, f"instead: {one.instead} (about {hours(one.lead_hours)})", indent=4)
        _say(console, f"first: {one.first}", indent=4)
        key = one.resource.address if len(alike) == 1 else f"{one.resource.service}/*"
        _say(console, f'answer in stack.yaml: answers: {{"{key}": "…"}}', indent=4, style="dim")


def _sort(finding: Finding) -> tuple[str, str, str]:
    return finding.resource.service, finding.resource.kind, finding.why


def _names(findings: Iterable[Finding], *, verbose: bool) -> str:
    names = [_named(finding) for finding in findings]
    shown = names if verbose else names[:NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f", and {more:,} more" if more else "")


def _named(finding: Finding) -> str:
    resource = finding.resource
    facts = [text for fact in SHOWN_FACTS if (text := _fact(fact, resource.facts.get(fact)))]
    unread = ["size not known"] if "bytes" in resource.unseen else []
    shown = [*facts[:NAMED], *unread]
    return f"{resource.name} ({', '.join(shown)})" if shown else resource.name


def _fact(name: str, value: Fact) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    if isinstance(value, str):
        return value
    if name in SIZES:
        return size(value * SIZES[name]) if value else ""
    return f"{value:,} {name.replace('_', ' ')}"


def _show_first_hour(console: Console, found: Assessment) -> None:
    if not found.first_hour:
        return
    note = f"each clock starts when you ask; ! longer than a notice of {hours(found.notice_hours)}, ~ assumed"
    _heading(console, "IN THE FIRST HOUR", note)
    for deed in found.first_hour:
        mark = "[red]![/]" if deed.too_late else " "
        clock = f"{'~' if deed.source == ASSUMED else ''}{hours(deed.clock_hours)}"
        console.print(
            f" {mark} [bold]{clock:>7}[/]  {escape(deed.what)}: {escape(_places(deed))}",
            highlight=False,
            soft_wrap=True,
        )
        _say(console, f"do: {deed.how}", indent=12, style="dim")
        if deed.otherwise:
            _say(console, f"and: {deed.otherwise}", indent=12)


def _places(deed: Deed) -> str:
    more = len(deed.where) - NAMED
    return ", ".join(deed.where[:NAMED]) + (f", and {more:,} more" if more > 0 else "")


def _show_leaks(console: Console, found: Assessment) -> None:
    if not (found.leaks or found.not_looked_for):
        return
    _heading(console, "WHAT WOULD LEAK OR BE WRONG ON THE OTHER SIDE")
    for leak in found.leaks:
        console.print(f" [red]✗[/] [bold]{leak.kind}[/]  {escape(leak.where)}: {_count(leak)}", highlight=False)
        _say(console, leak.detail, indent=4)
        _say(console, f"first: {leak.first}", indent=4)
    for missing in found.not_looked_for:
        _say(console, f" ? not looked for: {missing}", style="yellow")


def _count(leak: Leak) -> str:
    return f"{leak.found:,} of {leak.looked_at:,} looked at" if leak.looked_at is not None else f"{leak.found:,}"


def _show_vendors(console: Console, stops: Sequence[Stop], *, alone: bool) -> None:
    if not (stops and alone):
        return
    title = "IF THEY SAY NO (one alone: cloudexit assess --without NAME)"
    _show_stops(console, title, [stop for stop in stops if stop.declared])
    undeclared = [stop for stop in stops if not stop.declared]
    if len(undeclared) == len(stops):
        _heading(console, title)
    _show_unarranged(console, undeclared)


def _show_stops(console: Console, title: str, stops: Sequence[Stop]) -> None:
    if not stops:
        return
    _heading(console, title)
    for stop in stops:
        held = f", {stop.held} in this account" if stop.held else ""
        title = f"{stop.does} by {stop.provider}{held}"
        console.print(f"   [bold]{escape(stop.vendor)}[/]  {escape(title)}", highlight=False)
        _say(console, f"{stop.after}: {stop.effect}", indent=4)
        for text in _stopped(stop):
            _say(console, text, indent=4)
        if stop.instead:
            _say(console, f"arranged: {stop.instead}", indent=4, style="green")
        else:
            _say(console, f"nobody is arranged; another takes about {hours(stop.lead_hours)}", indent=4, style="yellow")
            _say(console, f"first: {stop.first}", indent=4)


def _show_unarranged(console: Console, stops: Sequence[Stop]) -> None:
    """Vendors that the account has and the manifest does not know: what stops with them cannot be told."""
    for stop in stops:
        console.print(
            f"   [bold]{escape(stop.vendor)}[/]  {stop.does}; {escape(stop.after)}: {escape(stop.effect)}",
            highlight=False,
            soft_wrap=True,
        )
    if stops:
        names = ", ".join(stop.vendor for stop in stops)
        _say(console, f" ? not in the manifest, so what stops and who takes over is not known: {names}", style="yellow")


def _stopped(stop: Stop) -> Iterator[str]:
    if not stop.declared:
        yield "not in the manifest: which services and journeys stop is not known"
        return
    for noun, names in (("services", stop.services), ("checks", stop.checks), ("journeys", stop.journeys)):
        yield f"{noun} that stop: {', '.join(names) or 'none'}"


def _show_others(console: Console, findings: Sequence[Finding], *, verbose: bool) -> None:
    for hold, title in ((Hold.REPLACEABLE, "WHAT MUST BE REPLACED"), (Hold.PORTABLE, "WHAT LEAVES AS IT IS")):
        of_hold = sorted((f for f in findings if f.hold is hold), key=_sort)
        if not of_hold:
            continue
        _heading(console, title)
        columns = ("service", "what", "which", "by", "lead", *(["first"] if verbose else []))
        table = Table(box=None, pad_edge=True, header_style="bold", padding=(0, 1))
        for column in columns:
            table.add_column(column, overflow="fold", justify="right" if column == "lead" else "left")
        for _, group in groupby(of_hold, key=_sort):
            alike = list(group)
            one = alike[0]
            kind = f"{one.resource.kind} ×{len(alike):,}" if len(alike) > 1 else one.resource.kind
            cells = [one.resource.service, kind, _names(alike, verbose=verbose), one.instead, hours(one.lead_hours)]
            table.add_row(*map(Text, [*cells, *([one.first] if verbose else [])]))
        console.print(table)


def _show_unseen(console: Console, unseen: Sequence[Unseen], *, verbose: bool) -> None:
    if not unseen:
        return
    _heading(console, "NOT SEEN", "neither yes nor no")
    key: Callable[[Unseen], tuple[str, ...]] = lambda u: (u.reason, u.action, u.said)  # noqa: E731
    for (reason, action, said), group in groupby(sorted(unseen, key=key), key=key):
        alike = list(group)
        places = list(dict.fromkeys(f"{u.about or u.service} in {u.region}" for u in alike))
        shown = places if verbose else places[:NAMED]
        more = f", and {len(places) - len(shown):,} more" if len(places) > len(shown) else ""
        console.print(f" [yellow]?[/] {reason}: [bold]{action}[/]  {escape(', '.join(shown))}{more}", highlight=False)
        if verbose:
            _say(console, said, indent=4, style="dim")
