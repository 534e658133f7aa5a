"""Redis: its port, the password of its clients, and which host takes writes."""

from typing import Any

from migrate.plan import digest_of
from migrate.stack import ServiceKind
from migrate.target.firewall import Opening, addresses_of
from migrate.target.hostview import HostView
from migrate.target.parts import tls
from migrate.target.parts.part import Part

MEMORY = "cloudexit_redis_memory"
"""Variable of the inventory: bound on the data of a host's Redis, as Redis writes sizes."""
ALONE, BESIDE_A_DATABASE = 50, 25
"""Percent of the host's memory. A save needs room of its own: pages that are written to meanwhile are there twice."""


def variables(view: HostView) -> dict[str, Any] | None:
    service = view.only(ServiceKind.REDIS)
    if service is None:
        return None
    return {
        "port": service.port,
        "tls": service.tls_only,
        "certificate": digest_of(tls.variables(view)) if service.tls_only else "",
        "lead": "" if view.leads(service) else view.inventory.lead(service.group).address,
        "max_memory": str(view.own_variables.get(MEMORY, "")),
        "memory_percent": BESIDE_A_DATABASE if view.of(ServiceKind.POSTGRESQL) else ALONE,
    }


def secrets(view: HostView) -> dict[str, Any]:
    caches = [cache for cache in view.stack.caches.values() if cache.service in view.services]
    return {"password": view.secrets[caches[0].password].reveal() if caches else ""}


def openings(view: HostView) -> list[Opening]:
    """To the other hosts of the group: whichever leads, its replicas come to it."""
    service = view.only(ServiceKind.REDIS)
    if service is None or service.port is None or len(view.inventory.group(service.group)) == 1:
        return []
    return [Opening(service.port, tuple(addresses_of(view.inventory, [service.group])))]


PART = Part("redis", variables, secrets, packages=lambda view: ("redis-server",), openings=openings)
