"""`recover`: a database cluster as it was at a moment, rebuilt from the backups on a scratch host."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from migrate.adapters.ssh import SshHosts
from migrate.cli.options import DEFAULT_STACK, InventoryPath
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.cli.reading import read_stack_and_inventory
from migrate.errors import UsageProblem
from migrate.inventory import require_files
from migrate.target.recovery import DEFAULT_PORT, Recovered, Recovery

NEWEST = "newest"


def recover(
    service: Annotated[str, typer.Argument(help="A service of kind postgresql.")],
    to_time: Annotated[
        str,
        typer.Option("--to-time", metavar="WHEN", help="2026-01-10T23:59:00+01:00, or newest: all that is archived."),
    ],
    on: Annotated[str, typer.Option("--on", metavar="HOST", help="Host that the cluster is rebuilt on.")],
    stack: Annotated[Path, typer.Option("--stack", help="The manifest.")] = DEFAULT_STACK,
    inventory: InventoryPath = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the rebuilt cluster.")] = DEFAULT_PORT,
    replace: Annotated[bool, typer.Option("--replace", help="Drop what an earlier recovery left there.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Rebuilds a database cluster as it was at a moment, beside whatever runs; nothing that runs is touched."""
    output = Output(as_json, verbose, quiet)
    moment = moment_of(to_time)
    read, hosts_read = read_stack_and_inventory(stack, inventory)
    require_files(hosts_read)
    with SshHosts() as hosts:
        recovered = Recovery(read, hosts_read, hosts, output.say).recover(
            service, on, moment, port=port, replace=replace
        )
    if as_json:
        output.document(recovered.as_document())
    else:
        output.results.print("\n".join(_lines(recovered)), highlight=False)


def moment_of(text: str) -> datetime | None:
    """None for the newest moment there is; raises UsageProblem for what is no moment, or lies ahead."""
    if text == NEWEST:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as fault:
        raise _no_moment(f"no moment: {text!r}") from fault
    if moment.tzinfo is None:
        raise _no_moment(f"a moment without its zone: {text!r}")
    if moment > datetime.now(UTC):
        raise _no_moment(f"the moment lies ahead: {text!r}")
    return moment


def _no_moment(what: str) -> UsageProblem:
    return UsageProblem(what, where="--to-time", expected="2026-01-10T23:59:00+01:00 (Z for UTC), or newest")


def _lines(found: Recovered) -> list[str]:
    newest = found.newest_commit.isoformat(sep=" ") if found.newest_commit else "none after the backup"
    return [
        f"{found.service} stands on {found.host}: cluster {found.cluster}, port {found.port}, {found.seconds:.0f} s",
        f"  from the backup {found.backup}; newest commit: {newest}",
        *(f"  {name}: {size:,} bytes" for name, size in found.databases.items()),
        f"  sign in there: sudo -u postgres psql -p {found.port}",
    ]


def register(app: typer.Typer) -> None:
    app.command()(recover)
