"""Sizes and counts of buckets from CloudWatch: one value a day, for each storage class."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from migrate.adapters.aws_account.reader import Look
from migrate.adapters.aws_account.readers.metrics import METRIC_DATA, Every, Series, Value, moment, newest

METRIC_ACTIONS = {"cloudwatch.list_metrics": "cloudwatch:ListMetrics", **METRIC_DATA}
DAILY = Every(seconds=86400, back=3 * 86400)
"""A day's value comes up to a day late."""
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
ONE_DAY_MISSED = timedelta(hours=36)
"""Each value comes once a day; one that is so much older than another of the same bucket is no late one."""
NAMESPACE, BUCKET, CLASS = "AWS/S3", "BucketName", "StorageType"


@dataclass(frozen=True)
class Sizes:
    """Bytes by storage class, and objects; current and old versions and unfinished uploads together.

    None where the metrics do not say."""

    bytes_by_class: Mapping[str, int] | None
    objects: int | None
    at: str = ""
    """When the newest of the values was taken, ISO 8601."""


def bucket_sizes(look: Look, region: str) -> dict[str, Sizes]:
    """Newest values of every bucket of a region; buckets without any are left out. What is not seen is noted.

    A bucket of which one value was refused is left out whole: what remains would be too small."""
    values, refused = newest(look, region, _series(look, region), DAILY, "sizes of buckets")
    in_doubt = {one.dimension(BUCKET) for one in refused}
    by_bucket: dict[str, dict[Series, Value]] = defaultdict(dict)
    for one, told in values.items():
        by_bucket[one.dimension(BUCKET)][one] = told
    return {name: _sizes(own) for name, own in by_bucket.items() if name not in in_doubt}


def _sizes(values: Mapping[Series, Value]) -> Sizes:
    by_class: dict[str, int] = defaultdict(int)
    newest_at = max(told.at for told in values.values())
    # A class that is told no more while others are has been left by everything that lay in it.
    values = {one: told for one, told in values.items() if newest_at - told.at < ONE_DAY_MISSED}
    for one, told in values.items():
        storage_type = one.dimension(CLASS)
        if one.metric == BYTES and not storage_type.endswith(STORES_OWN):
            by_class[CLASSES.get(storage_type, storage_type)] += told.value
    counts = [told.value for one, told in values.items() if one.metric == COUNT]
    at = moment(newest_at)
    return Sizes(dict(by_class) or None, sum(counts) if counts else None, at)


def _series(look: Look, region: str) -> list[Series]:
    """What there is to ask for; nothing where the list breaks off, for a part of it would be too small a size."""
    missed = len(look.unseen)
    series = [
        Series(NAMESPACE, metric, tuple(sorted(dimensions.items())))
        for metric in (BYTES, COUNT)
        for found in look.pages(
            "cloudwatch.list_metrics", "Metrics", region=region, Namespace=NAMESPACE, MetricName=metric
        )
        if {BUCKET, CLASS} == (dimensions := _dimensions(found)).keys()
    ]
    return list(dict.fromkeys(series)) if len(look.unseen) == missed else []


def _dimensions(metric: Mapping[str, Any]) -> dict[str, str]:
    return {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions", ())}
