"""`deploy`: another release for a home that runs, or the one before again."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from migrate.adapters.ssh import SshHosts
from migrate.check import ChecksHeld
from migrate.cli.assembly import Undertaking
from migrate.cli.execution import execute
from migrate.cli.options import DEFAULT_STACK, InventoryPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.errors import UsageProblem
from migrate.journal import Event, Journal, Run
from migrate.plan import Plan
from migrate.target.attempts import Attempt
from migrate.target.deploy import deploy_plan, rollback_plan
from migrate.target.release import read_release
from migrate.target.standing import Installed

DEPLOY, ROLLBACK = "deploy", "rollback"


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
    output = Output(as_json, verbose, quiet)
    if archive is None:
        undertaking.make_ready()
        plan = _rollback(undertaking, name)
        execute(ROLLBACK, plan, undertaking.state, undertaking.deploy_actions(name, None), output)
        return
    found = read_release(archive.absolute(), name)
    undertaking.make_ready()
    plan = deploy_plan(undertaking.stack, undertaking.inventory, found)
    execute(DEPLOY, plan, undertaking.state, undertaking.deploy_actions(name, found.path), output)


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
    """Goes where the hosts say, and where an unfinished deploy or rollback was going or came from."""
    attempt = last_attempt(undertaking, name)
    with SshHosts() as hosts:
        before = undertaking.release_home(hosts, name).release_before(attempt)
    return rollback_plan(undertaking.stack, undertaking.inventory, name, before)


def last_attempt(undertaking: Undertaking, name: str) -> Attempt | None:
    """The last deploy or rollback of a release from this state folder, where it did not end in success."""
    if not undertaking.state.journal.exists():
        return None
    journal = Journal(undertaking.state.journal, read_only=True)
    try:
        of_release = [run for run in journal.runs() if run.command in (DEPLOY, ROLLBACK) and _words(run)[0] == name]
        # A run that is gone on with keeps its number: others may have begun and ended since.
        last = max(of_release, key=lambda run: _last_moment(journal, run), default=None)
        if last is None or last.outcome == "done" or len(_words(last)) != 3:
            return None
        _, version, sha256 = _words(last)
        taken_back = last.outcome == "held" and _was_taken_back(journal, last)
        return Attempt(Installed(version, sha256), last.command == ROLLBACK, taken_back)
    finally:
        journal.close()


def _words(run: Run) -> list[str]:
    """Name, version and SHA-256; a run of an earlier cloudexit may have the name alone."""
    return str(run.plan["steps"][0]["subject"]).split()


def _last_moment(journal: Journal, run: Run) -> tuple[datetime, int]:
    return max((record.at for record in journal.records(run)), default=run.started_at), run.id


def _was_taken_back(journal: Journal, run: Run) -> bool:
    """Whether it was the new release that was not healthy, and not something that hindered the switch."""
    failed = [record for record in journal.records(run) if record.event is Event.FAILED]
    return bool(failed) and failed[-1].detail["error"]["error"] == ChecksHeld.__name__


def register(app: typer.Typer) -> None:
    app.command()(deploy)
