"""`maintenance` and `certificate`: what operators ask of the edges by hand."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from migrate.adapters.http import HttpxClient
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.adapters.ssh import SshHosts
from migrate.check import CheckResult, Verdict
from migrate.cli.assembly import Undertaking
from migrate.cli.options import DEFAULT_STACK, InventoryPath, StackPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.errors import ExitCode
from migrate.report.terminal import show_check
from migrate.target.checks import ServiceChecks
from migrate.target.edges import Edges


class Door(StrEnum):
    ON = "on"
    OFF = "off"


def maintenance(
    door: Annotated[Door, typer.Argument(help="`on` closes the site, `off` opens it.")],
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Closes the site with a page that says so (503), on every edge, or opens it again."""
    undertaking = Undertaking.read(stack, inventory, state)
    undertaking.make_ready()
    with SshHosts() as hosts:
        edges = Edges(undertaking.stack, undertaking.inventory, hosts)
        results = edges.close() if door is Door.ON else edges.open()
    _end(Output(as_json, verbose, quiet), results)


def certificate(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Has every edge ask for its certificate now, where that is due, and shows what it has then."""
    undertaking = Undertaking.read(stack, inventory, state)
    undertaking.make_ready()
    with SshHosts() as hosts:
        checks = ServiceChecks(
            undertaking.stack, undertaking.inventory, undertaking.secrets(), hosts,
            HttpxClient(), PsycopgClient(), RedisClient(),
        )  # fmt: skip
        results = Edges(undertaking.stack, undertaking.inventory, hosts).certify(checks)
    _end(Output(as_json, verbose, quiet), results)


def _end(output: Output, results: list[CheckResult]) -> None:
    if output.as_json:
        output.document({"checks": [result.as_document() for result in results]})
    else:
        for result in results:
            show_check(output.results, result.as_document())
    code = exit_code(results)
    if code is not ExitCode.DONE:
        raise typer.Exit(int(code))


def exit_code(results: Sequence[CheckResult]) -> ExitCode:
    """An edge that could not be looked at comes before one that is not as it should be."""
    if any(result.verdict is Verdict.UNKNOWN for result in results):
        return ExitCode.UNREACHABLE
    return ExitCode.DONE if all(results) else ExitCode.GATE


def register(app: typer.Typer) -> None:
    for command in (maintenance, certificate):
        app.command()(command)
