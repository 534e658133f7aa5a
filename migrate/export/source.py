"""What the export engine asks of an object store: Protocols, the values they speak in, and the failures they may raise.

An `ObjectSource` or `ObjectSink` stands for one bucket. Keys are text; a key that is not valid UTF-8 carries
its stray bytes as surrogate escapes. Bucket-wide failures are raised as `Missing`, `Refused` or `Unreachable`
of migrate.errors and end the run; the failures below concern one object and do not.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

if TYPE_CHECKING:
    from migrate.export.own_count import OwnCount

NOTHING: Mapping[str, str] = {}
# How a setting that may not be read is recorded.
NOT_ALLOWED = "not allowed to look"


class ObjectProblem(Exception):
    """One object could not be read or written; `detail` is what the store said."""

    def __init__(self, key: str, detail: str) -> None:
        super().__init__(f"{key!r}: {detail}")
        self.key = key
        self.detail = detail


class ObjectMissing(ObjectProblem):
    """The store says that this key or version does not exist. Not retriable."""


class ObjectForbidden(ObjectProblem):
    """The store refuses this object to us while it answers for others. Not retriable within a run."""


class ObjectArchived(ObjectProblem):
    """The object is in a storage class that must be restored before it can be read. Not retriable now."""


class ObjectChanged(ObjectProblem):
    """The object no longer has the ETag that was asked for. Read its head again, then retry."""


class ObjectRejected(ObjectProblem):
    """The request for this object can never succeed as it stands. Not retriable."""


class TransferBroken(ObjectProblem):
    """The connection failed, stalled or ended early, or the store had an internal error. Retriable."""


class SlowDown(ObjectProblem):
    """The store asks for fewer requests. Retriable after a pause of all workers."""


class SourceSilent(TransferBroken):
    """No connection to the endpoint at all. Retriable; many in a row mean that the endpoint is down."""


class Entry(NamedTuple):
    """One object, version or delete marker as a listing shows it. `size` in bytes, `last_modified` RFC 3339 UTC."""

    key: str
    size: int
    etag: str
    last_modified: str
    storage_class: str = "STANDARD"
    version_id: str = ""
    is_latest: bool = True
    delete_marker: bool = False


class ObjectFacts(NamedTuple):
    """What a GET or HEAD response says about an object; header names in lower case, `etag` without quotes."""

    size: int
    etag: str
    last_modified: str
    headers: Mapping[str, str] = NOTHING
    metadata: Mapping[str, str] = NOTHING
    request: Mapping[str, str] = NOTHING


class Reading(Protocol):
    """An open GET: its facts, then its bytes. A read may raise TransferBroken."""

    @property
    def facts(self) -> ObjectFacts: ...

    def read(self, size: int) -> bytes:
        """At most `size` bytes, empty at the end."""
        ...


class ObjectSource(Protocol):
    """One bucket to read from. Every call may be made from several threads at once."""

    @property
    def bucket(self) -> str: ...

    @property
    def where(self) -> str:
        """The bucket and its endpoint, for messages."""
        ...

    def pages(self, prefix: str, *, versions: bool) -> Iterator[tuple[Entry, ...]]:
        """Everything below `prefix`, page by page.

        Raises Missing, Refused or Unreachable: a listing that stops early never ends as if it were complete.
        """
        ...

    def read(self, key: str, *, version_id: str, if_match: str, start: int = 0) -> AbstractContextManager[Reading]:
        """The object's bytes from `start` on; `version_id` and `if_match` are empty where none is asked for.

        The facts are those of the whole object, but for the checksums where `start` is not 0. Raises ObjectProblem.
        """
        ...

    def head(self, key: str, *, version_id: str) -> ObjectFacts:
        """Raises ObjectProblem."""
        ...

    def part_size(self, key: str, *, version_id: str, part: int) -> int | None:
        """Bytes of one part of a multipart object, or None where the store cannot say. Raises ObjectProblem."""
        ...

    def tags(self, key: str, *, version_id: str) -> Mapping[str, str]:
        """Raises ObjectProblem."""
        ...

    def acl(self, key: str, *, version_id: str) -> Mapping[str, object]:
        """Owner and grants of one object, as the store tells them. Raises ObjectProblem."""
        ...

    def settings(self) -> Mapping[str, object]:
        """The bucket's policy, ACL and other settings by name; where one cannot be read, the text says why."""
        ...

    def own_count(self) -> "OwnCount | str":
        """How many objects the store says that the bucket holds, or why that is not known. Never raises."""
        ...

    def restore(self, key: str, *, version_id: str, tier: str, days: int, dated: bool) -> None:
        """Asks for a temporary copy of an archived object; asking again for what is under way or there is no error.

        `dated` says whether the copy has an end: those of Intelligent-Tiering have none. Raises ObjectProblem.
        """
        ...


@dataclass(frozen=True, slots=True)
class Upload:
    """One object to write. `part_sizes` is empty for a single PUT, which needs `md5`, hexadecimal."""

    key: str
    size: int
    md5: str
    headers: Mapping[str, str]
    metadata: Mapping[str, str]
    tags: Mapping[str, str]
    part_sizes: tuple[int, ...] = ()


class ObjectSink(Protocol):
    """One bucket to write into. Every call may be made from several threads at once."""

    @property
    def where(self) -> str: ...

    def check(self) -> None:
        """Raises Missing, Refused or Unreachable where the bucket as a whole cannot be used."""
        ...

    def head(self, key: str, *, version_id: str) -> ObjectFacts:
        """Raises ObjectProblem."""
        ...

    def read(self, key: str, *, version_id: str, if_match: str) -> AbstractContextManager[Reading]:
        """As of an ObjectSource: to read back what was written. Raises ObjectProblem."""
        ...

    def pages(self, prefix: str, *, versions: bool) -> Iterator[tuple[Entry, ...]]:
        """As of an ObjectSource: what is there already."""
        ...

    def write(self, upload: Upload, content: BinaryIO) -> str:
        """Writes the object and returns the ETag (no quotes) that the store gave it.

        The store is told the MD5 and refuses other bytes. Raises ObjectProblem.
        """
        ...

    def delete(self, key: str) -> None:
        """Raises ObjectProblem."""
        ...
