"""`assess` against an account on moto's server: every service, denied calls, a region that hangs, the command."""

import http.client
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest

from migrate.adapters.aws_account.calls import Bounds, Calls
from migrate.adapters.aws_account.pictures import sampled_positions
from migrate.adapters.aws_account.policy import least_policy
from migrate.adapters.aws_account.reader import Look, Reader
from migrate.adapters.aws_account.readers import READERS
from migrate.adapters.aws_account.survey import survey
from migrate.assess.findings import Assessment
from migrate.assess.knowledge import RULES
from migrate.assess.observed import Blindness, Observed, Resource
from migrate.errors import Refused, Unreachable, UsageProblem
from migrate.manifest import read_stack
from tests.cloud_account import FUNCTION_ENVIRONMENT, KEYS, OTHER_REGION, REGION, Cloud, fill, running_cloud
from tests.drill import CLOUDEXIT, PLAZA
from tests.pictures import jpeg

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "assessment.schema.json"
REGIONS = (REGION, OTHER_REGION)
NOT_CHECKED_RIGHTLY = {
    "cloudwatch:ListMetrics", "cloudfront:ListDistributions", "route53:ListHostedZones",
    "s3:GetAccountPublicAccessBlock",
}  # fmt: skip
"""Actions that moto takes for others, or whose signature it cannot check, behind its own server."""
NOT_IN_MOTO = {"elasticache:DescribeServerlessCaches", "ses:GetAccount", "ses:ListSuppressedDestinations"}
"""Calls that moto does not know: they stand for a service that answers with an error of its own."""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with running_cloud() as running:
            fill(running)
            yield running


@pytest.fixture(scope="module")
def seen(cloud: Cloud) -> Observed:
    return survey(Calls(endpoint_url=cloud.url), REGIONS)


def found(seen: Observed, service: str, name: str) -> Resource:
    (one,) = [r for r in seen.resources if (r.service, r.name) == (service, name)]
    return one


def command(cloud: Cloud, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(CLOUDEXIT), "assess", *map(str, arguments)], capture_output=True, text=True, timeout=200, check=False,
        env={**cloud.environment, **environment}, cwd=environment.get("FOLDER", "/"),
    )  # fmt: skip


def test_something_of_every_service_is_seen(seen: Observed) -> None:
    assert {reader.service for reader in READERS} - {r.service for r in seen.resources} == {"route53domains"}
    known = {(rule.service, rule.kind) for rule in RULES}
    assert {(r.service, r.kind) for r in seen.resources} <= known
    assert (seen.account, seen.regions) == ("123456789012", REGIONS)


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
    assert young.unseen == ("bytes", "objects")


