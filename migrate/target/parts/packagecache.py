"""Package cache: every host fetches its packages through the hosts that keep them, where there are some."""

from typing import Any

from migrate.stack import ServiceKind
from migrate.target.firewall import Opening, numbers_of
from migrate.target.hostview import HostView
from migrate.target.parts.part import Part


def variables(view: HostView) -> dict[str, Any] | None:
    """`port` is 0 where the host keeps none itself; one that does asks itself first."""
    caches = [
        (host, service.port)
        for _, service in view.everywhere(ServiceKind.PACKAGES)
        for host in view.inventory.group(service.group)
    ]
    if not caches:
        return None
    caches.sort(key=lambda cache: cache[0].name != view.host.name)
    own = view.only(ServiceKind.PACKAGES)
    return {
        "caches": [{"address": host.address, "port": port} for host, port in caches],
        "port": own.port if own else 0,
    }


def packages(view: HostView) -> list[str]:
    return ["apt-cacher-ng", "logrotate"] if view.only(ServiceKind.PACKAGES) else []


def openings(view: HostView) -> list[Opening]:
    own = view.only(ServiceKind.PACKAGES)
    hosts = view.inventory.hosts.values()
    return [Opening(own.port, tuple(numbers_of(view.inventory, hosts)))] if own and own.port else []


PART = Part("package_cache", variables, packages=packages, openings=openings)
