"""Sizes and counts of buckets from CloudWatch: one value a day, for each storage class."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.reader import Look

METRIC_ACTIONS = {
    "cloudwatch.list_metrics": "cloudwatch:ListMetrics",
    "cloudwatch.get_metric_data": "cloudwatch:GetMetricData",
}
DAY_SECONDS = 86400
DAYS_BACK = 3
"""A day's value comes up to a day late."""
QUERIES = 500
"""At most so many in one GetMetricData."""
CLASSES = {
    "StandardStorage": "STANDARD",
    "StandardIAStorage": "STANDARD_IA",
    "OneZoneIAStorage": "ONEZONE_IA",
    "ReducedRedundancyStorage": "REDUCED_REDUNDANCY",
    "ExpressOneZone": "EXPRESS_ONEZONE",
    "GlacierInstantRetrievalStorage": "GLACIER_IR",
    "GlacierStorage": "GLACIER",
    "DeepArchiveStorage": "DEEP_ARCHIVE",
    "IntelligentTieringFAStorage": "INTELLIGENT_TIERING",
    "IntelligentTieringIAStorage": "INTELLIGENT_TIERING",
    "IntelligentTieringAIAStorage": "INTELLIGENT_TIERING",
    "IntelligentTieringAAStorage": "INTELLIGENT_TIERING_ARCHIVE",
    "IntelligentTieringDAAStorage": "INTELLIGENT_TIERING_ARCHIVE",
}
"""Value of the dimension StorageType -> storage class; a class that is not here goes by the dimension's own name.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html"""
STORES_OWN = ("Overhead", "StagingStorage")
"""Ends of the dimension's values for what is the store's own."""
COUNT, BYTES = "NumberOfObjects", "BucketSizeBytes"
TOLD = ("Complete", "PartialData")


@dataclass(frozen=True)
class Sizes:
    """Bytes by storage class, and objects; current and old versions and unfinished uploads together.

    None where the metrics do not say."""

    bytes_by_class: Mapping[str, int] | None
    objects: int | None
    at: str = ""
    """When the newest of the values was taken, ISO 8601."""


@dataclass(frozen=True)
class _Series:
    bucket: str
    metric: str
    storage_type: str


@dataclass(frozen=True)
class _Value:
    value: int
    at: datetime


def bucket_sizes(look: Look, region: str) -> dict[str, Sizes]:
    """Newest values of every bucket of a region; buckets without any are left out. What is not seen is noted.

    A bucket of which one value was refused is left out whole: what remains would be too small."""
    series = _series(look, region)
    newest, refused = _newest(look, region, series)
    in_doubt = {one.bucket for one in refused}
    return {name: _sizes(name, newest) for name in {one.bucket for one in newest} - in_doubt}


def _sizes(bucket: str, newest: Mapping[_Series, _Value]) -> Sizes:
    own = {one: told for one, told in newest.items() if one.bucket == bucket}
    by_class: dict[str, int] = defaultdict(int)
    for one, told in own.items():
        if one.metric == BYTES and not one.storage_type.endswith(STORES_OWN):
            by_class[CLASSES.get(one.storage_type, one.storage_type)] += told.value
    counts = [told.value for one, told in own.items() if one.metric == COUNT]
    at = max(told.at for told in own.values()).astimezone(UTC).isoformat(timespec="seconds")
    return Sizes(dict(by_class) or None, sum(counts) if counts else None, at.replace("+00:00", "Z"))


def _series(look: Look, region: str) -> list[_Series]:
    """What there is to ask for; nothing where the list breaks off, for a part of it would be too small a size."""
    missed = len(look.unseen)
    series = [
        _Series(dimensions["BucketName"], metric, dimensions["StorageType"])
        for metric in (BYTES, COUNT)
        for found in look.pages(
            "cloudwatch.list_metrics", "Metrics", region=region, Namespace="AWS/S3", MetricName=metric
        )
        if {"BucketName", "StorageType"} <= (dimensions := _dimensions(found)).keys()
    ]
    return list(dict.fromkeys(series)) if len(look.unseen) == missed else []


def _dimensions(metric: Mapping[str, Any]) -> dict[str, str]:
    return {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions", ())}


def _newest(look: Look, region: str, series: Sequence[_Series]) -> tuple[dict[_Series, _Value], set[_Series]]:
    """Newest value of each series that has one, and the series that were refused."""
    newest: dict[_Series, _Value] = {}
    refused: set[_Series] = set()
    waiting = iter(series)
    while some := list(islice(waiting, QUERIES)):
        try:
            for result in _results(look, region, some):
                one = some[int(result["Id"][1:])]
                if result.get("StatusCode", TOLD[0]) not in TOLD:
                    refused.add(one)
                elif result["Values"]:
                    newest.setdefault(one, _Value(int(result["Values"][0]), result["Timestamps"][0]))
        except NotSeen as blind:
            look.note(blind, "sizes of buckets", region=region)
            return newest, refused | {*some, *waiting}
    return newest, refused


def _results(look: Look, region: str, some: Sequence[_Series]) -> Iterator[Mapping[str, Any]]:
    """Results of all pages. Raises NotSeen."""
    now = datetime.now(UTC)
    asked: dict[str, Any] = {
        "MetricDataQueries": [_query(f"m{index}", one) for index, one in enumerate(some)],
        "StartTime": now - timedelta(days=DAYS_BACK), "EndTime": now, "ScanBy": "TimestampDescending",
    }  # fmt: skip
    following = ""
    while True:
        token = {"NextToken": following} if following else {}
        answer = look.ask("cloudwatch.get_metric_data", region=region, **asked, **token)
        yield from answer["MetricDataResults"]
        if answer.get("NextToken") in (None, "", following):
            return
        following = answer["NextToken"]


def _query(name: str, one: _Series) -> dict[str, Any]:
    dimensions = [{"Name": "BucketName", "Value": one.bucket}, {"Name": "StorageType", "Value": one.storage_type}]
    metric = {"Namespace": "AWS/S3", "MetricName": one.metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": DAY_SECONDS, "Stat": "Average"}}
