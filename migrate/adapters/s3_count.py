"""What a store itself says that a bucket holds: Ceph in a header of HeadBucket, AWS once a day in CloudWatch."""

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as bad
from botocore.config import Config

from migrate.export.own_count import OwnCount
from migrate.export.source import NOT_ALLOWED

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CEPH = "x-rgw-object-count"
CLOUDWATCH_ENDPOINT = "AWS_ENDPOINT_URL_CLOUDWATCH"
METRIC = "NumberOfObjects"
DAY_SECONDS = 86_400
LOOK_BACK = timedelta(days=3)
BOUNDS = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})


def own_count(session: boto3.Session, client: "S3Client", bucket: str) -> OwnCount | str:
    """The newest count, or why there is none. Bounded to a few seconds; raises nothing for a refusal."""
    try:
        headers = client.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
    except (bad.ClientError, bad.BotoCoreError):
        headers = {}
    if (told := headers.get(CEPH, "")).isdigit():
        return OwnCount(int(told), _text(datetime.now(UTC)), f"the store ({CEPH})")
    if not _is_aws(client.meta.endpoint_url):
        return "the store tells no count of its own"
    try:
        return _of_cloudwatch(session, client.meta.region_name, bucket)
    except bad.ClientError as refusal:
        code = refusal.response.get("Error", {}).get("Code", "unknown")
        return f"CloudWatch: {NOT_ALLOWED} ({code})" if code in DENIED else f"CloudWatch does not say ({code})"
    except bad.BotoCoreError as problem:
        return f"CloudWatch does not say ({problem})"


def _of_cloudwatch(session: boto3.Session, region: str, bucket: str) -> OwnCount | str:
    now = datetime.now(UTC)
    found = session.client("cloudwatch", region_name=region, config=BOUNDS).get_metric_statistics(
        Namespace="AWS/S3",
        MetricName=METRIC,
        Dimensions=[{"Name": "BucketName", "Value": bucket}, {"Name": "StorageType", "Value": "AllStorageTypes"}],
        StartTime=now - LOOK_BACK,
        EndTime=now,
        Period=DAY_SECONDS,
        Statistics=["Average"],
    )
    newest = max(found["Datapoints"], key=lambda point: point["Timestamp"], default=None)
    if newest is None:
        return f"CloudWatch has no {METRIC} of the last {LOOK_BACK.days} days"
    return OwnCount(round(newest["Average"]), _text(newest["Timestamp"]), f"CloudWatch's {METRIC}")


def _is_aws(endpoint: str) -> bool:
    """Whether CloudWatch is the store's: at AWS, or where the environment says that it is elsewhere."""
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn")) or bool(os.environ.get(CLOUDWATCH_ENDPOINT))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
