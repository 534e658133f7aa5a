"""`deploy`: another release for a home that runs, or the one before again."""

from pathlib import Path
from typing import Annotated, Any

import typer

from migrate.adapters.ssh import SshHosts
from migrate.cli.assembly import Undertaking
from migrate.cli.execution import execute
from migrate.cli.options import DEFAULT_STACK, InventoryPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.errors import UsageProblem
from migrate.journal import Journal
from migrate.plan import Plan
from migrate.target.deploy import deploy_plan, rollback_plan
from migrate.target.release import read_release
from migrate.target.standing import Installed

ROLLBACK = "rollback"


def deploy(
    archive: Annotated[Path | None, typer.Argument(help="The release, a .tar.gz.")] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="The release before, instead of an archive.")] = False,
    release: Annotated[str | None, typer.Option("--release", help="Which release, where the app has several.")] = None,
    stack: Annotated[Path, typer.Option("--stack", help="The manifest.")] = DEFAULT_STACK,
    inventory: InventoryPath = None,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Has a release run on all its hosts, one after the other, each behind its gates; a bad one is taken back."""
    if (archive is None) is not rollback:
        raise UsageProblem("what is to be deployed?", expected="an ARCHIVE, or --rollback, and not both")
    undertaking = Undertaking.read(stack, inventory, state)
    name = _name(undertaking, release)
    undertaking.make_ready()
    output = Output(as_json, verbose, quiet)
    if archive is None:
        plan = _rollback(undertaking, name)
        execute(ROLLBACK, plan, undertaking.state, undertaking.deploy_actions(name, None), output)
        return
    found = read_release(archive.absolute(), name)
    plan = deploy_plan(undertaking.stack, undertaking.inventory, found)
    execute("deploy", plan, undertaking.state, undertaking.deploy_actions(name, found.path), output)


def _name(undertaking: Undertaking, release: str | None) -> str:
    known = list(undertaking.stack.releases)
    if release is None and len(known) == 1:
        return known[0]
    if release in known:
        return str(release)
    raise UsageProblem(
        f"nothing is called {release!r}" if release else "the app has several releases, or none",
        where=str(undertaking.manifest),
        expected=f"--release with one of: {', '.join(known) or 'none is in the manifest'}",
    )


def _rollback(undertaking: Undertaking, name: str) -> Plan:
    """What the hosts say was before; what an unfinished rollback was about to do, where there is one."""
    stack, inventory = undertaking.stack, undertaking.inventory
    before = under_way(undertaking, name)
    if before is None:
        with SshHosts() as hosts:
            before = undertaking.release_home(hosts, name).release_before()
    return rollback_plan(stack, inventory, name, before)


def under_way(undertaking: Undertaking, name: str) -> Installed | None:
    """Where a rollback was going that did not come to its end: said again, it goes there, and no further."""
    if not undertaking.state.journal.exists():
        return None
    journal = Journal(undertaking.state.journal, read_only=True)
    try:
        last = next((run for run in reversed(journal.runs()) if run.command in ("deploy", ROLLBACK)), None)
    finally:
        journal.close()
    if last is None or last.command != ROLLBACK or last.outcome in ("done", "held"):
        return None
    step: dict[str, Any] = last.plan["steps"][0]
    of_release, version, sha256 = str(step["subject"]).split()
    return Installed(version, sha256) if of_release == name else None


def register(app: typer.Typer) -> None:
    app.command()(deploy)
