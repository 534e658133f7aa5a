"""Calls to the provider: what each refusal means, what is tried again, when a region counts as silent."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import botocore.exceptions as bad
import pytest
from botocore.stub import Stubber

from migrate.adapters.aws_account import calls as module
from migrate.adapters.aws_account import survey as survey_module
from migrate.adapters.aws_account.answers import NotSeen, not_seen
from migrate.adapters.aws_account.calls import Calls, Identity
from migrate.adapters.aws_account.pictures import sampled_positions
from migrate.adapters.aws_account.reader import Look, Reader
from migrate.adapters.aws_account.readers import names
from migrate.adapters.aws_account.readers.compute import ECS, EKS, LAMBDA
from migrate.adapters.aws_account.readers.databases import RDS
from migrate.adapters.aws_account.readers.keys import KMS
from migrate.adapters.aws_account.readers.messaging import SNS
from migrate.adapters.aws_account.readers.names import ACM, DOMAINS, KEY_TYPES, ROUTE53
from migrate.adapters.aws_account.survey import survey
from migrate.assess.assessing import Question, assess
from migrate.assess.findings import Conclusion
from migrate.assess.observed import Blindness, Resource

REGION = "us-east-1"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    monkeypatch.setattr(module, "PAUSES_SECONDS", (0.0, 0.0))
    return Calls()


def refusal(code: str, status: int = 400) -> bad.ClientError:
    envelope = {"HTTPStatusCode": status}
    return bad.ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": envelope}, "Op")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (refusal("AccessDenied", 403), Blindness.NOT_ALLOWED),
        (refusal("AccessDeniedException"), Blindness.NOT_ALLOWED),
        (refusal("UnauthorizedOperation", 403), Blindness.NOT_ALLOWED),
        (refusal("AuthorizationError", 403), Blindness.NOT_ALLOWED),
        (refusal("Whatever", 403), Blindness.NOT_ALLOWED),
        (refusal("ExpiredToken"), Blindness.NOT_ALLOWED),
        (bad.NoCredentialsError(), Blindness.NOT_ALLOWED),
        (refusal("InternalFailure", 500), Blindness.NOT_UNDERSTOOD),
        (refusal("ValidationException"), Blindness.NOT_UNDERSTOOD),
        (bad.ConnectTimeoutError(endpoint_url="https://x"), Blindness.NO_ANSWER),
        (bad.ReadTimeoutError(endpoint_url="https://x"), Blindness.NO_ANSWER),
        (bad.EndpointConnectionError(endpoint_url="https://x"), Blindness.NO_ANSWER),
        (bad.ParamValidationError(report="x"), Blindness.NOT_UNDERSTOOD),
    ],
    ids=str,
)
def test_what_a_refusal_means(problem: Exception, reason: Blindness) -> None:
    assert not_seen(problem).reason is reason


class Answering(Calls):
    """An account that answers a client as it is told, and the others with nothing."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self.answers = answers

    def __call__(self, client: str, region: str, method: str, params: Any) -> Any:
        answer = self.answers.get(client, {})
        if isinstance(answer, Exception):
            raise answer
        return answer(method, params) if callable(answer) else answer

    def identity(self) -> Identity:
        return Identity("1", "ops")


def unsubscribed(code: str = "SubscriptionRequiredException") -> NotSeen:
    return NotSeen(Blindness.NOT_UNDERSTOOD, code, code)


def test_a_service_that_was_never_signed_up_for_hides_nothing(calls: Calls) -> None:
    observed = survey(
        Answering(sns=unsubscribed(), eks=unsubscribed("OptInRequired")), [REGION], readers=(SNS, EKS, KMS)
    )
    assert (observed.resources, observed.unseen) == ((), ())


@pytest.mark.parametrize("code", ["SubscriptionRequiredException", "OptInRequired", "NotSignedUp"])
def test_a_suspended_account_is_not_taken_for_an_empty_one(calls: Calls, code: str) -> None:
    """Its services say that nobody signed up for them; what they hold is there all the same."""
    observed = survey(Answering(sns=unsubscribed(code), kms=unsubscribed(code)), [REGION], readers=(SNS, EKS, KMS))
    assert {unseen.action for unseen in observed.unseen} == {
        "sns:ListTopics", "sns:ListPlatformApplications", "sns:GetSMSAttributes", "kms:ListAliases", "kms:ListKeys",
    }  # fmt: skip
    assert all("it may be suspended" in unseen.said for unseen in observed.unseen)
    assert assess(observed, Question(), datetime(2026, 11, 21, tzinfo=UTC)).verdict is Conclusion.UNKNOWN


def test_a_region_that_is_named_twice_is_looked_at_once(calls: Calls) -> None:
    keys = {"Keys": [{"KeyId": "1-2"}], "KeyMetadata": {"KeyId": "1-2"}, "Aliases": []}
    observed = survey(Answering(kms=keys), [REGION, REGION], readers=(KMS,))
    assert (observed.regions, len(observed.resources)) == ((REGION,), 1)


