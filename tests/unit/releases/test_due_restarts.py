"""How processes take up what a provision has written for them: in which order, behind which gates, and what a kill, a
lost host or a deploy changes."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from time import sleep

import pytest

from migrate.action import StepContext
from migrate.check import ChecksHeld, Verdict
from migrate.errors import GateHeld, Interrupted, LockHeld, Unreachable
from migrate.stack import Stack
from migrate.target import provision, restarting
from tests.hosts_in_memory import HostsInMemory, inventory_with
from tests.rolled_home import (
    BOTH,
    CONTEXT,
    NEW,
    UNITS,
    due_machines,
    folder,
    home_of,
    ill_when,
    take_up,
    webs,
)


def test_hosts_are_closed_and_restarted_in_waves_and_are_due_no_more(stack: Stack) -> None:
    hosts = due_machines("app1", "app2", "app3", "app4", "app5")
    seen: list[tuple[str, frozenset[str]]] = []

    def look(host: str, restarted: bool) -> bool:
        if restarted:
            seen.append((host, frozenset(name for name, one in hosts.machines.items() if one.closed)))
        return False

    ill_when(hosts, look)
    assert take_up(stack, hosts) == ["app1", "app2", "app3", "app4", "app5"]
    assert {host for host, closed in seen if host in closed} == set(hosts.machines)
    assert dict(seen)["app1"] == {"app1"}
    assert all(closed <= {"app2", "app3"} for host, closed in seen if host in ("app2", "app3"))
    assert not any(one.closed or one.due for one in hosts.machines.values())
    assert hosts.machines["app1"].holder == ""


def test_only_what_is_due_is_restarted(stack: Stack) -> None:
    hosts = due_machines("app1", "app2")
    hosts.machines["app1"].due = ["plaza-worker.service"]
    hosts.machines["app2"].due = []
    assert take_up(stack, hosts) == ["app1"]
    assert hosts.restarted == ["app1 worker"]


def test_one_that_is_not_healthy_stops_the_restarts_and_the_others_go_on_serving(stack: Stack) -> None:
    hosts = due_machines("app1", "app2", "app3")
    ill_when(hosts, lambda host, restarted: restarted)
    with pytest.raises(ChecksHeld) as held:
        take_up(stack, hosts)
    said = "plaza-web.service on app1: not healthy with what it was given; still run with what they had: app2, app3: "
    assert held.value.what.startswith(f"{said}app1: web: healthy: fail")
    assert "last words of 1-aaaaaaaa" in held.value.hint and "the same command goes on from here" in held.value.hint
    assert webs(hosts) == ["app1"] and hosts.machines["app1"].due == UNITS
    assert [name for name, one in hosts.machines.items() if one.closed] == ["app1"]
    hosts.is_bad = lambda host, runs: False
    hosts.restarted.clear()
    take_up(stack, hosts)
    assert webs(hosts) == ["app1", "app2", "app3"]
    assert not any(one.closed or one.due for one in hosts.machines.values())


def test_a_host_that_cannot_tell_what_runs_there_is_no_lost_one(stack: Stack) -> None:
    hosts = due_machines("app1", "app2", "app3")
    hosts.machines["app2"].mute = True
    with pytest.raises(GateHeld, match="cannot be seen: Failed to connect to bus") as held:
        take_up(stack, hosts)
    assert held.value.where == "app2" and "systemctl status" in held.value.hint
    assert webs(hosts) == ["app1", "app3"]


def test_hosts_of_one_wave_go_one_by_one_where_nobody_else_is_left_to_answer(stack: Stack) -> None:
    hosts = due_machines("app1", "app2", "app3", "app4", "app5")
    seen: list[frozenset[str]] = []

    def lose(host: str, restarted: bool) -> bool:
        if restarted and host in ("app1", "app2", "app3"):
            hosts.lost = {*hosts.lost, host}
        if restarted and host in ("app4", "app5"):
            sleep(0.05)  # for as long as another one takes to be closed beside it
            seen.append(frozenset(name for name in ("app4", "app5") if hosts.machines[name].closed))
        return False

    ill_when(hosts, lose)
    with pytest.raises(Unreachable):
        take_up(stack, hosts)
    assert webs(hosts)[-2:] == ["app4", "app5"]
    assert set(seen) == {frozenset({"app4"}), frozenset({"app5"})}


def test_a_host_that_is_the_only_one_is_restarted_and_checked_and_not_closed(stack: Stack) -> None:
    hosts = due_machines("app1")
    take_up(stack, hosts)
    assert hosts.restarted == ["app1 worker", "app1 web"]
    hosts = due_machines("app1")
    ill_when(hosts, lambda host, restarted: restarted)
    with pytest.raises(ChecksHeld, match=r"plaza-web\.service on app1: not healthy with what it was given: app1"):
        take_up(stack, hosts)


def test_a_host_that_is_silent_is_named_when_the_others_are_done(stack: Stack) -> None:
    for silent in ("app1", "app2"):
        hosts = due_machines("app1", "app2", "app3")
        hosts.lost = {silent}
        with pytest.raises(Unreachable) as lost:
            take_up(stack, hosts)
        assert lost.value.where == silent and f"{silent}: no SSH" in lost.value.what
        assert webs(hosts) == [name for name in hosts.machines if name != silent]


def test_a_host_that_is_lost_on_the_way_stops_nobody_whom_another_stands_in_for(stack: Stack) -> None:
    hosts = due_machines("app1", "app2", "app3")

    def lose(host: str, restarted: bool) -> bool:
        if restarted and host == "app1":
            hosts.lost = {"app1"}
        return False

    ill_when(hosts, lose)
    with pytest.raises(Unreachable):
        take_up(stack, hosts)
    assert webs(hosts) == ["app1", "app2", "app3"]


def test_a_host_that_would_leave_nobody_to_answer_keeps_what_it_had_when_the_other_is_lost(stack: Stack) -> None:
    hosts = due_machines("app1", "app2")

    def lose(host: str, restarted: bool) -> bool:
        if restarted:
            hosts.lost = {"app1"}
        return False

    ill_when(hosts, lose)
    with pytest.raises(Unreachable, match=r"app1: no SSH.*still run with what they had: app2"):
        take_up(stack, hosts)
    assert webs(hosts) == ["app1"] and hosts.machines["app2"].due == UNITS
    with pytest.raises(Unreachable, match=r"app1: no SSH"):
        take_up(stack, hosts)
    assert webs(hosts) == ["app1", "app2"], "the next command finds it alone"


def test_no_host_is_restarted_while_another_command_moves_the_release(stack: Stack) -> None:
    hosts = due_machines("app1", "app2")
    hosts.machines["app1"].holder = "them"
    with pytest.raises(LockHeld, match="another command moves plaza: them"):
        take_up(stack, hosts)
    assert hosts.restarted == []


def test_the_restarts_stop_where_another_command_has_taken_over(stack: Stack) -> None:
    hosts = due_machines("app1", "app2")

    def taken_over(host: str, restarted: bool) -> bool:
        if restarted:
            hosts.machines["app1"].holder = "them"
        return False

    ill_when(hosts, taken_over)
    with pytest.raises(LockHeld):
        take_up(stack, hosts)
    assert webs(hosts) == ["app1"] and hosts.machines["app1"].holder == "them"


def test_a_deploy_that_died_half_way_is_ended_first(stack: Stack) -> None:
    hosts = due_machines("app1", "app2")
    hosts.machines["app2"].switching = True
    with pytest.raises(GateHeld, match="a deploy of plaza was broken off there") as held:
        take_up(stack, hosts)
    assert held.value.where == "app2" and hosts.restarted == []


def test_a_deploy_takes_up_what_is_due(stack: Stack) -> None:
    hosts = due_machines("app1", "app2")
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert not any(one.due for one in hosts.machines.values())


def test_restarts_that_die_anywhere_are_ended_by_the_next_and_somebody_always_answers(stack: Stack) -> None:
    whole = due_machines("app1", "app2", "app3")
    take_up(stack, whole)
    for call in range(1, whole.calls + 1):
        hosts = due_machines("app1", "app2", "app3")
        hosts.dies_at = call
        with pytest.raises(KeyboardInterrupt):
            take_up(stack, hosts)
        take_up(stack, hosts)
        assert set(webs(hosts)) == set(hosts.machines), call
        assert not any(one.closed or one.due for one in hosts.machines.values()), call


@pytest.mark.parametrize("half_deployed", [False, True], ids=["", "after half a deploy"])
@pytest.mark.parametrize("groups", [{"app1": BOTH, "app2": BOTH}, {"app1": ("app",), "app2": BOTH}], ids=["", "kinds"])
@pytest.mark.parametrize("order", ["killed", "not healthy"])
def test_a_deploy_after_restarts_that_died_anywhere_closes_no_host_while_the_other_is_closed_yet(
    stack: Stack, half_deployed: bool, groups: Mapping[str, tuple[str, ...]], order: str
) -> None:
    def home() -> HostsInMemory:
        hosts = due_machines(*groups)
        if half_deployed:
            hosts.machines["app1"].current = hosts.machines["app1"].runs = folder(NEW)
        hosts.machines["app1"].due = [unit for unit in UNITS if unit != UNITS[0] or "worker" in groups["app1"]]
        return hosts

    whole = home()
    take_up(stack, whole, groups=groups)
    for call in range(1, whole.calls + 1):
        hosts = home()
        ill_when(hosts, lambda host, restarted, bad=order != "killed": bad and restarted and host == "app1")
        hosts.dies_at = call
        with pytest.raises((KeyboardInterrupt, ChecksHeld)):
            take_up(stack, hosts, groups=groups)
        hosts.is_bad, hosts.dies_at = (lambda host, runs: False), 0
        inventory = inventory_with(groups)
        home_of(stack, hosts, inventory).roll(NEW, CONTEXT)
        assert home_of(stack, hosts, inventory).verdict(NEW) is Verdict.PASS, call
        assert not any(one.closed for one in hosts.machines.values()), call


def test_a_stop_between_two_hosts_is_gone_on_with(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "REJOIN_SECONDS", 0.2)
    hosts = due_machines("app1", "app2")
    with pytest.raises(Interrupted):
        take_up(stack, hosts, StepContext(cancelled=lambda: "app1" in webs(hosts)))
    assert webs(hosts) == ["app1"]
    assert take_up(stack, hosts) == ["app2"]


def test_a_unit_whose_files_were_written_during_its_restart_stays_due(tmp_path: Path) -> None:
    subprocess.run(["sh", "-c", restarting.WAS_WELL.replace(restarting.DUE, str(tmp_path)), "sh", "early"], check=True)
    assert [path.name for path in tmp_path.iterdir()] == [".early.well"]
    for name, age in ((".early", 10), ("early", 20), (".late", 20), ("late", 10), ("other", 10)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    script = restarting.TAKEN_UP.replace(restarting.DUE, str(tmp_path))
    subprocess.run(["sh", "-c", script, "sh", "early", "late"], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".early", ".late", "late", "other"]
    gone = restarting.TAKEN_UP.replace(restarting.DUE, str(tmp_path / "gone"))
    subprocess.run(["sh", "-c", gone, "sh", "early"], check=True)


def test_the_look_at_a_host_tells_units_that_are_due_unless_they_were_stopped(tmp_path: Path) -> None:
    programs, due = tmp_path / "bin", tmp_path / "due"
    programs.mkdir()
    (programs / "systemctl").write_text('#!/bin/sh\necho "${2%.*}"\n')
    (programs / "systemctl").chmod(0o755)

    def look() -> list[str]:
        script = provision.LOOK.replace(restarting.DUE, str(due)).replace("/etc/cloudexit", str(tmp_path))
        environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env=environment)
        return done.stdout.splitlines()[1:]

    assert look() == [""]
    due.mkdir()
    assert look() == [""]
    for name in ("active.a", "activating.b", "inactive.c", "failed.d", ".active.e"):
        (due / name).touch()
    (tmp_path / "provisioned").write_text("digest of=this\n")
    (tmp_path / "unfinished").touch()
    assert look() == ["digest of=this", str(tmp_path / "unfinished"), "due activating.b", "due active.a"]
