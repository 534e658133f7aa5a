"""How long the copies of a provision may take: a server that is to follow is copied from the one that leads."""

from collections.abc import Collection

from migrate.errors import OutsideProblem
from migrate.inventory import Host, Inventory
from migrate.ports import Hosts
from migrate.stack import Service, Stack
from migrate.target.repository import POSTGRESQL_PORT, asked_of_server, kept_services

SHORTEST_BOUND = 1800
BYTES_PER_SECOND = 5_000_000
"""A link at 100 Mbit/s carries twice as much. A copy that is slower than this from end to end is given up."""
BYTES = "SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database"
FOLLOWS = "ls /var/lib/postgresql/*/main/standby.signal"


def seconds_for_copies(
    hosts: Hosts, stack: Stack, inventory: Inventory, reached: Collection[str], anyway: Collection[str] = ()
) -> int:
    """Bound for the copies of servers on the hosts `reached`, which are made side by side; 0 where none is foreseen.
    `anyway`: hosts that are copied whatever they hold."""
    bounds = [0]
    for service in kept_services(stack).values():
        lead, *others = inventory.group(service.group)
        if any(_is_to_be_copied(hosts, host, anyway) for host in others if host.name in reached):
            bounds.append(max(SHORTEST_BOUND, _bytes(hosts, lead, service) // BYTES_PER_SECOND))
    return max(bounds)


def _is_to_be_copied(hosts: Hosts, host: Host, anyway: Collection[str]) -> bool:
    if host.name in anyway:
        return True
    try:
        return not hosts.run(host, ["sh", "-c", FOLLOWS])
    except OutsideProblem:
        return False  # whoever is away is not copied


def _bytes(hosts: Hosts, lead: Host, service: Service) -> int:
    try:
        return int(asked_of_server(hosts, lead, service.port or POSTGRESQL_PORT, BYTES))
    except (OutsideProblem, ValueError):
        return 0  # a lead that is not there yet is empty
