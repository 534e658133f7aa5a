"""`assess` against an account on moto's server: every service, denied calls, a region that hangs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from migrate.adapters.aws_account.calls import Bounds, Calls
from migrate.adapters.aws_account.pictures import sampled_positions
from migrate.adapters.aws_account.policy import least_policy
from migrate.adapters.aws_account.reader import Look, Reader
from migrate.adapters.aws_account.readers import READERS
from migrate.adapters.aws_account.readers.tagged import READ_ELSEWHERE
from migrate.adapters.aws_account.survey import survey
from migrate.assess.judging import judge
from migrate.assess.knowledge import RULES
from migrate.assess.observed import Blindness, Observed, Resource
from migrate.errors import Refused, Unreachable, UsageProblem
from tests.cloud_account import FUNCTION_ENVIRONMENT, OTHER_REGION, REGION, Cloud, silent_region, tell_moto
from tests.pictures import jpeg

REGIONS = (REGION, OTHER_REGION)
TAGS = "resourcegroupstaggingapi"
NOT_CHECKED_RIGHTLY = {
    "cloudwatch:ListMetrics", "cloudwatch:GetMetricData", "tag:GetResources",
    "cloudfront:ListDistributions", "route53:ListHostedZones",
    "s3:GetAccountPublicAccessBlock",
}  # fmt: skip
"""Actions that moto takes for others, or whose signature it cannot check, behind its own server."""
NOT_IN_MOTO = {"elasticache:DescribeServerlessCaches", "ses:GetAccount", "ses:ListSuppressedDestinations"}
"""Calls that moto does not know: they stand for a service that answers with an error of its own."""
NOT_IN_MOTO_BY_CALL = {"elasticache.describe_serverless_caches"}
NOT_FURTHER = {
    "iam.list_access_keys",  # two keys a user at most
    "elbv2.describe_listeners", "s3.list_object_versions",
}  # fmt: skip
"""Of these the first page tells what is asked for: one is enough, or the answer itself says that there are more."""


@pytest.fixture(scope="module")
def seen(cloud: Cloud) -> Observed:
    return survey(Calls(endpoint_url=cloud.url), REGIONS)


def found(seen: Observed, service: str, name: str) -> Resource:
    (one,) = [r for r in seen.resources if (r.service, r.name) == (service, name)]
    return one


def test_something_of_every_service_is_seen(seen: Observed) -> None:
    assert {reader.service for reader in READERS} - {r.service for r in seen.resources} == {"route53domains", TAGS}
    known = {(rule.service, rule.kind) for rule in RULES}
    assert {(r.service, r.kind) for r in seen.resources} - known == {("glue", "job")}
    assert (seen.account, seen.regions) == ("123456789012", REGIONS)


def test_a_service_that_is_not_known_here_is_found_by_its_tags_and_never_called_free(seen: Observed) -> None:
    assert found(seen, "glue", "job").facts == {"resources": 2}
    (finding,) = [one for one in judge(seen.resources, {}, {}) if one.resource.service == "glue"]
    assert finding.unanswered and "nothing is known here" in finding.why


def test_no_service_of_a_reader_is_found_a_second_time() -> None:
    """Addresses call a service as permissions do."""
    prefixes = {action.partition(":")[0] for reader in READERS for action in reader.actions.values()}
    assert prefixes - READ_ELSEWHERE == {"cloudwatch", "sts", "tag"}


def test_what_was_not_seen_is_what_the_server_does_not_know(seen: Observed) -> None:
    assert {u.action for u in seen.unseen} == NOT_IN_MOTO
    assert {u.reason for u in seen.unseen} == {Blindness.NOT_UNDERSTOOD}


def test_sizes_come_from_metrics_in_each_region(seen: Observed) -> None:
    media = found(seen, "s3", "app-media").facts
    assert (media["bytes"], media["objects"]) == (42 * 10**9, 1_200_000)
    assert media["bytes_by_class"] == {"STANDARD": 40 * 10**9, "STANDARD_IA": 2 * 10**9}
    europe = found(seen, "s3", "app-europe")
    assert (europe.region, europe.facts["objects"]) == (OTHER_REGION, 10)
    assert found(seen, "s3", "app-archive").facts["archived"] is True


def test_a_bucket_without_metrics_is_empty_or_of_unknown_size_and_never_guessed(seen: Observed) -> None:
    assert found(seen, "s3", "app-empty").facts["objects"] == 0
    young = found(seen, "s3", "app-young")
    assert "objects" not in young.facts
    assert young.unseen == ("bytes", "bytes_by_class", "archived", "objects")


@pytest.mark.parametrize(
    ("service", "name", "facts"),
    [
        ("s3", "app-media", {"readable": True, "listable": True, "writable": False, "inventory": True}),
        ("s3", "app-backups", {"readable": False, "versioning": "enabled", "encryption": "customer key"}),
        ("rds", "app-main", {"storage_gb": 500, "used_bytes": 100 * 1024**3}),
        ("rds", "app-aurora", {"engine": "aurora-postgresql", "members": 1, "used_bytes": 7 * 10**9}),
        ("sqs", "jobs", {"messages": 3}),
        ("route53", "myapp.example", {"ns_ttl_seconds": 172800, "longest_record_ttl_seconds": 86400}),
        ("acm", "myapp.example", {"type": "public", "exportable": False}),
        ("kms", "alias/app", {"origin": "kms", "state": "Enabled"}),
        ("iam", "deploy", {"access_keys": 1}),
        ("ecs", "web/api", {"tasks": 3, "variables_naming_the_provider": ("S3_HOST",)}),
        ("lambda", "thumbnails", {"variables_naming_the_provider": ("MEDIA_URL", "QUEUE_URL")}),
        ("elasticache", "app-redis", {"engine": "redis"}),
        ("ssm", "/app/flag", {"secret": True}),
    ],
)  # fmt: skip
def test_facts_of_a_resource(seen: Observed, service: str, name: str, facts: dict[str, Any]) -> None:
    one = found(seen, service, name)
    assert {fact: one.facts.get(fact) for fact in facts} == facts


def test_a_member_of_a_cluster_is_not_counted_twice(seen: Observed) -> None:
    assert "app-aurora-1" not in {r.name for r in seen.resources}


def test_no_value_of_a_secret_or_a_variable_is_carried_along(seen: Observed) -> None:
    text = seen.model_dump_json()
    assert "not-a-secret" not in text
    assert not [value for value in FUNCTION_ENVIRONMENT.values() if value in text]


# ---- the policy ---------------------------------------------------------------------------------------------------


def test_a_call_that_a_reader_does_not_declare_cannot_be_made() -> None:
    look = Look(Reader("sqs", {}, lambda look: iter(())), REGION, lambda *asked: {})
    with pytest.raises(KeyError):
        look.ask("sqs.delete_queue")


def test_every_list_goes_on_to_its_next_page(cloud: Cloud) -> None:
    """By the provider's own description of each call: an answer with a token is followed by a question with it."""
    went_on: set[str] = set()
    given = "further"

    class Paged(Calls):
        def __call__(self, client: str, region: str, method: str, params: Any) -> Any:
            description = self.described(client, region, method)
            asked = [parts(description, "input_token"), parts(description, "output_token")]
            first = {name: value for name, value in params.items() if name not in asked[0]}
            answer = super().__call__(client, region, method, first)
            if any(params.get(name) == given for name in asked[0]):
                went_on.add(f"{client}.{method}")
                return answer
            for token in asked[1]:
                answer = _with(answer, token, given)
            for flag in parts(description, "more_results"):
                answer = _with(answer, flag, True)
            return answer

        def described(self, client: str, region: str, method: str) -> dict[str, Any]:
            sdk = self.client(client, region)
            return sdk.get_paginator(method)._pagination_cfg if sdk.can_paginate(method) else {}

    def parts(description: dict[str, Any], part: str) -> list[str]:
        said = description.get(part, [])
        return [text.partition(" || ")[0] for text in (said if isinstance(said, list) else [said])]

    calls = Paged(endpoint_url=cloud.url)
    survey(calls, [REGION])
    lists = {
        call for reader in READERS for call in reader.actions
        if calls.described(call.split(".")[0], REGION, call.split(".")[1])
    }  # fmt: skip
    assert lists - went_on - NOT_FURTHER == NOT_IN_MOTO_BY_CALL
    assert lists >= NOT_FURTHER


