"""How processes that serve nobody as they are take up what a provision has written, and whom they hold up."""

from dataclasses import replace
from threading import Barrier

import pytest

from migrate.check import ChecksHeld
from migrate.stack import Stack
from migrate.target import restarting
from migrate.target.duerestarts import RestartRoll
from tests.hosts_in_memory import inventory_with
from tests.rolled_home import BOTH, CONTEXT, SERVICES, UNITS, checks_of, due_machines, home_of, ill_when, take_up, webs


def test_who_serves_nobody_goes_before_the_others(stack: Stack) -> None:
    hosts = due_machines("app1", "app2", "app3", "app4")
    ill_when(hosts, lambda host, restarted: host in ("app2", "app4") and not restarted)
    take_up(stack, hosts)
    assert webs(hosts) == ["app2", "app4", "app1", "app3"]
    assert not any(one.closed for one in hosts.machines.values())


def test_where_nobody_serves_one_goes_first_and_the_others_side_by_side(stack: Stack) -> None:
    """As when the database has another password."""
    hosts = due_machines("app1", "app2", "app3")
    both = Barrier(2)
    closed: dict[str, set[str]] = {}

    def look(host: str, restarted: bool) -> bool:
        if restarted and host not in closed:
            closed[host] = {name for name, one in hosts.machines.items() if one.closed}
            if host != "app1":
                both.wait(timeout=5.0)
        return not restarted

    ill_when(hosts, look)
    take_up(stack, hosts)
    assert closed["app1"] == {"app1"}, "it may be worse with what it was given"
    assert closed["app2"] | closed["app3"] == {"app2", "app3"}
    assert webs(hosts)[0] == "app1" and not any(one.due or one.closed for one in hosts.machines.values())


def test_what_fails_on_all_hosts_takes_none_but_one_to_what_is_worse_however_often_it_is_asked_for(
    stack: Stack,
) -> None:
    """As web's check of the worker, while that is stopped: users are served all the same."""
    hosts = due_machines("app1", "app2", "app3")
    ill_when(hosts, lambda host, restarted: True)
    for _ in range(4):
        with pytest.raises(ChecksHeld) as held:
            take_up(stack, hosts)
        assert set(webs(hosts)) == {"app1"}
        assert [name for name, one in hosts.machines.items() if one.closed] == ["app1"]
    assert "plaza-web.service on app1: not healthy, and it was not before it was restarted either; " in held.value.what
    assert "still run with what they had: app2, app3" in held.value.what


def test_a_worker_that_crashes_makes_no_host_ill_whose_web_server_answers(stack: Stack) -> None:
    hosts = due_machines("app1", "app2")
    inventory = inventory_with(dict.fromkeys(hosts.machines, BOTH))
    standings = home_of(stack, hosts).look()
    crashing = {name: replace(one, active=one.active - {UNITS[0]}) for name, one in standings.items()}
    gates = restarting.Restarting(stack, hosts, checks_of(stack, hosts, inventory), CONTEXT)
    due = dict.fromkeys(hosts.machines, SERVICES)
    roll = RestartRoll(gates, "plaza", list(inventory.hosts.values()), crashing, due, lambda: None)
    roll.roll()
    assert roll.ill == [] and webs(hosts) == ["app1", "app2"]


def test_each_kind_of_host_that_serves_nobody_has_one_that_goes_first(stack: Stack) -> None:
    groups = {"app1": ("app",), "app2": ("app",), "worker1": ("worker",)}
    hosts = due_machines(*groups)
    ill_when(hosts, lambda host, restarted: host != "worker1" and f"{host} web" in hosts.restarted)
    hosts.machines["worker1"].closed = True
    for name in ("app1", "app2"):
        hosts.machines[name].due = ["plaza-web.service"]
    hosts.machines["worker1"].due = ["plaza-worker.service"]
    hosts.machines["app2"].crashes = hosts.machines["app1"].crashes = True
    with pytest.raises(ChecksHeld):
        take_up(stack, hosts, groups=groups)
    assert hosts.restarted == ["worker1 worker", "app1 web"], "a worker proves nothing of a web server"


def test_a_host_that_was_ill_before_keeps_no_other_from_what_it_was_given(stack: Stack) -> None:
    hosts = due_machines("app1", "app2", "app3")
    ill_when(hosts, lambda host, restarted: host == "app3")
    with pytest.raises(ChecksHeld) as held:
        take_up(stack, hosts)
    said = "plaza-web.service on app3: not healthy, and it was not before it was restarted either: app3: web: healthy"
    assert held.value.what.startswith(said)
    assert held.value.hint.startswith("mend what its check names, or the host: the same command goes on from here")
    assert webs(hosts) == ["app3", "app1", "app2"]
    assert [name for name, one in hosts.machines.items() if one.due] == ["app3"]
    for one in hosts.machines.values():
        one.due = list(UNITS)
    hosts.restarted.clear()
    with pytest.raises(ChecksHeld):
        take_up(stack, hosts)
    assert webs(hosts) == ["app3", "app1", "app2"], "with other secrets a week later"


def test_others_that_were_ill_follow_those_that_are_well_where_the_first_of_them_stays_ill(stack: Stack) -> None:
    hosts = due_machines("app1", "app2", "app3")
    ill_when(hosts, lambda host, restarted: host == "app1" or (host == "app2" and not restarted))
    with pytest.raises(ChecksHeld, match="on app1: not healthy, and it was not before"):
        take_up(stack, hosts)
    assert webs(hosts) == ["app1", "app3", "app2"]
    assert [name for name, one in hosts.machines.items() if one.closed] == ["app1"]


def test_what_is_bad_everywhere_reaches_no_further_host_however_often_it_is_asked_for(stack: Stack) -> None:
    hosts = due_machines("app1", "app2", "app3", "app4")
    ill_when(hosts, lambda host, restarted: host == "app1" or restarted)
    for attempt in range(4):
        with pytest.raises(
            ChecksHeld, match=r"plaza-web\.service on app2: not healthy with what it was given;"
        ) as held:
            take_up(stack, hosts)
        assert set(webs(hosts)) == {"app1", "app2"}, attempt
        assert held.value.hint.startswith("mend what it was given")
        for one in hosts.machines.values():
            one.closed = False  # its time is over
    hosts.is_bad = lambda host, runs: False
    take_up(stack, hosts)
    assert not any(one.closed or one.due or one.was_well for one in hosts.machines.values())


def test_a_host_whose_web_server_is_ill_stands_in_for_nobody_though_only_its_worker_is_due(stack: Stack) -> None:
    hosts = due_machines("app1", "app2")
    hosts.machines["app1"].due = ["plaza-worker.service"]
    closed: list[str] = []

    def look(host: str, restarted: bool) -> bool:
        if host == "app2" and restarted and hosts.machines[host].closed:
            closed.append(host)
        return host == "app1"

    ill_when(hosts, look)
    take_up(stack, hosts)
    assert hosts.restarted == ["app1 worker", "app2 worker", "app2 web"] and closed == []
