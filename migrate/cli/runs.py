"""`run`, `status`, `report`: a plan and what became of it."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from migrate.cli.assembly import Undertaking
from migrate.cli.execution import execute
from migrate.cli.export_view import show_archive_status
from migrate.cli.keeping import keep, require_keepable
from migrate.cli.options import DEFAULT_STACK, InventoryPath, Lanes, Replace, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.cli.state import StateFolder
from migrate.cli.streams import reader_left
from migrate.errors import ExitCode, GateHeld, UsageProblem
from migrate.export.keymap import LEDGER
from migrate.journal import Journal
from migrate.plan import SIDE_BY_SIDE, Plan
from migrate.report.document import run_report
from migrate.report.run_page import run_page
from migrate.report.status import run_status, show_status
from migrate.report.terminal import show_report

WATCH_SECONDS = 1.0


def run(
    planfile: Annotated[Path | None, typer.Argument(help="A plan kept by `cloudexit plan --out`.")] = None,
    stack: Annotated[Path, typer.Option("--stack", help="The manifest, where no plan is given.")] = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    overwrite: Replace = False,
    lanes: Lanes = SIDE_BY_SIDE,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Executes a plan; started again, it goes on where it stopped."""
    if planfile and (inventory or stack != DEFAULT_STACK):
        raise UsageProblem(
            "a kept plan names its own stack and inventory", where=str(planfile), hint="leave --stack and -i out"
        )
    undertaking = _reviewed(planfile, state) if planfile else Undertaking.read(stack, inventory, state)
    undertaking.make_ready()
    execute(
        "run",
        undertaking.plan,
        undertaking.state,
        undertaking.actions(replace=overwrite, make_secrets=True),
        Output(as_json, verbose, quiet),
        lanes=lanes,
    )


def _reviewed(planfile: Path, state: Path | None) -> Undertaking:
    """What a kept plan speaks of; raises GateHeld where stack or inventory have changed since it was made."""
    try:
        document = json.loads(planfile.read_text())
        stack, inventory = Path(document["stack"]), Path(document["inventory"])
    except (OSError, ValueError, TypeError, KeyError) as fault:
        raise UsageProblem(f"this is no plan: {fault}", where=str(planfile)) from fault
    reviewed = Plan.from_document(document, str(planfile))
    undertaking = Undertaking.read(stack, inventory, state)
    for noun, then, now in (
        ("stack", reviewed.stack_digest, undertaking.plan.stack_digest),
        ("inventory", reviewed.inventory_digest, undertaking.plan.inventory_digest),
        ("list of steps", reviewed.digest, undertaking.plan.digest),
    ):
        if then != now:
            raise GateHeld(
                f"the plan is stale: the {noun} has changed since it was made",
                where=str(planfile),
                expected=f"{noun} {then[:12]}, found {now[:12]}",
                hint=f"review it anew: cloudexit plan --out {planfile}",
            )
    return replace(undertaking, plan=reviewed)


def status(
    stack: Annotated[Path, typer.Argument(metavar="[STACK | DEST]", help="A manifest, or an archive.")] = DEFAULT_STACK,
    state: State = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again each second until the run ends.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Where the run is, what is left, what failed; from the journal, so in any terminal."""
    if watch and as_json:
        raise UsageProblem("--watch and --json exclude each other", expected="one of them", hint="poll with --json")
    output = Output(as_json, verbose, quiet)
    if (stack / LEDGER).is_file():
        while show_archive_status(output, stack) and watch and not reader_left():
            time.sleep(WATCH_SECONDS)
        return
    folder = _existing(stack, state)
    while True:
        found = run_status(folder.journal, folder.lock)
        if as_json:
            output.document(found)
        else:
            show_status(output.results, found, verbose=verbose)
        if not watch or not found["under_way"] or reader_left():
            return
        time.sleep(WATCH_SECONDS)


def report(
    number: Annotated[int | None, typer.Argument(metavar="[RUN]", help="Number of the run; the last.")] = None,
    stack: Annotated[Path, typer.Option("--stack", help="The manifest.")] = DEFAULT_STACK,
    state: State = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write it as a page into this file.")] = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """The report of a run or drill again."""
    output = Output(as_json, verbose, quiet)
    if html:
        require_keepable(html)
    journal = Journal(_existing(stack, state).journal, read_only=True)
    chosen = next((r for r in reversed(journal.runs()) if number in (None, r.id)), None)
    if chosen is None:
        raise UsageProblem(
            f"there is no run {number if number is not None else 'yet'}",
            where=str(journal.path),
            expected=", ".join(str(r.id) for r in journal.runs()) or "a run",
        )
    document = run_report(journal, chosen)
    if as_json:
        output.document(document)
    else:
        show_report(output.results, document, verbose=verbose)
    if html:
        keep(html, run_page(document, stack.absolute().parent.name or "run"))
        output.say(f"kept: {html}")
    if not document["proved"]:
        raise typer.Exit(int(ExitCode.GATE))


def _existing(stack: Path, state: Path | None) -> StateFolder:
    folder = StateFolder.beside(stack, state)
    if not folder.journal.exists():
        raise UsageProblem(
            "nothing was run here yet",
            where=str(folder.root),
            hint="name the manifest or --state DIR of the run",
        )
    return folder


def register(app: typer.Typer) -> None:
    for command in (run, status, report):
        app.command()(command)
