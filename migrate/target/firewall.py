"""Which port of which host is open to whom: pure, from the manifest's `open_to` and `writers` and the inventory."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from migrate.errors import UsageProblem
from migrate.inventory import Host, Inventory
from migrate.stack import Stack

ANYONE = "anyone"


@dataclass(frozen=True)
class Opening:
    """A TCP port that is open: to these addresses, or to anyone where there are none."""

    port: int
    sources: tuple[str, ...] = ()


def merged(openings: Iterable[Opening]) -> list[Opening]:
    """One opening a port, in order; who is let in by one of them is let in, and anyone is everybody."""
    sources: dict[int, set[str] | None] = {}
    for opening in openings:
        known = sources.setdefault(opening.port, set())
        sources[opening.port] = known | set(opening.sources) if known is not None and opening.sources else None
    return [Opening(port, tuple(sorted(found or (), key=_order))) for port, found in sorted(sources.items())]


def openings(stack: Stack, inventory: Inventory, host: Host) -> list[Opening]:
    """What the manifest opens for the host's services, by port; sshd's own port is open beside these. Raises
    UsageProblem where an address is a name."""
    groups_of: dict[int, set[str]] = {}
    for service in stack.services.values():
        if service.group in host.groups:
            for port, groups in ((service.port, service.open_to), (service.write_port, service.writers)):
                if port and groups:
                    groups_of.setdefault(port, set()).update(groups)
    return [
        Opening(port, () if ANYONE in groups else tuple(addresses_of(inventory, groups)))
        for port, groups in sorted(groups_of.items())
    ]


def addresses_of(inventory: Inventory, groups: Iterable[str]) -> list[str]:
    """Addresses of every host of the groups, once each, in order. Raises UsageProblem where one is a name."""
    return numbers_of(inventory, [host for group in groups for host in inventory.group(group)])


def numbers_of(inventory: Inventory, hosts: Iterable[Host]) -> list[str]:
    """Addresses of hosts, once each, in order. Raises UsageProblem where one is a name."""
    return sorted({_numeric(inventory, host) for host in hosts}, key=_order)


def _numeric(inventory: Inventory, host: Host) -> str:
    try:
        return str(ipaddress.ip_address(host.address))
    except ValueError as fault:
        raise UsageProblem(
            f"the address of {host.name} is a name: {host.address}",
            where=str(inventory.path),
            expected="an IP address: the firewalls of the other hosts let it in by number",
            hint=f"set ansible_host of {host.name} to its address",
        ) from fault


def _order(address: str) -> tuple[int, int]:
    number = ipaddress.ip_address(address)
    return number.version, int(number)
