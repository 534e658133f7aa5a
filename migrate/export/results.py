"""What an export, a verification and an import came to."""

from dataclasses import asdict, dataclass

from migrate.export.archived import RestoreOffer
from migrate.export.crosscheck import CrossCheck
from migrate.export.ledger import Row
from migrate.export.own_count import CountCheck


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The end of one run of the engine.

    `listed` counts the objects that the source showed. `verified` are those of them whose bytes in the archive are
    proved, `skipped` those of the verified that an earlier run had proved. `gone` vanished from the source since the
    last run. `unverified` were listed and are neither verified, quarantined nor archived. `bytes` came over the wire in
    `seconds`. `second_read` are those of the verified of which the source states nothing, and two reads were equal.
    `restore_offers` say what the archived ones would cost and take. `cross_check` is how the listing compares with a
    second source, or why it was held against none. `remaining_*` is what a deadline left undone.
    """

    listed: int
    verified: int
    quarantined: int
    archived: int
    gone: int
    skipped: int
    bytes: int
    seconds: float
    complete: bool
    unverified: int = 0
    remaining_objects: int = 0
    remaining_bytes: int = 0
    second_read: int = 0
    pruned: int = 0
    pruned_bytes: int = 0
    restore_offers: tuple[RestoreOffer, ...] = ()
    cross_checked: bool = False
    cross_check: CrossCheck | CountCheck | str = "not cross-checked"
    dry_run: bool = False

    def as_document(self) -> dict[str, object]:
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which the archive is not what its ledger says."""

    path: str
    key: str | None
    what: str

    def as_document(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Every stored byte read again. `unverified` objects are listed, archived, fetched or quarantined in the ledger."""

    objects: int
    bytes: int
    matching: int
    differences: tuple[Difference, ...]
    unverified: int
    seconds: float

    @property
    def intact(self) -> bool:
        """Whether every stored object is what the ledger says."""
        return not self.differences

    @property
    def complete(self) -> bool:
        """Whether the archive is intact and every object of the source is in it, proved."""
        return self.intact and not self.unverified

    def as_document(self) -> dict[str, object]:
        return {
            **asdict(self),
            "differences": [difference.as_document() for difference in self.differences],
            "seconds": round(self.seconds, 3),
            "intact": self.intact,
            "complete": self.complete,
        }


@dataclass(frozen=True, slots=True)
class ImportResult:
    """`unchanged` objects were already at the target; `conflicts` are there with other content and were left alone."""

    objects: int
    written: int
    unchanged: int
    conflicts: int
    failed: int
    not_stored: int
    bytes: int
    seconds: float
    problems: tuple[Difference, ...] = ()

    @property
    def complete(self) -> bool:
        return self.written + self.unchanged == self.objects and not self.not_stored

    def as_document(self) -> dict[str, object]:
        return {
            **asdict(self),
            "problems": [problem.as_document() for problem in self.problems],
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
        }


def object_document(row: Row) -> dict[str, object]:
    """One object of `export-ls --json`."""
    stored = row.state.value in ("fetched", "verified", "gone") and row.digest is not None
    return {
        "key": row.key,
        "version_id": row.version_id or None,
        "path": row.path if stored else None,
        "size": row.size,
        "etag": row.etag,
        "digest": row.digest if stored else None,
        "state": row.state.value,
        "content_type": row.content_type,
        "metadata": dict(row.metadata),
        "tags": dict(row.tags) if row.tags is not None else None,
        "last_modified": row.last_modified,
        "acl": dict(row.acl) if row.acl is not None else None,
        "is_latest": row.is_latest,
        "delete_marker": row.delete_marker,
        "storage_class": row.storage_class,
        "headers": dict(row.headers),
        "proof": row.proof,
        "reason": row.reason,
    }
