"""Media: trees that are served, and who may write into them."""

import base64
import hashlib
import re
from typing import Any
from urllib.parse import urlsplit

from migrate.errors import UsageProblem
from migrate.stack import Media, ServiceKind
from migrate.target.hostview import HostView
from migrate.target.parts.part import Part

ROOT = "/srv/media"
WRITER = "media"


def variables(view: HostView) -> dict[str, Any] | None:
    service = view.only(ServiceKind.MEDIA)
    if service is None:
        return None
    trees = _trees(view)
    if len({tree.password for tree in trees}) > 1:
        raise UsageProblem(
            "the media trees of one service have different passwords",
            where=f"host {view.host.name}",
            expected="one secret for all trees of a service",
        )
    return {
        "unit": service.unit,
        "port": service.port,
        "write_port": service.write_port,
        "trees": [{"bucket": tree.bucket, "path": url_path(tree.url)} for tree in trees],
    }


def secrets(view: HostView) -> dict[str, Any]:
    passwords = [view.secrets[tree.password].reveal() for tree in _trees(view)[:1]]
    return {"accounts": "".join(f"{WRITER}:{salted_sha1(password)}\n" for password in passwords)}


def _trees(view: HostView) -> list[Media]:
    return [tree for tree in view.stack.media.values() if tree.service in view.services]


def salted_sha1(password: str) -> str:
    """A password as nginx checks it, `{SSHA}`. It is checked on every upload, and the password is a generated one
    with 192 bits: a slow hash would cost time and add nothing. The salt comes from the password, so that the same
    password gives the same file."""
    salt = hashlib.sha256(b"cloudexit media" + password.encode()).digest()[:8]
    digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()


def url_path(url: str) -> str:
    """The path of a public address, with a slash at both ends."""
    path = urlsplit(re.sub(r"\{[^}]*\}", "host", url)).path
    return "/" + path.strip("/") + "/" if path.strip("/") else "/"


PART = Part("media", variables, secrets, packages=lambda view: ("nginx",), masked_units=lambda view: ("nginx.service",))
