"""`records`: what the zone of the mail's domain must hold."""

import typer
from rich.console import Console

from migrate.cli.assembly import Undertaking
from migrate.cli.options import DEFAULT_STACK, InventoryPath, StackPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.target.ownsecrets import DKIM
from migrate.target.records import Record, Records, mail_records


def records(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Prints the DNS records that the app's mail needs: SPF, DKIM, DMARC, and the names of the mail hosts."""
    undertaking = Undertaking.read(stack, inventory, state)
    undertaking.state.create()
    found = mail_records(undertaking.stack, undertaking.inventory, undertaking.secrets(DKIM))
    output = Output(as_json, verbose, quiet)
    if as_json:
        output.document(found.as_document())
        return
    _show(output.results, found)
    for advice in found.advice:
        output.say(f"- {advice}")


def _show(console: Console, found: Records) -> None:
    """A piece of a zone file, which may be pasted: what is no record stands behind a semicolon."""
    for record in found.zone:
        _print(console, record, "")
    for record in found.reverse:
        _print(console, record, "; ")


def _print(console: Console, record: Record, before: str) -> None:
    text = f"; {record.why}\n{before}{record.line}\n"
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    app.command()(records)
