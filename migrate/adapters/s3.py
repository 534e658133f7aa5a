"""S3 and its likes through boto3: the careful lane, which takes every key and every odd answer."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions as bad
from botocore import UNSIGNED
from botocore.config import Config

from migrate.adapters.s3_errors import bucket_problem, object_problem, session_problem
from migrate.adapters.s3_listing import FOUND, decoded, take_entries
from migrate.export.source import Entry, ObjectFacts, Reading, TransferBroken

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CONNECT_SECONDS = 10
READ_SECONDS = 30
POOL_CONNECTIONS = 64
TRIES = 2
METADATA_PREFIX = "x-amz-meta-"
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

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self.bucket = bucket
        self.where = f"s3://{bucket} at {client.meta.endpoint_url}"

    def pages(self, prefix: str, *, versions: bool) -> Iterator[tuple[Entry, ...]]:
        operation = "list_object_versions" if versions else "list_objects_v2"
        paginator = self._client.get_paginator(operation)  # type: ignore[call-overload]
        try:
            for page in paginator.paginate(Bucket=self.bucket, Prefix=prefix, EncodingType="url"):
                yield tuple(_entries(page))
        except (bad.ClientError, bad.BotoCoreError) as problem:
            raise bucket_problem(problem, self.where) from problem

    @contextmanager
    def read(self, key: str, *, version_id: str, if_match: str) -> Iterator[Reading]:
        asked = self._address(key, version_id)
        if if_match and not version_id:
            asked["IfMatch"] = f'"{if_match}"'
        with _told(key, self.where):
            response = self._client.get_object(**asked)
        body = response["Body"]
        try:
            yield _S3Reading(key, _facts(response, self.where, key), body)
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

    def _address(self, key: str, version_id: str) -> dict[str, Any]:
        address = {"Bucket": self.bucket, "Key": key}
        return {**address, "VersionId": version_id} if version_id else address


class _S3Reading:
    def __init__(self, key: str, facts: ObjectFacts, body: Any) -> None:
        self.facts = facts
        self._key = key
        self._body = body

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
