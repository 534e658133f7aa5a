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
"""Value of the dimension StorageType -> storage class; what is not here is the store's own overhead.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/metrics-dimensions.html"""
COUNT, BYTES = "NumberOfObjects", "BucketSizeBytes"


@dataclass(frozen=True)
class Sizes:
    """Bytes by storage class, and objects; current and old versions and unfinished uploads together."""

    bytes_by_class: Mapping[str, int]
    objects: int


@dataclass(frozen=True)
class _Series:
    bucket: str
    metric: str
    storage_type: str


def bucket_sizes(look: Look, region: str) -> dict[str, Sizes]:
    """Newest values of every bucket of a region; buckets without any are left out. What is not seen is noted."""
    series = [
        _Series(dimensions["BucketName"], metric, dimensions["StorageType"])
        for metric in (BYTES, COUNT)
        for found in look.pages(
            "cloudwatch.list_metrics", "Metrics", region=region, Namespace="AWS/S3", MetricName=metric
        )
        if {"BucketName", "StorageType"} <= (dimensions := _dimensions(found)).keys()
    ]
    newest = dict(_newest(look, region, list(dict.fromkeys(series))))
    sizes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    objects: dict[str, int] = {}
    for one, value in newest.items():
        if one.metric == COUNT:
            objects[one.bucket] = objects.get(one.bucket, 0) + int(value)
        elif storage_class := CLASSES.get(one.storage_type):
            sizes[one.bucket][storage_class] += int(value)
    return {name: Sizes(dict(sizes.get(name, {})), objects.get(name, 0)) for name in {*sizes, *objects}}


def _dimensions(metric: Mapping[str, Any]) -> dict[str, str]:
    return {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions", ())}


def _newest(look: Look, region: str, series: Sequence[_Series]) -> Iterator[tuple[_Series, float]]:
    now = datetime.now(UTC)
    span = {"StartTime": now - timedelta(days=DAYS_BACK), "EndTime": now, "ScanBy": "TimestampDescending"}
    waiting = iter(series)
    while some := list(islice(waiting, QUERIES)):
        queries = [_query(f"m{index}", one) for index, one in enumerate(some)]
        try:
            answer = look.ask("cloudwatch.get_metric_data", region=region, MetricDataQueries=queries, **span)
        except NotSeen as blind:
            look.note(blind, "sizes of buckets", region=region)
            return
        for result in answer["MetricDataResults"]:
            if result["Values"]:
                yield some[int(result["Id"][1:])], result["Values"][0]


def _query(name: str, one: _Series) -> dict[str, Any]:
    dimensions = [{"Name": "BucketName", "Value": one.bucket}, {"Name": "StorageType", "Value": one.storage_type}]
    metric = {"Namespace": "AWS/S3", "MetricName": one.metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": metric, "Period": DAY_SECONDS, "Stat": "Average"}}
