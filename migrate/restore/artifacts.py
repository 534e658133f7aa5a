"""What the archive holds for a restore: the newest artifact of a pattern, its record, and the verified objects."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from hashlib import file_digest
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from migrate.errors import GateHeld
from migrate.export.ledger import Ledger, Row, State
from migrate.stack import Artifact

LEFT_BEHIND = (State.GONE,)
MAJOR_VERSION = 10_000
"""server_version_num counts major versions in ten-thousands since PostgreSQL 10."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ArtifactRecord(BaseModel):
    """What a backup job wrote down about an artifact; more keys than these may stand there."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    taken_at: Annotated[datetime, Field(strict=False)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class DumpRecord(ArtifactRecord):
    """The record of a pg_dump archive; `tables` are row counts of the dump's own snapshot."""

    database: Annotated[str, Field(min_length=1)]
    server_version: str
    server_version_num: Annotated[int, Field(ge=90_000)]
    tables: dict[str, Annotated[int, Field(ge=0)]]

    @property
    def major(self) -> int:
        return self.server_version_num // MAJOR_VERSION


class SnapshotRecord(ArtifactRecord):
    """The record of a Redis snapshot; how many of its keys expire is read from the snapshot itself."""

    keys: Annotated[int, Field(ge=0)]


Record = TypeVar("Record", bound=ArtifactRecord)


@dataclass(frozen=True)
class StoredArtifact:
    """One verified object of the archive that a restore needs."""

    bucket: str
    key: str
    path: Path
    sha256: str

    @property
    def where(self) -> str:
        return f"{self.bucket}/{self.key}"


class Archive:
    """The archives of all buckets below one folder, as the export leaves them: `<folder>/<bucket>/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self, artifact: Artifact) -> StoredArtifact:
        """The newest artifact by its key. Raises Missing where the bucket was not exported yet, GateHeld where nothing
        matches or where the newest is not verified: an older one is never taken in silence."""
        with Ledger.open(self.folder / artifact.bucket) as ledger:
            matching = [row for row in _current(ledger) if fnmatchcase(row.key, artifact.pattern)]
        where = f"{artifact.bucket}/{artifact.pattern}"
        if not matching:
            raise GateHeld(
                "no artifact in the archive matches",
                where=where,
                expected="at least one object whose key matches the pattern",
                hint="look at the keys: cloudexit export-ls; mend the pattern, or let the backup job run again",
            )
        return self._stored(artifact.bucket, max(matching, key=lambda row: row.key))

    def record(self, artifact: StoredArtifact, model: type[Record]) -> Record:
        """The record beside an artifact, `<key>.json`. Raises GateHeld naming key and field where it is not there,
        not verified or malformed."""
        key = f"{artifact.key}.json"
        where = f"{artifact.bucket}/{key}"
        with Ledger.open(self.folder / artifact.bucket) as ledger:
            row = ledger.find(key)
        if row is None or row.state in LEFT_BEHIND:
            raise GateHeld(
                "the artifact has no record beside it",
                where=where,
                expected="a JSON record with size, SHA-256 and counts: without it the restore cannot be proved",
                hint="let the backup job write it, and export again",
            )
        stored = self._stored(artifact.bucket, row)
        return parse_record(stored.path.read_bytes(), model, where)

    def verified(self, bucket: str) -> Iterator[Row]:
        """The current version of every verified object. Raises Missing where the bucket was not exported yet."""
        with Ledger.open(self.folder / bucket) as ledger:
            for row in _current(ledger):
                if row.state is State.VERIFIED:
                    yield row

    def _stored(self, bucket: str, row: Row) -> StoredArtifact:
        if row.state is not State.VERIFIED or row.path is None or row.digest is None:
            raise GateHeld(
                f"the newest artifact is {row.state.value}, not verified{': ' + row.reason if row.reason else ''}",
                where=f"{bucket}/{row.key}",
                expected="an object whose bytes were verified against the source",
                hint="export again; if it stays, the source's copy is broken: take another artifact",
            )
        return StoredArtifact(bucket, row.key, self.folder / bucket / row.path, row.digest)


def parse_record(content: bytes, model: type[Record], where: str) -> Record:
    """A record's bytes as a value; raises GateHeld naming the first field that is not as expected."""
    try:
        return model.model_validate_json(content)
    except ValidationError as faults:
        first = faults.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "document"
        raise GateHeld(
            f"the record is malformed: {field}: {first['msg']}",
            where=where,
            expected=f"the fields {', '.join(model.model_fields)}",
            hint="mend the backup job, let it run again, and export again",
        ) from faults


def require_same_bytes(artifact: StoredArtifact, record: ArtifactRecord) -> None:
    """Raises GateHeld where the file in the archive is not, byte for byte, what its record describes."""
    size = artifact.path.stat().st_size
    if size != record.bytes:
        raise _other_bytes(artifact, f"{size:,} bytes", f"{record.bytes:,} bytes, as its record says")
    with artifact.path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    if digest != record.sha256:
        raise _other_bytes(artifact, f"SHA-256 {digest}", f"SHA-256 {record.sha256}, as its record says")


def _other_bytes(artifact: StoredArtifact, found: str, expected: str) -> GateHeld:
    return GateHeld(
        f"the artifact is not what its record describes: {found}",
        where=artifact.where,
        expected=expected,
        hint="it was cut short or changed after it was made: take an older artifact, or let the backup job run again",
    )


def _current(ledger: Ledger) -> Iterator[Row]:
    for row in ledger.objects():
        if row.is_latest and not row.delete_marker and row.state not in LEFT_BEHIND:
            yield row
