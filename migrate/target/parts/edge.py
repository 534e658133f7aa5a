"""Edge: where the world's requests go on to."""

from typing import Any

from migrate.stack import ServiceKind
from migrate.target.hostview import HostView
from migrate.target.parts.media import url_path
from migrate.target.parts.part import Part


def variables(view: HostView) -> dict[str, Any] | None:
    service = view.only(ServiceKind.EDGE)
    if service is None or service.upstream is None:
        return None
    return {
        "unit": service.unit,
        "port": service.port,
        "upstream": view.endpoints(service.upstream),
        "media": [
            {"path": url_path(tree.url), "servers": view.endpoints(tree.service)} for tree in view.stack.media.values()
        ],
    }


PART = Part("edge", variables, packages=lambda view: ("nginx",), masked_units=lambda view: ("nginx.service",))
