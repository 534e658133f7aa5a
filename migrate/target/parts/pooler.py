"""Connections to a database, pooled on each host of the app: where the database is stands here, and not in the app."""

from typing import Any

from migrate.errors import UsageProblem
from migrate.inventory import Inventory
from migrate.plan import digest_of
from migrate.stack import Service, ServiceKind, Stack
from migrate.target.hostview import HostView
from migrate.target.parts import tls
from migrate.target.parts.part import Part
from migrate.target.parts.postgresql import DEFAULT_PORT


def pooled(view: HostView) -> tuple[str, Service] | None:
    """The database service that this host's processes reach through a pool; raises UsageProblem for two of them."""
    found = [
        (name, service)
        for name, service in view.everywhere(ServiceKind.POSTGRESQL)
        if service.pool_port and set(service.open_to) & set(view.host.groups)
    ]
    if len(found) > 1:
        raise UsageProblem(
            f"{' and '.join(name for name, _ in found)} are both reached through a pool",
            where=f"host {view.host.name}",
            expected="one pool on a host",
            hint="leave `pool_port` of one of them out, and name its address in the app's environment",
        )
    return found[0] if found else None


def databases_text(stack: Stack, inventory: Inventory, name: str) -> str:
    """The lines of pgbouncer's settings that say where the databases of a service are. A fail-over writes them too."""
    service = stack.services[name]
    where = f"host={inventory.address(service.group)} port={service.port or DEFAULT_PORT}"
    databases = [database for database, one in stack.databases.items() if one.service == name]
    return "[databases]\n" + "".join(f"{database} = {where}\n" for database in (*sorted(databases), "*"))


def variables(view: HostView) -> dict[str, Any] | None:
    found = pooled(view)
    if found is None:
        return None
    name, service = found
    return {
        "port": service.pool_port,
        "databases": databases_text(view.stack, view.inventory, name),
        "authority": digest_of(tls.variables(view)["authority"]),
    }


def secrets(view: HostView) -> dict[str, Any]:
    found = pooled(view)
    owners = {
        database.owner: view.secrets[database.password].reveal()
        for database in view.stack.databases.values()
        if found and database.service == found[0]
    }
    return {"accounts": "".join(f'"{name}" "{_quoted(password)}"\n' for name, password in sorted(owners.items()))}


def _quoted(password: str) -> str:
    return password.replace('"', '""')


PART = Part("pooler", variables, secrets, packages=lambda view: ("pgbouncer", "postgresql-client"))
