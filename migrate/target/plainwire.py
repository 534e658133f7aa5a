"""What hosts of a home say to each other in the clear, and over which addresses. Pure, no I/O."""

import ipaddress
from collections.abc import Iterator

from migrate.check import CheckResult, Severity, Verdict
from migrate.inventory import Host, Inventory
from migrate.stack import ServiceKind, Stack
from migrate.target.firewall import ANYONE
from migrate.target.hostview import bracketed, services_of

PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "::1/128", "fc00::/7"),
    )
)
"""Not Python's `is_private`: that holds addresses of examples for private too."""
NAME = "private-network"
HINT = (
    "put a private network or a VPN (WireGuard) between the hosts, and its addresses into the inventory (ansible_host)"
)


def is_private(address: str) -> bool:
    """Raises ValueError where it is no address."""
    number = ipaddress.ip_address(address)
    if number.version == 6 and number.ipv4_mapped:
        number = number.ipv4_mapped
    return any(number in network for network in PRIVATE if network.version == number.version)


def judge_wire(stack: Stack, inventory: Inventory, host: Host) -> CheckResult:
    """Whether what other hosts tell this one in the clear goes over a private address. A warning: who owns the wire
    between them, only the operator knows."""
    spoken = list(_in_the_clear(stack, inventory, host))
    try:
        private = not spoken or is_private(host.address)
    except ValueError:
        words = f"{host.address} is a name; whether it is private cannot be told"
        return CheckResult(NAME, Verdict.UNKNOWN, words, HINT, host.name, Severity.WARNING)
    if private:
        words = "over a private address" if spoken else "no other host speaks in the clear to it"
        return CheckResult(NAME, Verdict.PASS, words, "", host.name, Severity.WARNING)
    return CheckResult(NAME, Verdict.FAIL, "; ".join(spoken), HINT, host.name, Severity.WARNING)


def _in_the_clear(stack: Stack, inventory: Inventory, host: Host) -> Iterator[str]:
    for name, service in services_of(stack, host).items():
        is_http = service.kind in (ServiceKind.PROCESS, ServiceKind.MEDIA)
        if not is_http and (service.kind is not ServiceKind.REDIS or service.tls_only):
            continue
        for port, groups in ((service.port, service.open_to), (service.write_port, service.writers)):
            others = {h.name for group in groups if group != ANYONE for h in inventory.group(group)} - {host.name}
            if port and others:
                yield f"{', '.join(sorted(others))} in the clear to {name}, {bracketed(host.address)}:{port}"