def _with(answer: Any, path: str, value: object) -> Any:
    """The answer with a token in it."""
    first, _, rest = path.partition(".")
    return {**answer, first: _with(answer.get(first, {}), rest, value) if rest else value}


def test_every_declared_call_is_made(cloud: Cloud) -> None:
    """What is never called is not least; `get_bucket_location` is for stores that do not tell regions in their list."""
    made: set[tuple[str, str]] = set()

    class Watched(Calls):
        def __call__(self, client: str, region: str, method: str, params: Any) -> Any:
            made.add((client, method))
            return super().__call__(client, region, method, params)

    survey(Watched(endpoint_url=cloud.url), [REGION])
    declared = {tuple(call.split(".", 1)) for reader in READERS for call in reader.actions}
    assert declared - made <= {("s3", "get_bucket_location")}
    assert made - declared <= {("sts", "get_caller_identity")}


def test_the_policy_only_reads_and_fits_into_a_managed_policy() -> None:
    document = least_policy()
    actions = [action for statement in document["Statement"] for action in statement["Action"]]
    assert not [a for a in actions if not a.partition(":")[2].startswith(("Get", "GET", "List", "Describe"))]
    assert len(json.dumps(document, separators=(",", ":"))) < 6144
    values = {"secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt"}
    assert not values & set(actions)


