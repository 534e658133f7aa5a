"""How the objects of a tree were served, as lists for the media server: what is usual, and the exceptions. Pure.

An object is named in them by its key and by the ETag that nginx gives its file (time and size): an exception ends where
the app writes another object under the same key.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from migrate.export.keymap import key_bytes

HEADERS = ("content-type", "cache-control", "content-encoding", "content-disposition", "content-language", "expires")
"""Headers of the ledger that objects are served with; playbooks/roles/media knows the same."""
TYPE, CACHE = HEADERS[:2]
NO_CACHE_CONTROL = "max-age=3600"
"""What an object is served with that said nothing of caching."""
EXTENSION = re.compile(rb"[^/]\.([A-Za-z0-9_+-]{1,16})\Z")
LONGEST_VALUE = 4000
"""nginx takes words of its settings up to 4,096 bytes."""
SPECIAL = re.compile(rb'[\\"$]')
LINE_BREAKS = re.compile(rb"[\r\n\0]")


@dataclass(frozen=True)
class Served:
    """One object as it lies on the hosts, and how it was served: headers by name, in lower case."""

    key: str
    modified: int
    """Seconds since 1970."""
    size: int
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        return f'"{self.modified:x}-{self.size:x}"'

    @property
    def ending(self) -> str:
        found = EXTENSION.search(key_bytes(self.key))
        return found[1].decode().lower() if found else ""


@dataclass
class Lists:
    """Text of each list by its name, how many exceptions there are, and keys with a header that no list can hold."""

    texts: dict[str, bytes]
    exceptions: int = 0
    unwritable: list[str] = field(default_factory=list)


def lists_of(bucket: str, objects: Callable[[], Iterable[Served]]) -> Lists:
    """What the media server must be told of a tree. Types are those that are usual for an extension, caching is what is
    usual in the tree; what differs is an exception. The objects are gone through twice."""
    types, caching = _usual_in(objects())
    lines: dict[str, list[bytes]] = defaultdict(list)
    lists = Lists({})
    for one in objects():
        for header, value in _exceptions(one, types, caching):
            word = nginx_word(value)
            if word is None:
                lists.unwritable.append(one.key)
                continue
            lines[header].append(b"'%s %s' %s;\n" % (object_name(bucket, one.key).encode(), one.etag.encode(), word))
            lists.exceptions += 1
    usual_types = [(f"{bucket} {ending}", value) for ending, value in sorted(types.items())]
    lists.texts = {
        "usual-content-type.map": b"".join(_usual(usual_types)),
        "usual-cache-control.map": b"".join(_usual([(f"in {bucket}", caching)])),
        **{f"{header}.map": b"".join(lines[header]) for header in HEADERS},
    }
    return lists


def object_name(bucket: str, key: str) -> str:
    return hashlib.sha256(bucket.encode() + b"/" + key_bytes(key)).hexdigest()[:32]


def nginx_word(value: str) -> bytes | None:
    """A header's value as a quoted word of nginx's settings; None where no header or no word can hold it."""
    raw = header_bytes(value)
    if len(raw) > LONGEST_VALUE or LINE_BREAKS.search(raw):
        return None
    escaped = SPECIAL.sub(lambda match: b"${media_dollar}" if match[0] == b"$" else b"\\" + match[0], raw)
    return b'"' + escaped + b'"' if len(escaped) <= LONGEST_VALUE else None


def header_bytes(value: str) -> bytes:
    """The bytes that the source sent: what is read from a socket is kept as Latin-1."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")


def _usual_in(objects: Iterable[Served]) -> tuple[dict[str, str], str]:
    """Extension -> the type that most objects with it have, and what most say of caching."""
    types: dict[str, Counter[str]] = defaultdict(Counter)
    caching: Counter[str] = Counter()
    for one in objects:
        caching[_caching(one)] += 1
        given = one.headers.get(TYPE, "")
        if given and nginx_word(given):
            types[one.ending][given] += 1
    return {ending: _most_common(of) for ending, of in types.items()}, _most_common(caching) or NO_CACHE_CONTROL


def _most_common(counted: Counter[str]) -> str:
    """Among equals the first by its text, so that the same objects give the same lists."""
    return min(counted, key=lambda value: (-counted[value], value), default="")


def _caching(one: Served) -> str:
    value = one.headers.get(CACHE, "")
    return value if value and nginx_word(value) else NO_CACHE_CONTROL


def _exceptions(one: Served, types: Mapping[str, str], caching: str) -> Iterator[tuple[str, str]]:
    given = one.headers.get(TYPE, "")
    if given and given != types.get(one.ending):
        yield TYPE, given
    if (one.headers.get(CACHE) or NO_CACHE_CONTROL) != caching:
        yield CACHE, one.headers.get(CACHE) or NO_CACHE_CONTROL
    for header in HEADERS[2:]:
        if value := one.headers.get(header, ""):
            yield header, value


def _usual(pairs: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    for name, value in pairs:
        word = nginx_word(value)
        if word:
            yield b"'%s' %s;\n" % (name.encode(), word)
