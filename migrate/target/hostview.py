"""One host in the light of the stack and the inventory: what the parts of the new home are told from. Pure, no I/O."""

from dataclasses import dataclass, field
from typing import Any

from migrate.errors import UsageProblem
from migrate.inventory import Host, Inventory
from migrate.secret import Secrets
from migrate.stack import Service, ServiceKind, Stack


def services_of(stack: Stack, host: Host) -> dict[str, Service]:
    """The services that a host runs, by name."""
    return {name: service for name, service in stack.services.items() if service.group in host.groups}


@dataclass(frozen=True)
class HostView:
    """One host of the new home, and all that it must know of the others."""

    stack: Stack
    inventory: Inventory
    host: Host
    secrets: Secrets = field(repr=False)

    @property
    def services(self) -> dict[str, Service]:
        """The services that the host runs, by name."""
        return services_of(self.stack, self.host)

    @property
    def own_variables(self) -> dict[str, Any]:
        """What the inventory says of the host, its groups' variables among it."""
        return dict(self.inventory.merged.get(self.host.name, {}))

    def of(self, kind: ServiceKind) -> list[tuple[str, Service]]:
        """The host's services of a kind."""
        return [(name, service) for name, service in self.services.items() if service.kind is kind]

    def only(self, kind: ServiceKind) -> Service | None:
        """The host's service of a kind that a host can hold only once; raises UsageProblem where it has two."""
        found = self.of(kind)
        if len(found) > 1:
            raise UsageProblem(
                f"{' and '.join(name for name, _ in found)} are both of kind {kind.value}",
                where=f"host {self.host.name}",
                expected="one service of this kind on a host",
                hint="give one of them a group, and so a host, of its own",
            )
        return found[0][1] if found else None

    def everywhere(self, kind: ServiceKind) -> list[tuple[str, Service]]:
        """Services of a kind wherever they run, this host or another."""
        return [(name, service) for name, service in self.stack.services.items() if service.kind is kind]

    def hosts_of(self, kind: ServiceKind) -> list[Host]:
        """Hosts that run a service of a kind, once each."""
        found = {h.name: h for _, service in self.everywhere(kind) for h in self.inventory.group(service.group)}
        return list(found.values())

    def leads(self, service: Service) -> bool:
        """Whether this host is the one of the service's group that takes writes."""
        return self.inventory.lead(service.group).name == self.host.name

    def endpoints(self, service: str) -> list[str]:
        """`address:port` of each host of a service."""
        target = self.stack.services[service]
        return [f"{bracketed(host.address)}:{target.port}" for host in self.inventory.group(target.group)]


def bracketed(address: str) -> str:
    """An address as it stands before a colon and a port."""
    return f"[{address}]" if ":" in address else address
