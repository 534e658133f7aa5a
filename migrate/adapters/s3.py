"""S3 and its likes through boto3: the careful lane, which takes every key and every odd answer."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions as bad
from botocore import UNSIGNED
from botocore.config import Config
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from migrate.adapters.endpoints import require_endpoint
from migrate.adapters.s3_count import own_count
from migrate.adapters.s3_errors import bucket_problem, object_problem, session_problem
from migrate.adapters.s3_listing import FOUND, decoded, take_entries
from migrate.adapters.s3_settings import ask_for_restore, bucket_settings, without_envelope
from migrate.errors import Refused, Unreachable
from migrate.export import pace
from migrate.export.own_count import OwnCount
from migrate.export.source import Entry, ObjectFacts, Reading, TransferBroken

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CONNECT_SECONDS = 10
READ_SECONDS = 30
POOL_CONNECTIONS = 64
TRIES = 2
METADATA_PREFIX = "x-amz-meta-"
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
LONGEST_WAIT_SECONDS = 5.0
SKIP_BYTES = 1024 * 1024
# Named errors of the transport that mean: it broke on the way, not that it was refused.
TRANSPORT = (bad.HTTPClientError, bad.IncompleteReadError, bad.ResponseStreamingError, OSError)


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an S3 account. What is None comes from the environment and files of the AWS CLI."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    sign: bool = True
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """A client, and the session whose credentials it uses."""

    client: "S3Client"
    session: boto3.Session


def connect(access: Access) -> "S3Client":
    """A client. Raises UsageProblem for an unknown profile or a malformed endpoint; speaks to nobody yet."""
    return open_account(access).client


def open_account(access: Access) -> Account:
    """As `connect`, for those who need the credentials too."""
    require_endpoint(access.endpoint_url)
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=POOL_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        signature_version=None if access.sign else UNSIGNED,
        response_checksum_validation="when_required",
        request_checksum_calculation="when_required",
    )
    try:
        session = boto3.Session(
            profile_name=access.profile,
            region_name=access.region,
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
        )
        client: S3Client = session.client("s3", endpoint_url=access.endpoint_url, config=config)
    except (bad.BotoCoreError, ValueError) as problem:
        raise session_problem(problem) from problem
    # Asks for stored checksums without having botocore verify them: the engine does, and keeps the evidence.
    client.meta.events.register("before-call.s3.GetObject", _ask_for_checksums)
    client.meta.events.register("before-call.s3.HeadObject", _ask_for_checksums)
    client.meta.events.register("before-parse.s3.ListObjectsV2", take_entries)
    return Account(client, session)


def _ask_for_checksums(params: dict[str, Any], **_: object) -> None:
    params["headers"]["x-amz-checksum-mode"] = "ENABLED"


def bucket_names(endpoint_url: str | None = None) -> tuple[str, ...]:
    """The buckets of the account that the environment names. Raises UsageProblem, Refused or Unreachable."""
    client = connect(Access(endpoint_url))
    try:
        return tuple(bucket["Name"] for bucket in client.list_buckets().get("Buckets", ()))
    except (bad.ClientError, bad.BotoCoreError) as problem:
        raise bucket_problem(problem, client.meta.endpoint_url) from problem


class S3Source:
    """One bucket to read from, as an `ObjectSource`."""

    def __init__(self, client: "S3Client", bucket: str, session: boto3.Session | None = None) -> None:
        self._client = client
        self._session = session or boto3.Session()
        self.bucket = bucket
        self.where = f"s3://{bucket} at {client.meta.endpoint_url}"

    def pages(self, prefix: str, *, versions: bool) -> Iterator[tuple[Entry, ...]]:
        marker: dict[str, str] = {}
        while True:
            # The first page fails at once, so that a mistyped endpoint does; a listing under way has patience.
            page = self._page(prefix, marker, versions) if not marker else self._patiently(prefix, marker, versions)
            yield tuple(_entries(page))
            if not page.get("IsTruncated"):
                return
            following = _next_marker(page)
            if not following or following == marker:
                raise Refused("the listing says that there is more, but not where to go on", where=self.where)
            marker = following

    def _page(self, prefix: str, marker: Mapping[str, str], versions: bool) -> Mapping[str, Any]:
        operation: Any = self._client.list_object_versions if versions else self._client.list_objects_v2
        try:
            page: Mapping[str, Any] = operation(Bucket=self.bucket, Prefix=prefix, EncodingType="url", **marker)
        except (bad.ClientError, bad.BotoCoreError) as problem:
            raise bucket_problem(problem, self.where) from problem
        return page

    def _patiently(self, prefix: str, marker: Mapping[str, str], versions: bool) -> Mapping[str, Any]:
        retrying = Retrying(
            stop=stop_after_delay(pace.PATIENCE_SECONDS),
            wait=wait_random_exponential(multiplier=0.2, max=LONGEST_WAIT_SECONDS),
            retry=retry_if_exception_type(Unreachable),
            reraise=True,
        )
        return retrying(self._page, prefix, marker, versions)

    @contextmanager
    def read(self, key: str, *, version_id: str, if_match: str, start: int = 0) -> Iterator[Reading]:
        asked = self._address(key, version_id)
        if start:
            asked["Range"] = f"bytes={start}-"
        if if_match and not version_id:
            asked["IfMatch"] = f'"{if_match}"'
        with _told(key, self.where):
            response = self._client.get_object(**asked)
        body = response["Body"]
        try:
            reading = _S3Reading(key, _facts(response, self.where, key), body)
            reading.begin_at(start, response.get("ContentRange"))
            yield reading
        finally:
            body.close()

    def head(self, key: str, *, version_id: str) -> ObjectFacts:
        with _told(key, self.where):
            return _facts(self._client.head_object(**self._address(key, version_id)), self.where, key)

    def part_size(self, key: str, *, version_id: str, part: int) -> int | None:
        with _told(key, self.where):
            answer = self._client.head_object(**self._address(key, version_id), PartNumber=part)
        if "PartsCount" not in answer and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            return None
        return int(answer["ContentLength"])

    def tags(self, key: str, *, version_id: str) -> Mapping[str, str]:
        with _told(key, self.where):
            answer = self._client.get_object_tagging(**self._address(key, version_id))
        return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}

    def acl(self, key: str, *, version_id: str) -> Mapping[str, object]:
        with _told(key, self.where):
            return without_envelope(self._client.get_object_acl(**self._address(key, version_id)))

    def settings(self) -> Mapping[str, object]:
        return bucket_settings(self._client, self.bucket)

    def own_count(self) -> OwnCount | str:
        return own_count(self._session, self._client, self.bucket)

    def restore(self, key: str, *, version_id: str, tier: str, days: int, dated: bool) -> None:
        with _told(key, self.where):
            ask_for_restore(self._client, self._address(key, version_id), tier, days, dated=dated)

    def _address(self, key: str, version_id: str) -> dict[str, Any]:
        address = {"Bucket": self.bucket, "Key": key}
        return {**address, "VersionId": version_id} if version_id else address


class _S3Reading:
    def __init__(self, key: str, facts: ObjectFacts, body: Any) -> None:
        self.facts = facts
        self._key = key
        self._body = body

    def begin_at(self, start: int, answered: str | None) -> None:
        """Takes the answer to a range; a server that sends the whole object instead is read up to `start`."""
        if answered is not None:
            match = CONTENT_RANGE.fullmatch(answered)
            if match is None or int(match[1]) != start:
                raise TransferBroken(self._key, f"asked from byte {start} on, the answer holds {answered!r}")
            self.facts = self.facts._replace(size=int(match[2]))
            return
        while start:
            skipped = len(self.read(min(start, SKIP_BYTES)))
            if not skipped:
                raise TransferBroken(self._key, "the answer ended before the byte that was asked for")
            start -= skipped

    def read(self, size: int) -> bytes:
        try:
            data: bytes = self._body.read(size)
        except TRANSPORT as problem:
            raise TransferBroken(self._key, f"the answer broke off: {problem}") from problem
        return data


@contextmanager
def _told(key: str, where: str) -> Iterator[None]:
    try:
        yield
    except (bad.ClientError, bad.BotoCoreError, UnicodeError) as problem:
        raise object_problem(problem, key, where) from problem


def _entries(page: Mapping[str, Any]) -> Iterator[Entry]:
    yield from page.get(FOUND, ())
    encoded = page.get("EncodingType") == "url"
    for item in page.get("Contents", ()):
        yield _entry(item, encoded)
    for item in page.get("Versions", ()):
        yield _entry(item, encoded, version_id=item["VersionId"], is_latest=item["IsLatest"])
    for item in page.get("DeleteMarkers", ()):
        yield _entry(item, encoded, version_id=item["VersionId"], is_latest=item["IsLatest"], delete_marker=True)


def _entry(item: Mapping[str, Any], encoded: bool, **version: Any) -> Entry:
    return Entry(
        key=decoded(item["Key"]) if encoded else item["Key"],
        size=item.get("Size", 0),
        etag=item.get("ETag", "").strip('"'),
        last_modified=_moment(item["LastModified"]),
        storage_class=item.get("StorageClass", "STANDARD"),
        **version,
    )


def _next_marker(page: Mapping[str, Any]) -> dict[str, str]:
    """Where the next page begins; markers that are keys come encoded, and are asked for as they are."""
    if token := page.get("NextContinuationToken"):
        return {"ContinuationToken": token}
    if not (key := page.get("NextKeyMarker")):
        return {}
    version = page.get("NextVersionIdMarker")
    key = decoded(key) if page.get("EncodingType") == "url" else key
    return {"KeyMarker": key, **({"VersionIdMarker": version} if version else {})}


def _moment(moment: datetime) -> str:
    in_utc = moment.astimezone(UTC)
    precision = "milliseconds" if in_utc.microsecond else "seconds"
    return in_utc.isoformat(timespec=precision).replace("+00:00", "Z")


def _facts(response: Any, where: str, key: str) -> ObjectFacts:
    envelope = response["ResponseMetadata"]
    headers = {name.lower(): value for name, value in envelope["HTTPHeaders"].items()}
    request = {
        "from": where,
        "key": key,
        "request_id": headers.get("x-amz-request-id", ""),
        "host_id": headers.get("x-amz-id-2", ""),
        "http_status": str(envelope["HTTPStatusCode"]),
        "date": headers.get("date", ""),
    }
    return ObjectFacts(
        size=response["ContentLength"],
        etag=response.get("ETag", "").strip('"'),
        last_modified=_moment(response["LastModified"]),
        headers=headers,
        metadata={
            name.removeprefix(METADATA_PREFIX): value
            for name, value in headers.items()
            if name.startswith(METADATA_PREFIX)
        },
        request=request,
    )
