"""What the new home is made of, part by part, in the order in which provision.yml takes them."""

from migrate.target.hostview import HostView
from migrate.target.parts import (
    backup,
    edge,
    exporters,
    logs,
    mail,
    media,
    monitor,
    packagecache,
    pooler,
    postgresql,
    processes,
    redis,
    storage,
    tls,
)
from migrate.target.parts.part import Part

PARTS: tuple[Part, ...] = (
    storage.PART,
    tls.PART,
    postgresql.PART,
    backup.PART,
    pooler.PART,
    redis.PART,
    media.PART,
    processes.PART,
    edge.PART,
    mail.PART,
    logs.PART,
    packagecache.PART,
    exporters.PART,
    monitor.PART,
)


def parts_of(view: HostView) -> list[Part]:
    """The parts that a host gets."""
    return [part for part in PARTS if part.variables(view) is not None]
