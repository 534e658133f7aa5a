"""Where an object lies in the archive: key -> path below DEST.

A key that is a safe relative path lies at `objects/<key>`, byte for byte. Every other key lies at
`odd/<SHA-256 of the key>`, and every version that is not the current one at
`versions/<SHA-256 of the key>/<SHA-256 of the version id>`. No mapped path depends on the order in which keys are
seen: where one safe key is a folder of another (`a` beside `a/b`), the folder wins the name and `a` is odd.
"""

import hashlib
import re
from collections.abc import Iterator

OBJECTS = "objects"
ODD = "odd"
VERSIONS = "versions"
QUARANTINE = "quarantine"
SPOOL = ".spool"
LEDGER = "ledger.sqlite"
LOCK = "lock"
SUMS = "SHA256SUMS"

MAX_COMPONENT_BYTES = 255
MAX_KEY_BYTES = 1024
UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
EMPTY_OR_DOTS = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)")


def key_bytes(key: str) -> bytes:
    """The key's exact bytes."""
    return key.encode("utf-8", "surrogateescape")


def key_text(raw: bytes) -> str:
    """The inverse of `key_bytes`."""
    return raw.decode("utf-8", "surrogateescape")


def is_safe(key: str) -> bool:
    """Whether the key can be a relative path below a folder, on its own."""
    if UNPRINTABLE.search(key) or EMPTY_OR_DOTS.search(key):
        return False
    raw = key_bytes(key)
    if len(raw) <= MAX_COMPONENT_BYTES:
        return True
    return len(raw) <= MAX_KEY_BYTES and all(len(part) <= MAX_COMPONENT_BYTES for part in raw.split(b"/"))


def folders(key: str) -> Iterator[str]:
    """The folders that a safe key needs, nearest first: `a/b/c` gives `a/b`, `a`."""
    end = key.rfind("/")
    while end > 0:
        yield key[:end]
        end = key.rfind("/", 0, end)


def safe_path(key: str) -> str:
    return f"{OBJECTS}/{key}"


def odd_path(key: str) -> str:
    return f"{ODD}/{hashlib.sha256(key_bytes(key)).hexdigest()}"


def version_path(key: str, version_id: str) -> str:
    version = hashlib.sha256(version_id.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{VERSIONS}/{hashlib.sha256(key_bytes(key)).hexdigest()}/{version}"


def quarantine_folder(key: str, version_id: str) -> str:
    identity = key_bytes(key) + (b"\0" + version_id.encode("utf-8", "surrogateescape") if version_id else b"")
    return f"{QUARANTINE}/{hashlib.sha256(identity).hexdigest()}"


def object_path(key: str, *, version_id: str = "", is_latest: bool = True, is_folder: bool = False) -> str:
    """The path of an object below DEST; `is_folder` says that another safe key lies below this one."""
    if not is_latest:
        return version_path(key, version_id)
    return safe_path(key) if is_safe(key) and not is_folder else odd_path(key)
