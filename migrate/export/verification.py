"""What the source said about an object's bytes, held against the bytes that came.

A statement is an MD5 ETag, a multipart ETag, or a checksum header, full-object or composite. The rule:
a checksum that does not match condemns the bytes; one that matches proves them, whatever the ETag is; without a
checksum the ETag decides. A multipart ETag whose part sizes nobody can tell proves nothing unless it matches.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, NamedTuple, Protocol

from migrate.export.source import ObjectFacts

MD5_ETAG = re.compile(r"[0-9a-f]{32}")
MULTIPART_ETAG = re.compile(r"([0-9a-f]{32})-([1-9][0-9]{0,4})")
CHECKSUM_HEADER = "x-amz-checksum-"
PART_COUNT = re.compile("[1-9][0-9]{0,4}")
MIB = 1024 * 1024
# Part sizes in bytes that uploaders use by default; tried where the store does not tell the real ones.
COMMON_PART_SIZES = tuple(mib * MIB for mib in (8, 5, 16, 10, 15, 32, 64, 100, 128, 25, 20, 50, 256, 512, 1024))
READ_BYTES = MIB


class Hasher(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc:
    """A running CRC in the shape of a hashlib object; `name` is that of a function of awscrt.checksums."""

    def __init__(self, name: str, width: int) -> None:
        from awscrt import checksums  # loading it takes a tenth of a second, and most objects need none of it

        self._function: Callable[[bytes | memoryview, int], int] = getattr(checksums, name)
        self._width = width
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


ALGORITHMS: Mapping[str, Callable[[], Hasher]] = {
    "crc64nvme": lambda: Crc("crc64nvme", 8),
    "crc32c": lambda: Crc("crc32c", 4),
    "crc32": lambda: Crc("crc32", 4),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "sha1": hashlib.sha1,
}
CHECKSUM_HEADERS = {CHECKSUM_HEADER + algorithm: algorithm for algorithm in ALGORITHMS}


class Verdict(Enum):
    PROVED = "proved"
    WRONG = "wrong"
    UNKNOWN = "unknown"


class Statement(NamedTuple):
    """One thing that the source said; `parts` is 0 for a whole-object statement."""

    name: str
    expected: str
    algorithm: str
    parts: int = 0

    @property
    def is_full_checksum(self) -> bool:
        return not self.parts and self.algorithm != "md5"


@dataclass(frozen=True, slots=True)
class Judgement:
    """`proof` names what proved the bytes; `compared` holds (expected, came) of every statement that was compared."""

    verdict: Verdict
    proof: str | None = None
    reason: str | None = None
    compared: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    part_sizes: tuple[int, ...] = ()


def statements(facts: ObjectFacts) -> tuple[Statement, ...]:
    """Everything usable that a response says about the object's bytes, checksums first."""
    return (*_checksum_statements(facts.headers), *_etag_statements(facts))


def _checksum_statements(headers: Mapping[str, str]) -> Iterator[Statement]:
    if CHECKSUM_HEADERS.keys().isdisjoint(headers):
        return
    declared = headers.get(CHECKSUM_HEADER + "type", "").upper()
    for header, algorithm in CHECKSUM_HEADERS.items():
        value = headers.get(header)
        if not value:
            continue
        plain, dash, count = value.rpartition("-")
        if dash and PART_COUNT.fullmatch(count):
            yield Statement(f"composite-{algorithm}", plain, algorithm, int(count))
        elif declared != "COMPOSITE":
            yield Statement(algorithm, value, algorithm)


def _etag_statements(facts: ObjectFacts) -> Iterator[Statement]:
    if is_opaque(facts.headers):
        return
    if MD5_ETAG.fullmatch(facts.etag):
        yield Statement("md5-etag", facts.etag, "md5")
    elif multipart := MULTIPART_ETAG.fullmatch(facts.etag):
        yield Statement("multipart-etag", multipart[1], "md5", int(multipart[2]))


def is_opaque(headers: Mapping[str, str]) -> bool:
    """Whether the object is encrypted so that its ETag is no MD5."""
    return (
        headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
        or "x-amz-server-side-encryption-customer-algorithm" in headers
    )


def even_parts(size: int, part_size: int) -> tuple[int, ...]:
    """Part sizes of an object cut into equal parts and a last smaller one."""
    whole, rest = divmod(size, part_size)
    return (part_size,) * whole + ((rest,) if rest else ())


