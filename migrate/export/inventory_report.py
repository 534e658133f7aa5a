"""Reads an S3 Inventory report: the manifest, and the gzipped CSV files that it names, each held against its MD5."""

import csv
import gzip
import hashlib
import io
import tempfile
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from migrate.errors import Missing, Refused, Unreachable, UsageProblem
from migrate.export.source import ObjectForbidden, ObjectMissing, ObjectProblem, ObjectSource

READ_BYTES = 1024 * 1024
LARGEST_MANIFEST_BYTES = 64 * READ_BYTES
IN_MEMORY_BYTES = 16 * READ_BYTES
TRIES = 4


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")
    key: str
    md5: str = Field(alias="MD5checksum")


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore")
    source_bucket: str = Field(alias="sourceBucket")
    created: int = Field(alias="creationTimestamp", description="milliseconds since 1970")
    format: str = Field(alias="fileFormat")
    columns: str = Field(alias="fileSchema")
    files: list[_File]


@dataclass(frozen=True, slots=True)
class Counted:
    """One object or version that the report names."""

    key: str
    version_id: str
    is_latest: bool
    delete_marker: bool


@dataclass(frozen=True, slots=True)
class InventoryReport:
    """One report. `where` names its manifest; `taken` is when it was made."""

    source: ObjectSource
    where: str
    taken: datetime
    columns: tuple[str, ...]
    files: tuple[tuple[str, str], ...]

    def objects(self) -> Iterator[Counted]:
        """Every line. Raises Missing, Refused or Unreachable where a file cannot be read as it was written."""
        for key, md5 in self.files:
            with _fetched(self.source, key, md5) as packed, gzip.open(packed, "rb") as raw:
                for fields in csv.reader(io.TextIOWrapper(raw, "utf-8", newline="")):
                    yield self._counted(dict(zip(self.columns, fields, strict=False)))

    def _counted(self, line: dict[str, str]) -> Counted:
        key = urllib.parse.unquote_to_bytes(line["Key"].replace("+", " ")).decode("utf-8", "surrogateescape")
        return Counted(
            key,
            line.get("VersionId", ""),
            line.get("IsLatest", "true") != "false",
            line.get("IsDeleteMarker") == "true",
        )


def open_report(source: ObjectSource, key: str, bucket: str) -> InventoryReport:
    """The report behind a manifest.

    Raises UsageProblem (no manifest, ORC or Parquet, of another bucket), Missing, Refused, Unreachable.
    """
    where = f"s3://{source.bucket}/{key}"
    with _fetched(source, key, None) as stream:
        text = stream.read(LARGEST_MANIFEST_BYTES)
    try:
        manifest = _Manifest.model_validate_json(text)
    except ValidationError as problem:
        raise UsageProblem(
            f"this is no manifest of an inventory report: {problem.errors()[0]['msg']}",
            where=where,
            expected="the manifest.json beside a report",
        ) from problem
    if manifest.format != "CSV" or manifest.source_bucket != bucket:
        raise UsageProblem(
            f"the report is {manifest.format} of bucket {manifest.source_bucket}",
            where=where,
            expected=f"a CSV report of bucket {bucket}",
            hint="have the report written as CSV; ORC and Parquet are not read",
        )
    columns = tuple(column.strip() for column in manifest.columns.split(","))
    taken = datetime.fromtimestamp(manifest.created / 1000, UTC)
    return InventoryReport(source, where, taken, columns, tuple((file.key, file.md5) for file in manifest.files))


def _fetched(source: ObjectSource, key: str, md5: str | None) -> IO[bytes]:
    where = f"s3://{source.bucket}/{key}"
    for attempt in range(TRIES):
        try:
            return _read(source, key, md5)
        except ObjectMissing as problem:
            raise Missing("the inventory report has no such file", where=where) from problem
        except ObjectForbidden as problem:
            raise Refused(f"the inventory report may not be read: {problem.detail}", where=where) from problem
        except ObjectProblem as problem:
            if attempt == TRIES - 1:
                raise Unreachable(f"the inventory report cannot be read: {problem.detail}", where=where) from problem
    raise AssertionError("the last try raises")


def _read(source: ObjectSource, key: str, md5: str | None) -> IO[bytes]:
    digest = hashlib.md5(usedforsecurity=False)
    held = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
    with source.read(key, version_id="", if_match="") as reading:
        while data := reading.read(READ_BYTES):
            digest.update(data)
            held.write(data)
    if md5 is not None and digest.hexdigest() != md5:
        held.close()
        raise ObjectProblem(key, f"its MD5 is {digest.hexdigest()}, the manifest says {md5}")
    held.seek(0)
    return held
