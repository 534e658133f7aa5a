"""`init`: a commented manifest and an inventory skeleton to begin with."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from migrate.adapters.aws_account.calls import Bounds, Calls
from migrate.adapters.aws_account.survey import survey
from migrate.adapters.s3 import bucket_names
from migrate.assess.first_manifest import FirstManifest, first_manifest
from migrate.assess.observed import GLOBAL, Resource
from migrate.cli.keeping import folder_for, keep_new
from migrate.cli.output import Output, Quiet, Verbose
from migrate.errors import OutsideProblem, UsageProblem

TEMPLATES = Path(__file__).parent / "templates"
LOOK = Bounds(connect=5, read=10, whole=300)
"""Nobody waits longer than that, in seconds, for a file that is to be edited by hand anyway."""


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for stack.yaml and inventory/hosts.yml.")],
    endpoint_url: Annotated[str | None, typer.Option("--endpoint-url", help="S3-compatible store to look at.")] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Writes a commented manifest and an inventory; with AWS credentials, from what the account holds."""
    output = Output(verbose=verbose, quiet=quiet)
    manifest, hosts = folder / "stack.yaml", folder / "inventory" / "hosts.yml"
    with folder_for(hosts.parent):
        for path in (manifest, hosts):
            if path.exists():
                raise UsageProblem(
                    "stands there already", where=str(path), hint="choose another folder, or move it away"
                )
        first = first_manifest(_held(endpoint_url, output))
        templates = {manifest: "stack.yaml", hosts: "hosts.yml"}
        keep_new({path: filled((TEMPLATES / name).read_text(), first) for path, name in templates.items()})
    output.say(f"written: {manifest}, {hosts}")
    output.say(f"next: fill them in, then cloudexit plan {manifest} -i {hosts}")


def filled(template: str, first: FirstManifest) -> str:
    """The template with the parts in it; a part without lines leaves none behind."""
    if first.names:  # in one pass: a name of the account may hold another example in it
        examples = "|".join(re.escape(example) for example in sorted(first.names, key=len, reverse=True))
        template = re.sub(examples, lambda found: first.names[found.group()], template)
    parts = {
        "BUCKETS": first.buckets, "OLD_URLS": first.old_urls, "DATABASES": first.databases, "CACHES": first.caches,
        "VENDORS": first.vendors, "ANSWERS": first.answers, "HOSTS": first.hosts,
    }  # fmt: skip
    for part, text in parts.items():
        marker = f"@{part}@"
        template = template.replace(marker, text) if text else template.replace(f"{marker}\n", "")
    return re.sub(r"\n{3,}", "\n\n", template)


def _held(endpoint_url: str | None, output: Output) -> tuple[Resource, ...]:
    """What the account holds; of a store that is no cloud account, its buckets; without either, nothing."""
    try:
        calls = Calls(endpoint_url=endpoint_url, bounds=LOOK)
        calls.identity()
        output.say("looking at the account, which takes a minute or two")
        observed = survey(calls)
    except OutsideProblem as problem:
        return _buckets(endpoint_url, problem, output)
    if output.verbose:
        for unseen in observed.unseen:
            output.say(
                f"not seen, {unseen.reason}: {unseen.action} ({unseen.about or unseen.service} in {unseen.region})"
            )
    for reason, count in Counter(unseen.reason for unseen in observed.unseen).items():
        output.say(f"{reason}: {count} places of the account, so they are missing here; cloudexit assess names them")
    return observed.resources


def _buckets(endpoint_url: str | None, problem: OutsideProblem, output: Output) -> tuple[Resource, ...]:
    try:
        names = bucket_names(endpoint_url)
    except OutsideProblem:
        output.say(f"the account was not looked at: {problem.what}")
        return ()
    return tuple(Resource(service="s3", kind="bucket", region=GLOBAL, name=name) for name in names)


def register(app: typer.Typer) -> None:
    app.command()(init)
