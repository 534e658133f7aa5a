"""What preflight saw on the hosts, from the journal, as room: disk, memory, and ports that others hold."""

from pathlib import Path
from typing import Any

import pytest

from migrate.check import Verdict
from migrate.facts import Facts
from migrate.forecast.basis import Basis
from migrate.forecast.history import History, history_of
from migrate.forecast.result import RoomLine
from migrate.forecast.room import room_of
from migrate.inventory import Host
from migrate.journal import Event, Journal
from migrate.planner import make_plan
from migrate.stack import Stack
from migrate.target.hostfacts import HostFacts, Listener
from migrate.target.preflight import judge
from tests.plan_cases import inventory_of, stack_named

GIB = 2**30
GROUPS: dict[str, tuple[str, ...]] = {"data": ("database", "cache"), "web": ("app",)}


def host_facts(*listeners: Listener, memory: int = 16 * GIB) -> HostFacts:
    return HostFacts(
        "debian", "12", "Debian 12", True, 0.0, 0.0, memory, {"/": 20 * GIB, "/srv": 500 * GIB}, True, (), listeners
    )  # fmt: skip


def seen(tmp_path: Path, told: dict[str, HostFacts], event: Event = Event.DONE, command: str = "run") -> History:
    """The journal of a preflight that judged these facts."""
    stack, inventory = stack_named("notes"), inventory_of(GROUPS, {})
    made = make_plan(stack, inventory)
    journal = Journal(tmp_path / "journal.sqlite")
    run = journal.begin_or_resume(command, made.digest, made.as_document())
    checks: list[dict[str, Any]] = [
        check.as_document() for name, facts in told.items() for check in judge(stack, inventory.hosts[name], facts)
    ]
    journal.write(run, "preflight.hosts", event, {"checks": checks}, 1.0)
    found = history_of(journal)
    journal.close()
    return found


def room(stack: Stack, history: History) -> dict[str, RoomLine]:
    lines = room_of(Basis(stack, inventory_of(GROUPS, {}), Facts(), history))
    return {f"{where} {line.resource}": line for line in lines for where in line.where.split(", ")}


def test_a_port_that_another_program_holds_is_short(tmp_path: Path) -> None:
    told = {"data": host_facts(Listener(5432, "other.service"), Listener(22, "ssh.service")), "web": host_facts()}
    found = room(stack_named("notes"), seen(tmp_path, told, Event.FAILED))
    ports = found["database+cache ports"]
    assert (ports.verdict, ports.needed, ports.there) == (Verdict.FAIL, 2, 1)
    assert "5432 is taken on data" in ports.formula
    assert ports.source.startswith("preflight, ")
    assert found["app ports"].verdict is Verdict.PASS


def test_a_port_that_the_service_itself_holds_is_its_own(tmp_path: Path) -> None:
    told = {"data": host_facts(Listener(5432, "postgresql@15-main.service")), "web": host_facts()}
    assert room(stack_named("notes"), seen(tmp_path, told))["database+cache ports"].verdict is Verdict.PASS


def test_disk_and_memory_are_what_preflight_saw(tmp_path: Path) -> None:
    told = {"data": host_facts(memory=2 * GIB), "web": host_facts()}
    found = room(stack_named("notes"), seen(tmp_path, told))
    assert (found["database+cache memory"].verdict, found["database+cache memory"].there) == (Verdict.FAIL, 2 * GIB)
    assert (found["app disk"].verdict, found["app disk"].there) == (Verdict.PASS, 500 * GIB)


@pytest.mark.parametrize("resource", ["ports", "disk", "memory"])
def test_hosts_of_a_drill_say_nothing_of_the_real_ones(tmp_path: Path, resource: str) -> None:
    told = {name: host_facts() for name in GROUPS}
    found = room(stack_named("notes"), seen(tmp_path, told, command="rehearse"))
    assert found[f"app {resource}"].verdict is Verdict.UNKNOWN


def test_another_port_of_sshd_leaves_22_to_a_service() -> None:
    stack = stack_named("notes")
    web = stack.services["web"].model_copy(update={"port": 22})
    stack = stack.model_copy(update={"services": {**stack.services, "web": web}})
    inventory = inventory_of(GROUPS, {})
    moved = Host("web", "192.0.2.9", ("app",), port=2222)
    hosts = {**inventory.hosts, "web": moved}
    lines = room_of(Basis(stack, type(inventory)(inventory.path, hosts, merged=inventory.merged)))
    assert [line.verdict for line in lines if line.resource == "ports" and line.where == "app"] == [Verdict.UNKNOWN]
