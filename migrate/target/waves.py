"""In which order the hosts of a release are switched. Pure, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from migrate.inventory import Host
from migrate.stack import ServiceKind, Stack
from migrate.target.hostview import services_of

PARTS_OF_A_ROLL = 3
"""After the first host of its kind, the others are switched a third at a time."""


@dataclass(frozen=True)
class Wave:
    """Hosts that are switched side by side, while all the others go on."""

    hosts: tuple[Host, ...]
    services: tuple[str, ...]
    """Services of the release that each of them runs, in the order in which they start."""


def waves_of(stack: Stack, release: str, hosts: Sequence[Host]) -> list[Wave]:
    """Hosts that run the same services are of one kind. The kinds go by the manifest's `after`: a worker's host before
    a web server's that waits for it. Of each kind one host goes first, alone; the rest follows in thirds."""
    order = stack.services_in_order()
    kinds: dict[tuple[str, ...], list[Host]] = {}
    for host in hosts:
        kinds.setdefault(services_on(stack, release, host), []).append(host)
    return [
        Wave(tuple(batch), services)
        for services in sorted(kinds, key=lambda names: [order.index(name) for name in names])
        for batch in _batches(kinds[services])
    ]


def services_on(stack: Stack, release: str, host: Host) -> tuple[str, ...]:
    """Services of a host that run from a release, in the order in which they start."""
    found = services_of(stack, host)
    return tuple(name for name in stack.services_in_order() if name in found and found[name].release == release)


def _batches(hosts: Sequence[Host]) -> list[Sequence[Host]]:
    first, rest = hosts[:1], hosts[1:]
    size = max(1, -(-len(rest) // PARTS_OF_A_ROLL))
    return [first, *(rest[begin : begin + size] for begin in range(0, len(rest), size))]


def is_asked_by_an_edge(stack: Stack, services: Sequence[str]) -> bool:
    """Whether an edge passes requests on to one of the services."""
    return any(s.kind is ServiceKind.EDGE and s.upstream in services for s in stack.services.values())


def units_of(stack: Stack, services: Sequence[str]) -> Mapping[str, str]:
    """Service -> its unit."""
    return {name: stack.services[name].unit for name in services}
