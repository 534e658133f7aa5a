"""`export`, `export-ls`, `verify`, `import`: the export engine on its own, and `export` as a phase of a plan."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from migrate.adapters.s3 import Access, connect
from migrate.adapters.s3_sink import S3Sink
from migrate.cli.buckets import Buckets
from migrate.cli.export_view import amount, progress_view, show_differences, show_export, show_import, visible
from migrate.cli.options import DEFAULT_STACK, InventoryPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.cli.streams import reader_left
from migrate.errors import ExitCode, Missing, UsageProblem
from migrate.export.archived import Tier
from migrate.export.engine import export_bucket
from migrate.export.importing import import_archive
from migrate.export.ledger import Ledger
from migrate.export.results import object_document
from migrate.export.scope import ExportOptions, Order, parse_deadline, parse_rate
from migrate.export.survey import survey_bucket
from migrate.export.verify import verify_archive

if TYPE_CHECKING:
    from migrate.export.inventory_report import InventoryReport

SCHEME = "s3://"
LISTED = ("key", "version_id", "path", "size", "digest", "state")
LISTED_VERBOSE = ("etag", "content_type", "last_modified")

Endpoint = Annotated[str | None, typer.Option("--endpoint-url", help="An S3-compatible store; AWS_ENDPOINT_URL.")]
Region = Annotated[str | None, typer.Option("--region", help="AWS_REGION.")]
Profile = Annotated[str | None, typer.Option("--profile", help="A profile of the AWS CLI; AWS_PROFILE.")]
NoSign = Annotated[bool, typer.Option("--no-sign-request", help="For public buckets: send no credentials.")]
Versions = Annotated[bool, typer.Option("--versions", help="All versions and delete markers.")]
Tags = Annotated[bool, typer.Option("--tags", help="Object tags too: one more request an object.")]
Acls = Annotated[bool, typer.Option("--acls", help="Object ACLs too: one more request an object.")]
RestoreArchived = Annotated[
    Tier | None, typer.Option("--restore-archived", help="Have archived objects restored, wait for them, fetch them.")
]
ReportAddress = Annotated[
    str | None,
    typer.Option(
        "--inventory-report",
        metavar="s3://BUCKET/…/manifest.json",
        help="Hold the listing against this S3 Inventory report.",
    ),
]
Prune = Annotated[bool, typer.Option("--prune", help="Remove the files of objects that are gone from the source.")]
Bandwidth = Annotated[str | None, typer.Option("--bandwidth", help="At most: 50M, 50MB/s, 400Mbit/s.")]
Deadline = Annotated[str | None, typer.Option("--deadline", help="30h, or 2026-01-10T23:59:00-08:00.")]
Include = Annotated[list[str] | None, typer.Option("--include", help="Only keys like this glob.")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="No keys like this glob.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched; write nothing.")]
Dest = Annotated[Path, typer.Argument(metavar="DEST", help="The archive's folder.")]


def export(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="s3://BUCKET[/PREFIX] | STACK", help="A bucket, or a manifest.")
    ] = str(DEFAULT_STACK),
    dest: Annotated[Path | None, typer.Argument(metavar="DEST", help="The archive's folder.")] = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
    no_sign_request: NoSign = False,
    versions: Versions = False,
    tags: Tags = False,
    acls: Acls = False,
    restore_archived: RestoreArchived = None,
    inventory_report: ReportAddress = None,
    prune: Prune = False,
    order: Annotated[Order, typer.Option("--order", help="What comes first.")] = Order.LISTED,
    bandwidth: Bandwidth = None,
    deadline: Deadline = None,
    include: Include = None,
    exclude: Exclude = None,
    dry_run: DryRun = False,
    inventory: InventoryPath = None,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Copies a bucket into DEST, every object verified; or, with a manifest, every bucket of the stack."""
    output = Output(as_json, verbose, quiet)
    if not source.startswith(SCHEME):
        from migrate.cli.phases import export_phase  # a manifest needs every adapter, a bucket only one

        _refuse_bucket_options(context, dest)
        export_phase(Path(source), inventory, state, output)
        return
    _refuse_manifest_options(inventory, state)
    address = parse_address(source)
    report_at = parse_address(inventory_report) if inventory_report else None
    options = ExportOptions(
        versions=versions,
        tags=tags,
        acls=acls,
        restore=restore_archived,
        prune=prune,
        order=order,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        bytes_per_second=parse_rate(bandwidth) if bandwidth else 0.0,
        deadline=parse_deadline(deadline) if deadline else None,
    )
    buckets = Buckets(Access(endpoint_url, region, profile, not no_sign_request))
    _export(buckets, address, report_at, dest, options, output, dry_run=dry_run)