def test_an_answer_that_trickles_is_given_up_and_the_others_are_kept(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey_module, "LAST_ANSWERS_SECONDS", 0.2)
    ended = threading.Event()
    trickling = Answering(kms=lambda method, params: ended.wait(30) and {}, eks={"clusters": ["jobs"], "cluster": {}})
    monkeypatch.setattr(Answering, "seconds_left", 0.0)
    try:
        observed = survey(trickling, [REGION], readers=(EKS, KMS))
    finally:
        ended.set()
    assert [resource.name for resource in observed.resources] == ["jobs"]
    (unseen,) = observed.unseen
    assert (unseen.service, unseen.reason, unseen.action) == ("kms", Blindness.NO_ANSWER, "kms:ListAliases")


def test_a_denied_detail_leaves_the_resource_and_says_what_is_not_known(calls: Calls) -> None:
    with Stubber(calls.client("kms", REGION)) as answers:
        answers.add_response("list_aliases", {"Aliases": []})
        answers.add_response("list_keys", {"Keys": [{"KeyId": "1-2"}]})
        answers.add_client_error("describe_key", "AccessDeniedException", http_status_code=400)
        look = Look(KMS, REGION, calls)
        (key,) = KMS.read(look)
    assert (key.name, key.unseen) == ("1-2", ("origin", "state", "usage"))
    (unseen,) = look.unseen
    assert (unseen.reason, unseen.action, unseen.about) == (Blindness.NOT_ALLOWED, "kms:DescribeKey", "1-2")


def test_all_pages_are_read(calls: Calls) -> None:
    with Stubber(calls.client("kms", REGION)) as answers:
        answers.add_response("list_aliases", {"Aliases": []})
        answers.add_response("list_keys", {"Keys": [{"KeyId": "1-2"}], "Truncated": True, "NextMarker": "m"}, {})
        answers.add_response("describe_key", {"KeyMetadata": {"KeyId": "1-2", "KeyManager": "AWS"}})
        answers.add_response("list_keys", {"Keys": [{"KeyId": "3-4"}]}, {"Marker": "m"})
        answers.add_response("describe_key", {"KeyMetadata": {"KeyId": "3-4", "Origin": "EXTERNAL"}})
        look = Look(KMS, REGION, calls)
        found = list(KMS.read(look))
    assert [(key.name, key.facts["origin"]) for key in found] == [("3-4", "imported")]


def test_a_call_that_is_put_off_is_tried_again_and_not_for_ever(calls: Calls) -> None:
    with Stubber(calls.client("kms", REGION)) as answers:
        for _ in range(2):
            answers.add_client_error("list_keys", "ThrottlingException")
        answers.add_response("list_keys", {"Keys": []})
        assert calls("kms", REGION, "list_keys", {})["Keys"] == []
        for _ in range(3):
            answers.add_client_error("list_keys", "ThrottlingException")
        with pytest.raises(NotSeen) as blind:
            calls("kms", REGION, "list_keys", {})
        answers.assert_no_pending_responses()
    assert blind.value.reason is Blindness.NOT_UNDERSTOOD


