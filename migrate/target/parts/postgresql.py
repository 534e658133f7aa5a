"""PostgreSQL: who leads, who follows, who may sign in from where, and the roles that own databases."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from migrate.inventory import Host
from migrate.plan import digest_of
from migrate.stack import Service, ServiceKind
from migrate.target.firewall import Opening, addresses_of
from migrate.target.hostview import HostView
from migrate.target.ownsecrets import REPLICATION
from migrate.target.parts import tls
from migrate.target.parts.part import Part

DEFAULT_PORT = 5432
REPLICATOR = "cloudexit_replicator"


def variables(view: HostView) -> dict[str, Any] | None:
    service = view.only(ServiceKind.POSTGRESQL)
    if service is None:
        return None
    lead = view.inventory.lead(service.group)
    clients = addresses_of(view.inventory, service.open_to)
    return {
        "service": next(name for name, _ in view.of(ServiceKind.POSTGRESQL)),
        "port": service.port or DEFAULT_PORT,
        "clients": [_network(address) for address in clients],
        "lead": {"name": lead.name, "address": lead.address},
        "leads": view.leads(service),
        "certificate": digest_of(tls.variables(view)),
        "peers": [{"name": peer.name, "network": _network(peer.address)} for peer in _peers(view, service)],
    }


def slot_of(host: str) -> str:
    """Name of the slot in which the lead keeps what a replica has not had yet: lower case, digits and underscores."""
    return "replica_" + "".join(letter if letter.isalnum() else "_" for letter in host.lower())


def secrets(view: HostView) -> dict[str, Any]:
    databases = [database for database in view.stack.databases.values() if database.service in view.services]
    owners = {database.owner: view.secrets[database.password].reveal() for database in databases}
    return {
        "roles": [{"name": name, "password": password} for name, password in owners.items()],
        "replication_password": view.secrets[REPLICATION].reveal(),
    }


def _peers(view: HostView, service: Service) -> list[Host]:
    return [host for host in view.inventory.group(service.group) if host.name != view.host.name]


def _openings(view: HostView) -> Iterator[Opening]:
    """Whoever leads later: each server of a group may be asked by the others."""
    for _, service in view.of(ServiceKind.POSTGRESQL):
        peers = _peers(view, service)
        if peers:
            yield Opening(service.port or DEFAULT_PORT, tuple(addresses_of(view.inventory, [service.group])))


def _network(address: str) -> str:
    return str(ipaddress.ip_network(address))


PART = Part(
    "postgresql", variables, secrets, packages=lambda view: ("postgresql", "python3-psycopg2"), openings=_openings
)
