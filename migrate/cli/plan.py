"""`plan`: the dry run. Every step with its time, the deadline, the cost, the room; nothing changes anywhere."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from migrate.adapters.machine import this_machine
from migrate.cli.keeping import keep, require_keepable
from migrate.cli.options import DEFAULT_STACK, InventoryPath, Lanes, StackPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose, json_text
from migrate.cli.reading import read_stack_and_inventory
from migrate.cli.state import StateFolder
from migrate.errors import GateHeld, UsageProblem
from migrate.export.scope import SPAN, in_utc, parse_deadline
from migrate.facts import Facts, read_facts
from migrate.forecast.basis import Basis
from migrate.forecast.draws import SEED
from migrate.forecast.forecast import Occasion, forecast
from migrate.forecast.history import History
from migrate.forecast.result import Forecast, Prediction, Standing
from migrate.forecast.simulation import simulate
from migrate.forecast.taking import Wanted
from migrate.inventory import Inventory, require_files
from migrate.plan import SIDE_BY_SIDE, Plan
from migrate.planner import make_plan
from migrate.report.plan_document import plan_document
from migrate.report.plan_needs import shortages
from migrate.report.plan_page import plan_page
from migrate.report.plan_view import show_forecast
from migrate.stack import Stack

MOMENT = "a moment with its offset such as 2026-01-10T23:59:00-08:00, or a span from now such as 30h"
WHILE_TYPING = timedelta(minutes=1)
"""A go so long ago was now when the command was typed."""
FAR = timedelta(days=36_525)

FactsPath = Annotated[Path | None, typer.Option("--facts", help="What was observed: sizes, counts, rates, room.")]
DeadlineOption = Annotated[
    str | None,
    typer.Option("--deadline", metavar="WHEN", help="When the old home ends: 30h, 2026-01-10T23:59:00-08:00."),
]
Go = Annotated[str | None, typer.Option("--go", metavar="WHEN", help="When the run would begin; now.")]
Out = Annotated[Path | None, typer.Option("--out", help="Keep the plan in this file.")]
Html = Annotated[Path | None, typer.Option("--html", help="Draw the timeline into this file, for those who decide.")]
Probe = Annotated[
    bool, typer.Option("--probe", help="Measure buckets, this disk, the line to a host; says first what that costs.")
]
Predict = Annotated[bool, typer.Option("--predict", help="Ask Ansible what it would change (check mode).")]
Tags = Annotated[bool, typer.Option("--tags", help="Reckon as if every bucket's tags came along.")]
Versions = Annotated[bool, typer.Option("--versions", help="Reckon as if every bucket's versions came along.")]


Simulate = Annotated[
    int,
    typer.Option(
        "--simulate", metavar="RUNS", min=0, max=5000, help="Carry it out in thought so often, with failures."
    ),
]


def plan(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    facts: FactsPath = None,
    deadline: DeadlineOption = None,
    go: Go = None,
    probe: Probe = False,
    predict: Predict = False,
    tags: Tags = False,
    versions: Versions = False,
    lanes: Lanes = SIDE_BY_SIDE,
    simulate_runs: Simulate = 0,
    out: Out = None,
    html: Html = None,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """The dry run: every step, its predicted time, cost, room, and whether the deadline can be met. Changes nothing."""
    now = datetime.now(UTC)
    occasion = occasion_of(now, go, deadline)
    known_stack, hosts = read_stack_and_inventory(stack, inventory)
    for path in filter(None, (out, html)):
        require_keepable(path)
    folder = StateFolder.beside(stack, state)
    said = read_facts(facts, known_stack) if facts else Facts()
    if said.export is None:
        said = said.model_copy(update={"export": this_machine(folder.root, now)})
    if out and said.export and said.export.hosts > 1:
        raise UsageProblem(
            f"a plan with {said.export.hosts} export hosts cannot be kept to be carried out: `run` drives one",
            where=f"{facts}: export.hosts", expected="export: {hosts: 1}",
            hint="leave --out away, or say 1: the plan then tells what one host makes",
        )  # fmt: skip
    output = Output(as_json, verbose, quiet)
    history = folder.history()
    if probe:
        said, history = _probed(known_stack, hosts, said, history, folder, output)
    wanted = Wanted(tags, versions)
    basis = Basis(known_stack, hosts, said, history, lanes, wanted)
    made = make_plan(known_stack, hosts, basis.facts, basis.history, wanted=wanted)
    found = forecast(made, basis, occasion)
    if simulate_runs:
        found = found.model_copy(update={"simulation": simulate(made, basis, simulate_runs, SEED)})
    if predict:
        found = found.model_copy(update={"predictions": _predicted(known_stack, hosts, folder, output)})
    document = plan_document(made, found, str(stack.absolute()), str(hosts.path.absolute()))
    if out:
        keep(out, json_text(document, ascii_only=True) + "\n")
    if html:
        keep(html, plan_page(document))
    _show(output, made, found, document)
    for kept, then in ((out, f"; carry it out: cloudexit run {out}"), (html, "")):
        if kept:
            output.say(f"kept: {kept}{then}")
    _hold(found, as_json=as_json, where=str(stack))


def occasion_of(now: datetime, go: str | None, deadline: str | None) -> Occasion:
    """Raises UsageProblem for a moment without a time zone, one that is over, or one that nobody can plan for."""
    go_at = _moment("--go", go, now) if go is not None else now
    end = _moment("--deadline", deadline, now) if deadline is not None else None
    if go_at < now - WHILE_TYPING:
        raise UsageProblem(
            f"the go is in the past: {go_at:%Y-%m-%d %H:%M:%S %Z}",
            where="--go",
            expected=f"a moment after {now:%Y-%m-%d %H:%M:%S %Z}",
            hint="look at day, year and time zone; to begin now, leave --go out",
        )
    if end and end <= max(now, go_at):
        over = "is in the past" if end <= now else "is before the go"
        raise UsageProblem(
            f"the deadline {over}: {end:%Y-%m-%d %H:%M:%S %Z}",
            where="--deadline",
            expected=f"a moment after {max(now, go_at):%Y-%m-%d %H:%M:%S %Z}",
            hint="look at day, year and time zone; if it is over, export what still answers: cloudexit export --help",
        )
    return Occasion(now, max(go_at, now), end)


def _moment(option: str, text: str, now: datetime) -> datetime:
    if SPAN.fullmatch(text.strip()) and any(character.isdigit() for character in text):
        moment = parse_deadline(text, now, option)
    else:
        try:
            said = datetime.fromisoformat(text.strip())
        except ValueError as fault:
            raise UsageProblem(f"{text!r} is no moment", where=option, expected=MOMENT) from fault
        if said.tzinfo is None:
            raise UsageProblem(f"{text!r} has no time zone", where=option, expected=MOMENT)
        moment = in_utc(said, text, option)
    if moment > now + FAR:
        raise UsageProblem(
            f"{text!r} is more than a century away", where=option, expected=MOMENT, hint="look at the year"
        )
    return moment


def _probed(
    stack: Stack, hosts: Inventory, said: Facts, history: History, folder: StateFolder, output: Output
) -> tuple[Facts, History]:
    from migrate.cli.plan_probe import probe  # brings every adapter: only where something is asked

    require_files(hosts)
    found = probe(stack, hosts, said, history, folder.root, output)
    return found.facts, found.history


def _predicted(stack: Stack, hosts: Inventory, folder: StateFolder, output: Output) -> tuple[Prediction, ...]:
    from migrate.cli.plan_probe import predict

    require_files(hosts)
    return predict(stack, hosts, folder.secrets, output)


def _show(output: Output, made: Plan, found: Forecast, document: dict[str, Any]) -> None:
    if output.as_json:
        output.document(document)
    else:
        show_forecast(output.results, made, found, verbose=output.verbose)


def _hold(found: Forecast, *, as_json: bool, where: str) -> None:
    """Raises GateHeld where the plan must not be carried out as it is."""
    if not found.holds:
        return
    held = GateHeld(
        "; ".join(found.holds),
        where=where,
        expected="data out by the deadline, and room for it" if found.deadline else "room for what comes",
        hint="; ".join(_remedies(found, "forecast" if as_json else "the page")),
    )
    held.reported = as_json
    raise held


def _remedies(found: Forecast, seen_in: str) -> Iterator[str]:
    standing = found.deadline.standing if found.deadline else None
    if standing is Standing.MISSED:
        yield f"{seen_in} says which line, how many export hosts or which go would make the deadline, and what stays"
    if standing is Standing.UNKNOWN:
        yield "say the sizes that are missing in a file of facts (--facts FILE), or measure them: --probe"
    for row in found.stays:
        if row.breaks:
            yield f"have the archived objects restored: {row.how}"
    short = shortages(found)
    if short:
        yield f"give the hosts more room, or spread the work over more of them: {', '.join(short)}"


def register(app: typer.Typer) -> None:
    app.command()(plan)
