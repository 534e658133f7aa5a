"""Where pictures lie: S3, a folder, or a WebDAV server, chosen by one setting."""

import os
import re
import tempfile
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

import httpx

from plaza.errors import MediaMissing, MediaUnavailable, SettingsError

SAFE_KEY = re.compile(r"[a-z]+(/[A-Za-z0-9_-]+)*/[A-Za-z0-9_-]+\.[a-z0-9]+")
PROBE_KEY = "health/no-such-object.txt"
TIMEOUT_SECONDS = 10.0
PROBE_TIMEOUT_SECONDS = 2.0


class MediaStore(Protocol):
    """Objects by key. Every method may raise MediaUnavailable (retriable)."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store `data`, replacing what was there."""

    def get(self, key: str) -> bytes:
        """Return the object; raise MediaMissing if there is none."""

    def delete(self, key: str) -> None:
        """Remove the object; removing what is not there is fine."""

    def probe(self) -> None:
        """Prove, without writing, that the store answers and accepts our credentials."""


def open_media_store(location: str) -> MediaStore:
    """Return the store that PLAZA_MEDIA_STORE names; raise SettingsError if it names none."""
    scheme = urlsplit(location).scheme
    if scheme == "s3":
        return S3Store(location)
    if scheme == "file":
        return FolderStore(Path(unquote(urlsplit(location).path)))
    if scheme in ("http", "https"):
        return WebDavStore(location)
    raise SettingsError(f"media store with scheme {scheme!r}: expected s3://, file:// or http(s)://")


def checked_key(key: str) -> str:
    """Return `key` if it is one that Plaza makes; raise MediaMissing otherwise."""
    if not SAFE_KEY.fullmatch(key):
        raise MediaMissing(f"{key!r} is no media key")
    return key


class FolderStore:
    """Media in a folder of this host."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write beside the target, then rename, so that no reader sees half a file."""
        target = self.root / checked_key(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".put-", delete=False) as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            Path(handle.name).chmod(0o644)
            Path(handle.name).replace(target)
        except OSError as error:
            raise MediaUnavailable(f"cannot write {target}: {error.strerror}") from error

    def get(self, key: str) -> bytes:
        """Read the whole file."""
        target = self.root / checked_key(key)
        try:
            return target.read_bytes()
        except FileNotFoundError as error:
            raise MediaMissing(f"{key} is not in {self.root}") from error
        except OSError as error:
            raise MediaUnavailable(f"cannot read {target}: {error.strerror}") from error

    def delete(self, key: str) -> None:
        """Unlink the file if it is there."""
        try:
            (self.root / checked_key(key)).unlink(missing_ok=True)
        except OSError as error:
            raise MediaUnavailable(f"cannot delete {key}: {error.strerror}") from error

    def probe(self) -> None:
        """The folder must be there and writable."""
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise MediaUnavailable(f"{self.root} is not a writable folder")


class WebDavStore:
    """Media behind an HTTP server that takes PUT and DELETE with basic authentication."""

    def __init__(self, location: str) -> None:
        parts = urlsplit(location)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
        self.base = urlunsplit((parts.scheme, host + port, parts.path.rstrip("/") + "/", "", ""))
        auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        self.client = httpx.Client(auth=auth, timeout=TIMEOUT_SECONDS)

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """PUT the object; the server makes the folders on the way."""
        answer = self._ask("PUT", checked_key(key), content=data, headers={"Content-Type": content_type})
        if not answer.is_success:
            raise MediaUnavailable(f"PUT {self.base}{key} answered {answer.status_code}")

    def get(self, key: str) -> bytes:
        """GET the whole object."""
        answer = self._ask("GET", checked_key(key))
        if answer.status_code == 404:
            raise MediaMissing(f"{key} is not at {self.base}")
        if answer.status_code != 200:
            raise MediaUnavailable(f"GET {self.base}{key} answered {answer.status_code}")
        return answer.content

    def delete(self, key: str) -> None:
        """DELETE the object; 404 is as good as done."""
        answer = self._ask("DELETE", checked_key(key))
        if not answer.is_success and answer.status_code != 404:
            raise MediaUnavailable(f"DELETE {self.base}{key} answered {answer.status_code}")

    def probe(self) -> None:
        """404 for a key that never exists means: reachable, and our credentials were accepted."""
        answer = self._ask("GET", PROBE_KEY, timeout=PROBE_TIMEOUT_SECONDS)
        if answer.status_code not in (200, 404):
            raise MediaUnavailable(f"GET {self.base}{PROBE_KEY} answered {answer.status_code}")

    def _ask(self, method: str, key: str, **options: Any) -> httpx.Response:  # noqa: ANN401
        try:
            return self.client.request(method, self.base + quote(key), **options)
        except httpx.HTTPError as error:
            raise MediaUnavailable(f"{method} {self.base}{key}: {error or type(error).__name__}") from error


class S3Store:
    """Media in a bucket of an S3 endpoint; credentials come from AWS_* as boto3 reads them."""

    def __init__(self, location: str, connections: int = 10) -> None:
        parts = urlsplit(location)
        self.bucket = parts.netloc
        self.client, self.refusals = open_s3(parts.query, connections)

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """One PUT, never multipart, so that the ETag is the MD5 of the bytes."""
        try:
            self.client.put_object(Bucket=self.bucket, Key=checked_key(key), Body=data, ContentType=content_type)
        except self.refusals as error:
            raise MediaUnavailable(f"put s3://{self.bucket}/{key}: {error}") from error

    def get(self, key: str) -> bytes:
        """Read the whole object."""
        try:
            body: bytes = self.client.get_object(Bucket=self.bucket, Key=checked_key(key))["Body"].read()
        except self.client.exceptions.NoSuchKey as error:
            raise MediaMissing(f"{key} is not in s3://{self.bucket}") from error
        except self.refusals as error:
            raise MediaUnavailable(f"get s3://{self.bucket}/{key}: {error}") from error
        return body

    def delete(self, key: str) -> None:
        """Delete the object; S3 does not mind if there is none."""
        try:
            self.client.delete_object(Bucket=self.bucket, Key=checked_key(key))
        except self.refusals as error:
            raise MediaUnavailable(f"delete s3://{self.bucket}/{key}: {error}") from error

    def probe(self) -> None:
        """HEAD the bucket."""
        try:
            self.client.head_bucket(Bucket=self.bucket)
        except self.refusals as error:
            raise MediaUnavailable(f"head s3://{self.bucket}: {error}") from error


def open_s3(query: str, connections: int = 10) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return a boto3 client for `endpoint_url=…&region=…`, and the exceptions it raises."""
    # Imported here: only the S3 store needs boto3, and importing it takes as long as all the rest.
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    options = parse_qs(query)
    config = Config(
        # Servers other than Amazon's stumble over the checksums that boto3 adds by default since 1.36.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"},
        connect_timeout=PROBE_TIMEOUT_SECONDS,
        read_timeout=TIMEOUT_SECONDS,
        retries={"max_attempts": 3, "mode": "standard"},
        max_pool_connections=connections,
    )
    client = boto3.client(
        "s3",
        endpoint_url=options.get("endpoint_url", [None])[0],
        region_name=options.get("region", ["us-east-1"])[0],
        config=config,
    )
    return client, (BotoCoreError, ClientError)
