"""Who leads each database by the inventory, held against what the servers are: where they disagree nothing is changed.

An inventory whose `leads.yml` is old or missing, or that names a new host first, would have every pool of the app lead
to a server without the data.
"""

from collections.abc import Collection

from migrate.errors import GateHeld
from migrate.inventory import LEADS, Host, Inventory
from migrate.ports import Hosts
from migrate.stack import ServiceKind, Stack
from migrate.target.parts.postgresql import DEFAULT_PORT
from migrate.target.replicas import look_at_group

DATABASES = "SELECT count(*) FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
"""As the role asks before a server becomes a replica: one without any has nothing to lose."""


def hold_leads(stack: Stack, inventory: Inventory, hosts: Hosts, giving_way: Collection[str] = ()) -> None:
    """Raises GateHeld where a server that is not to lead takes writes and holds databases, or one that is to lead
    follows. Hosts without a server, or that do not answer, hinder nobody; `giving_way` are to become replicas."""
    for name, service in stack.services.items():
        if service.kind is not ServiceKind.POSTGRESQL:
            continue
        port = service.port or DEFAULT_PORT
        group = {host.name: host for host in inventory.group(service.group)}
        lead = inventory.lead(service.group).name
        state = look_at_group(hosts, [host for one, host in group.items() if one not in giving_way], port)
        others = [leader for leader in state.leaders if leader != lead and _holds_databases(hosts, group[leader], port)]
        if others or (lead in state.servers and state.servers[lead].follows):
            takes_writes = lead in state.leaders and _holds_databases(hosts, group[lead], port)
            raise _disagreement(inventory, name, service.group, others, takes_writes)


def _holds_databases(hosts: Hosts, host: Host, port: int) -> bool:
    command = ["env", "--chdir=/", "psql", "-X", "-At", "-p", str(port), "-d", "postgres", "-c", DATABASES]
    done = hosts.run(host, command, as_user="postgres", timeout=20.0)
    return done.stdout.strip() != "0"


def _disagreement(
    inventory: Inventory, service: str, group: str, others: list[str], lead_takes_writes: bool
) -> GateHeld:
    lead = inventory.lead(group).name
    also = "takes writes too" if lead_takes_writes else "does not" if others else "follows another server"
    words = [*(f"{other} takes writes and holds databases" for other in others), f"{lead} is to lead it, and {also}"]
    return GateHeld(
        f"{service}: {'; '.join(words)}",
        where=str(inventory.path.with_name(LEADS)),
        expected="the server that takes writes to be the one that leads by the inventory; nothing was changed",
        hint=_ways(group, lead, service, others, lead_takes_writes),
    )


def _ways(group: str, lead: str, service: str, others: list[str], lead_takes_writes: bool) -> str:
    if lead_takes_writes:
        return f"find out which has what counts, then: cloudexit failover {service} --rejoin THE-OTHER"
    line = f"`{group}: {others[0] if others else 'HOST'}`"
    stays = f"where {others[0]} goes on leading" if others else "where another host leads"
    takes_over = f"where {lead} is to take over, once it follows: cloudexit failover {service} --to {lead}"
    return f"{stays}, write the line {line} into {LEADS} beside the inventory; {takes_over}"
