"""Observations, manifest and leaks in; the assessment out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from migrate.assess.findings import Assessment, Conclusion, Fault, Finding, Hold, Leak, Totals
from migrate.assess.first_hour import NOTICE_HOURS, first_hour
from migrate.assess.judging import judge, unused_answers
from migrate.assess.knowledge import RULES
from migrate.assess.leaking import hosts_in_manifest, hosts_in_settings, open_buckets
from migrate.assess.observed import Blindness, Observed, Unseen, silent_regions
from migrate.assess.vendors import stops
from migrate.stack import Stack

NAMED = 6
"""Regions that a reason names; all of them stand in `silent_regions`."""
KNOWN = frozenset(rule.service for rule in RULES)


@dataclass(frozen=True)
class Question:
    """What the operator asked: the notice in hours, whose no to look at, the manifest with where it stands, and the
    regions that alone were to be looked at, if not all."""

    notice_hours: float = NOTICE_HOURS
    without: tuple[str, ...] = ()
    stack: Stack | None = None
    stack_path: str = ""
    regions: tuple[str, ...] = ()


def assess(
    observed: Observed,
    question: Question,
    at: datetime,
    *,
    leaks: Sequence[Leak] = (),
    not_looked_for: Sequence[str] = (),
    faults: Sequence[Fault] = (),
) -> Assessment:
    """The assessment at the moment `at`. `leaks` are those found beyond what the account's settings show.

    Raises UsageProblem where `without` names nobody."""
    stack = question.stack
    answers = stack.answers if stack else {}
    findings = judge(observed.resources, answers, stack.vendors if stack else {})
    totals = _totals(observed, findings)
    verdict = _verdict(totals, faults)
    return Assessment(
        at=at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        account=observed.account,
        caller=observed.caller,
        regions=observed.regions,
        silent_regions=silent_regions(observed.unseen),
        seconds=round(observed.seconds, 1),
        notice_hours=question.notice_hours,
        stack=question.stack_path if stack else "",
        verdict=verdict,
        exit_code=int(verdict.exit_code),
        because=tuple(_reasons(totals, findings, observed.unseen, faults, question)),
        totals=totals,
        first_hour=first_hour(observed.resources, question.notice_hours),
        findings=findings,
        leaks=(*_leaks_of_settings(observed, question), *leaks),
        not_looked_for=tuple(not_looked_for),
        vendors=stops(stack, observed.resources, question.without),
        unused_answers=unused_answers(findings, answers),
        faults=tuple(faults),
        unseen=observed.unseen,
    )


def _leaks_of_settings(observed: Observed, question: Question) -> Iterator[Leak]:
    yield from open_buckets(observed.resources, question.stack)
    yield from hosts_in_settings(observed.resources)
    if question.stack:
        yield from hosts_in_manifest(question.stack, question.stack_path)


def _totals(observed: Observed, findings: Sequence[Finding]) -> Totals:
    def held(hold: Hold) -> int:
        return sum(finding.hold is hold for finding in findings)

    buckets = [r for r in observed.resources if (r.service, r.kind) == ("s3", "bucket")]
    return Totals(
        resources=len(observed.resources),
        portable=held(Hold.PORTABLE),
        replaceable=held(Hold.REPLACEABLE),
        captive=held(Hold.CAPTIVE),
        unanswered=sum(finding.unanswered for finding in findings),
        unseen=len(observed.unseen),
        buckets=len(buckets),
        buckets_of_unknown_size=sum("bytes" in bucket.unseen for bucket in buckets),
        objects=sum(bucket.whole("objects") for bucket in buckets),
        bytes=sum(bucket.whole("bytes") for bucket in buckets),
    )


def _verdict(totals: Totals, faults: Sequence[Fault]) -> Conclusion:
    if faults:
        return Conclusion.WRONG_MANIFEST
    if totals.unanswered:
        return Conclusion.HELD
    return Conclusion.UNKNOWN if totals.unseen or totals.buckets_of_unknown_size else Conclusion.FREE


def _reasons(
    totals: Totals,
    findings: Sequence[Finding],
    unseen: Sequence[Unseen],
    faults: Sequence[Fault],
    question: Question,
) -> Iterator[str]:
    for fault in faults:
        yield f"{fault.where}: {fault.what}"
    if totals.unanswered:
        services = sorted({finding.resource.service for finding in findings if finding.unanswered})
        where = " in the manifest" if question.stack else ", for there is no manifest"
        yield f"{totals.unanswered:,} captive without an answer{where}: {', '.join(services)}"
    if totals.buckets_of_unknown_size:
        count = totals.buckets_of_unknown_size
        held = "1 bucket holds" if count == 1 else f"{count:,} buckets hold"
        yield f"{held} something: the metrics do not tell how much, nor whether some of it is archived"
    denied = sum(u.reason is Blindness.NOT_ALLOWED for u in unseen)
    if denied:
        yield f"not allowed to look in {denied:,} places: what is there is not known"
    silent = silent_regions(unseen)
    if silent:
        more = f" and {len(silent) - NAMED:,} more" if len(silent) > NAMED else ""
        yield f"no answer from {', '.join(silent[:NAMED])}{more}: what is there is not known"
    unclear = sum(u.reason is Blindness.NOT_UNDERSTOOD for u in unseen)
    if unclear:
        yield f"{unclear:,} questions were answered with an error of the service"
    if not (faults or unseen or totals.unanswered):
        captive = f"{totals.captive} captive, each with an answer" if totals.captive else "nothing is captive"
        known = f"all of the {len(KNOWN):,} kinds of service that are known here were seen, others by their tags"
        yield f"{known}; {captive}"
    if question.regions:
        yield f"only {', '.join(question.regions)} was asked: what is in other regions is not known"
