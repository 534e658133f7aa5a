"""PostgreSQL: who may sign in from where, and the roles that own databases."""

import ipaddress
from typing import Any

from migrate.stack import ServiceKind
from migrate.target.firewall import addresses_of
from migrate.target.hostview import HostView
from migrate.target.parts.part import Part


def variables(view: HostView) -> dict[str, Any] | None:
    service = view.only(ServiceKind.POSTGRESQL)
    if service is None:
        return None
    clients = [str(ipaddress.ip_network(address)) for address in addresses_of(view.inventory, service.open_to)]
    return {"port": service.port, "clients": clients}


def secrets(view: HostView) -> dict[str, Any]:
    databases = [database for database in view.stack.databases.values() if database.service in view.services]
    owners = {database.owner: view.secrets[database.password].reveal() for database in databases}
    return {"roles": [{"name": name, "password": password} for name, password in owners.items()]}


PART = Part("postgresql", variables, secrets, packages=lambda view: ("postgresql", "python3-psycopg2"))
