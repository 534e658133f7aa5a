"""Backups: which host keeps them, of which clusters, and who speaks to whom about it."""

from collections.abc import Iterator
from typing import Any

from migrate.errors import UsageProblem
from migrate.inventory import Host
from migrate.stack import Service, ServiceKind
from migrate.target.firewall import Opening
from migrate.target.hostview import HostView
from migrate.target.ownsecrets import BACKUP
from migrate.target.parts.part import Part

DEFAULT_PORT = 8432
POSTGRESQL_PORT = 5432


def variables(view: HostView) -> dict[str, Any] | None:
    """None where there is no repository, or the host neither keeps backups nor has a cluster to be kept."""
    kept = _kept(view)
    if kept is None:
        return None
    service, repository = kept
    stanzas = [_stanza(view, name, database) for name, database in view.everywhere(ServiceKind.POSTGRESQL)]
    own = [stanza["name"] for stanza in stanzas if view.host.name in [host["name"] for host in stanza["hosts"]]]
    is_repository = repository.name == view.host.name
    if not (own or is_repository):
        return None
    return {
        "port": service.port or DEFAULT_PORT,
        "repository": {"name": repository.name, "address": repository.address},
        "is_repository": is_repository,
        "own_stanza": own[0] if own else "",
        "stanzas": stanzas if is_repository else [stanza for stanza in stanzas if stanza["name"] in own],
        "full_backups_kept": service.full_backups_kept,
    }


def secrets(view: HostView) -> dict[str, Any]:
    """The pass of the repository, for the host that keeps it and for no other."""
    told = variables(view)
    return {"cipher_pass": view.secrets[BACKUP].reveal() if told and told["is_repository"] else ""}


def openings(view: HostView) -> Iterator[Opening]:
    """The repository and the hosts with clusters speak to each other, both ways."""
    told = variables(view)
    if told is None:
        return
    others = [told["repository"]]
    if told["is_repository"]:
        others = [host for stanza in told["stanzas"] for host in stanza["hosts"]]
    sources = sorted({host["address"] for host in others if host["name"] != view.host.name})
    if sources:
        yield Opening(told["port"], tuple(sources))


def _kept(view: HostView) -> tuple[Service, Host] | None:
    services = [(s, view.inventory.group(s.group)) for _, s in view.everywhere(ServiceKind.BACKUP)]
    found = [(service, hosts) for service, hosts in services if hosts]
    if not found:
        return None
    if len(found) > 1 or len(found[0][1]) > 1:
        raise UsageProblem(
            "the backups have more than one repository",
            where=f"hosts {', '.join(host.name for _, hosts in found for host in hosts)}",
            expected="one service of kind backup, and one host in its group",
        )
    service, [repository] = found[0]
    return service, repository


def _stanza(view: HostView, name: str, database: Service) -> dict[str, Any]:
    members = sorted(view.inventory.group(database.group), key=lambda host: list(view.inventory.hosts).index(host.name))
    return {
        "name": name,
        "port": database.port or POSTGRESQL_PORT,
        "hosts": [{"name": host.name, "address": host.address} for host in members],
    }


PART = Part(
    "pgbackrest",
    variables,
    secrets,
    packages=lambda view: ("pgbackrest", "postgresql"),
    openings=openings,
)
