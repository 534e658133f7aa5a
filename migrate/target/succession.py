"""Who is to lead a database's group after another: what the group is, who has received most, what would be lost."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from migrate.action import StepContext
from migrate.errors import CloudexitError, GateHeld
from migrate.inventory import Host, Inventory
from migrate.ports import Hosts
from migrate.stack import Service, Stack
from migrate.target.parts.postgresql import DEFAULT_PORT
from migrate.target.remains import Remains
from migrate.target.replicas import GroupState, ServerState, look_at_group

POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Succession:
    """A service's group, and who is to lead it. `inventory` has that host as the lead already."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts
    service: str
    off: Mapping[str, CloudexitError] = field(default_factory=dict)
    """Hosts that did not answer when it began, of which the operator says that they take no writes. They are not asked
    again: each look would wait for them."""
    accept_loss: bool = False
    """The operator's word that what the one that is to lead has not got may be lost."""
    sleep: Callable[[float], None] = time.sleep

    @property
    def settings(self) -> Service:
        return self.stack.services[self.service]

    @property
    def port(self) -> int:
        return self.settings.port or DEFAULT_PORT

    @property
    def lead(self) -> Host:
        return self.inventory.lead(self.settings.group)

    @property
    def others(self) -> list[Host]:
        return self.inventory.group(self.settings.group)[1:]

    def look(self) -> GroupState:
        asked = [host for host in self.inventory.group(self.settings.group) if host.name not in self.off]
        found = look_at_group(self.hosts, asked, self.port)
        return replace(found, away={**found.away, **self.off})

    def awaited(self, done: Callable[[GroupState], bool], seconds: float, context: StepContext) -> bool:
        """Looks until it is so; False where it is not within the bound, or the run is cancelled."""
        end = time.monotonic() + seconds
        while not done(self.look()):
            if time.monotonic() > end or context.cancelled():
                return False
            self.sleep(POLL_SECONDS)
        return True


def choose(state: GroupState, lead: str, service: str) -> str:
    """The host that is to lead where none was named: one that leads already where it is not to by the inventory, or the
    replica that has received the most. Raises GateHeld."""
    if len(state.leaders) == 1 and state.leaders[0] != lead:
        return state.leaders[0]
    candidates = [server for name, server in state.servers.items() if server.follows and name != lead]
    if not candidates:
        raise GateHeld(
            f"nobody can take over from {lead}",
            where=f"services.{service}",
            expected="a replica that answers",
            hint=f"is only its server stopped? cloudexit failover {service} --to {lead}; else restore from a backup",
        )
    return max(candidates, key=lambda server: (server.timeline, server.received)).host


@dataclass(frozen=True)
class Lacking:
    """What a host has and the one that is to lead has not."""

    host: str
    bytes: int
    known_to_end: bool
    runs: bool

    def __str__(self) -> str:
        return f"{'' if self.known_to_end else 'at least '}{self.bytes:,} bytes of WAL that {self.host} has"


def lacking(heir: ServerState, state: GroupState, remains: list[Remains]) -> list[Lacking]:
    """Once nobody takes writes: what others have and the heir has not. What stands on an older timeline than the heir's
    was decided when that one began."""
    return [] if not heir.follows else [found for found in _lacking(heir, state, remains) if found.bytes]


def _lacking(heir: ServerState, state: GroupState, remains: list[Remains]) -> Iterator[Lacking]:
    for other in state.servers.values():
        if other.follows and other.timeline >= heir.timeline:
            yield Lacking(other.host, _bytes_between(heir, other.timeline, other.received), True, True)
    for one in remains:
        if one.ended and one.timeline >= heir.timeline:
            missing = _bytes_between(heir, one.timeline, one.position)
            yield Lacking(one.host, missing or int(not one.known_to_end), one.known_to_end, False)


def _bytes_between(heir: ServerState, timeline: int, position: int) -> int:
    return max(position - heir.received, int(timeline > heir.timeline))


def has_received(state: GroupState, host: str, position: int) -> bool:
    """Whether a server has and shows the record that begins at a position."""
    server = state.servers.get(host)
    return server is not None and server.received > position and server.position > position
