"""Sizes of buckets: what is missing from the metrics is unknown, never none."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.reader import Look
from migrate.adapters.aws_account.readers import metrics as module
from migrate.adapters.aws_account.readers import s3_metrics
from migrate.adapters.aws_account.readers.s3 import S3
from migrate.assess.observed import Blindness, Resource

REGION = "us-east-1"
YESTERDAY = datetime(2026, 11, 20, tzinfo=UTC)
BYTES, COUNT = "BucketSizeBytes", "NumberOfObjects"


def denied(code: str = "AccessDenied") -> NotSeen:
    return NotSeen(Blindness.NOT_ALLOWED, code, code)


class Account:
    """Buckets with their metrics: (bucket, metric, storage type) -> value, or None where a value is not told."""

    def __init__(self, buckets: Mapping[str, str], metrics: Mapping[tuple[str, str, str], float | None]) -> None:
        self.buckets = buckets
        self.metrics = metrics
        self.answers: dict[str, Any] = {}
        """Method -> answer or refusal in place of the usual one."""
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.pages_of_buckets = 1

    def __call__(self, client: str, region: str, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((method, params))
        answer = self.answers.get(method)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(params)  # type: ignore[no-any-return]
        if answer is not None:
            return answer  # type: ignore[no-any-return]
        usual = getattr(self, method, None)
        return usual(params) if usual else {}

    def list_buckets(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        names = sorted(self.buckets)
        page = int(params.get("ContinuationToken", 0))
        some = names[page :: self.pages_of_buckets]
        following = {"ContinuationToken": str(page + 1)} if page + 1 < self.pages_of_buckets else {}
        return {"Buckets": [{"Name": name} for name in some], **following}

    def get_bucket_location(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"LocationConstraint": self.buckets[params["Bucket"]]}

    def get_caller_identity(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"Account": "1"}

    def get_public_access_block(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"PublicAccessBlockConfiguration": {}}

    def list_metrics(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "Metrics": [
                {"Dimensions": [{"Name": "BucketName", "Value": bucket}, {"Name": "StorageType", "Value": kind}]}
                for bucket, metric, kind in self.metrics
                if metric == params["MetricName"]
            ]
        }

    def get_metric_data(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        results = []
        for query in params["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]
            dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            value = self.metrics[dimensions["BucketName"], metric["MetricName"], dimensions["StorageType"]]
            told = {"Values": [value], "Timestamps": [YESTERDAY]} if value is not None else {"Values": []}
            results.append({"Id": query["Id"], "StatusCode": "Complete", **told})
        return {"MetricDataResults": results}

    def look(self) -> tuple[dict[str, Resource], Look]:
        look = Look(S3, "global", self)
        return {bucket.name: bucket for bucket in S3.read(look)}, look


def sized(bytes_: float | None = 7.0, objects: float | None = 3.0, name: str = "a") -> dict[Any, float | None]:
    return {(name, BYTES, "StandardStorage"): bytes_, (name, COUNT, "AllStorageTypes"): objects}


def test_bytes_without_a_count_leave_the_count_unknown_and_the_other_way_round() -> None:
    metrics = {**sized(name="a", objects=None), **sized(name="b", bytes_=None)}
    buckets, _ = Account({"a": "", "b": ""}, metrics).look()
    assert (buckets["a"].facts["bytes"], buckets["a"].unseen) == (7, ("objects",))
    assert "objects" not in buckets["a"].facts
    assert (buckets["b"].facts["objects"], buckets["b"].unseen) == (3, ("bytes", "bytes_by_class", "archived"))


def test_values_on_a_further_page_are_read() -> None:
    account = Account({"a": ""}, sized())

    def paged(params: Mapping[str, Any]) -> Mapping[str, Any]:
        results = account.get_metric_data(params)["MetricDataResults"]
        if "NextToken" in params:
            return {"MetricDataResults": results[1:]}
        return {"MetricDataResults": results[:1], "NextToken": "more"}

    account.answers["get_metric_data"] = paged
    buckets, _ = account.look()
    assert (buckets["a"].facts["bytes"], buckets["a"].facts["objects"], buckets["a"].unseen) == (7, 3, ())


def test_a_refusal_among_the_values_makes_every_bucket_it_touches_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a bucket's classes would be a size that is too small."""
    monkeypatch.setattr(module, "QUERIES", 2)
    metrics: dict[Any, float | None] = {
        ("a", BYTES, "StandardStorage"): 7.0, ("b", BYTES, "StandardStorage"): 1.0,
        ("a", BYTES, "DeepArchiveStorage"): 900.0, ("a", COUNT, "AllStorageTypes"): 3.0,
        ("b", COUNT, "AllStorageTypes"): 1.0,
    }  # fmt: skip
    account = Account({"a": "", "b": ""}, metrics)
    account.answers["list_object_versions"] = {"Versions": [{}]}
    answered = account.get_metric_data

    def refuse_archives(params: Mapping[str, Any]) -> Mapping[str, Any]:
        if "DeepArchiveStorage" in str(params):
            raise denied("Throttling")
        return answered(params)

    account.answers["get_metric_data"] = refuse_archives
    buckets, look = account.look()
    assert "bytes" not in buckets["a"].facts and "archived" not in buckets["a"].facts
    assert [unseen.about for unseen in look.unseen] == ["sizes of buckets"]


