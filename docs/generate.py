"""Writes the reference pages that follow from the code: the manifest from its schema, the command line from Typer.

`python docs/generate.py` writes them; `--check` exits 1 where one is out of date.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from migrate.assess.findings import Assessment
from migrate.assess.first_hour import CLOCKS
from migrate.assess.knowledge import RULES
from migrate.cli import command_line
from migrate.facts import Facts
from migrate.forecast.defaults import PACES, RATES, STEP_SECONDS, WAVE_SECONDS
from migrate.report.assessment import hours
from migrate.report.plan_document import PlanDocument
from migrate.stack import Stack

REFERENCE = Path(__file__).parent / "reference"
PARTS = (
    ("Stack", "The manifest", "The top of `stack.yaml`."),
    ("Source", "source", ""),
    ("Bucket", "buckets", "Name of the bucket -> these fields."),
    ("Database", "databases", "Name of the database -> these fields."),
    ("Cache", "caches", "Name -> these fields."),
    ("Media", "media", "Name -> these fields."),
    ("Release", "releases", "Name -> these fields."),
    ("Artifact", "An artifact", "`dump`, `snapshot` and `artifact` of the parts above."),
    ("Service", "services", "Name -> these fields."),
    ("Tls", "tls of an edge", ""),
    ("Limits", "limits of an edge", ""),
    ("StrictLimit", "limits.strict", ""),
    ("ServiceCheck", "checks of a service", "A list of these."),
    ("CertificateCheck", "certificate", "Of a check."),
    ("HttpCheck", "http", "Of a check."),
    ("PostgresqlCheck", "postgresql", "Of a check."),
    ("RedisCheck", "redis", "Of a check."),
    ("SmtpCheck", "smtp", "Of a check."),
    ("LogsCheck", "logs", "Of a check."),
    ("Mail", "mail", "Of a service of kind `mail`."),
    ("Relay", "mail.relay", ""),
    ("BackupCheck", "backup", "Of a check."),
    ("ReplicationCheck", "replication", "Of a check."),
    ("Journey", "journeys", "Name -> these fields."),
    ("Vendor", "vendors", "Name -> these fields."),
    ("Rehearsal", "rehearsal", ""),
    ("OldHome", "rehearsal.old_home", ""),
)


FACTS_PARTS = (
    ("Facts", "The file of facts", ""),
    ("BucketFacts", "buckets", "Name of the bucket -> these fields."),
    ("FetchFacts", "fetch", "Of a bucket."),
    ("Amount", "classes, versions", "So many objects of so many bytes."),
    ("Age", "ages", "A list of these."),
    ("DatabaseFacts", "databases", "Name of the database -> these fields."),
    ("CacheFacts", "caches", "Name of the cache -> these fields."),
    ("RateFacts", "line, uplink, inside, disk_write, disk_read, database_load", "Each of them."),
    ("PaceFacts", "requests, listing", "Each of them."),
    ("ExportHosts", "export", ""),
    ("Machine", "hosts", "Group of the inventory -> these fields."),
)
PLAN_PARTS = (
    ("PlanDocument", "The document", ""),
    ("StepDocument", "steps", "A list of these."),
    ("EstimateDocument", "estimate", "Of a step."),
    ("LimitDocument", "stretches", "Of an estimate: lists of lists of these."),
    ("Forecast", "forecast", ""),
    ("Finish", "forecast.finishes", "A list of these."),
    ("DeadlineForecast", "forecast.deadline", ""),
    ("Together", "forecast.deadline.together_p50, together_p90", ""),
    ("OrderOutcome", "forecast.deadline.orders", "A list of these."),
    ("LeftBehind", "forecast.deadline.left_behind", "A list of these."),
    ("StepForecast", "forecast.steps", "A list of these, in the order of `steps`."),
    ("LaneOutcome", "forecast.more_lanes", "A list of these."),
    ("Simulation", "forecast.simulation", ""),
    ("CostLine", "forecast.cost", "A list of these."),
    ("ArchivedForecast", "forecast.archived", "A list of these."),
    ("Stays", "forecast.stays", "A list of these."),
    ("RoomLine", "forecast.room", "A list of these."),
    ("PointOfNoReturn", "forecast.point_of_no_return", ""),
    ("Prediction", "forecast.predictions", "A list of these."),
)


def facts_page() -> str:
    lines = [
        "# Facts: what was observed of both homes",
        "",
        "This page is generated from the schema (`make docs`). `cloudexit plan --facts FILE` reads such a file;",
        "whatever is left out is assumed, and shown as assumed. Sizes are written `70TB` or `64GiB`, rates",
        "`5.2Gbit/s` or `650MB/s`. `examples/fleet/facts.yaml` is a whole one.",
        "",
        "What a number rests on, from the best to the weakest: `measured` (a probe, a metric, a count), `known` (an",
        "earlier run or drill, from the journal), `stated` (somebody said so, in facts or inventory), `assumed` (a",
        "default of the list below).",
        "",
    ]
    lines += _parts(Facts.model_json_schema(), "Facts", FACTS_PARTS)
    lines += ["## Defaults", "", "Where nothing was observed. Spread is nine in ten over the median.", ""]
    lines += ["| figure | value | spread | where it comes from |", "| --- | --- | --- | --- |"]
    for name, figure in RATES.items():
        lines.append(f"| `{name}` | {figure.value / 1e6:g} MB/s | {figure.spread:g} | {figure.source} |")
    for name, figure in PACES.items():
        lines.append(f"| `{name}` | {figure.value:,g} a second | {figure.spread:g} | {figure.source} |")
    for name, (at_once, seconds, spread, source) in WAVE_SECONDS.items():
        lines.append(f"| `{name}` | {seconds:g} s for {at_once} hosts at once | {spread:g} | {source} |")
    for name, (seconds, spread, source) in STEP_SECONDS.items():
        lines.append(f"| `{name}` | {seconds:g} s | {spread:g} | {source} |")
    return "\n".join([*lines, ""])


def plan_page() -> str:
    lines = [
        "# A plan as JSON",
        "",
        "This page is generated from the schema (`make docs`), and so is [plan.schema.json](plan.schema.json).",
        "`cloudexit plan --json` prints such a document, `--out FILE` keeps it, `cloudexit run FILE` takes it.",
        "Moments are RFC 3339, durations seconds, sizes bytes, rates bytes a second, costs US dollars.",
        "",
    ]
    schema = PlanDocument.model_json_schema(mode="serialization")
    return "\n".join([*lines, *_parts(schema, "PlanDocument", PLAN_PARTS)])


def plan_schema() -> str:
    schema = PlanDocument.model_json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "cloudexit plan"}
    return json.dumps({**schema, **head}, indent=1, sort_keys=True) + "\n"


def manifest_page() -> str:
    lines = [
        "# The manifest: stack.yaml",
        "",
        "This page is generated from the schema (`make docs`). Unknown keys are refused, and every fault is named by",
        "file, line and field. Durations are written `500ms`, `30s`, `5m`, `2h` or `8d`. `cloudexit init DIR` writes a",
        "commented manifest to begin with; `examples/plaza/stack.yaml` is a whole one.",
        "",
    ]
    return "\n".join([*lines, *_parts(Stack.model_json_schema(), "Stack", PARTS)])


def _parts(schema: dict[str, Any], top: str, parts: tuple[tuple[str, str, str], ...]) -> Iterator[str]:
    """A table for each model of a schema."""
    models = {**schema["$defs"], top: schema}
    for model, title, note in parts:
        yield from (f"## {title}", "")
        if note:
            yield from (note, "")
        yield from ("| field | type | default | what it is |", "| --- | --- | --- | --- |")
        yield from _rows(models[model])
        yield ""


def _rows(model: dict[str, Any]) -> Iterator[str]:
    required = set(model.get("required", []))
    for name, field in model["properties"].items():
        default = "**required**" if name in required else _default(field)
        text = " ".join(field.get("description", "").split())
        yield f"| `{name}` | {_type(field)} | {default} | {text} |"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value in (None, "", [], {}) else f"`{value}`"


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "$ref" in field:
        return field["$ref"].rsplit("/", 1)[-1]
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"] if option.get("type") != "null")
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object":
        values = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), {})
        return f"name -> {_type(values)}"
    return str(field.get("type", "any"))


def command_page() -> str:
    lines = [
        "# The command line",
        "",
        "This page is generated from the program (`make docs`). `--json` prints one JSON document on standard output;",
        "progress and prose go to standard error. No colour where the stream is no terminal or `NO_COLOR` is set.",
        "Exit codes: [exit-codes.md](exit-codes.md).",
        "",
    ]
    group = typer.main.get_command(command_line())
    assert isinstance(group, TyperGroup)
    for path, command in _commands(group, ("cloudexit",)):
        lines += [f"## {' '.join(path)}", "", " ".join((command.help or "").split()), "", "```"]
        lines += [_usage(path, command), "```", ""]
        options = [p for p in command.params if isinstance(p, TyperOption) and p.name != "help"]
        lines += [f"- `{', '.join(option.opts)}`: {option.help or ''}" for option in options]
        lines.append("")
    return "\n".join(lines)


def _commands(group: TyperGroup, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, (*path, name))
        elif isinstance(command, TyperCommand):
            yield (*path, name), command


def _usage(path: tuple[str, ...], command: TyperCommand) -> str:
    arguments = [p for p in command.params if isinstance(p, TyperArgument)]
    shown = [_bracketed(argument.metavar or str(argument.name).upper(), argument.required) for argument in arguments]
    return " ".join([*path, "[OPTIONS]", *shown])


def _bracketed(name: str, required: bool) -> str:
    return name if required or name.startswith("[") else f"[{name}]"


ASSESSMENT = (
    ("Assessment", "The whole", "What `cloudexit assess --json` prints."),
    ("Totals", "totals", ""),
    ("Deed", "first_hour", "A list of these."),
    ("Finding", "findings", "A list of these."),
    ("Resource", "resource", "Of a finding."),
    ("Leak", "leaks", "A list of these."),
    ("Stop", "vendors", "A list of these."),
    ("Fault", "faults", "A list of these."),
    ("Unseen", "unseen", "A list of these."),
    ("Conclusion", "verdict", ""),
    ("Hold", "hold", ""),
    ("LeakKind", "kind of a leak", ""),
    ("Blindness", "reason", "Of what was not seen."),
)


def assessment_schema() -> dict[str, Any]:
    schema = Assessment.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def assessment_page() -> str:
    schema = assessment_schema()
    models = {**schema["$defs"], "Assessment": schema}
    lines = [
        "# The assessment: every class and field",
        "",
        "This page is generated from the schema (`make docs`). The same as JSON Schema, for programs:",
        "[assessment.schema.json](assessment.schema.json). How each service is judged: [holds.md](holds.md).",
        "",
    ]
    for model, title, note in ASSESSMENT:
        about = " ".join(models[model].get("description", "").split())
        lines += [f"## {title}", "", *([note, ""] if note else []), about, ""]
        if "enum" in models[model]:
            lines += [*(f"- `{value}`" for value in models[model]["enum"]), ""]
            continue
        lines += ["| field | type | what it is |", "| --- | --- | --- |"]
        for name, field in models[model]["properties"].items():
            lines.append(f"| `{name}` | {_type(field)} | {' '.join(field.get('description', '').split())} |")
        lines.append("")
    return "\n".join(lines)


def holds_page() -> str:
    lines = [
        "# How tightly each service holds",
        "",
        "This page is generated from `migrate/assess/knowledge/` (`make docs`). The first line that fits a resource",
        "judges it; a kind that stands nowhere here counts as captive. `lead` is working time of one engineer who has",
        "done it before. A source that is `assumed` is a default of ours.",
        "",
    ]
    for service in dict.fromkeys(rule.service for rule in RULES):
        lines += [f"## {service}", "", "| what | class | why | instead | lead | first |", f"|{' --- |' * 6}"]
        for rule in (rule for rule in RULES if rule.service == service):
            when = ", ".join(f"{fact} is {value}" for fact, value in rule.when.items())
            what = f"{rule.kind}{f', {when}' if when else ''}"
            source = f"[source]({rule.source})" if rule.source.startswith("https://") else rule.source
            cells = (what, rule.hold.value, f"{rule.why} ({source})", rule.instead, hours(rule.lead_hours), rule.first)
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, *_clocks()])


def _clocks() -> Iterator[str]:
    yield from ("## Clocks of the first hour", "", "| service | what | how | source |", "| --- | --- | --- | --- |")
    for clock in CLOCKS:
        source = f"[source]({clock.source})" if clock.source.startswith("https://") else clock.source
        yield f"| {clock.service} | {clock.what} | {clock.how} | {source} |"
    yield ""


PAGES = {
    "manifest.md": manifest_page,
    "command-line.md": command_page,
    "assessment.md": assessment_page,
    "assessment.schema.json": lambda: json.dumps(assessment_schema(), indent=1, ensure_ascii=False) + "\n",
    "holds.md": holds_page,
    "facts.md": facts_page,
    "plan.md": plan_page,
    "plan.schema.json": plan_schema,
}


def main() -> int:
    stale = []
    for name, page in PAGES.items():
        path = REFERENCE / name
        text = page()
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                stale.append(name)
        else:
            path.write_text(text)
    if stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run: make docs\n")
    return int(bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
