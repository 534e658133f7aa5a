"""Who leads each database by the inventory, held against what the servers are: where they disagree nothing is changed.

An inventory whose `leads.yml` is old or missing, or that names a new host first, would have every pool of the app lead
to a server without the data.
"""

from collections.abc import Collection
from dataclasses import dataclass

from migrate.errors import GateHeld
from migrate.inventory import Host, Inventory
from migrate.leads import LEADS
from migrate.ports import Hosts
from migrate.stack import Service, ServiceKind, Stack
from migrate.target.parts.postgresql import DEFAULT_PORT
from migrate.target.replicas import GroupState, look_at_group

DATABASES = "SELECT count(*) FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
"""As the role asks before a server becomes a replica: one without any has nothing to lose."""
CLUSTER = "ls -d /var/lib/postgresql/*/main/PG_VERSION"
LOOK_SECONDS = 20.0


def hold_leads(stack: Stack, inventory: Inventory, hosts: Hosts, giving_way: Collection[str] = ()) -> None:
    """Raises GateHeld where another server than the one that is to lead has what counts, or that one follows. Hosts
    that do not answer hinder nobody; `giving_way` are to become replicas, whatever they are."""
    for name, service in stack.services.items():
        if service.kind is ServiceKind.POSTGRESQL:
            _Group(inventory, hosts, name, service, giving_way).hold()


@dataclass(frozen=True)
class _Group:
    inventory: Inventory
    hosts: Hosts
    name: str
    service: Service
    giving_way: Collection[str]

    def hold(self) -> None:
        members = {host.name: host for host in self.inventory.group(self.service.group)}
        lead = self.inventory.lead(self.service.group)
        asked = [host for name, host in members.items() if name not in self.giving_way]
        state = look_at_group(self.hosts, asked, self._port)
        full = [name for name in state.servers if name != lead.name and self._holds_databases(members[name])]
        leaders = [name for name in full if name in state.leaders]
        if lead.name in state.servers and state.servers[lead.name].follows:
            raise self._disagreement(leaders, f"{lead.name} is to lead it, and follows another server")
        if leaders:
            too = "takes writes too" if lead.name in state.leaders and self._holds_databases(lead) else "does not"
            raise self._disagreement(leaders, f"{lead.name} is to lead it, and {too}", both=too != "does not")
        if full and self._is_empty(lead, state):
            raise self._disagreement([], f"{full[0]} has databases, and {lead.name} is to lead it and has none")

    @property
    def _port(self) -> int:
        return self.service.port or DEFAULT_PORT

    def _holds_databases(self, host: Host) -> bool:
        command = ["env", "--chdir=/", "psql", "-X", "-At", "-p", str(self._port), "-d", "postgres", "-c", DATABASES]
        return self.hosts.run(host, command, as_user="postgres", timeout=LOOK_SECONDS).stdout.strip() != "0"

    def _is_empty(self, lead: Host, state: GroupState) -> bool:
        """Whether the server that is to lead is known to have nothing: one that does not answer may have everything."""
        if lead.name in state.servers:
            return not self._holds_databases(lead)
        return lead.name in state.stopped and not self.hosts.run(lead, ["sh", "-c", CLUSTER], timeout=LOOK_SECONDS)

    def _disagreement(self, leaders: list[str], lead_is: str, *, both: bool = False) -> GateHeld:
        words = [*(f"{leader} takes writes and holds databases" for leader in leaders), lead_is]
        return GateHeld(
            f"{self.name}: {'; '.join(words)}",
            where=str(self.inventory.path.with_name(LEADS)),
            expected="the server that the app writes to to be the one that leads by the inventory; nothing was changed",
            hint=self._way_out(leaders, both),
        )

    def _way_out(self, leaders: list[str], both: bool) -> str:
        if both:
            return f"find out which has what counts, then: cloudexit failover {self.name} --rejoin THE-OTHER"
        takes_over = f"cloudexit failover {self.name}"
        if not leaders:
            return f"where another host leads, write it into {LEADS} (`{self.service.group}: HOST`); else: {takes_over}"
        line = f"write the line `{self.service.group}: {leaders[0]}` into {LEADS} beside the inventory"
        to = f"{takes_over} --to {self.inventory.lead(self.service.group).name}"
        return f"where {leaders[0]} goes on leading, {line}; where it is to give way, once the other follows it: {to}"
