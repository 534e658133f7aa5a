"""`cloudexit lab`: the disposable hosts by themselves."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from migrate.check import Severity
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.errors import ExitCode, UsageProblem
from migrate.lab.lab import HostSpec, Lab, LabHost
from migrate.lab.releases import DEFAULT_RELEASE, Release
from migrate.lab.requirements import doctor
from migrate.manifest import read_stack
from migrate.report.layout import say
from migrate.report.terminal import show_check
from migrate.stack import Stack

app = typer.Typer(help="Disposable hosts with systemd on this machine.", no_args_is_help=True)
Name = Annotated[str, typer.Option("--name", help="Name of the lab, at most 8 characters.")]
DEFAULT_NAME = "lab"


def host_groups(stack: Stack, hosts: int | None = None) -> dict[str, tuple[str, ...]]:
    """Host -> groups, as the manifest's rehearsal says, or spread evenly over `hosts` hosts."""
    if stack.rehearsal is None:
        raise UsageProblem("the manifest has no `rehearsal`", expected="rehearsal: hosts: {host: [groups]}")
    if hosts is None or hosts == len(stack.rehearsal.hosts):
        return dict(stack.rehearsal.hosts)
    if hosts < 1:
        raise UsageProblem(f"--hosts {hosts}", expected="1 or more")
    groups = stack.groups()
    count = min(hosts, len(groups))
    return {f"host{n + 1}": tuple(g for i, g in enumerate(groups) if i % count == n) for n in range(count)}


def document_of(host: LabHost) -> dict[str, object]:
    return {
        "name": host.name,
        "address": host.address,
        "state": host.state.value,
        "groups": list(host.groups),
        "ssh": " ".join(host.ssh),
    }


@app.command("up")
def up(
    stack: Annotated[Path, typer.Argument(help="Manifest whose groups the hosts get.")] = Path("stack.yaml"),
    hosts: Annotated[int | None, typer.Option("--hosts", help="Number of hosts.")] = None,
    name: Name = DEFAULT_NAME,
    release: Annotated[
        Release | None, typer.Option("--release", help="Debian's release of the hosts; 12 unless told.")
    ] = None,
    inventory: Annotated[Path | None, typer.Option("--inventory-out", help="Where to write the inventory.")] = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Boots disposable hosts for a stack's groups; what runs already is kept."""
    output = Output(as_json, verbose, quiet)
    laboratory = Lab(name, release=release, progress=output.say)
    made = laboratory.up([HostSpec(h, groups) for h, groups in host_groups(read_stack(stack), hosts).items()])
    if inventory:
        laboratory.write_inventory(inventory)
    _show(output, made)


@app.command("list")
def list_hosts(
    name: Name = DEFAULT_NAME, as_json: Json = False, verbose: Verbose = False, quiet: Quiet = False
) -> None:
    """Hosts of a lab, their addresses and states; with -v how to reach each."""
    _show(Output(as_json, verbose, quiet), Lab(name).hosts())


def _show(output: Output, hosts: list[LabHost]) -> None:
    if output.as_json:
        output.document({"hosts": [document_of(host) for host in hosts]})
        return
    for host in hosts:
        output.results.print(
            f"{host.name:<12} {host.address:<16} {host.state:<10} {', '.join(host.groups)}", highlight=False
        )
        if output.verbose:
            output.results.print(f"    {' '.join(host.ssh)}", highlight=False, markup=False, soft_wrap=True)
    if not hosts:
        output.say("no hosts; make some: cloudexit lab up STACK")


@app.command("ssh")
def ssh(host: str, name: Name = DEFAULT_NAME) -> None:
    """Opens a shell on a host, with its pinned key."""
    command = Lab(name).ssh_argv(host)
    os.execvp(command[0], command)


@app.command("down")
def down(name: Name = DEFAULT_NAME, verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Stops and removes every host of a lab, and nothing that the lab did not make."""
    output = Output(verbose=verbose, quiet=quiet)
    laboratory = Lab(name, progress=output.say)
    for host in laboratory.hosts() if verbose else ():
        output.say(f"goes: {host.name}, {host.address}, {host.state}")
    laboratory.down()
    output.say(f"lab {name} is gone")


@app.command("doctor")
def show_doctor(
    release: Annotated[Release, typer.Option("--release", help="Debian's release of the hosts.")] = DEFAULT_RELEASE,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """What this machine lacks for disposable hosts."""
    output = Output(as_json, verbose, quiet)
    results = doctor(Lab(DEFAULT_NAME).root, release)
    lacking = [result for result in results if not result]
    if output.as_json:
        output.document({"checks": [result.as_document() for result in results]})
    else:
        for result in results:
            show_check(output.results, result.as_document())
            if verbose:
                needed = "needed" if result.severity is Severity.GATE else "only advised"
                say(output.results, f"{needed}{escape(f'; {result.hint}') if result.hint and result else ''}", indent=6)
    if any(result.holds for result in lacking):
        raise typer.Exit(int(ExitCode.GATE))
    output.say("this machine can hold disposable hosts")
