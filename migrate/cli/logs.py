"""`logs`: lines of every host, from the log host."""

import sys
from typing import Annotated

import typer

from migrate.adapters.ssh import SshHosts
from migrate.cli.assembly import Undertaking
from migrate.cli.options import DEFAULT_STACK, InventoryPath, StackPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.inventory import require_files
from migrate.target.logsearch import Question, lines_of


def logs(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    host: Annotated[str | None, typer.Option("--host", help="Only lines of this host of the inventory.")] = None,
    unit: Annotated[str | None, typer.Option("--unit", "-u", help="Only lines of this systemd unit.")] = None,
    since: Annotated[str, typer.Option("--since", help="How far back: 30s, 10m, 2h, 7d.")] = "1h",
    grep: Annotated[str | None, typer.Option("--grep", help="Only lines with this pattern (PCRE).")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=100_000, help="The newest so many.")] = 1000,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Shows what the hosts wrote into their journals, as the log host has it; secrets are redacted."""
    undertaking = Undertaking.read(stack, inventory, state)
    require_files(undertaking.inventory)
    undertaking.state.create()
    question = Question(host, unit, since, grep, lines)
    with SshHosts() as hosts:
        found = lines_of(undertaking.stack, undertaking.inventory, hosts, undertaking.secrets(), question)
    if as_json:
        Output(as_json, verbose, quiet).document({"lines": found})
    else:
        sys.stdout.write("".join(f"{line}\n" for line in found))


def register(app: typer.Typer) -> None:
    app.command()(logs)
