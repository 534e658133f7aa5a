"""Edge: where the world's requests go on to, and how it proves to the world who it is."""

from collections.abc import Iterator
from typing import Any

from migrate.inventory import Host
from migrate.stack import Service, ServiceKind
from migrate.target.certificates import names_of, placeholder
from migrate.target.firewall import Opening, addresses_of, audience
from migrate.target.hostview import HostView, bracketed
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
        "limits": _limits(service),
        "tls": _tls(view, service),
    }


def secrets(view: HostView) -> dict[str, Any]:
    service = view.only(ServiceKind.EDGE)
    if service is None or service.tls is None:
        return {"placeholder": ""}
    return {"placeholder": placeholder(view.stack, service, view.host.name, view.secrets)}


def _limits(service: Service) -> dict[str, Any]:
    limits = service.limits
    strict = limits.strict
    return {
        **limits.model_dump(exclude={"strict", "answer_within"}),
        "answer_within": f"{limits.answer_within * 1000:.0f}ms",
        "strict": {**strict.model_dump(), "paths": list(strict.paths)} if strict else {},
    }


def _tls(view: HostView, service: Service) -> dict[str, Any]:
    """Empty without TLS."""
    tls = service.tls
    if tls is None:
        return {}
    return {
        "port": tls.port,
        "names": list(names_of(view.stack, service)),
        "contact": tls.contact or "",
        "directory": tls.directory,
        "authority": tls.authority or "",
        "hsts_seconds": round(tls.hsts or 0),
        # An authority may ask any of them for the answer to a challenge that another one has been given.
        "others": [f"{bracketed(host.address)}:{service.port}" for host in _others(view, service)],
    }


def _others(view: HostView, service: Service) -> list[Host]:
    return [host for host in view.inventory.hosts.values() if service.group in host.groups and host != view.host]


def packages(view: HostView) -> tuple[str, ...]:
    service = view.only(ServiceKind.EDGE)
    return ("nginx", "dehydrated") if service and service.tls else ("nginx",)


def openings(view: HostView) -> Iterator[Opening]:
    service = view.only(ServiceKind.EDGE)
    if service is None or service.tls is None:
        return
    if service.open_to:
        yield Opening(service.tls.port, audience(view.inventory, service.open_to))
    others = addresses_of(view.inventory, [service.group])
    if service.port and len(others) > 1:
        yield Opening(service.port, tuple(others))


PART = Part("edge", variables, secrets, packages, masked_units=lambda view: ("nginx.service",), openings=openings)