def plausible_layouts(size: int, parts: int) -> tuple[tuple[int, ...], ...]:
    """The layouts of common uploaders that have this number of parts."""
    if parts == 1:
        return ((size,),)
    return tuple(even_parts(size, guess) for guess in COMMON_PART_SIZES if -(-size // guess) == parts)


class PartHashes:
    """Digests of each part, and of their digests' concatenation; bytes beyond the last part count to it."""

    def __init__(self, new: Callable[[], Hasher], sizes: Sequence[int]) -> None:
        self._new = new
        self._ends = iter(sizes)
        self._digests: list[bytes] = []
        self._current = new()
        self._room: int | None = next(self._ends, None)

    def update(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while len(view):
            if self._room == 0:
                self._next_part()
            take = len(view) if self._room is None else min(self._room, len(view))
            self._current.update(view[:take])
            view = view[take:]
            if self._room is not None:
                self._room -= take

    def combined(self) -> bytes:
        whole = self._new()
        whole.update(b"".join([*self._digests, self._current.digest()]))
        return whole.digest()

    def _next_part(self) -> None:
        self._digests.append(self._current.digest())
        self._current = self._new()
        self._room = next(self._ends, None)


def _new_md5() -> Hasher:
    return hashlib.md5(usedforsecurity=False)


def _hasher(algorithm: str) -> Callable[[], Hasher]:
    return _new_md5 if algorithm == "md5" else ALGORITHMS[algorithm]


class StreamCheck:
    """Hashes bytes as they pass and judges them against the statements.

    `layouts` are the part sizes that may be true, the likeliest first; `layouts_certain` says that the source itself
    gave them. `lean` compares full-object checksums only and computes no MD5: for large objects that have one.
    """

    def __init__(
        self,
        facts: ObjectFacts,
        layouts: Sequence[tuple[int, ...]] = (),
        *,
        layouts_certain: bool = False,
        lean: bool = False,
    ) -> None:
        self.facts = facts
        self.statements = tuple(said for said in statements(facts) if not lean or said.is_full_checksum)
        self.received = 0
        self._layouts = tuple(layouts)
        self._certain = layouts_certain
        self._sha256 = hashlib.sha256()
        self._md5 = None if lean else hashlib.md5(usedforsecurity=False)
        self._whole = {
            said.algorithm: ALGORITHMS[said.algorithm]()
            for said in self.statements
            if not said.parts and said.algorithm not in ("md5", "sha256")
        }
        self._parts = {
            said.algorithm: PartHashes(_hasher(said.algorithm), self._layouts[0])
            for said in self.statements
            if said.parts and self._layouts
        }

    def update(self, data: bytes | memoryview) -> None:
        self.received += len(data)
        self._sha256.update(data)
        if self._md5 is not None:
            self._md5.update(data)
        for whole in self._whole.values():
            whole.update(data)
        for parts in self._parts.values():
            parts.update(data)

    @property
    def digest(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str | None:
        """None where a lean check has not computed it."""
        return None if self._md5 is None else self._md5.hexdigest()

    def judge(self, content: BinaryIO | None = None) -> Judgement:
        """The verdict; `content` is read again where the first part layout does not match, if it is given."""
        if self.received != self.facts.size:
            compared = {"size": (str(self.facts.size), str(self.received))}
            return Judgement(Verdict.WRONG, reason="the size differs", compared=compared)
        if len(self.statements) == 1 and not self.statements[0].parts:
            return self._judge_one(self.statements[0])
        layout = self._matching_layout(content)
        compared = {said.name: (said.expected, self._came(said, layout)) for said in self.statements}
        decided = {said.name: self._decide(said, compared[said.name]) for said in self.statements}
        sizes = layout if any(said.parts for said in self.statements) else ()
        return _conclude(decided, compared, sizes or ())

    def _judge_one(self, said: Statement) -> Judgement:
        """The same for the commonest case, at a fraction of the cost: the source said one thing of the whole."""
        compared = {said.name: (said.expected, self._came(said, None))}
        if said.expected == compared[said.name][1]:
            return Judgement(Verdict.PROVED, said.name, None, compared)
        return Judgement(Verdict.WRONG, None, f"{said.name} does not match", compared)

    def _decide(self, said: Statement, values: tuple[str, str]) -> Verdict:
        if values[0] == values[1]:
            return Verdict.PROVED
        return Verdict.WRONG if not said.parts or self._certain else Verdict.UNKNOWN

    def _came(self, said: Statement, layout: tuple[int, ...] | None) -> str:
        if said.parts:
            return _encode(said, self._parts[said.algorithm].combined()) if layout else "unknown part sizes"
        if said.algorithm == "md5" and self._md5 is not None:
            return self._md5.hexdigest()
        if said.algorithm == "sha256":
            return _encode(said, self._sha256.digest())
        return _encode(said, self._whole[said.algorithm].digest())

    def _matching_layout(self, content: BinaryIO | None) -> tuple[int, ...] | None:
        composite = [said for said in self.statements if said.parts]
        if not composite or not self._layouts:
            return None
        for position, layout in enumerate(self._layouts):
            if position and content is None:
                break
            if position and content is not None:
                self._hash_again(content, composite, layout)
            if all(_encode(said, self._parts[said.algorithm].combined()) == said.expected for said in composite):
                return layout
        return self._layouts[0]

    def _hash_again(self, content: BinaryIO, composite: Sequence[Statement], layout: tuple[int, ...]) -> None:
        self._parts = {said.algorithm: PartHashes(_hasher(said.algorithm), layout) for said in composite}
        content.seek(0)
        while data := content.read(READ_BYTES):
            for parts in self._parts.values():
                parts.update(data)


def _encode(said: Statement, digest: bytes) -> str:
    return digest.hex() if said.algorithm == "md5" else base64.b64encode(digest).decode()


def _conclude(
    decided: Mapping[str, Verdict], compared: Mapping[str, tuple[str, str]], part_sizes: tuple[int, ...]
) -> Judgement:
    checksums_said = {name: verdict for name, verdict in decided.items() if not name.endswith("-etag")}
    for group in (checksums_said, decided):
        if wrong := [name for name, verdict in group.items() if verdict is Verdict.WRONG]:
            return Judgement(Verdict.WRONG, None, f"{wrong[0]} does not match", compared)
        if proved := [name for name, verdict in group.items() if verdict is Verdict.PROVED]:
            return Judgement(Verdict.PROVED, proved[0], None, compared, part_sizes)
    reason = "the part sizes are not known" if decided else "the source states no usable checksum or ETag"
    return Judgement(Verdict.UNKNOWN, None, reason, compared)
