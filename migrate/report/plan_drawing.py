"""The timeline of a plan as SVG: one bar for steps of a kind, the deadline across, moments above."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from typing import Any

from migrate.report.plan_words import day_and_hour, lasting, moment, pattern, span, year_of

WIDTH = 1180
LEFT = 250
RIGHT = 30
ROW = 26
TOP = 64
BAR = 14
MOST_TICKS = 12
TICK_HOURS = (1 / 120, 1 / 60, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672, 2184, 8760)
FAR = 3
"""A deadline so many times beyond the work is named at the edge, and does not squeeze the drawing."""
ALIKE_APART = 3
"""Steps of one kind that have a row each; more of them share one."""


@dataclass(frozen=True)
class Row:
    """Steps that are drawn in one row; seconds after the go."""

    label: str
    phase: str
    spans: Sequence[tuple[float, float]]
    late_end: float
    ground: str
    critical: bool
    irreversible: bool
    title: str


def rows_of(document: Mapping[str, Any]) -> list[Row]:
    """Rows in the plan's order; steps whose time cannot be told have none."""
    groups: dict[tuple[str, str], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for step, found in zip(document["steps"], document["forecast"]["steps"], strict=True):
        if found["begins_seconds"] is not None and found["ends_seconds"] is not None and step["estimate"]:
            groups.setdefault((step["phase"], step["kind"]), []).append((step, found))
    rows = []
    for alike in groups.values():
        rows += [_row(alike)] if len(alike) > ALIKE_APART else [_row([one]) for one in alike]
    return rows


def _row(alike: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Row:
    first = alike[0][0]
    many = len(alike) > 1
    longest = max((step["estimate"] for step, _ in alike), key=lambda estimate: estimate["seconds"])
    last, end = max(((step, found) for step, found in alike), key=lambda pair: pair[1]["ends_seconds"])
    late = last["estimate"]["p90_seconds"] - last["estimate"]["seconds"]
    label = f"{pattern([step['id'] for step, _ in alike])} ×{len(alike)}" if many else first["id"]
    return Row(
        label=label,
        phase=first["phase"],
        spans=[(found["begins_seconds"], found["ends_seconds"]) for _, found in alike],
        late_end=end["ends_seconds"] + late,
        ground=longest["ground"],
        critical=any(found["critical"] for _, found in alike),
        irreversible=any(step["effect"] == "irreversible" for step, _ in alike),
        title=f"{label}: {span(longest['seconds'])}{' each at most' if many else ''}, {longest['ground']}: "
        f"{longest['formula']} ({longest['source']})",
    )


def timeline(document: Mapping[str, Any]) -> str:
    """The drawing; empty where nothing can be drawn."""
    rows = rows_of(document)
    if not rows:
        return ""
    forecast = document["forecast"]
    go_at = datetime.fromisoformat(forecast["go_at"])
    deadline = forecast["deadline"]["available_seconds"] if forecast["deadline"] else None
    reached = [finish["p90_seconds"] for finish in forecast["finishes"]]
    longest = max([row.late_end for row in rows] + reached)
    if deadline and deadline <= FAR * longest:
        longest = max(longest, deadline)
    scale = (WIDTH - LEFT - RIGHT) / (longest * 1.02)
    height = TOP + ROW * len(rows) + 58
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="timeline of the plan">',
        '<defs><pattern id="hatch" width="6" height="6" patternTransform="rotate(45)" patternUnits="userSpaceOnUse">'
        '<rect width="6" height="6" class="assumed-ground"/><line x1="0" y1="0" x2="0" y2="6" class="hatch"/>'
        "</pattern></defs>",
        *_ticks(go_at, year_of(datetime.fromisoformat(forecast["made_at"]), go_at), longest, scale, height),
        *(part for number, row in enumerate(rows) for part in _bars(row, number, scale)),
        *_marks(forecast["finishes"], deadline, scale, len(rows)),
        "</svg>",
    ]
    return "\n".join(parts)


def _x(seconds: float, scale: float) -> str:
    return f"{LEFT + seconds * scale:.1f}"


def _ticks(go_at: datetime, year: int, longest: float, scale: float, height: int) -> Iterator[str]:
    step = (
        next((hours for hours in TICK_HOURS if longest / 3600 / hours <= MOST_TICKS), longest / 3600 / MOST_TICKS)
        * 3600
    )
    at = 0.0
    while at <= longest:
        x, moment_at = _x(at, scale), day_and_hour(go_at + timedelta(seconds=at), year)
        yield f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{height - 56}" class="tick"/>'
        yield f'<text x="{x}" y="{TOP - 28}" class="tick-text">{escape(_hours(at))}</text>'
        yield f'<text x="{x}" y="{TOP - 14}" class="tick-text dim">{moment_at}</text>'
        at += step


def _hours(seconds: float) -> str:
    if not seconds:
        return "go"
    return f"+{lasting(seconds)}"


def _bars(row: Row, number: int, scale: float) -> Iterator[str]:
    y = TOP + number * ROW
    kind = "critical" if row.critical else "label"
    yield f'<g><title>{escape(row.title)}</title><text x="{LEFT - 10}" y="{y + BAR - 2}" class="{kind}">'
    yield f"{escape(row.label)}</text>"
    end = max(end for _, end in row.spans)
    middle = y + BAR / 2
    yield f'<line x1="{_x(end, scale)}" y1="{middle}" x2="{_x(row.late_end, scale)}" y2="{middle}" class="late"/>'
    shape = "no-way-back" if row.irreversible else f"bar {row.ground}"
    for begin, last in _joined(row.spans):
        width = max(2.0, (last - begin) * scale)
        yield f'<rect x="{_x(begin, scale)}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" class="{shape}"/>'
    yield "</g>"


def _joined(spans: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Overlapping and touching spans as one."""
    current: tuple[float, float] | None = None
    for begin, end in sorted(spans):
        if current and begin <= current[1] + 1:
            current = current[0], max(current[1], end)
            continue
        if current:
            yield current
        current = begin, end
    if current:
        yield current


def _marks(finishes: Sequence[Mapping[str, Any]], deadline: float | None, scale: float, rows: int) -> Iterator[str]:
    bottom = TOP + ROW * rows
    for number, finish in enumerate(finish for finish in finishes if finish["what"] != "proved"):
        x, y = _x(finish["p50_seconds"], scale), bottom + 18 + 16 * number
        words = {"out": "data out", "up": "services run"}[finish["what"]]
        yield f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{y - 8}" class="finish"/>'
        words = f"{words}, {span(finish['p50_seconds'])}"
        yield f'<text x="{x}" y="{y}" {_anchor(float(x))} class="finish-text">{words}</text>'
    if deadline is None:
        return
    x = _x(deadline, scale)
    if float(x) > WIDTH:
        yield f'<text x="{WIDTH - 4}" y="12" text-anchor="end" class="deadline-text">'
        yield f"the old home ends far to the right, {span(deadline)} after the go →</text>"
        return
    yield f'<line x1="{x}" y1="16" x2="{x}" y2="{bottom + 4}" class="deadline"/>'
    yield f'<text x="{x}" y="12" {_anchor(float(x))} class="deadline-text">the old home ends</text>'


def _anchor(x: float) -> str:
    """Keeps a text of some length within the drawing."""
    return f'text-anchor="{"end" if x > WIDTH - 100 else "start" if x < LEFT + 80 else "middle"}"'


def strip(finish: Mapping[str, Any], longest: float, year: int) -> str:
    """Where one finish lies: a bar from one in ten to nine in ten, and a line at the median."""
    scale = 400 / longest
    low, middle, high = (finish[f"p{share}_seconds"] * scale for share in (10, 50, 90))
    words = f"{span(finish['p50_seconds'])}; {moment(datetime.fromisoformat(finish['p50_at']), year)}"
    return (
        f'<svg class="strip" viewBox="0 0 410 18"><title>{escape(words)}</title>'
        f'<line x1="0" y1="9" x2="410" y2="9" class="tick"/>'
        f'<rect x="{low:.1f}" y="4" width="{max(2.0, high - low):.1f}" height="10" rx="5" class="spread"/>'
        f'<line x1="{middle:.1f}" y1="1" x2="{middle:.1f}" y2="17" class="middle"/></svg>'
    )
