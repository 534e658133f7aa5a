"""Pools of connections after a fail-over: what counts is where they lead, not what their file says."""

import pytest

from migrate.action import StepContext
from migrate.check import Verdict
from migrate.errors import Unreachable
from migrate.manifest import read_stack
from migrate.plan import Effect, Phase, Step
from migrate.runner import carry_out
from migrate.stack import Stack
from migrate.target import pools
from migrate.target.parts.pooler import databases_text
from migrate.target.pools import PoolsRepointed
from migrate.target.succession import Succession
from tests.homes import PLAZA
from tests.servers_in_memory import GroupInMemory, Pool, Server, inventory_led_by

STEP = Step("failover.pools", Phase.CUTOVER, "failover.pools", "title", Effect.REVERSIBLE)
SERVERS = {"data1": Server(), "data2": Server(leads=True)}
OLD, NEW = "192.0.2.21", "192.0.2.22"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "TAKEN_UP_SECONDS", 0.05)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return read_stack(PLAZA)


def repointed(stack: Stack, group: GroupInMemory, *without: str) -> PoolsRepointed:
    given = Succession(stack, inventory_led_by("data2", SERVERS), group, "database", sleep=lambda seconds: None)
    return PoolsRepointed(given, without)


def text(stack: Stack, lead: str) -> str:
    return databases_text(stack, inventory_led_by(lead, SERVERS), "database")


def group_of(stack: Stack, *, keeps: bool = False) -> GroupInMemory:
    made = {name: Pool(text(stack, "data1"), OLD, {OLD}, keeps) for name in ("app1", "app2")}
    return GroupInMemory(SERVERS, made)


def test_every_pool_leads_to_the_one_that_leads_and_those_who_wait_are_not_sent_away(stack: Stack) -> None:
    group = group_of(stack)
    end = carry_out(STEP, repointed(stack, group), StepContext())
    assert end.error is None and end.outcome.detail == {
        "hosts": {"app1": "reload-or-restart", "app2": "reload-or-restart"}
    }
    assert all((pool.memory, pool.sessions, pool.restarts) == (NEW, {NEW}, 0) for pool in group.pools.values())


def test_each_database_is_named_so_that_the_pool_can_say_where_it_leads(stack: Stack) -> None:
    assert text(stack, "data2") == f"[databases]\nplaza = host={NEW} port=5432\n* = host={NEW} port=5432\n"


def test_sessions_with_a_server_that_may_run_on_are_cut(stack: Stack) -> None:
    group = group_of(stack, keeps=True)
    end = carry_out(STEP, repointed(stack, group, "data1"), StepContext())
    assert end.error is None
    assert [pool.restarts for pool in group.pools.values()] == [1, 1]
    assert all(pool.sessions == {NEW} for pool in group.pools.values())


def test_sessions_that_outlive_a_reload_are_cut_too(stack: Stack) -> None:
    group = group_of(stack, keeps=True)
    end = carry_out(STEP, repointed(stack, group), StepContext())
    assert end.outcome.detail == {"hosts": {"app1": "restart", "app2": "restart"}}


@pytest.mark.parametrize("left", [Pool("", OLD), Pool("", NEW, {OLD}), Pool("", NEW, {OLD, NEW})])
def test_a_pool_whose_file_was_written_and_not_taken_up_is_not_taken_for_told(stack: Stack, left: Pool) -> None:
    """As a kill leaves it that came between the two."""
    group = group_of(stack)
    left.file = text(stack, "data2")
    group.pools = {"app1": left, "app2": Pool(text(stack, "data2"), NEW, {NEW})}
    action = repointed(stack, group)
    assert action.verify(STEP, StepContext()) is Verdict.FAIL
    assert carry_out(STEP, action, StepContext()).error is None
    assert left.memory == NEW and left.sessions <= {NEW}


def test_a_host_of_the_app_that_is_away_is_named_and_the_others_are_told(stack: Stack) -> None:
    group = group_of(stack)
    group.away = {"app1"}
    with pytest.raises(Unreachable) as raised:
        repointed(stack, group).apply(STEP, StepContext())
    assert raised.value.where == "app1"
    assert group.pools["app2"].memory == NEW
