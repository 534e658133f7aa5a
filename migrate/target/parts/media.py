"""Media: trees that are served, who may write into them, and which host has them first."""

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from migrate.errors import UsageProblem
from migrate.stack import Media, ServiceKind
from migrate.target.firewall import Opening, numbers_of
from migrate.target.hostview import HostView
from migrate.target.parts.part import Part

ROOT = "/srv/media"
WRITER = "media"
COPY_PORT = 8082
"""Where the host that takes the uploads hands out its trees to the other media hosts."""


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
        "leads": view.leads(service),
        "lead": view.inventory.address(service.group),
        "others": _others(view),
        "copy_port": COPY_PORT,
    }


def secrets(view: HostView) -> dict[str, Any]:
    passwords = [view.secrets[tree.password].reveal() for tree in _trees(view)[:1]]
    return {"accounts": "".join(f"{WRITER}:{salted_sha1(password)}\n" for password in passwords)}


def openings(view: HostView) -> Iterator[Opening]:
    """The other media hosts ask the one that takes the uploads: for its trees, and for what they do not have yet."""
    service = view.only(ServiceKind.MEDIA)
    if service is not None and view.leads(service) and _others(view):
        for port in (service.port, COPY_PORT):
            yield Opening(port or 0, tuple(_others(view)))


def _others(view: HostView) -> list[str]:
    service = view.only(ServiceKind.MEDIA)
    hosts = view.inventory.group(service.group) if service else []
    return numbers_of(view.inventory, [host for host in hosts if host.name != view.host.name])


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


def packages(view: HostView) -> list[str]:
    modules = ["libnginx-mod-http-headers-more-filter", "libnginx-mod-http-perl"]
    return ["nginx", *modules, *(["stunnel4"] if _others(view) else [])]


PART = Part("media", variables, secrets, packages, masked_units=lambda view: ("nginx.service",), openings=openings)
