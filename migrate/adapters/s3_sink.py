"""Writing into S3 and its likes through boto3."""

import base64
import hashlib
import io
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, cast

import botocore.exceptions as bad

from migrate.adapters.s3 import S3Source
from migrate.adapters.s3_errors import bucket_problem, object_problem
from migrate.export.source import Upload

READ_BYTES = 1024 * 1024
SINGLE_PUT_BYTES = 5 * 1024**3
PARAMETERS = {
    "content-type": "ContentType",
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "content-language": "ContentLanguage",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
}


class S3Sink(S3Source):
    """One bucket to write into, as an `ObjectSink`."""

    def check(self) -> None:
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except (bad.ClientError, bad.BotoCoreError) as problem:
            raise bucket_problem(problem, self.where) from problem

    def write(self, upload: Upload, content: BinaryIO) -> str:
        with _told(upload.key, self.where):
            if upload.part_sizes:
                return self._write_parts(upload, content)
            answer = self._client.put_object(
                Bucket=self.bucket,
                Key=upload.key,
                Body=content,
                ContentLength=upload.size,
                ContentMD5=base64.b64encode(bytes.fromhex(upload.md5)).decode(),
                **_described(upload),
            )
        return answer.get("ETag", "").strip('"')

    def delete(self, key: str) -> None:
        with _told(key, self.where):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def _write_parts(self, upload: Upload, content: BinaryIO) -> str:
        address: dict[str, Any] = {"Bucket": self.bucket, "Key": upload.key}
        started = self._client.create_multipart_upload(**address, **_described(upload))
        address["UploadId"] = started["UploadId"]
        try:
            parts = list(self._parts(upload, content, address))
            answer = self._client.complete_multipart_upload(**address, MultipartUpload={"Parts": parts})
        except BaseException:
            self._client.abort_multipart_upload(**address)
            raise
        return answer.get("ETag", "").strip('"')

    def _parts(self, upload: Upload, content: BinaryIO, address: Mapping[str, Any]) -> Iterator[Any]:
        start = 0
        for number, size in enumerate(upload.part_sizes, start=1):
            part = _Window(content, start, size)
            answer = self._client.upload_part(
                **address, PartNumber=number, Body=cast(BinaryIO, part), ContentLength=size, ContentMD5=part.md5()
            )
            yield {"PartNumber": number, "ETag": answer["ETag"]}
            start += size


class _Window(io.RawIOBase):
    """`size` bytes of an open file from `start` on, as a file of their own."""

    def __init__(self, content: BinaryIO, start: int, size: int) -> None:
        self._content = content
        self._start = start
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        room = min(len(buffer), max(0, self._size - self._at))
        self._content.seek(self._start + self._at)
        data = self._content.read(room)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def md5(self) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        self.seek(0)
        while data := self.read(READ_BYTES):
            digest.update(data)
        self.seek(0)
        return base64.b64encode(digest.digest()).decode()


@contextmanager
def _told(key: str, where: str) -> Iterator[None]:
    try:
        yield
    except (bad.ClientError, bad.BotoCoreError, UnicodeError) as problem:
        raise object_problem(problem, key, where) from problem


def _described(upload: Upload) -> dict[str, Any]:
    described: dict[str, Any] = {
        parameter: upload.headers[header] for header, parameter in PARAMETERS.items() if header in upload.headers
    }
    if expires := _moment(upload.headers.get("expires", "")):
        described["Expires"] = expires
    if upload.metadata:
        described["Metadata"] = dict(upload.metadata)
    if upload.tags:
        described["Tagging"] = urllib.parse.urlencode(upload.tags)
    return described


def _moment(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None
