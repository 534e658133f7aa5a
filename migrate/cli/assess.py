"""`assess`: what the account holds, what ties us to it, what to do in the first hour."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from migrate.adapters.aws_account.calls import CONNECT_SECONDS, READ_SECONDS, Bounds, Calls, require_known
from migrate.adapters.aws_account.policy import least_policy
from migrate.adapters.aws_account.survey import survey
from migrate.assess.account_facts import AccountFacts, account_facts
from migrate.assess.assessing import Question, assess
from migrate.assess.faults import faults_of_manifest
from migrate.assess.findings import Conclusion
from migrate.assess.first_hour import NOTICE_HOURS
from migrate.assess.observed import Observed
from migrate.assess.vendors import require_vendors
from migrate.cli.keeping import keep_new
from migrate.cli.leaks import Sought, seek
from migrate.cli.options import DEFAULT_STACK
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.documents import read_yaml
from migrate.errors import UsageProblem
from migrate.fields import parse_duration
from migrate.manifest import read_stack
from migrate.report.assessment import show_assessment
from migrate.stack import Stack

PROGRESS_EVERY = 25

StackArgument = Annotated[
    Path | None, typer.Argument(metavar="[STACK]", help="The manifest; stack.yaml here, if there is one.")
]
Without = Annotated[
    str, typer.Option("--without", metavar="NAME,…", help="Vendors that say no, by name or provider: what stops.")
]
Notice = Annotated[str, typer.Option("--notice", help="Length of the notice that clocks are held against.")]
Regions = Annotated[list[str] | None, typer.Option("--region", help="Only this region; may be given again.")]
Profile = Annotated[str | None, typer.Option("--profile", help="Profile of the AWS CLI.")]
Endpoint = Annotated[str | None, typer.Option("--endpoint-url", help="Address of another endpoint than AWS.")]
Policy = Annotated[bool, typer.Option("--policy", help="Print the least IAM policy that lets it see everything.")]
Patience = Annotated[
    str, typer.Option("--timeout", help="Longest wait for one answer; two such waits, then it is silent.")
]
Sample = Annotated[int, typer.Option("--sample", min=0, max=1000, help="Images read per bucket; 0 reads none.")]
Dump = Annotated[Path | None, typer.Option("--dump", help="A dump: deleted rows, their media, provider hosts.")]
Database = Annotated[
    str | None, typer.Option("--database", metavar="VARIABLE", help="Environment variable with a database's URL.")
]
Code = Annotated[
    list[Path] | None, typer.Option("--code", help="Release, configuration or checkout to look through; repeatable.")
]
FactsFile = Annotated[
    Path | None,
    typer.Option("--facts", metavar="FILE", help="Write what the account tells of sizes, for plan --facts."),
]


def assess_command(
    stack: StackArgument = None,
    without: Without = "",
    notice: Notice = f"{NOTICE_HOURS:g}h",
    region: Regions = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    policy: Policy = False,
    timeout: Patience = f"{READ_SECONDS:g}s",
    sample: Sample = 20,
    dump: Dump = None,
    database: Database = None,
    code: Code = None,
    facts: FactsFile = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """What the account holds, what is tied to the provider, what cannot leave, what to do in the first hour."""
    output = Output(as_json, verbose, quiet)
    if policy:
        output.document(least_policy())
        return
    manifest, path = _manifest(stack)
    names = tuple(name.strip() for name in without.split(",") if name.strip())
    regions = tuple(dict.fromkeys(region or ()))
    question = Question(_seconds(notice, "--notice") / 3600, names, manifest, str(path) if manifest else "", regions)
    sought = Sought(sample, dump, database, tuple(code or ()))
    sought.require_there()
    if facts:
        _require_room(facts, manifest)
    require_vendors(manifest, names)
    patience = _seconds(timeout, "--timeout")
    calls = Calls(profile, endpoint_url, Bounds(connect=min(patience, CONNECT_SECONDS), read=patience))
    require_known(regions, calls)
    observed = _look(calls, regions, output)
    leaks, not_looked_for, unseen = seek(sought, calls, observed, manifest, output)
    observed = observed.model_copy(update={"unseen": (*observed.unseen, *unseen)})
    faults = faults_of_manifest(read_yaml(path), manifest, observed) if manifest else ()
    found = assess(observed, question, datetime.now(UTC), leaks=leaks, not_looked_for=not_looked_for, faults=faults)
    if as_json:
        output.document(found.model_dump(mode="json"))
    else:
        show_assessment(output.results, found, verbose=verbose)
    if facts and manifest:
        _write_facts(facts, account_facts(manifest, observed, found.at, everywhere=not regions), output)
    if found.verdict is not Conclusion.FREE:
        raise typer.Exit(found.exit_code)


def _manifest(stack: Path | None) -> tuple[Stack | None, Path]:
    """The manifest that is named, or the one of this folder; without either, none."""
    path = stack or DEFAULT_STACK
    return (read_stack(path) if stack or path.exists() else None), path


def _require_room(facts: Path, stack: Stack | None) -> None:
    """Raises UsageProblem before anybody is asked: a file that stands there is never overwritten."""
    if stack is None:
        raise UsageProblem(
            "facts are about the buckets and databases of a manifest, and there is none", where=f"--facts {facts}",
            expected="cloudexit assess stack.yaml --facts FILE", hint="make one: cloudexit init DIR",
        )  # fmt: skip
    if os.path.lexists(facts):
        raise UsageProblem("stands there already", where=str(facts), hint="choose another name, or move it away")
    if not facts.parent.is_dir():
        raise UsageProblem("no such folder", where=str(facts.parent), expected="a folder to write the facts into")


def _write_facts(path: Path, facts: AccountFacts, output: Output) -> None:
    keep_new({path: facts.text})
    output.say(escape(f"written: {path}; {facts.known} sizes are known, {facts.unknown} are not and say why"))


def _seconds(text: str, option: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as fault:
        raise UsageProblem(str(fault), where=option, expected="30h, 90m, 20s") from fault
    if not isinstance(seconds, float) or seconds <= 0:
        raise UsageProblem(f"not a length of time: {text}", where=option, expected="30h, 90m, 20s")
    return seconds


def _look(calls: Calls, regions: tuple[str, ...], output: Output) -> Observed:
    def tell(done: int, of: int, what: str) -> None:
        if done == of or done % PROGRESS_EVERY == 0 or output.verbose:
            output.say(f"looked at {done} of {of}: {what}")

    return survey(calls, regions, on_progress=tell)


def register(app: typer.Typer) -> None:
    app.command("assess")(assess_command)