def test_where_the_list_of_metrics_breaks_off_no_size_is_told() -> None:
    account = Account({"a": ""}, sized())
    first = account.list_metrics

    def broken(params: Mapping[str, Any]) -> Mapping[str, Any]:
        if "NextToken" in params:
            raise denied()
        return {**first(params), "NextToken": "more"}

    account.answers["list_metrics"] = broken
    account.answers["list_object_versions"] = {"Versions": [{}]}
    buckets, _ = account.look()
    assert set(buckets["a"].unseen) == {"bytes", "objects", "bytes_by_class", "archived"}


@pytest.mark.parametrize(
    ("answer", "known"),
    [({}, True), ({"Versions": [{}]}, False), ({"DeleteMarkers": [{}]}, False), (denied(), False)],
)
def test_a_bucket_without_metrics_is_empty_only_where_it_holds_no_version_either(answer: Any, known: bool) -> None:
    account = Account({"a": ""}, {})
    account.answers["list_object_versions"] = answer
    (bucket,) = account.look()[0].values()
    assert (bucket.facts.get("objects") == 0) is known
    assert ("objects" in bucket.unseen) is not known


def test_a_storage_class_that_is_new_to_us_counts_and_overhead_does_not() -> None:
    metrics = {
        **sized(), ("a", BYTES, "GlacierQuantumStorage"): 5.0, ("a", BYTES, "GlacierObjectOverhead"): 1.0,
        ("a", BYTES, "DeepArchiveStagingStorage"): 1.0,
    }  # fmt: skip
    (bucket,) = Account({"a": ""}, metrics).look()[0].values()
    assert bucket.facts["bytes_by_class"] == {"STANDARD": 7, "GlacierQuantumStorage": 5}


def test_sizes_say_when_they_were_taken() -> None:
    (bucket,) = Account({"a": ""}, sized()).look()[0].values()
    assert bucket.facts["measured_at"] == "2026-11-20T00:00:00Z"


def test_all_pages_of_buckets_are_read_and_old_names_of_regions_are_known() -> None:
    account = Account({"a": "EU", "b": "eu-central-1", "c": ""}, {})
    account.pages_of_buckets = 3
    buckets, _ = account.look()
    assert {name: bucket.region for name, bucket in buckets.items()} == {
        "a": "eu-west-1", "b": "eu-central-1", "c": "us-east-1",
    }  # fmt: skip
    assert account.asked[0] == ("list_buckets", {"MaxBuckets": 1000})


@pytest.mark.parametrize("policy", ["no json", "[]", '{"Statement": ["x"]}', '{"Statement": [{"Effect": "Allow", '
    '"Principal": "*", "Action": "s3:*", "Condition": ["odd"]}]}'])  # fmt: skip
def test_a_policy_that_cannot_be_read_leaves_open_whether_anybody_may_look_in(policy: str) -> None:
    account = Account({"a": "", "b": ""}, sized())
    account.answers["get_bucket_policy"] = lambda params: {"Policy": policy} if params["Bucket"] == "a" else {}
    buckets, look = account.look()
    assert {"readable", "listable", "writable"} <= set(buckets["a"].unseen)
    assert "readable" not in buckets["a"].facts
    assert buckets["b"].facts["readable"] is False
    assert [(unseen.action, unseen.about) for unseen in look.unseen] == [("s3:GetBucketPolicy", "a")]


def test_one_odd_bucket_hides_no_other() -> None:
    account = Account({"a": "", "b": ""}, {**sized(), **sized(name="b")})
    account.answers["get_bucket_encryption"] = lambda params: (
        {"ServerSideEncryptionConfiguration": "odd"} if params["Bucket"] == "a" else {}
    )
    buckets, look = account.look()
    assert set(buckets) == {"a", "b"}
    assert buckets["b"].facts["encryption"] == "provider's key"
    assert [(unseen.reason, unseen.about) for unseen in look.unseen] == [(Blindness.NOT_UNDERSTOOD, "a")]


def test_a_class_that_everything_has_left_does_not_count_twice() -> None:
    """A lifecycle rule has moved all of it: the old class is told no more, and its last value is days old."""
    series = {
        storage: module.Series("AWS/S3", BYTES, (("BucketName", "b"), ("StorageType", storage)))
        for storage in ("StandardStorage", "StandardIAStorage")
    }
    told = {
        series["StandardStorage"]: module.Value(100, YESTERDAY - timedelta(days=2)),
        series["StandardIAStorage"]: module.Value(100, YESTERDAY),
    }
    assert s3_metrics._sizes(told).bytes_by_class == {"STANDARD_IA": 100}