def test_after_two_silent_services_a_region_is_not_asked_but_for_its_data(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Silent:
        def __getattr__(self, method: str) -> Callable[..., Any]:
            def call(**_: object) -> None:
                asked.append(method)
                raise bad.ReadTimeoutError(endpoint_url="https://silent")

            return call

    monkeypatch.setattr(calls, "client", lambda service, region: Silent())
    for service in ("kms", "kms", "sqs", "sns", "s3", "s3"):
        with pytest.raises(NotSeen) as blind:
            calls(service, REGION, f"list_{service}", {})
        assert blind.value.reason is Blindness.NO_ANSWER
    assert asked == ["list_kms", "list_sqs", "list_s3"]


def test_when_the_time_for_the_whole_look_is_over_nobody_is_asked(calls: Calls) -> None:
    late = Calls(bounds=module.Bounds(whole=-1))
    with pytest.raises(NotSeen, match="the time for the whole look was over"):
        late("kms", REGION, "list_keys", {})


@pytest.mark.parametrize("odd", [KeyError("Keys"), AttributeError("get"), IndexError("list"), TypeError("int")])
def test_an_answer_of_another_shape_is_told_and_ends_only_its_reader(calls: Calls, odd: Exception) -> None:
    def read(look: Look) -> Any:
        look.ask("kms.list_keys")
        raise odd
        yield

    observed = survey(Answering(eks={"clusters": ["jobs"]}), [REGION], readers=(Reader("kms", KMS.actions, read), EKS))
    assert {(unseen.reason, unseen.action) for unseen in observed.unseen} == {
        (Blindness.NOT_UNDERSTOOD, "kms:ListKeys"), (Blindness.NOT_UNDERSTOOD, "eks:DescribeCluster"),
    }  # fmt: skip


def test_registrations_are_read(calls: Calls) -> None:
    with Stubber(calls.client("route53domains", REGION)) as answers:
        one = {"DomainName": "myapp.example", "TransferLock": True, "AutoRenew": False, "Expiry": datetime(2027, 5, 1)}
        answers.add_response("list_domains", {"Domains": [one]})
        (domain,) = DOMAINS.read(Look(DOMAINS, "global", calls))
    assert domain.facts == {"locked": True, "renews": False, "expires": "2027-05-01"}


def test_certificates_of_every_kind_of_key_are_asked_for(calls: Calls) -> None:
    """Without the list of key types ACM keeps elliptic and long keys back."""
    with Stubber(calls.client("acm", REGION)) as answers:
        wanted = {"Includes": {"keyTypes": list(KEY_TYPES)}}
        answers.add_response("list_certificates", {"CertificateSummaryList": []}, wanted)
        assert list(ACM.read(Look(ACM, REGION, calls))) == []


def images(*classes: str) -> dict[str, Any]:
    return {"Contents": [{"Key": f"{n}.jpg", "StorageClass": name} for n, name in enumerate(classes)]}


@pytest.mark.parametrize(
    ("listed", "refusal", "said"),
    [
        (images("DEEP_ARCHIVE", "GLACIER"), None, ["archive class"]),
        (images("STANDARD"), NotSeen(Blindness.NOT_ALLOWED, "InvalidObjectState", "InvalidObjectState"), ["Invalid"]),
        (images("STANDARD"), NotSeen(Blindness.NOT_ALLOWED, "AccessDenied", "AccessDenied"), ["AccessDenied"]),
        (images("STANDARD"), NotSeen(Blindness.NOT_UNDERSTOOD, "NoSuchKey", "NoSuchKey"), ["NoSuchKey"]),
        (images(), None, []),
    ],
)
def test_a_bucket_of_which_no_image_could_be_read_is_told(
    calls: Calls, listed: dict[str, Any], refusal: NotSeen | None, said: list[str]
) -> None:
    def answer(method: str, params: Any) -> Any:
        if method == "get_object":
            assert refusal
            raise refusal
        return listed

    bucket = Resource(service="s3", kind="bucket", region=REGION, name="pictures")
    leaks, unseen, (looked,) = sampled_positions(Answering(s3=answer), [bucket], 5)
    assert leaks == []
    assert len(unseen) == len(said)
    keys = {0: "0 keys", 1: "1 key", 2: "2 keys"}[len(listed["Contents"])]
    assert looked == f"positions in images of s3://pictures: no image was looked at, of {keys}"
    assert all(words in one.said for words, one in zip(said, unseen, strict=True))


def test_variables_of_a_function_that_only_its_key_opens_are_not_called_clean(calls: Calls) -> None:
    sealed = {"FunctionName": "f", "Environment": {"Error": {"ErrorCode": "AccessDeniedException", "Message": "kms"}}}
    look = Look(LAMBDA, REGION, Answering(**{"lambda": {"Functions": [sealed]}}))
    (function,) = LAMBDA.read(look)
    assert function.unseen == ("variables_naming_the_provider",)
    assert [(one.reason, one.about) for one in look.unseen] == [(Blindness.NOT_ALLOWED, "f")]


def test_snapshots_of_a_backup_plan_count_and_those_that_go_with_their_instance_do_not(calls: Calls) -> None:
    kinds = ("manual", "awsbackup", "automated")
    snapshots = {
        "describe_db_snapshots": {"DBSnapshots": [{"DBSnapshotIdentifier": k, "SnapshotType": k} for k in kinds]}
    }
    look = Look(RDS, REGION, Answering(rds=lambda method, params: snapshots.get(method, {})))
    assert {snapshot.name for snapshot in RDS.read(look)} == {"manual", "awsbackup"}


def test_a_zone_that_is_too_long_to_read_says_so(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_PAGES", 2)
    page = {
        "HostedZones": [{"Id": "/hostedzone/Z1", "Name": "myapp.example."}], "ResourceRecordSets": [],
        "Status": {}, "IsTruncated": True, "NextRecordName": "b", "NextRecordType": "A",
    }  # fmt: skip
    look = Look(ROUTE53, "global", Answering(route53=page))
    (zone,) = ROUTE53.read(look)
    assert {"longest_record_ttl_seconds", "aliases"} <= set(zone.unseen)
    assert [one.action for one in look.unseen] == ["route53:ListResourceRecordSets"]


def test_tasks_beside_the_services_of_a_cluster_are_seen(calls: Calls) -> None:
    groups = ["service:api", "family:nightly", "family:nightly", ""]
    answers = {
        "list_clusters": {"clusterArns": ["arn:aws:ecs:us-east-1:1:cluster/web"]},
        "list_tasks": {"taskArns": [f"arn:{n}" for n in range(4)]},
        "describe_tasks": {"tasks": [{"group": g, "taskDefinitionArn": "arn:x:task-definition/odd:3"} for g in groups]},
    }
    look = Look(ECS, REGION, Answering(ecs=lambda method, params: answers.get(method, {})))
    assert {one.name: one.facts["tasks"] for one in ECS.read(look)} == {"web/family:nightly": 2, "web/odd:3": 1}
