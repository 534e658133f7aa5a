"""What the export engine's commands show to people."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from migrate.cli.output import Output
from migrate.export.crosscheck import CrossCheck
from migrate.export.ledger import Ledger, Progress
from migrate.export.own_count import CountCheck
from migrate.export.results import Difference, ExportResult, ImportResult
from migrate.export.status import archive_status

LINE_SECONDS = 10.0
SHOWN_DIFFERENCES = 50
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def amount(count: float) -> str:
    """Bytes in decimal units."""
    for unit in UNITS[:-1]:
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {UNITS[-1]}"


def span(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def visible(text: str) -> str:
    """A key on one line: control characters, backslashes and stray bytes are escaped."""
    return "".join(
        character if character.isprintable() and character != "\\" else ascii(character)[1:-1] for character in text
    )


def progress_line(progress: Progress) -> str:
    """Objects, bytes, rate, time left, errors."""
    parts = [
        f"{progress.phase}: {progress.settled:,} of {progress.listed:,} objects",
        f"{amount(progress.settled_bytes)} of {amount(progress.listed_bytes)}",
        f"{amount(progress.bytes_per_second)}/s",
    ]
    if progress.seconds_left is not None:
        parts.append(f"{span(progress.seconds_left)} left")
    if progress.errors:
        parts.append(f"{progress.errors} errors")
    return ", ".join(parts)


@contextmanager
def progress_view(output: Output) -> Iterator[Callable[[Progress], None] | None]:
    """A live line where standard error is a terminal, else a line every ten seconds; none with `-q`."""
    if output.quiet:
        yield None
    elif output.prose.is_terminal:
        with output.prose.status("listing") as status:
            yield lambda progress: status.update(progress_line(progress))
    else:
        yield _Lines(output)


class _Lines:
    def __init__(self, output: Output) -> None:
        self._output = output
        self._next = time.monotonic() + LINE_SECONDS

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            self._output.say(progress_line(progress))


def show_export(output: Output, result: ExportResult, dest: Path) -> None:
    lines = list(_forecast_lines(result) if result.dry_run else _result_lines(result, dest))
    output.results.print("\n".join(lines), highlight=False, markup=False)


def _forecast_lines(result: ExportResult) -> Iterator[str]:
    yield f"{result.listed} objects listed: {result.remaining_objects} to fetch, {amount(result.remaining_bytes)}"
    yield f"{result.skipped} here already, {result.archived} archived, {result.gone} gone from the source"
    yield from _offer_lines(result)


def _result_lines(result: ExportResult, dest: Path) -> Iterator[str]:
    yield (
        f"{result.verified} of {result.listed} objects verified, {result.skipped} of them by an earlier run; "
        f"{amount(result.bytes)} in {span(result.seconds)}"
    )
    yield (
        f"{result.quarantined} quarantined, {result.archived} archived, {result.unverified} unverified, "
        f"{result.gone} gone from the source"
    )
    if result.second_read:
        yield f"{result.second_read} of the verified only by two equal reads: the source states no checksum of them"
    if result.pruned:
        yield f"{result.pruned} files of objects that are gone were removed, {amount(result.pruned_bytes)}"
    yield from _offer_lines(result)
    yield _cross_check_line(result.cross_check)
    if result.remaining_objects:
        yield f"left undone at the deadline: {result.remaining_objects} objects, {amount(result.remaining_bytes)}"
    yield "complete" if result.complete else f"incomplete: cloudexit export-ls {dest} names each object"


def _offer_lines(result: ExportResult) -> Iterator[str]:
    for offer in result.restore_offers:
        hours = f"{offer.hours_to:.0f} h" if offer.hours_to >= 1 else f"{offer.hours_to * 60:.0f} min"
        yield (
            f"{offer.objects} objects in {offer.storage_class}, {amount(offer.bytes)}: "
            f"--restore-archived {offer.tier} takes up to {hours} and costs about ${offer.usd:,.2f}, egress apart"
        )


def _cross_check_line(check: CrossCheck | CountCheck | str) -> str:
    if isinstance(check, str):
        return check
    if isinstance(check, CountCheck):
        return _count_line(check)
    told = (
        f"cross-checked against {check.second_source} of {check.taken}: {check.counted} counted there, "
        f"{check.deleted_since} deleted since, {check.not_counted} listed and not counted"
    )
    if check.agrees:
        return told
    named = ", ".join(visible(key) for key in check.hidden_keys)
    return (
        f"{told}; THE LISTING DOES NOT SHOW {check.hidden} OBJECTS THAT THE SOURCE HAS ({named}), "
        f"and of {check.unanswered} the source does not say whether it has them"
    )


def _count_line(check: CountCheck) -> str:
    told = f"held against {check.second_source} of {check.taken}: {check.counted} counted there, {check.listed} listed"
    if check.agrees:
        return told
    return (
        f"{told}; THE LISTING IS {check.short} OBJECTS SHORT: deleted within the last day, or hidden from it; "
        "an inventory report (--inventory-report) tells which"
    )


def show_archive_status(output: Output, archive: Path) -> bool:
    """Where the last run on an archive is; returns whether it is under way. Raises Missing."""
    found = archive_status(archive)
    if output.as_json:
        output.document(found)
        return bool(found["under_way"])
    with Ledger.open(archive) as ledger:
        progress = ledger.progress()
    source = f"s3://{found['bucket']}/{found['prefix']}" if found["bucket"] else "a source that has not answered yet"
    lines = [
        f"run {found['run']} from {source} is {found['outcome']}, since {found['started']}, "
        f"process {found['pid']} on {found['host']}",
        progress_line(progress),
        f"{progress.verified:,} verified, {progress.quarantined:,} quarantined, "
        f"{progress.archived:,} archived, {progress.gone:,} gone",
    ]
    output.results.print("\n".join(lines), highlight=False, markup=False)
    return bool(found["under_way"])


def show_import(output: Output, result: ImportResult) -> None:
    line = (
        f"{result.written} of {result.objects} objects written, {amount(result.bytes)} in {span(result.seconds)}; "
        f"{result.unchanged} were there already, {result.conflicts} conflicts, {result.failed} failed, "
        f"{result.not_stored} not in the archive"
    )
    output.results.print(line, highlight=False, markup=False)


def show_differences(output: Output, differences: Iterable[Difference]) -> None:
    for number, difference in enumerate(differences):
        if number == SHOWN_DIFFERENCES and not output.verbose:
            output.results.print("… and more: -v or --json names all", highlight=False, markup=False)
            return
        line = f"{visible(difference.path or difference.key or '')}: {difference.what}"
        output.results.print(line, highlight=False, markup=False)
