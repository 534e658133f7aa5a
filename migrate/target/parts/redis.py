"""Redis: its port and the password of its clients."""

from typing import Any

from migrate.stack import ServiceKind
from migrate.target.hostview import HostView
from migrate.target.parts.part import Part


def variables(view: HostView) -> dict[str, Any] | None:
    service = view.only(ServiceKind.REDIS)
    return {"port": service.port} if service else None


def secrets(view: HostView) -> dict[str, Any]:
    caches = [cache for cache in view.stack.caches.values() if cache.service in view.services]
    return {"password": view.secrets[caches[0].password].reveal() if caches else ""}


PART = Part("redis", variables, secrets, packages=lambda view: ("redis-server",))
