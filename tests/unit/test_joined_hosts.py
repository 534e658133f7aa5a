"""A host that joins a home that runs is met by nobody before it is healthy."""

from dataclasses import replace

import pytest

from migrate.action import StepContext
from migrate.check import ChecksHeld, Verdict
from migrate.stack import Stack
from migrate.target.deploy import JoinedHostsStarted
from migrate.target.releasehome import ReleaseHome
from migrate.target.services import ServiceStarted
from tests.homes import STEP
from tests.hosts_in_memory import HostsInMemory, inventory_with
from tests.rolled_home import BOTH, checks_of, impatient_stack, machines

CONTEXT = StepContext()
WEB = replace(STEP, subject="web")


@pytest.fixture(scope="module")
def stack() -> Stack:
    return impatient_stack()


def joined(stack: Stack, hosts: HostsInMemory, *idle: str) -> JoinedHostsStarted:
    """A home of which these hosts run nothing yet."""
    for name in idle:
        hosts.machines[name].wanted = False
    inventory = inventory_with(dict.fromkeys(hosts.machines, BOTH))
    checks = checks_of(stack, hosts, inventory)
    home = ReleaseHome(hosts, checks, stack, inventory, "plaza", "me")
    return JoinedHostsStarted(stack, ServiceStarted(stack, inventory, hosts, checks), home)


def test_its_ports_open_when_it_is_healthy(stack: Stack) -> None:
    hosts = machines("app1", "app2", "app3")
    met: dict[str, bool] = {}

    def look(host: str, runs: str) -> bool:
        met[host] = hosts.machines[host].closed
        return False

    hosts.is_bad = look
    start = joined(stack, hosts, "app3")
    assert start.verify(WEB, CONTEXT) is Verdict.FAIL
    start.apply(WEB, CONTEXT)
    assert met == {"app1": False, "app2": False, "app3": True}
    assert start.verify(WEB, CONTEXT) is Verdict.PASS
    assert not any(one.closed for one in hosts.machines.values())


def test_it_is_stopped_again_where_it_is_not(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    hosts.is_bad = lambda host, runs: host == "app2"
    with pytest.raises(ChecksHeld, match="app2: web: healthy"):
        joined(stack, hosts, "app2").apply(WEB, CONTEXT)
    assert [one.wanted for one in hosts.machines.values()] == [True, False]
    assert not any(one.closed for one in hosts.machines.values())


def test_it_stays_closed_for_a_while_where_it_cannot_even_be_stopped(stack: Stack) -> None:
    hosts = machines("app1", "app2")

    def lose(host: str, runs: str) -> bool:
        hosts.lost = {"app2"}
        return host == "app2"

    hosts.is_bad = lose
    with pytest.raises(ChecksHeld, match="app2: web: healthy"):
        joined(stack, hosts, "app2").apply(WEB, CONTEXT)
    assert hosts.machines["app2"].closed
