"""A run or drill as one HTML page, to be kept as evidence: self-contained, no script, nothing fetched from anywhere."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from migrate.report.html import page, table
from migrate.report.terminal import duration, size

STYLE = Path(__file__).with_name("run_page.css")
WIDTH, LEFT, RIGHT, ROW, TOP, BAR = 1180, 290, 90, 22, 34, 12
TICKS = 8
TICK_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400)
PARTS_OF_AN_ERROR = {"what": "what", "where": "where", "expected": "expected", "hint": "do"}
TONES = {"done": "took", "skipped": "took", "failed": "failed", "under way": "open"}
OBJECT_COUNTS = ("listed", "verified", "skipped", "quarantined", "archived", "gone")


def run_page(report: Mapping[str, Any], name: str) -> str:
    """The page for a document of `report --json`; `name`: what the run was about."""
    body = [
        *_head(report, name), *_tiles(report), *_timeline(report), *_steps(report), *_checks(report),
        *_objects(report), *_rewritten(report), *_foot(report),
    ]  # fmt: skip
    return page(f"{name}: {_noun(report)} {report['run']}", "\n".join(body), STYLE)


def _noun(report: Mapping[str, Any]) -> str:
    return "drill" if report["command"] == "rehearse" else "run"


def _moment(text: str | None) -> str:
    return f"{datetime.fromisoformat(text):%a %d %b %Y %H:%M:%S %Z}" if text else "not yet"


def _head(report: Mapping[str, Any], name: str) -> Iterator[str]:
    tone = "good" if report["proved"] else "bad"
    noun = _noun(report).capitalize()
    headline = f"{noun} {report['run']}: {'done, and proved' if report['proved'] else 'not proved'}"
    failed = [row["id"] for row in report["steps"] if row["outcome"] == "failed"]
    held = f" Held at {', '.join(f'<code>{escape(step)}</code>' for step in failed)}." if failed else ""
    yield f'<header class="{tone}"><p class="name">{escape(name)}, cloudexit {escape(report["command"])}, '
    yield f"{_moment(report['started_at'])} to {_moment(report['ended_at'])}</p><h1>{headline}</h1>"
    yield f"<p>Outcome: {escape(report['outcome'])}.{held}</p></header>"


def _tiles(report: Mapping[str, Any]) -> Iterator[str]:
    rto, objects, checks = report["rto"], report["objects"].values(), report["checks"]
    passed = sum(check["verdict"] == "pass" for check in checks)
    verified = sum(bucket.get("verified", 0) + bucket.get("skipped", 0) for bucket in objects)
    tiles = [
        ("users were served after", duration(rto["basic_seconds"]), "RTO, from the first look at the new hosts"),
        ("queues had drained after", duration(rto["drained_seconds"]), "from the same moment"),
        *(("writes that did not come along", _lag(detail.get("lag")), f"RPO of {escape(database)}")
          for database, detail in report["rpo"].items()),
        ("objects verified", f"{verified:,}", f"of {sum(bucket.get('listed', 0) for bucket in objects):,} listed"),
        ("checks that passed", f"{passed:,}", f"of {len(checks):,}"),
    ]  # fmt: skip
    yield '<section class="tiles">'
    for label, value, note in tiles:
        yield f'<div class="tile"><p class="label">{label}</p><p class="value">{value}</p>'
        yield f'<p class="note">{note}</p></div>'
    yield "</section>"


def _lag(lag: Mapping[str, Any] | None) -> str:
    return "unknown" if lag is None else f"{lag['rows_missing']:,} rows, {duration(lag['seconds'])}"


def _timeline(report: Mapping[str, Any]) -> Iterator[str]:
    begin = datetime.fromisoformat(report["started_at"])
    rows = [
        (row, _after(begin, row["started_at"]), _after(begin, row["ended_at"] or row["started_at"]))
        for row in report["steps"]
        if row["started_at"]
    ]
    longest = max((end for _, _, end in rows), default=0.0)
    if not longest:
        return
    scale, height = (WIDTH - LEFT - RIGHT) / longest, TOP + ROW * len(rows) + 8
    yield f'<h2>As it went</h2><div class="drawing"><svg viewBox="0 0 {WIDTH} {height}" role="img" '
    yield 'aria-label="timeline of the run">'
    tick = next((seconds for seconds in TICK_SECONDS if longest / seconds <= TICKS), TICK_SECONDS[-1])
    for number in range(int(longest // tick) + 1):
        x = LEFT + number * tick * scale
        yield f'<line x1="{x:.1f}" y1="{TOP - 10}" x2="{x:.1f}" y2="{height}" class="tick"/>'
        yield f'<text x="{x:.1f}" y="{TOP - 16}" class="tick-text dim">{duration(number * tick)}</text>'
    for number, (row, start, end) in enumerate(rows):
        x, y, width = LEFT + start * scale, TOP + number * ROW, max(1.5, (end - start) * scale)
        yield f'<text x="{LEFT - 10}" y="{y + 13}" class="label">{escape(row["id"])}</text>'
        yield f'<rect x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="{BAR}" rx="2"'
        yield f' class="{TONES.get(row["outcome"], "open")}"><title>{escape(row["title"])}</title></rect>'
        yield f'<text x="{x + width + 6:.1f}" y="{y + 13}" class="dim">{duration(row["seconds"])}</text>'
    yield "</svg></div>"


def _after(begin: datetime, moment: str) -> float:
    return (datetime.fromisoformat(moment) - begin).total_seconds()


def _steps(report: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Steps</h2>"
    yield table(
        ("step", "outcome", ">took", ">predicted", ">tries", "what"),
        [
            (f"<code>{escape(row['id'])}</code>", escape(row["outcome"]), duration(row["seconds"]),
             duration(row["predicted_seconds"]), str(row["attempts"]), escape(row["title"]) + _error(row))
            for row in report["steps"]
        ],
    )  # fmt: skip


def _error(row: Mapping[str, Any]) -> str:
    error = row["detail"].get("error") if row["outcome"] == "failed" else None
    if not error:
        return ""
    parts = [f"{word}: {escape(str(error[key]))}" for key, word in PARTS_OF_AN_ERROR.items() if error.get(key)]
    return f'<br><span class="fault">{"<br>".join(parts)}</span>'


def _checks(report: Mapping[str, Any]) -> Iterator[str]:
    """All that did not pass, and those of the proof."""
    shown = [c for c in report["checks"] if c["verdict"] != "pass" or c["step"].startswith("prove.")]
    if not shown:
        return
    others = len(report["checks"]) - len(shown)
    yield "<h2>Checks</h2>"
    if others:
        yield f"<p>Not shown: {others:,} checks of other steps, which passed.</p>"
    yield table(
        ("verdict", "step", "host", "check", "found"),
        [
            (f'<span class="{c["verdict"]}">{c["verdict"]}</span>', f"<code>{escape(c['step'])}</code>",
             escape(c["host"]), escape(c["name"]), escape(c["detail"][:300]))
            for c in sorted(shown, key=lambda check: check["verdict"] == "pass")
        ],
    )  # fmt: skip


def _objects(report: Mapping[str, Any]) -> Iterator[str]:
    if report["objects"]:
        yield "<h2>Objects</h2>"
        yield table(
            ("bucket", *(f">{count}" for count in OBJECT_COUNTS), ">bytes"),
            [
                (escape(bucket), *(f"{counts.get(key, 0):,}" for key in OBJECT_COUNTS), size(counts.get("bytes", 0)))
                for bucket, counts in report["objects"].items()
            ],
        )


def _rewritten(report: Mapping[str, Any]) -> Iterator[str]:
    rows: Sequence[tuple[str, str, str]] = [
        (escape(database), f"<code>{escape(column)}</code>", f"{count:,}")
        for database, detail in report["rewritten"].items()
        for column, count in sorted(detail.get("rewritten", {}).items())
    ]
    if rows:
        yield "<h2>Addresses rewritten</h2>"
        yield table(("database", "column", ">values"), rows)


def _foot(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"<footer><p>Plan <code>{report['plan_digest'][:12]}</code>, begun by {escape(report['operator'])}. "
    yield "Made from the run's journal.</p></footer>"
