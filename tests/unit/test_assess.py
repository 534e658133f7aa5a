"""Judgement of an account: observations in, findings, deeds, stops and verdict out."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrate.assess.assessing import Question, assess
from migrate.assess.faults import faults_of_manifest
from migrate.assess.findings import Conclusion, Hold, LeakKind
from migrate.assess.first_hour import CLOCKS, READ, first_hour
from migrate.assess.judging import judge, unused_answers
from migrate.assess.knowledge import ASSUMED, RULES
from migrate.assess.observed import Blindness, Observed, Resource, Unseen
from migrate.assess.vendors import DUTIES, PROVIDES, stops
from migrate.documents import read_yaml
from migrate.errors import DocumentProblems, ExitCode, UsageProblem
from migrate.manifest import read_stack
from migrate.stack import Stack, Vendor
from tests.drill import PLAZA

CASES = yaml.safe_load(Path(__file__).with_name("assess_cases.yaml").read_text())
AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def resource(what: str, name: str = "one", **facts: Any) -> Resource:
    service, kind = what.split("/")
    return Resource(service=service, kind=kind, region="us-east-1", name=name, facts=facts)


def observed(*resources: Resource, unseen: tuple[Unseen, ...] = ()) -> Observed:
    return Observed(account="1", caller="ops", regions=("us-east-1",), resources=resources, unseen=unseen)


def unseen(reason: Blindness, region: str = "us-east-1", action: str = "kms:ListKeys") -> Unseen:
    return Unseen(service="kms", region=region, action=action, reason=reason)


@pytest.fixture(scope="module")
def plaza() -> Stack:
    return read_stack(PLAZA)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['is']} {case['when']}")
def test_each_thing_is_held_as_the_cases_say(case: dict[str, Any]) -> None:
    (finding,) = judge([resource(case["is"], **case["when"])], {}, {})
    assert finding.hold == case["hold"]
    assert case["says"] in " ".join((finding.why, finding.instead, finding.first))


def test_each_rule_is_reached_by_a_case() -> None:
    reached = {
        next(i for i, rule in enumerate(RULES) if rule.fits(found))
        for case in CASES
        if any(rule.fits(found := resource(case["is"], **case["when"])) for rule in RULES)
    }
    assert [RULES[i] for i in range(len(RULES)) if i not in reached] == []


def test_each_rule_names_its_ground() -> None:
    assert [rule for rule in RULES if rule.source != ASSUMED and not rule.source.startswith("https://")] == []
    assert [rule for rule in RULES if not (rule.why and rule.instead and rule.first and rule.lead_hours > 0)] == []


@pytest.mark.parametrize(
    ("glob", "answered"),
    [
        ("kms/*", True), ("kms", True), ("kms/alias/app", True), ("kms/alias/*", True), ("kms/alias/other", False),
        ("acm/*", False), ("km", False),
    ],
)  # fmt: skip
def test_an_answer_is_a_glob_over_service_and_name(glob: str, answered: bool) -> None:
    findings = judge([resource("kms/key", "alias/app")], {glob: "re-encrypted with age"}, {})
    assert (findings[0].answer == "re-encrypted with age") is answered
    assert findings[0].unanswered is not answered
    assert unused_answers(findings, [glob]) == (() if answered else (glob,))


def test_cognito_is_called_by_either_of_its_names() -> None:
    pool = resource("cognito-idp/user-pool", "eu_1")
    assert judge([pool], {"cognito/*": "a new password by mail"}, {})[0].answer
    arranged = Vendor(does="identity", provider="cognito", instead="own sign-in, drilled")
    assert judge([pool], {}, {"sign-in": arranged})[0].answer == "own sign-in, drilled"


def test_the_tightest_comes_first() -> None:
    found = judge([resource("s3/bucket"), resource("sqs/queue"), resource("kms/key")], {}, {})
    assert [finding.hold for finding in found] == [Hold.CAPTIVE, Hold.REPLACEABLE, Hold.PORTABLE]


@pytest.mark.parametrize(
    ("what", "facts", "hours", "late"),
    [
        ("s3/bucket", {"inventory": False, "objects": 5}, 48, True),
        ("s3/bucket", {"objects": 5}, 48, True),  # not let see: counts as without
        ("s3/bucket", {"inventory": True, "bytes_by_class": {"DEEP_ARCHIVE": 1}}, 48, True),
        ("s3/bucket", {"inventory": True, "bytes_by_class": {"GLACIER": 1}}, 12, False),
        ("route53/zone", {"ns_ttl_seconds": 172800}, 48, True),
        ("route53/zone", {"ns_ttl_seconds": 300, "longest_record_ttl_seconds": 7200}, 2, False),
        ("route53/zone", {"ns_ttl_seconds": 300, "signed": True}, 24, False),
        ("route53domains/domain", {}, 168, True),
        ("kms/key", {}, 24, False),
        ("secretsmanager/secret", {}, 1, False),
        ("ssm/parameter", {}, 1, False),
        ("acm/certificate", {"type": "public", "exportable": False}, 2, False),
        ("cognito-idp/user-pool", {}, 24, False),
        ("sns/sms", {}, 168, True),
        ("rds/instance", {}, 4, False),
        ("rds/cluster", {}, 4, False),
    ],
)
def test_a_clock_of_the_first_hour(what: str, facts: dict[str, Any], hours: float, late: bool) -> None:
    (deed,) = first_hour([resource(what, "it", **facts)])
    assert (deed.where, deed.clock_hours, deed.too_late) == (("it",), hours, late)
    assert bool(deed.otherwise) is late


@pytest.mark.parametrize(
    ("what", "facts"),
    [
        ("s3/bucket", {"inventory": True}), ("s3/bucket", {"inventory": False, "objects": 0}),
        ("route53/zone", {"private": True, "ns_ttl_seconds": 172800}), ("route53/zone", {"ns_ttl_seconds": 300}),
        ("acm/certificate", {"type": "imported"}), ("acm/certificate", {"exportable": True}), ("sqs/queue", {}),
    ],
)  # fmt: skip
def test_where_no_clock_runs_there_is_nothing_to_do(what: str, facts: dict[str, Any]) -> None:
    assert first_hour([resource(what, **facts)]) == ()


def test_the_longest_clock_comes_first_and_names_its_resources() -> None:
    resources = [resource("ssm/parameter"), resource("s3/bucket", "b"), resource("s3/bucket", "a")]
    deeds = first_hour(resources, notice_hours=48)
    assert [(deed.clock_hours, deed.where) for deed in deeds] == [(48, ("a", "b")), (1, ("one",))]
    assert not any(deed.too_late for deed in deeds)


def vendor_of(stack: Stack, **fields: Any) -> Stack:
    return stack.model_copy(update={"vendors": {"it": Vendor.model_validate({"does": "email", **fields})}})


def test_without_a_vendor_stops_what_needs_it_and_what_waits_for_that(plaza: Stack) -> None:
    (stop,) = stops(vendor_of(plaza, provider="ses", services=["worker"]), (), ["ses"])
    assert stop.services == ("worker", "web", "edge")
    assert "worker: queue-drained" in stop.checks
    assert stop.journeys == ("member",)
    assert stop.asked


def test_a_journey_ends_where_it_says_so_though_every_service_stands(plaza: Stack) -> None:
    (stop,) = stops(vendor_of(plaza, provider="stripe", journeys=["member"]), (), ["it"])
    assert (stop.services, stop.checks, stop.journeys) == ((), (), ("member",))
    (none,) = stops(vendor_of(plaza, provider="stripe"), (), [])
    assert (none.services, none.journeys, none.asked) == ((), (), False)


def test_a_service_of_the_account_that_the_manifest_does_not_know_is_told_as_such(plaza: Stack) -> None:
    found = stops(plaza, [resource("ses/identity")], ["sns"])
    assert [(s.vendor, s.declared, s.asked, s.held) for s in found] == [
        ("sns", False, True, 0),
        ("dns", True, False, 0),
        ("ses", False, False, 1),
    ]


def test_a_service_may_be_written_large(plaza: Stack) -> None:
    assert [stop.vendor for stop in stops(plaza, (), ["SES", "Route53"]) if stop.asked] == ["dns", "ses"]


def test_a_vendor_that_nobody_knows_is_a_usage_problem(plaza: Stack) -> None:
    with pytest.raises(UsageProblem, match="no vendor is called 'sess'"):
        stops(plaza, (), ["sess"])


def test_every_duty_of_the_manifest_is_known() -> None:
    assert set(DUTIES) == set(Vendor.model_json_schema()["properties"]["does"]["enum"])
    assert set(PROVIDES.values()) <= set(DUTIES)


@pytest.mark.parametrize(
    ("seen", "answers", "verdict", "code"),
    [
        (observed(), {}, Conclusion.FREE, ExitCode.DONE),
        (observed(resource("s3/bucket")), {}, Conclusion.FREE, ExitCode.DONE),
        (observed(resource("kms/key")), {"kms/*": "re-encrypted"}, Conclusion.FREE, ExitCode.DONE),
        (observed(resource("kms/key")), {}, Conclusion.HELD, ExitCode.GATE),
        (observed(unseen=(unseen(Blindness.NOT_ALLOWED),)), {}, Conclusion.UNKNOWN, ExitCode.UNREACHABLE),
        (observed(unseen=(unseen(Blindness.NO_ANSWER),)), {}, Conclusion.UNKNOWN, ExitCode.UNREACHABLE),
        (
            observed(resource("kms/key"), unseen=(unseen(Blindness.NO_ANSWER),)), {}, Conclusion.HELD, ExitCode.GATE,
        ),
    ],
)  # fmt: skip
def test_the_verdict(
    plaza: Stack, seen: Observed, answers: dict[str, str], verdict: Conclusion, code: ExitCode
) -> None:
    stack = plaza.model_copy(update={"answers": answers})
    found = assess(seen, Question(stack=stack, stack_path="stack.yaml"), AT)
    assert (found.verdict, found.exit_code) == (verdict, code)
    assert found.because


def test_without_a_manifest_nothing_captive_has_an_answer() -> None:
    found = assess(observed(resource("kms/key")), Question(), AT)
    assert found.verdict is Conclusion.HELD
    assert found.because == ("1 captive without an answer, for there is no manifest: kms",)


def test_denied_and_silent_are_told_apart_and_never_counted_as_none() -> None:
    blind = (unseen(Blindness.NOT_ALLOWED), unseen(Blindness.NO_ANSWER, region="eu-west-1"))
    found = assess(observed(unseen=blind), Question(), AT)
    assert found.because == (
        "not allowed to look in 1 places: what is there is not known",
        "no answer from eu-west-1: what is there is not known",
    )
    assert found.silent_regions == ("eu-west-1",)


def test_a_bucket_of_the_manifest_that_is_not_there_is_named_by_file_and_line(plaza: Stack) -> None:
    there = [resource("s3/bucket", name) for name in ("plaza-backups", "plaza-media")]
    document = read_yaml(PLAZA)
    (fault,) = faults_of_manifest(document, plaza, observed(*there))
    assert fault.where.startswith(f"{PLAZA}:") and fault.where.endswith("buckets.plaza-releases")
    found = assess(observed(*there), Question(stack=plaza, stack_path=str(PLAZA)), AT, faults=[fault])
    assert (found.verdict, found.exit_code) == (Conclusion.WRONG_MANIFEST, ExitCode.USAGE)


def test_where_buckets_could_not_be_listed_none_is_called_missing(plaza: Stack) -> None:
    denied = Unseen(service="s3", region="global", action="s3:ListAllMyBuckets", reason=Blindness.NOT_ALLOWED)
    assert faults_of_manifest(read_yaml(PLAZA), plaza, observed(unseen=(denied,))) == ()


def test_where_the_look_at_the_store_broke_off_no_bucket_is_called_missing(plaza: Stack) -> None:
    blind = Unseen(service="s3", region="global", action="s3:GetBucketAcl", reason=Blindness.NO_ANSWER)
    assert faults_of_manifest(read_yaml(PLAZA), plaza, observed(unseen=(blind,))) == ()
    of_one = blind.model_copy(update={"about": "plaza-media", "region": "us-east-1"})
    assert len(faults_of_manifest(read_yaml(PLAZA), plaza, observed(unseen=(of_one,)))) == 3


def test_a_look_at_some_regions_says_that_the_others_were_not_asked() -> None:
    found = assess(observed(), Question(regions=("us-east-1",)), AT)
    assert found.verdict is Conclusion.FREE
    assert "only us-east-1 was asked: what is in other regions is not known" in found.because
    assert not any("only" in reason for reason in assess(observed(), Question(), AT).because)


def test_what_leaves_says_how_far_the_look_went() -> None:
    (reason,) = assess(observed(), Question(), AT).because
    assert reason.startswith("all of the ")
    assert reason.endswith("that are known here were seen, others by their tags; nothing is captive")


def test_buckets_of_unknown_size_are_counted_beside_the_sum() -> None:
    unknown = Resource(service="s3", kind="bucket", region="x", name="b", unseen=("bytes", "objects"))
    found = assess(observed(resource("s3/bucket", "a", bytes=5, objects=1), unknown), Question(), AT)
    assert (found.totals.buckets, found.totals.buckets_of_unknown_size, found.totals.bytes) == (2, 1, 5)


def test_one_name_in_two_regions_is_named_twice() -> None:
    twice = [resource("rds/instance", "main"), resource("rds/instance", "main").model_copy(update={"region": "eu"})]
    (deed,) = first_hour([*twice, resource("rds/instance", "other")])
    assert deed.where == ("main (eu)", "main (us-east-1)", "other")


def test_a_vendor_that_names_no_service_of_the_manifest_is_refused_by_line(tmp_path: Path) -> None:
    text = PLAZA.read_text().replace("services: [edge]", "services: [edge, mailer]")
    (tmp_path / "stack.yaml").write_text(text)
    with pytest.raises(DocumentProblems, match=r"stack\.yaml:\d+: vendors\.dns\.services\.1: no service is called"):
        read_stack(tmp_path / "stack.yaml")


@pytest.mark.parametrize(
    ("facts", "kinds"),
    [
        ({"listable": True, "readable": True}, {LeakKind.LISTABLE_BUCKET}),
        ({"readable": True}, set()),  # media are meant to be read
        ({"writable": True}, {LeakKind.PUBLIC_BUCKET}),
        ({}, set()),
    ],
)
def test_open_buckets_of_media(plaza: Stack, facts: dict[str, Any], kinds: set[LeakKind]) -> None:
    seen = observed(resource("s3/bucket", "plaza-media", **facts))
    found = assess(seen, Question(stack=plaza, stack_path="stack.yaml"), AT)
    assert {leak.kind for leak in found.leaks} == kinds


def test_a_readable_bucket_of_backups_is_a_leak(plaza: Stack) -> None:
    seen = observed(resource("s3/bucket", "plaza-backups", readable=True, objects=7))
    (leak,) = assess(seen, Question(stack=plaza, stack_path="s"), AT).leaks
    assert (leak.kind, leak.where, leak.found) == (LeakKind.PUBLIC_BUCKET, "s3://plaza-backups", 7)
    assert "holds backups" in leak.detail


def test_each_clock_names_its_ground() -> None:
    grounds = {clock.source if not clock.source.startswith("https://") else "page" for clock in CLOCKS}
    assert grounds == {"page", ASSUMED, READ}


def test_a_zone_of_which_nobody_knows_whether_it_is_signed_is_taken_for_signed() -> None:
    zone = resource("route53/zone").model_copy(update={"unseen": ("signed",)})
    assert any("DS record" in deed.what and "the name vanishes" in deed.how for deed in first_hour([zone]))
    assert not any("DS record" in deed.what for deed in first_hour([resource("route53/zone", signed=False)]))


def test_the_deep_archive_of_intelligent_tiering_takes_two_days() -> None:
    bucket = resource("s3/bucket", inventory=True, bytes_by_class={"INTELLIGENT_TIERING_ARCHIVE": 1})
    assert [deed.clock_hours for deed in first_hour([bucket]) if "archived" in deed.what] == [48]


def test_an_answer_under_the_name_that_the_page_gives_is_one() -> None:
    (named,) = judge([resource("aoss/collection", "one")], {"aoss": "OpenSearch of our own"}, {})
    assert named.answer == "OpenSearch of our own"


def test_a_service_that_speaks_to_another_stops_with_it_though_it_does_not_wait_for_it() -> None:
    stack = read_stack(PLAZA)
    web = stack.services["web"].model_copy(update={"after": ()})
    worker = stack.services["worker"].model_copy(update={"after": ()})
    vendor = Vendor.model_validate({"does": "other", "provider": "memory", "services": ["cache"]})
    stack = stack.model_copy(
        update={"services": {**stack.services, "web": web, "worker": worker}, "vendors": {"memory": vendor}}
    )
    (stop,) = [stop for stop in stops(stack, [], ["memory"]) if stop.asked]
    assert set(stop.services) == {"cache", "worker", "web", "edge"}
    assert stop.journeys == ("member",)
