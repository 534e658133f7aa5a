"""Which port of which host is open to whom: pure, from the manifest's `open_to` and `writers` and the inventory."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from migrate.errors import UsageProblem
from migrate.inventory import Host, Inventory
from migrate.stack import Stack

ANYONE = "anyone"
"""In the place of an address: the whole world. It is never what is left when nobody is named."""


@dataclass(frozen=True)
class Opening:
    """A TCP port that is open to these addresses, to the whole world with `ANYONE`, and to nobody without either."""

    port: int
    sources: tuple[str, ...]


def merged(openings: Iterable[Opening]) -> list[Opening]:
    """One opening a port, in order; who is let in by one of them is let in. Where nobody is, there is none."""
    sources: dict[int, set[str]] = {}
    for opening in openings:
        sources.setdefault(opening.port, set()).update(opening.sources)
    return [
        Opening(port, (ANYONE,) if ANYONE in found else tuple(sorted(found, key=_order)))
        for port, found in sorted(sources.items())
        if found
    ]


def openings(stack: Stack, inventory: Inventory, host: Host) -> list[Opening]:
    """What the manifest opens for the host's services, by port; sshd's own port is open beside these. Raises
    UsageProblem where an address is a name."""
    groups_of: dict[int, set[str]] = {}
    for service in stack.services.values():
        if service.group in host.groups:
            for port, groups in ((service.port, service.open_to), (service.write_port, service.writers)):
                if port and groups:
                    groups_of.setdefault(port, set()).update(groups)
    return [Opening(port, audience(inventory, groups)) for port, groups in sorted(groups_of.items())]


def audience(inventory: Inventory, groups: Iterable[str]) -> tuple[str, ...]:
    """Whom groups let in: addresses, or `ANYONE`; nobody where the groups have no host."""
    return (ANYONE,) if ANYONE in groups else tuple(addresses_of(inventory, groups))


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