def test_every_action_of_the_policy_is_one_that_the_provider_knows() -> None:
    """Held against the provider's own policies for auditors, as moto carries them."""
    from fnmatch import fnmatchcase

    from moto.iam.aws_managed_policies import aws_managed_policies_data

    policies = json.loads(aws_managed_policies_data)
    patterns = {
        pattern
        for name in ("SecurityAudit", "ReadOnlyAccess", "ViewOnlyAccess")
        for statement in policies[name]["Document"]["Statement"]
        for pattern in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    actions = {action for statement in least_policy()["Statement"] for action in statement["Action"]}
    assert {a for a in actions if not any(fnmatchcase(a, pattern) for pattern in patterns)} == set()


# ---- what is denied -----------------------------------------------------------------------------------------------


@contextmanager
def identity(cloud: Cloud, policy: dict[str, Any]) -> Iterator[Calls]:
    """Calls of a user with this policy, while the server asks for permissions."""
    iam = cloud.client("iam")
    iam.create_user(UserName="looker")
    iam.put_user_policy(UserName="looker", PolicyName="look", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="looker")["AccessKey"]
    _reset_permissions(cloud, "0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        try:
            yield Calls(endpoint_url=cloud.url)
        finally:
            _reset_permissions(cloud, "inf")
    iam.delete_user_policy(UserName="looker", PolicyName="look")
    iam.delete_access_key(UserName="looker", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="looker")


def _reset_permissions(cloud: Cloud, free_actions: str) -> None:
    address = urlsplit(cloud.url)
    tell_moto(address.hostname or "", address.port or 0, "/moto-api/reset-auth", free_actions)


def denied(seen: Observed) -> dict[str, str]:
    """Action -> what was said, of the actions whose permission moto checks rightly behind its own server."""
    said = {u.action: u.said for u in seen.unseen if u.reason is Blindness.NOT_ALLOWED}
    return {
        action: words
        for action, words in said.items()
        if action not in NOT_CHECKED_RIGHTLY and "SignatureDoesNotMatch" not in words
    }


def test_the_least_policy_lets_everything_be_seen(cloud: Cloud, seen: Observed) -> None:
    with identity(cloud, least_policy()) as calls:
        allowed = survey(calls, REGIONS)
    assert denied(allowed) == {}
    checked = ("s3", "rds", "dynamodb", "ec2", "elbv2", "sqs", "sns", "cognito-idp", "acm", "kms", "ssm")
    for service in checked:
        names = [{r.name for r in one.resources if r.service == service} for one in (allowed, seen)]
        assert names[0] == names[1] != set()


def test_what_is_denied_is_told_and_never_shown_as_none(cloud: Cloud, seen: Observed) -> None:
    withheld = {"kms:ListKeys", "s3:GetBucketPolicy", "rds:DescribeDBSnapshots", "cognito-idp:DescribeUserPool"}
    policy = least_policy()
    for statement in policy["Statement"]:
        statement["Action"] = [action for action in statement["Action"] if action not in withheld]
    with identity(cloud, policy) as calls:
        partly = survey(calls, [REGION])
    assert set(denied(partly)) == withheld
    media = found(partly, "s3", "app-media")
    assert {"readable", "listable"} <= set(media.unseen)
    assert "readable" not in media.facts
    pool = next(r for r in partly.resources if r.service == "cognito-idp")
    assert set(pool.unseen) == {"users", "second_factor"}
    assert {r.name for r in partly.resources if r.service == "rds"} == {"app-main", "app-aurora"}


# ---- a region that hangs ------------------------------------------------------------------------------------------


def test_a_region_that_does_not_answer_is_bounded_and_shown_and_the_others_are_reported(
    cloud: Cloud, seen: Observed
) -> None:
    with silent_region(cloud, "ap-south-1") as (url, asked):
        partly = survey(Calls(endpoint_url=url, bounds=Bounds(2.0, 2.0)), [REGION, "ap-south-1"])
    silent = [u for u in partly.unseen if u.reason is Blindness.NO_ANSWER]
    assert {u.region for u in silent} == {"ap-south-1"}
    regional = {reader.service for reader in READERS if reader.regional}
    assert {u.service for u in silent} == regional
    assert any("not asked" in u.said for u in silent)
    here = [r for r in seen.resources if r.region != OTHER_REGION]
    assert [r.name for r in partly.resources if r.service == "kms"] == [r.name for r in here if r.service == "kms"]
    assert len(partly.resources) == len(seen.resources)
    assert len(asked) <= 2 * len(regional)


# ---- who looks ----------------------------------------------------------------------------------------------------


def test_no_credentials_are_refused_with_what_to_do(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(Refused, match="Unable to locate credentials") as refused:
        survey(Calls(endpoint_url=cloud.url), [REGION])
    assert "assess --policy" in refused.value.hint


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        survey(Calls(endpoint_url="http://127.0.0.1:1", bounds=Bounds(1, 1)), [REGION])


def test_an_unknown_profile_is_a_usage_problem() -> None:
    with pytest.raises(UsageProblem, match="no-such"):
        Calls("no-such-profile")


# ---- positions ----------------------------------------------------------------------------------------------------


def test_positions_are_found_in_a_sample_and_never_told(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="pictures")
    for number in range(30):
        s3.put_object(Bucket="pictures", Key=f"{number:02}.jpg", Body=jpeg(position=number % 3 == 0))
    s3.put_object(Bucket="pictures", Key="notes.txt", Body=jpeg(position=True))
    bucket = Resource(service="s3", kind="bucket", region=REGION, name="pictures")
    (leak,), unseen, (looked,) = sampled_positions(Calls(endpoint_url=cloud.url), [bucket], 1000)
    assert (leak.found, leak.looked_at, unseen) == (10, 30, [])
    assert looked == "positions in images of s3://pictures beyond the 30 images looked at, of 31 keys"
    assert "52" not in leak.detail
    leaks, _, _ = sampled_positions(Calls(endpoint_url=cloud.url), [bucket], 6)
    assert all(one.looked_at == 6 for one in leaks)
    s3.delete_objects(
        Bucket="pictures",
        Delete={"Objects": [{"Key": key["Key"]} for key in s3.list_objects_v2(Bucket="pictures")["Contents"]]},
    )
    s3.delete_bucket(Bucket="pictures")


def test_a_bucket_that_may_not_be_read_is_told(cloud: Cloud) -> None:
    gone = Resource(service="s3", kind="bucket", region=REGION, name="no-such-bucket")
    leaks, (unseen,), looked = sampled_positions(Calls(endpoint_url=cloud.url), [gone], 5)
    assert (leaks, looked) == ([], ["positions in images of s3://no-such-bucket: no key could be listed"])
    assert unseen.about == "images of no-such-bucket"
