"""`init`: a commented manifest and an inventory skeleton to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from migrate.adapters.s3 import bucket_names
from migrate.cli.output import Output
from migrate.errors import OutsideProblem, UsageProblem

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLE_BUCKETS = {"myapp-backups": "backups", "myapp-releases": "releases", "myapp-media": "media"}


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for stack.yaml and inventory/hosts.yml.")],
    endpoint_url: Annotated[str | None, typer.Option("--endpoint-url", help="S3-compatible store to look at.")] = None,
) -> None:
    """Writes a commented manifest and an inventory; with AWS credentials the buckets are those of the account."""
    output = Output()
    manifest, hosts = folder / "stack.yaml", folder / "inventory" / "hosts.yml"
    for path in (manifest, hosts):
        if path.exists():
            raise UsageProblem("stands there already", where=str(path), hint="choose another folder, or move it away")
    lines = [f"  {name}: {{holds: {holds}}}" for name, holds in EXAMPLE_BUCKETS.items()]
    try:
        found = bucket_names(endpoint_url)
    except OutsideProblem as problem:
        output.say(f"the account was not looked at: {problem.what}")
    else:
        lines += ["  # Found in the account; say what each holds, and take out what may stay behind:"]
        lines += [f"  {name}: {{holds: other}}" for name in found if name not in EXAMPLE_BUCKETS]
    hosts.parent.mkdir(parents=True, exist_ok=True)
    text = (TEMPLATES / "stack.yaml").read_text().replace("@BUCKETS@", "\n".join(lines))
    manifest.write_text(text)
    hosts.write_text((TEMPLATES / "hosts.yml").read_text())
    output.say(f"written: {manifest}, {hosts}")
    output.say(f"next: fill them in, then cloudexit plan {manifest} -i {hosts}")


def register(app: typer.Typer) -> None:
    app.command()(init)
