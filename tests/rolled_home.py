"""A home in memory on which releases are rolled: hosts that run OLD, with FIRST before it, and have NEW installed."""

from collections.abc import Callable, Mapping

import yaml

from migrate.action import StepContext
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.inventory import Inventory
from migrate.stack import Stack
from migrate.target.checks import ServiceChecks
from migrate.target.duerestarts import DueRestarts
from migrate.target.releasehome import ReleaseHome
from migrate.target.standing import Installed
from tests.homes import PLAZA
from tests.hosts_in_memory import HostsInMemory, Machine, inventory_with
from tests.local_hosts import secrets_of_tests

OLD, FIRST, NEW = (Installed(version, letter * 64) for version, letter in (("1", "a"), ("0", "b"), ("2", "c")))
BOTH = ("app", "worker")
CONTEXT = StepContext()
UNITS = ["plaza-worker.service", "plaza-web.service"]
SERVICES = ["worker", "web"]


def impatient_stack() -> Stack:
    """plaza, whose web server is given no time to answer its checks."""
    document = yaml.safe_load(PLAZA.read_text())
    for check in document["services"]["web"]["checks"]:
        check["within"] = "10ms"
    return Stack.model_validate(document)


def folder(release: Installed) -> str:
    return f"/srv/plaza/releases/{release.folder_name}"


def machines(*names: str) -> HostsInMemory:
    return HostsInMemory({name: Machine(folder(OLD), folder(OLD), (FIRST, OLD), {FIRST, OLD, NEW}) for name in names})


def home_of(stack: Stack, hosts: HostsInMemory, inventory: Inventory | None = None, who: str = "me") -> ReleaseHome:
    inventory = inventory or inventory_with(dict.fromkeys(hosts.machines, BOTH))
    return ReleaseHome(hosts, checks_of(stack, hosts, inventory), stack, inventory, "plaza", who)


def checks_of(stack: Stack, hosts: HostsInMemory, inventory: Inventory) -> ServiceChecks:
    return ServiceChecks(
        stack, inventory, secrets_of_tests(), hosts, hosts, PsycopgClient(), RedisClient(), sleep=lambda seconds: None
    )


def due_machines(*names: str) -> HostsInMemory:
    hosts = machines(*names)
    for machine in hosts.machines.values():
        machine.due = list(UNITS)
    return hosts


def take_up(
    stack: Stack, hosts: HostsInMemory, context: StepContext = CONTEXT, who: str = "me",
    groups: Mapping[str, tuple[str, ...]] | None = None,
) -> list[str]:  # fmt: skip
    """What a provision does once it has read what is due; returns hosts that were restarted."""
    inventory = inventory_with(groups or dict.fromkeys(hosts.machines, BOTH))
    due = {
        name: [service for service, unit in zip(SERVICES, UNITS, strict=True) if unit in machine.due]
        for name, machine in hosts.machines.items()
        if machine.due
    }
    return list(DueRestarts(hosts, stack, inventory, checks_of(stack, hosts, inventory), who).restart(due, context))


def webs(hosts: HostsInMemory) -> list[str]:
    return [line.split()[0] for line in hosts.restarted if line.endswith("web")]


def ill_when(hosts: HostsInMemory, is_ill: Callable[[str, bool], bool]) -> None:
    """By the host, and whether its web server was restarted."""
    hosts.is_bad = lambda host, runs: is_ill(host, host in webs(hosts))
