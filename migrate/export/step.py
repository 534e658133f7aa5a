"""The steps of a plan that the engine carries out: buckets answer, are exported, and every object is accounted for."""

import threading
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, ChecksHeld, Verdict
from migrate.errors import Incomplete, Missing, OutsideProblem, Refused
from migrate.export.archived import Tier
from migrate.export.engine import export_bucket
from migrate.export.inventory_report import InventoryReport, open_report
from migrate.export.lanes import MakeLanes, careful_lanes
from migrate.export.ledger import Ledger, Progress, Row, State
from migrate.export.scope import ExportOptions, Order
from migrate.export.source import Entry, ObjectForbidden, ObjectProblem, ObjectSource
from migrate.plan import Step
from migrate.stack import Bucket, Stack

SourceOf = Callable[[str], ObjectSource]
LanesOf = Callable[[str], MakeLanes]
NAMED_AT_MOST = 5


class SourceAnswers:
    """Every bucket exists and lets us list it. Looked at once a run: later steps see the source themselves."""

    def __init__(self, stack: Stack, source_of: SourceOf) -> None:
        self.stack = stack
        self.source_of = source_of

    def verify(self, step: Step, context: StepContext) -> Verdict:
        return Verdict.PASS if context.previous is not None else Verdict.UNKNOWN

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises the first bucket's problem, after all were asked; the message names each that failed."""
        problems: list[OutsideProblem] = []
        checks = []
        for name, bucket in self.stack.buckets.items():
            try:
                source = self.source_of(name)
                page = next(iter(islice(source.pages(bucket.prefix, versions=False), 1)), ())
                _read_one(source, page)
            except OutsideProblem as problem:
                problems.append(problem)
            else:
                found = f"{len(page)} objects in the first page"
                checks.append(CheckResult(f"bucket {name} answers", Verdict.PASS, found))
        if len(problems) > 1:
            raise type(problems[0])(
                "\n".join(str(problem) for problem in problems), hint="nothing was changed; mend these and go on"
            )
        if problems:
            raise problems[0]
        return Outcome({"buckets": len(checks)}, tuple(checks))


def _read_one(source: ObjectSource, page: tuple[Entry, ...]) -> None:
    """Listing is one right and reading another: one byte of one object shows that we have both. Raises Refused."""
    for entry in page[:1]:
        try:
            with source.read(entry.key, version_id="", if_match="") as reading:
                reading.read(1)
        except ObjectForbidden as refusal:
            raise Refused(
                f"the bucket lets us list, and not read: {refusal.detail}",
                where=source.where,
                hint="give these credentials s3:GetObject on the bucket's objects",
            ) from refusal
        except ObjectProblem:
            return  # archived, or gone since: the export says so of each object


class BucketExported:
    """One bucket in its archive, every object verified."""

    def __init__(
        self,
        stack: Stack,
        source_of: SourceOf,
        archive: Path,
        stop: threading.Event,
        lanes_of: LanesOf = lambda bucket: careful_lanes,
    ) -> None:
        self.stack = stack
        self.source_of = source_of
        self.archive = archive
        self.stop = stop
        self.lanes_of = lanes_of

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """Passes when this run has exported the bucket and every verified object still lies there, at its size."""
        if context.previous is None or not context.previous.get("complete"):
            return Verdict.FAIL
        try:
            with Ledger.open(self.archive / step.subject) as ledger:
                counts = ledger.counts()
                there = all(_lies_there(self.archive / step.subject, row) for row in ledger.objects((State.VERIFIED,)))
        except Missing:
            return Verdict.FAIL
        unsettled = counts[State.LISTED] + counts[State.FETCHED] + counts[State.QUARANTINED] + counts[State.ARCHIVED]
        return Verdict.PASS if there and not unsettled else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises Incomplete naming the first objects that could not be verified."""

        def report(progress: Progress) -> None:
            context.progress(asdict(progress))

        dest = self.archive / step.subject
        bucket = self.stack.buckets[step.subject]
        result = export_bucket(
            self.source_of(step.subject),
            bucket.prefix,
            dest,
            options_of(bucket),
            on_progress=report,
            cancel=self.stop,
            make_lanes=self.lanes_of(step.subject),
            inventory=self._report_of(step.subject, bucket),
        )
        if not result.complete:
            raise Incomplete(
                f"{result.verified} of {result.listed} objects are verified; {_unproved(dest)}",
                where=f"bucket {step.subject}",
                expected="every object verified",
                hint=f"look at each: cloudexit export-ls {dest}; then the same command again",
            )
        return Outcome(result.as_document())

    def _report_of(self, name: str, bucket: Bucket) -> InventoryReport | None:
        if bucket.inventory_report is None:
            return None
        holder, _, key = bucket.inventory_report.removeprefix("s3://").partition("/")
        return open_report(self.source_of(holder), key, name)


def options_of(bucket: Bucket) -> ExportOptions:
    """What the manifest says of a bucket, as the engine takes it."""
    return ExportOptions(
        versions=bucket.versions,
        tags=bucket.tags,
        order=Order(bucket.order),
        restore=Tier(bucket.restore_archived) if bucket.restore_archived else None,
    )


def _lies_there(dest: Path, row: Row) -> bool:
    if row.path is None:
        return True
    try:
        return (dest / row.path).lstat().st_size == row.stored_size
    except OSError:
        return False


def _unproved(dest: Path) -> str:
    states = (State.QUARANTINED, State.FETCHED, State.ARCHIVED, State.LISTED)
    with Ledger.open(dest) as ledger:
        rows = list(islice(ledger.objects(states), NAMED_AT_MOST))
    return "; ".join(f"{row.key!r} is {row.state}: {row.reason or 'not fetched'}" for row in rows)


class ObjectsAccounted:
    """Every object that the source ever listed is verified in the archive, or known to be gone from the source."""

    def __init__(self, stack: Stack, archive: Path) -> None:
        self.stack = stack
        self.archive = archive

    def verify(self, step: Step, context: StepContext) -> Verdict:
        return Verdict.UNKNOWN

    def apply(self, step: Step, context: StepContext) -> Outcome:
        checks = [self._account(bucket) for bucket in self.stack.buckets]
        if any(check.holds for check in checks):
            raise ChecksHeld("objects are not accounted for", checks, hint="cloudexit export-ls names each")
        return Outcome({"objects": sum(check.facts["verified"] for check in checks)}, tuple(checks))

    def _account(self, bucket: str) -> CheckResult:
        with Ledger.open(self.archive / bucket) as ledger:
            counts = ledger.counts()
        settled = counts[State.VERIFIED] + counts[State.GONE]
        total = sum(counts.values())
        detail = ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "empty"
        return CheckResult(
            f"objects of {bucket}",
            Verdict.PASS if settled == total else Verdict.FAIL,
            f"{total} known: {detail}; not cross-checked against a second count",
            facts={state.value: count for state, count in counts.items()},
        )
