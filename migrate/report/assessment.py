"""An assessment as a page for a tired person: the verdict, what holds us, the first hour; the rest below."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from migrate.assess.findings import Assessment, Conclusion, Deed, Finding, Hold, Leak, Stop
from migrate.assess.judging import service_name
from migrate.assess.knowledge import ASSUMED
from migrate.assess.observed import Fact, Unseen
from migrate.assess.vendors import PROVIDES
from migrate.report.lines import say, visible
from migrate.report.terminal import size

NAMED = 3
LONGEST_NAME = 80
TABLE_COLUMNS = 100
"""A narrower terminal gets lists instead of tables: five columns of ten characters nobody reads."""
COLOURS = {Conclusion.FREE: "green", Conclusion.UNKNOWN: "yellow"}
SIZES = {"bytes": 1, "storage_gb": 10**9}
"""Facts that are sizes -> bytes in one."""
SHOWN_FACTS = (
    "called", "users", "bytes", "objects", "items", "messages", "storage_gb", "engine", "version", "type", "expires",
    "origin", "access_keys", "subscriptions", "tasks", "runtime", "records", "images", "resources",
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
    say(console, (found.verdict.upper(), f"bold {colour}"), f"  (exit {found.exit_code})")
    for reason in found.because:
        say(console, (reason, "bold"), indent=2)
    text = (
        f"account {found.account}, {_regions(found.regions)}, {totals.resources:,} resources seen: "
        f"{totals.captive:,} captive, {totals.replaceable:,} replaceable, {totals.portable:,} portable"
    )
    say(console, (text, "dim"), indent=2)
    if totals.buckets:
        text = f"{totals.buckets:,} buckets, {totals.objects:,} objects, {size(totals.bytes)}, by their metrics"
        unknown = f"; of {totals.buckets_of_unknown_size:,} of them the size is not known"
        say(console, (text, "dim"), (unknown if totals.buckets_of_unknown_size else "", "yellow"), indent=2)
    say(console, (f"seen at {found.at} as {found.caller}, in {found.seconds:.0f} s", "dim"), indent=2)


def _regions(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} regions"


def _heading(console: Console, title: str, note: str = "") -> None:
    say(console)
    say(console, (title, "bold"), (f"  {note}" if note else "", "dim"))


def _show_captive(console: Console, findings: Sequence[Finding], *, verbose: bool) -> None:
    captive = [finding for finding in findings if finding.hold is Hold.CAPTIVE]
    if not captive:
        return
    _heading(console, "WHAT HOLDS US", "cannot leave; each needs an answer in the manifest")
    order = sorted(captive, key=lambda finding: (not finding.unanswered, _sort(finding)))
    for _, group in groupby(order, key=lambda finding: (not finding.unanswered, _sort(finding), finding.answer)):
        alike = list(group)
        one = alike[0]
        mark = ("✗", "red") if one.unanswered else ("✓", "green")
        say(console, mark, " ", (_title(alike), "bold"), f"  {_names(alike, verbose=verbose)}", indent=1, hanging=3)
        say(console, one.why, indent=4)
        if one.answer:
            say(console, (f"answer: {one.answer}", "green"), indent=4)
            continue
        say(console, f"instead: {one.instead} (about {hours(one.lead_hours)})", indent=4, hanging=2)
        say(console, f"first: {one.first}", indent=4, hanging=2)
        key = one.resource.address.replace("[", "[[]") if len(alike) == 1 else f"{one.resource.service}/*"
        answer = f'answer in stack.yaml: answers: {{{json.dumps(key, ensure_ascii=False)}: "…"}}'
        say(console, (answer, "dim"), indent=4, whole=True)


def _title(alike: Sequence[Finding]) -> str:
    resource = alike[0].resource
    return f"{resource.service} {resource.kind}" + (f" ×{len(alike):,}" if len(alike) > 1 else "")


def _sort(finding: Finding) -> tuple[str, str, str]:
    return finding.resource.service, finding.resource.kind, finding.why


def _names(findings: Iterable[Finding], *, verbose: bool) -> str:
    names = [_named(finding, verbose=verbose) for finding in findings]
    shown = names if verbose else names[:NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f", and {more:,} more" if more else "")


def _named(finding: Finding, *, verbose: bool) -> str:
    resource = finding.resource
    facts = [text for fact in SHOWN_FACTS if (text := _fact(fact, resource.facts.get(fact)))]
    unread = ["size not known"] if "bytes" in resource.unseen else []
    shown = [*facts[:NAMED], *unread]
    name = resource.name if verbose or len(resource.name) <= LONGEST_NAME else f"{resource.name[:LONGEST_NAME]}…"
    return f"{name} ({', '.join(shown)})" if shown else name


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
        mark = ("!", "red") if deed.too_late else " "
        clock = f"{'~' if deed.source == ASSUMED else ''}{hours(deed.clock_hours)}"
        say(console, mark, (f" {clock:>7}  ", "bold"), f"{deed.what}: {_places(deed)}", indent=1, hanging=11)
        say(console, (f"do: {deed.how}", "dim"), indent=12, hanging=4)
        if deed.otherwise:
            say(console, f"and: {deed.otherwise}", indent=12, hanging=5)


def _places(deed: Deed) -> str:
    more = len(deed.where) - NAMED
    return ", ".join(deed.where[:NAMED]) + (f", and {more:,} more" if more > 0 else "")


def _show_leaks(console: Console, found: Assessment) -> None:
    if not (found.leaks or found.not_looked_for):
        return
    _heading(console, "WHAT WOULD LEAK OR BE WRONG ON THE OTHER SIDE")
    for leak in found.leaks:
        say(console, ("✗", "red"), " ", (leak.kind, "bold"), f"  {leak.where}: {_count(leak)}", indent=1, hanging=3)
        say(console, leak.detail, indent=4)
        say(console, f"first: {leak.first}", indent=4, hanging=2)
    for missing in found.not_looked_for:
        say(console, (f"? not looked for: {missing}", "yellow"), indent=1, hanging=2)


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
        if not stop.held and service_name(stop.provider) in PROVIDES:
            held = ", none seen in this account"
        say(console, (stop.vendor, "bold"), f"  {stop.does} by {stop.provider}{held}", indent=3)
        say(console, f"{stop.after}: {stop.effect}", indent=4, hanging=2)
        for text in _stopped(stop):
            say(console, text, indent=4, hanging=2)
        if stop.instead:
            say(console, (f"arranged: {stop.instead}", "green"), indent=4, hanging=2)
        else:
            text = f"nobody is arranged; another takes about {hours(stop.lead_hours)}"
            say(console, (text, "yellow"), indent=4, hanging=2)
            say(console, f"first: {stop.first}", indent=4, hanging=2)


def _show_unarranged(console: Console, stops: Sequence[Stop]) -> None:
    """Vendors that the account has and the manifest does not know: what stops with them cannot be told."""
    for stop in stops:
        say(console, (stop.vendor, "bold"), f"  {stop.does}; {stop.after}: {stop.effect}", indent=3, hanging=2)
    if stops:
        names = ", ".join(stop.vendor for stop in stops)
        text = f"? not in the manifest, so what stops and who takes over is not known: {names}"
        say(console, (text, "yellow"), indent=1, hanging=2)


def _stopped(stop: Stop) -> Iterator[str]:
    if not stop.declared:
        yield "not in the manifest: which services and journeys stop is not known"
        return
    if not (stop.services or stop.journeys):
        yield "the manifest names no service and no journey that needs it: what stops is not known"
        return
    for noun, names in (("services", stop.services), ("checks", stop.checks), ("journeys", stop.journeys)):
        yield f"{noun} that stop: {', '.join(names) or 'none'}"


def _show_others(console: Console, findings: Sequence[Finding], *, verbose: bool) -> None:
    for hold, title in ((Hold.REPLACEABLE, "WHAT MUST BE REPLACED"), (Hold.PORTABLE, "WHAT LEAVES AS IT IS")):
        of_hold = sorted((f for f in findings if f.hold is hold), key=_sort)
        if not of_hold:
            continue
        _heading(console, title)
        groups = [list(group) for _, group in groupby(of_hold, key=_sort)]
        show = _show_table if console.width >= TABLE_COLUMNS else _show_list
        show(console, groups, verbose=verbose)


def _show_table(console: Console, groups: Sequence[Sequence[Finding]], *, verbose: bool) -> None:
    columns = ("service", "what", "which", "by", "lead", *(["first"] if verbose else []))
    table = Table(box=None, pad_edge=True, header_style="bold", padding=(0, 1))
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column == "lead" else "left")
    for alike in groups:
        one = alike[0]
        kind = f"{one.resource.kind} ×{len(alike):,}" if len(alike) > 1 else one.resource.kind
        cells = [one.resource.service, kind, _names(alike, verbose=verbose), one.instead, hours(one.lead_hours)]
        table.add_row(*(Text(visible(cell)) for cell in [*cells, *([one.first] if verbose else [])]))
    console.print(table)


def _show_list(console: Console, groups: Sequence[Sequence[Finding]], *, verbose: bool) -> None:
    for alike in groups:
        one = alike[0]
        say(console, (_title(alike), "bold"), f"  {_names(alike, verbose=verbose)}", indent=1, hanging=3)
        say(console, f"by: {one.instead} (about {hours(one.lead_hours)})", indent=4, hanging=4)
        if verbose:
            say(console, f"first: {one.first}", indent=4, hanging=2)


def _show_unseen(console: Console, unseen: Sequence[Unseen], *, verbose: bool) -> None:
    """What the other side said names each resource anew, so it is left out where alike questions stand on one line."""
    if not unseen:
        return
    _heading(console, "NOT SEEN", "neither yes nor no")
    key: Callable[[Unseen], tuple[str, ...]] = lambda u: (u.reason, u.action, u.said if verbose else "")  # noqa: E731
    for (reason, action, said), group in groupby(sorted(unseen, key=key), key=key):
        alike = list(group)
        places = list(dict.fromkeys(f"{u.about or u.service} in {u.region}" for u in alike))
        shown = places if verbose else places[:NAMED]
        more = f", and {len(places) - len(shown):,} more" if len(places) > len(shown) else ""
        text = f"  {', '.join(shown)}{more}"
        say(console, ("?", "yellow"), f" {reason}: ", (action, "bold"), text, indent=1, hanging=3)
        if verbose:
            say(console, (said, "dim"), indent=4)
