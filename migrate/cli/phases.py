"""`provision`, `restore`, `start`, `check`, `cutover`: one phase of the same plan, by the same code."""

from pathlib import Path
from typing import Annotated

import typer

from migrate.cli.assembly import Undertaking
from migrate.cli.execution import execute
from migrate.cli.options import DEFAULT_STACK, InventoryPath, Replace, StackPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.plan import Phase, Plan

PROVISION_KINDS = ("preflight.hosts", "provision.hosts")
CHECK_KINDS = ("prove.checks", "prove.journey")


def provision(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    rotate_secrets: Annotated[
        bool, typer.Option("--rotate-secrets", help="Give hosts that live with other secrets these.")
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Looks at the hosts, then brings them to the state that the stack needs, whatever was done to them by hand."""
    undertaking = Undertaking.read(stack, inventory, state)
    undertaking.make_ready()
    actions = undertaking.actions(make_secrets=True, rotate_secrets=rotate_secrets, play_anyway=True)
    plan = undertaking.plan.having(PROVISION_KINDS)
    execute("provision", plan, undertaking.state, actions, Output(as_json, verbose, quiet))


def restore(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    replace: Replace = False,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Rebuilds databases, caches, media and releases from the archive, and proves them."""
    undertaking = Undertaking.read(stack, inventory, state)
    plan = undertaking.plan.only(Phase.RESTORE)
    _carry_out("restore", undertaking, plan, Output(as_json, verbose, quiet), replace=replace)


def start(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Starts every service where it does not run, in order, each behind its gate: hosts that have joined the home."""
    undertaking = Undertaking.read(stack, inventory, state)
    _carry_out("start", undertaking, undertaking.plan.only(Phase.START), Output(as_json, verbose, quiet))


def check(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Every check of every service, one look each, and the users' journeys."""
    undertaking = Undertaking.read(stack, inventory, state)
    plan = undertaking.plan.having(CHECK_KINDS)
    _carry_out("check", undertaking, plan, Output(as_json, verbose, quiet), look_once=True)


def cutover(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """What would be lost if the old home ended now."""
    undertaking = Undertaking.read(stack, inventory, state)
    _carry_out("cutover", undertaking, undertaking.plan.only(Phase.CUTOVER), Output(as_json, verbose, quiet))


def export_phase(stack: Path, inventory: Path | None, state: Path | None, output: Output) -> None:
    """`cloudexit export` without a source: every bucket of the stack."""
    undertaking = Undertaking.read(stack, inventory, state)
    undertaking.make_ready()
    execute("export", undertaking.plan.only(Phase.EXPORT), undertaking.state, undertaking.export_actions, output)


def _carry_out(
    command: str,
    undertaking: Undertaking,
    plan: Plan,
    output: Output,
    *,
    replace: bool = False,
    look_once: bool = False,
) -> None:
    undertaking.make_ready()
    execute(command, plan, undertaking.state, undertaking.actions(replace=replace, look_once=look_once), output)


def register(app: typer.Typer) -> None:
    for command in (provision, restore, start, check, cutover):
        app.command()(command)
