"""A plan as one HTML page for the people who must decide: self-contained, no script, nothing fetched from anywhere."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from migrate.figures import rated, sized
from migrate.report.html import page, table
from migrate.report.plan_drawing import strip, timeline
from migrate.report.plan_needs import SHORT_SHOWN, amount
from migrate.report.plan_words import REACHED, chance, day_and_hour, lasting, moment, needed_line, span, year_of

HEADLINES = {
    "met": ("The data is out before the old home ends.", "good"),
    "tight": ("It can be done in time, and it is tight.", "warn"),
    "missed": ("Not everything will be out before the old home ends.", "bad"),
    "unknown": ("Whether it can be done in time cannot be told yet.", "bad"),
    "": ("What it takes to leave.", "plain"),
}
NOT_ALL = "Not everything would come along."
NO_ROOM = "The new home has too little room."
GROUNDS = (
    ("measured", "observed: a probe, a metric, a count"),
    ("known", "as an earlier run or drill went"),
    ("stated", "somebody said so"),
    ("assumed", "a default, named in the plan"),
)


def plan_page(document: Mapping[str, Any]) -> str:
    """The page for a document of `plan --json`."""
    forecast = document["forecast"]
    body = "\n".join([
        *_head(document), *_tiles(forecast), *_finishes(forecast), *_timeline(document), *_untold(forecast),
        *_left(forecast),
        *_archived(forecast), *_room(forecast), *_cost(forecast), *_way_back(forecast), *_unknowable(document),
        *_foot(document),
    ])  # fmt: skip
    name = Path(document["stack"]).parent.name or "plan"
    return page(f"{name}: leaving the cloud", body)


def _at(text: str | None, forecast: Mapping[str, Any]) -> str:
    return moment(datetime.fromisoformat(text), _year(forecast)) if text else "–"


def _year(forecast: Mapping[str, Any]) -> int:
    return year_of(*(datetime.fromisoformat(forecast[key]) for key in ("made_at", "go_at")))


def _head(document: Mapping[str, Any]) -> Iterator[str]:
    forecast = document["forecast"]
    found = forecast["deadline"]
    headline, tone = HEADLINES[found["standing"] if found else ""]
    short = [line for line in forecast["room"] if line["verdict"] == "fail"]
    name = escape(Path(document["stack"]).parent.name)
    told = _sentence(found) if found else ""
    left = [row for row in forecast["stays"] if row["breaks"]]
    if (short or left) and tone in ("good", "plain"):
        headline, tone, told = (NOT_ALL if left else NO_ROOM), "bad", f"{headline} {told}" if found else ""
    yield f'<header class="{tone}"><p class="name">{name}: the plan for leaving the cloud, made '
    yield f"{_at(forecast['made_at'], forecast)}</p><h1>{headline}</h1>"
    if told:
        yield f"<p>{told}</p>"
    if short:
        needs = "; ".join(_short_of(line) for line in short[:SHORT_SHOWN])
        more = f"; and {len(short) - SHORT_SHOWN} more" if len(short) > SHORT_SHOWN else ""
        yield f'<p class="short">The plan must not be carried out as it is: {needs}{more}.</p>'
    for row in left:
        yield f'<p class="short">{row["objects"]:,} objects, {sized(row["bytes"])}, of {escape(row["bucket"])}'
        yield f" would not be fetched: {row['what']}. To bring them along: <code>{escape(row['how'])}</code>.</p>"
    yield "</header>"


def _short_of(line: Mapping[str, Any]) -> str:
    needed, there = (amount(line["resource"], line[key]) for key in ("needed", "there"))
    return f"{escape(line['where'])} needs {needed} {line['resource']} and has {there}"


def _sentence(found: Mapping[str, Any]) -> str:
    """The verdict in a sentence or two."""
    if found["standing"] == "unknown":
        return "The size of some of the work is not known; measure it, or say it in a file of facts."
    odds = f"Begun at the go, everything is out in {chance(found['chance'])} of all cases. "
    if found["standing"] == "missed":
        stay = sum(row["bytes"] for row in found["left_behind"])
        line = needed_line(found["line_p50"])
        return (
            f"{odds}It comes {span(-found['slack_p50_seconds'])} too late in half of them: then {sized(stay)} stay"
            f" behind. The line carries {rated(found['line'])}; an even chance takes {line}."
        )
    return f"{odds}{span(found['slack_p50_seconds'])} are to spare in half of them."


def _tiles(forecast: Mapping[str, Any]) -> Iterator[str]:
    found = forecast["deadline"]
    tiles = []
    if found:
        tiles += [
            (
                "the old home ends",
                _short(found["deadline"], forecast),
                f"{lasting(found['available_seconds'])} after the go",
            ),
            ("go by", _short(found["go_by"], forecast), _over(found["go_by"], forecast) or "for nine chances in ten"),
            (
                "even chance until",
                _short(found["even_by"], forecast),
                _over(found["even_by"], forecast) or "begun later, it is rather missed",
            ),
            ("give up at", _short(found["give_up_at"], forecast), "then choose what stays"),
        ]
        if found["line"]:
            rates = (needed_line(found[key]) for key in ("line_p50", "line_p90"))
            need = " / ".join(rate.replace(" ", "&nbsp;") for rate in rates)
            tiles.append(("line needed", need, f"even chance / nine in ten; there: {rated(found['line'])}"))
            hosts = " / ".join(str(found[key] or "none") for key in ("export_hosts_p50", "export_hosts_p90"))
            tiles.append(("export hosts needed", hosts, f"even chance / nine in ten; there: {found['export_hosts']}"))
    bill = "?" if forecast["bill_usd"] is None else f"${forecast['bill_usd']:,.0f}"
    tiles.append(("the old provider's bill", bill, "egress and requests, list prices"))
    yield '<p class="zone">Moments are in UTC.</p><section class="tiles">'
    for label, value, note in tiles:
        yield f'<div class="tile"><p class="label">{label}</p><p class="value">{value}</p>'
        yield f'<p class="note">{note}</p></div>'
    yield "</section>"


def _short(text: str | None, forecast: Mapping[str, Any]) -> str:
    if text is None:
        return "–"
    at = datetime.fromisoformat(text)
    return f"{at:%a} {day_and_hour(at, _year(forecast))}"


def _over(moment_: str | None, forecast: Mapping[str, Any]) -> str:
    """A word for a moment that lies behind the go."""
    passed = moment_ and datetime.fromisoformat(moment_) < datetime.fromisoformat(forecast["go_at"])
    return "over: it lies before the go" if passed else ""


def _finishes(forecast: Mapping[str, Any]) -> Iterator[str]:
    if not forecast["finishes"]:
        return
    longest = max(finish["p90_seconds"] for finish in forecast["finishes"]) * 1.02
    rows = [
        (REACHED[f["what"]], f"{span(f['p50_seconds'])}<br>{_at(f['p50_at'], forecast)}",
         f"{span(f['p90_seconds'])}<br>{_at(f['p90_at'], forecast)}", f["ground"], strip(f, longest, _year(forecast)))
        for f in forecast["finishes"]
    ]  # fmt: skip
    yield "<h2>When</h2>"
    yield table(("", "in half of all cases", "in nine of ten", "rests on", "from one in ten to nine in ten"), rows)


def _timeline(document: Mapping[str, Any]) -> Iterator[str]:
    drawing = timeline(document)
    if not drawing:
        return
    yield "<h2>Timeline</h2>"
    yield f'<div class="drawing">{drawing}</div><p class="legend">'
    for ground, words in GROUNDS:
        yield f'<span><svg viewBox="0 0 22 12"><rect width="22" height="12" rx="2" class="bar {ground}"/></svg>'
        yield f"{ground}: {words}</span>"
    yield "<span>thin line: until nine in ten end</span><span><b>bold</b>: a delay there delays the whole</span></p>"


def _untold(forecast: Mapping[str, Any]) -> Iterator[str]:
    if forecast["untold"]:
        names = ", ".join(f"<code>{escape(name)}</code>" for name in forecast["untold"][:12])
        more = f" and {len(forecast['untold']) - 12} more" if len(forecast["untold"]) > 12 else ""
        yield f"<h2>Cannot be told</h2><p>How long these take: the size of their work is not known. {names}{more}</p>"


def _left(forecast: Mapping[str, Any]) -> Iterator[str]:
    found = forecast["deadline"]
    if not found or not found["left_behind"]:
        return
    yield "<h2>What stays behind</h2><p>In half of all cases, by the order of the export:</p>"
    yield table(
        ("order", ">objects", ">bytes", "what"),
        [
            (escape(o["order"]), f"{o['left_objects']:,}", sized(o["left_bytes"]), escape(o["loses"]))
            for o in found["orders"]
        ],
    )
    yield "<p>As planned, by bucket and age:</p>"
    yield table(
        ("bucket", "age", ">objects", ">bytes"),
        [(escape(r["bucket"]), escape(r["age"]), f"{r['objects']:,}", sized(r["bytes"])) for r in found["left_behind"]],
    )


def _archived(forecast: Mapping[str, Any]) -> Iterator[str]:
    if forecast["archived"]:
        asked = all(row["asked_for"] for row in forecast["archived"])
        what = "has them restored, waits for them, and fetches them" if asked else "leaves them there"
        yield f"<h2>Must be asked for</h2><p>These lie in archive classes; the plan {what}.</p>"
        yield table(
            ("bucket", "class", ">objects", ">bytes", "tier", "ask by"),
            [(escape(r["bucket"]), r["storage_class"], f"{r['objects']:,}", sized(r["bytes"]),
              f"{r['tier']}, {lasting(r['hours'] * 3600)}", _over(r["ask_by"], forecast) or _at(r["ask_by"], forecast))
             for r in forecast["archived"]],
        )  # fmt: skip


def _room(forecast: Mapping[str, Any]) -> Iterator[str]:
    short = [line for line in forecast["room"] if line["verdict"] == "fail"]
    unknown = sum(line["verdict"] == "unknown" for line in forecast["room"])
    enough = sum(line["verdict"] == "pass" for line in forecast["room"])
    yield "<h2>Room</h2>"
    verb = "is" if len(short) == 1 else "are"
    yield f"<p>{enough} needs are met, {len(short)} {verb} not, of {unknown} nobody said what is there.</p>"
    if short:
        yield table(
            ("where", ">hosts", "of", ">needed", ">there", "how reckoned"),
            [(escape(r["where"]), str(r["hosts"]), r["resource"], amount(r["resource"], r["needed"]),
              amount(r["resource"], r["there"]), escape(r["formula"])) for r in short],
        )  # fmt: skip


def _cost(forecast: Mapping[str, Any]) -> Iterator[str]:
    if forecast["cost"]:
        yield "<h2>The old provider's bill</h2>"
        yield table(
            ("what", ">US$", "how reckoned", "rests on"),
            [(escape(r["what"]), "?" if r["usd"] is None else f"{r['usd']:,.2f}", escape(r["formula"]), r["ground"])
             for r in forecast["cost"]],
        )  # fmt: skip


def _way_back(forecast: Mapping[str, Any]) -> Iterator[str]:
    point = forecast["point_of_no_return"]
    where = f"<code>{escape(point['step'])}</code>: " if point["step"] else ""
    yield f"<h2>The point of no return</h2><p>{where}{escape(point['what'])}.</p><dl>"
    yield f"<dt>before it</dt><dd>{escape(point['before'])}</dd><dt>after it</dt><dd>{escape(point['after'])}</dd></dl>"


def _unknowable(document: Mapping[str, Any]) -> Iterator[str]:
    told: dict[str, str] = {}
    for step, found in zip(document["steps"], document["forecast"]["steps"], strict=True):
        if found["unknowable"]:
            told.setdefault(step["kind"], found["unknowable"])
    yield "<h2>What cannot be known before it runs</h2>"
    yield table(("step", "what"), [(f"<code>{escape(kind)}</code>", escape(text)) for kind, text in told.items()])


def _foot(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"<footer><p>{len(document['steps'])} steps, plan <code>{document['digest'][:12]}</code>. "
    yield f"{escape(document['forecast']['method'])}; steps at once: {document['forecast']['lanes']}. "
    yield "Nothing was changed anywhere to make this page.</p></footer>"