def _export(
    buckets: Buckets,
    address: tuple[str, str],
    report_at: tuple[str, str] | None,
    dest: Path | None,
    options: ExportOptions,
    output: Output,
    *,
    dry_run: bool,
) -> None:
    if dest is None:
        raise UsageProblem("DEST is missing", where="export", expected="cloudexit export s3://BUCKET[/PREFIX] DEST")
    bucket, prefix = address
    reader = buckets.source(bucket)
    report = _open_report(buckets, report_at, bucket) if report_at else None
    if dry_run:
        result = survey_bucket(reader, prefix, dest, options)
    else:
        with progress_view(output) as view:
            result = export_bucket(
                reader,
                prefix,
                dest,
                options,
                on_progress=view,
                make_lanes=buckets.lanes(bucket),
                inventory=report,
            )
    if output.as_json:
        output.document(result.as_document())
    else:
        show_export(output, result, dest)
    if not (result.complete or dry_run):
        raise typer.Exit(int(ExitCode.INCOMPLETE))


def _open_report(buckets: Buckets, address: tuple[str, str], bucket: str) -> "InventoryReport":
    from migrate.export.inventory_report import open_report  # it needs pydantic, which is slow to load

    return open_report(buckets.source(address[0]), address[1], bucket)


def export_ls(dest: Dest, as_json: Json = False, verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Every object of the archive: key, version, path, size, digest, state; with -v also etag, type and time."""
    shown = [*LISTED, *LISTED_VERBOSE] if verbose else LISTED
    with _opened(), Ledger.open(dest) as ledger:
        documents = (object_document(row) for row in takewhile(lambda _: not reader_left(), ledger.objects()))
        if as_json:
            _write_objects(documents)
            return
        for found in documents:
            columns = (found[name] for name in shown)
            sys.stdout.write("\t".join("-" if value is None else visible(str(value)) for value in columns) + "\n")


def verify(dest: Dest, as_json: Json = False, verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Reads every stored byte again, with no network, and says what differs."""
    output = Output(as_json, verbose, quiet)
    with _opened():
        result = verify_archive(dest)
    if as_json:
        output.document(result.as_document())
    else:
        show_differences(output, result.differences)
        output.results.print(
            f"{result.objects} objects read, {amount(result.bytes)}: {result.matching} match, "
            f"{len(result.differences)} differ, {result.unverified} unverified",
            highlight=False,
        )
    if not result.complete:
        raise typer.Exit(int(ExitCode.INCOMPLETE))


def import_(
    dest: Dest,
    target: Annotated[str, typer.Argument(metavar="s3://BUCKET[/PREFIX]")],
    endpoint_url: Endpoint = None,
    region: Region = None,
    profile: Profile = None,
    no_sign_request: NoSign = False,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite objects that differ at the target.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Writes an archive into a bucket of any S3-compatible store, and proves each object there."""
    output = Output(as_json, verbose, quiet)
    bucket, prefix = parse_address(target)
    sink = S3Sink(connect(Access(endpoint_url, region, profile, not no_sign_request)), bucket)
    with _opened():
        Ledger.open(dest).close()
    result = import_archive(dest, sink, prefix, replace=replace)
    if as_json:
        output.document(result.as_document())
    else:
        show_differences(output, result.problems)
        show_import(output, result)
    if not result.complete:
        raise typer.Exit(int(ExitCode.INCOMPLETE))


def parse_address(text: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://BUCKET[/PREFIX]`. Raises UsageProblem."""
    bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or not bucket:
        raise UsageProblem(f"{text!r} is no bucket", expected="s3://BUCKET or s3://BUCKET/PREFIX")
    return bucket, prefix


def _refuse_bucket_options(context: typer.Context, dest: Path | None) -> None:
    ours = {"source", "inventory", "state", "as_json", "verbose", "quiet", "context"}
    given = [
        name
        for name in context.params
        if name not in ours and (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    ]
    if dest is not None or given:
        names = ", ".join("DEST" if name == "dest" else "--" + name.replace("_", "-") for name in given)
        raise UsageProblem(
            f"{names} belongs to the export of one bucket",
            where="export",
            expected="cloudexit export s3://BUCKET[/PREFIX] DEST …, or cloudexit export [STACK] [-i INVENTORY]",
        )


def _refuse_manifest_options(inventory: Path | None, state: Path | None) -> None:
    if inventory is not None or state is not None:
        raise UsageProblem("--inventory and --state belong to a manifest, not to a bucket", where="export")


@contextmanager
def _opened() -> Iterator[None]:
    """A folder that is no archive is a mistake in the command, not somebody's silence."""
    try:
        yield
    except Missing as missing:
        raise UsageProblem(missing.what, where=missing.where, expected=missing.expected, hint=missing.hint) from missing


def _write_objects(documents: Iterable[dict[str, object]]) -> None:
    """One JSON document, written as it is read: a ledger may hold more than memory does."""
    separator = '{"objects": [\n'
    for document in documents:
        sys.stdout.write(separator + json.dumps(document, allow_nan=False))
        separator = ",\n"
    sys.stdout.write("\n]}\n" if separator == ",\n" else '{"objects": []}\n')


COMMANDS: dict[str, Callable[..., None]] = {
    "export": export,
    "export-ls": export_ls,
    "verify": verify,
    "import": import_,
}


def register(app: typer.Typer) -> None:
    for name, command in COMMANDS.items():
        app.command(name)(command)