@pytest.mark.parametrize(
    ("service", "name", "facts"),
    [
        ("s3", "app-media", {"readable": True, "listable": True, "writable": False, "inventory": True}),
        ("s3", "app-backups", {"readable": False, "versioning": "enabled", "encryption": "customer key"}),
        ("rds", "app-main", {"engine_family": "postgresql", "storage_gb": 500}),
        ("rds", "app-aurora", {"engine": "aurora-postgresql", "members": 1}),
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


def test_every_declared_call_is_made(cloud: Cloud) -> None:
    """What is never called is not least; `list_objects_v2` and `get_bucket_location` are, for young buckets."""
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
    assert not [a for a in actions if not a.partition(":")[2].startswith(("Get", "List", "Describe"))]
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
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    connection.request("POST", "/moto-api/reset-auth", free_actions)
    assert connection.getresponse().status == 200


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


class _Forwarder(BaseHTTPRequestHandler):
    """Passes requests on, but leaves those signed for the silent region without an answer."""

    server: "_Proxy"

    def _pass_on(self) -> None:
        scope = self.headers.get("Authorization", "")
        if f"/{self.server.silent}/" in scope:
            self.server.asked.append(scope)
            self.server.ended.wait(60)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _pass_on

    def log_message(self, *_: object) -> None:
        pass


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cloud: Cloud, silent: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarder)
        address = urlsplit(cloud.url)
        self.host, self.port = address.hostname or "", address.port
        self.silent = silent
        self.asked: list[str] = []
        self.ended = threading.Event()


@contextmanager
def silent_region(cloud: Cloud, region: str) -> Iterator[tuple[str, list[str]]]:
    """An endpoint where one region accepts requests and never answers; and the requests that it got."""
    proxy = _Proxy(cloud, region)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", proxy.asked
    finally:
        proxy.ended.set()
        proxy.shutdown()
        proxy.server_close()


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
    (leak,), unseen = sampled_positions(Calls(endpoint_url=cloud.url), [bucket], 1000)
    assert (leak.found, leak.looked_at, unseen) == (10, 30, [])
    assert "52" not in leak.detail
    leaks, _ = sampled_positions(Calls(endpoint_url=cloud.url), [bucket], 6)
    assert all(one.looked_at == 6 for one in leaks)
    s3.delete_objects(
        Bucket="pictures",
        Delete={"Objects": [{"Key": key["Key"]} for key in s3.list_objects_v2(Bucket="pictures")["Contents"]]},
    )
    s3.delete_bucket(Bucket="pictures")


def test_a_bucket_that_may_not_be_read_is_told(cloud: Cloud) -> None:
    gone = Resource(service="s3", kind="bucket", region=REGION, name="no-such-bucket")
    leaks, (unseen,) = sampled_positions(Calls(endpoint_url=cloud.url), [gone], 5)
    assert leaks == []
    assert unseen.about == "images of no-such-bucket"


# ---- the command --------------------------------------------------------------------------------------------------


def test_json_is_one_document_of_the_published_schema(cloud: Cloud, tmp_path: Path) -> None:
    done = command(cloud, "--region", REGION, "--json", FOLDER=str(tmp_path))
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert (document["verdict"], document["exit_code"], document["stack"]) == ("held", 3, "")
    assert Assessment.model_validate(document).totals.captive == document["totals"]["captive"] > 0
    assert "looked at" in done.stderr


def test_the_page_begins_with_the_verdict_and_has_no_colour_on_a_pipe(cloud: Cloud, tmp_path: Path) -> None:
    done = command(cloud, "--region", REGION, "--without", "ses,route53", FOLDER=str(tmp_path))
    assert done.returncode == 3
    assert done.stdout.startswith("HELD  (exit 3)")
    headings = ["WITHOUT ses, route53", "WHAT HOLDS US", "IN THE FIRST HOUR", "WHAT WOULD LEAK", "NOT SEEN"]
    places = [done.stdout.index(heading) for heading in headings]
    assert places == sorted(places)
    assert "\x1b" not in done.stdout + done.stderr


def test_answers_of_the_manifest_let_it_go_and_a_missing_bucket_is_exit_2(cloud: Cloud, tmp_path: Path) -> None:
    text = PLAZA.read_text()
    for name in ("backups", "releases", "media"):
        text = text.replace(f"plaza-{name}", {"backups": "app-backups", "releases": "app-young"}.get(name, "app-media"))
    globs = ("acm", "cognito", "ec2", "kms", "rds", "sns", "nothing/here")
    answers = "".join(f"  {json.dumps(glob)}: drilled on 2026-10-02\n" for glob in globs)
    manifest = tmp_path / "stack.yaml"
    manifest.write_text(f"{text}\nanswers:\n{answers}")
    read_stack(manifest)
    done = command(cloud, manifest, "--region", REGION, "--json", "--sample", "0")
    document = json.loads(done.stdout)
    # Everything captive is answered; what moto does not know is left: not seen is not free.
    assert (document["verdict"], done.returncode) == ("not known", 5)
    assert document["unused_answers"] == ["nothing/here"]
    manifest.write_text(manifest.read_text().replace("app-media", "app-medium"))
    wrong = command(cloud, manifest, "--region", REGION, "--sample", "0", "--json")
    assert wrong.returncode == 2
    (fault,) = json.loads(wrong.stdout)["faults"]
    assert fault["where"].startswith(f"{manifest}:") and fault["where"].endswith("buckets.app-medium")
    assert fault["what"] == "the account holds no bucket 'app-medium'"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--without", "sess"], 2, "no vendor is called 'sess'"), (["--notice", "soon"], 2, "not a duration"),
        (["--region", "mars-1"], 2, "no region is called 'mars-1'"), (["nowhere.yaml"], 2, "no such file"),
        (["--dump", "nowhere.dump"], 2, "no such file"), (["--database", "NO_SUCH"], 2, "has no NO_SUCH"),
        (["--profile", "none"], 2, "none"), (["--endpoint-url", "http://127.0.0.1:1"], 5, "does not answer"),
    ],
)  # fmt: skip
def test_bad_input_says_what_and_where(
    cloud: Cloud, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    done = command(cloud, *arguments, "--json", FOLDER=str(tmp_path))
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert json.loads(done.stdout)["exit_code"] == code


def test_without_credentials_it_is_exit_5(cloud: Cloud, tmp_path: Path) -> None:
    done = command(cloud, FOLDER=str(tmp_path), AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert done.returncode == 5
    assert "cloudexit assess --policy" in done.stderr


def test_the_policy_is_printed_without_asking_anybody(tmp_path: Path) -> None:
    done = command(Cloud("http://127.0.0.1:1"), "--policy", FOLDER=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == least_policy()


def test_a_silent_region_is_exit_5_or_3_and_named(cloud: Cloud, tmp_path: Path) -> None:
    with silent_region(cloud, "ap-south-1") as (url, _):
        begun = time.monotonic()
        done = command(
            cloud, "--region", REGION, "--region", "ap-south-1", "--timeout", "2s", "--endpoint-url", url,
            FOLDER=str(tmp_path),
        )  # fmt: skip
        assert time.monotonic() - begun < 120
    assert done.returncode == 3
    assert "no answer from ap-south-1: what is there is not known" in done.stdout
    assert "WHAT HOLDS US" in done.stdout


def test_init_fills_manifest_and_inventory_from_the_account(cloud: Cloud, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(CLOUDEXIT), "init", str(tmp_path / "mine")], capture_output=True, text=True, timeout=200, check=False,
        env=cloud.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = tmp_path / "mine" / "stack.yaml"
    stack = read_stack(path)
    assert {name: bucket.holds for name, bucket in stack.buckets.items()} == {
        "myapp-releases": "releases", "app-media": "media", "app-backups": "backups", "app-archive": "other",
        "app-empty": "other", "app-europe": "other", "app-young": "other",
    }  # fmt: skip
    assert stack.databases["myapp"].dump.bucket == "app-backups"
    assert "https://app-media.s3.us-east-1.amazonaws.com/" in stack.media["myapp"].old_urls
    assert any(url.endswith("cloudfront.net/") for url in stack.media["myapp"].old_urls)
    assert stack.vendors["dns"].provider == "route53"
    text = path.read_text()
    assert "# Found in the account: rds/app-main, postgres" in text
    assert '#   "kms/alias/app": ' in text
    assert re.search("@[A-Z_]+@", text) is None
    hosts = (tmp_path / "mine" / "inventory" / "hosts.yml").read_text()
    assert "# At the old home: 2 × c6g.xlarge." in hosts
