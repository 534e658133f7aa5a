"""Who comes to lead a database after another, what is refused, what a kill leaves: nothing is lost in silence."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from migrate.action import Action, Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld, Unreachable
from migrate.inventory import read_leads
from migrate.leads import write_leads
from migrate.manifest import read_stack
from migrate.planner import failover_plan, rejoin_plan
from migrate.runner import carry_out
from migrate.stack import Stack
from migrate.target import failover, standdown
from migrate.target.failover import LeadWritten, Promoted, Rejoined
from migrate.target.pools import PoolsRepointed
from migrate.target.replicas import look_at_group
from migrate.target.standdown import OthersStoodDown
from migrate.target.succession import Succession, choose
from tests.homes import PLAZA
from tests.servers_in_memory import GroupInMemory, Pool, Server, inventory_led_by

OFF = {"data1": Unreachable("no SSH: timed out", where="data1")}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("CATCH_UP_SECONDS", "SETTLE_SECONDS", "START_SECONDS"):
        monkeypatch.setattr(standdown, bound, 0.05)
    monkeypatch.setattr(failover, "FOLLOW_SECONDS", 0.05)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return read_stack(PLAZA)


def pair(**of_data2: object) -> GroupInMemory:
    """data1 leads, data2 follows and has everything."""
    return GroupInMemory({"data1": Server(leads=True), "data2": Server(**of_data2)})  # type: ignore[arg-type]


def succession(stack: Stack, group: GroupInMemory, heir: str = "data2", path: Path = Path("hosts.yml")) -> Succession:
    inventory = inventory_led_by(heir, group.servers, path)
    return Succession(stack, inventory, group, "database", sleep=lambda seconds: None)


def carried_out(given: Succession, steps: Sequence[str] = ("stand-down", "promote")) -> dict[str, Outcome]:
    """What these steps of the plan did; raises what held them."""
    actions: dict[str, Action] = {
        "stand-down": OthersStoodDown(given), "promote": Promoted(given), "pools": PoolsRepointed(given),
        "lead": LeadWritten(given),
    }  # fmt: skip
    planned = {step.id: step for step in failover_plan(given.stack, given.inventory, given.service).steps}
    done = {}
    for name in steps:
        end = carry_out(planned[f"failover.{name}"], actions[name], StepContext())
        if end.error:
            raise end.error
        done[f"failover.{name}"] = end.outcome
    return done


def held(given: Succession) -> GateHeld:
    with pytest.raises(GateHeld) as raised:
        carried_out(given)
    return raised.value


def test_the_other_host_leads_once_it_has_everything(stack: Stack) -> None:
    group = pair(received=960, under_way=[20, 15, 5])
    done = carried_out(succession(stack, group))
    assert group.leading == ["data2"] and group.servers["data2"].received == 1000
    assert done["failover.stand-down"].detail["lost"] == "nothing"
    assert not group.servers["data1"].runs and group.servers["data1"].held


def test_where_it_does_not_get_everything_the_old_one_leads_again(stack: Stack) -> None:
    group = pair(received=960, under_way=[20])
    fault = held(succession(stack, group))
    assert "data2 did not get within" in fault.what and "data1 leads again" in fault.what
    assert group.leading == ["data1"] and group.servers["data1"].runs


def test_what_a_stop_would_have_to_write_is_written_before_it(stack: Stack) -> None:
    group = pair()
    carried_out(succession(stack, group))
    assert group.servers["data1"].checkpoints == 1


def test_a_stop_that_takes_long_is_waited_for(stack: Stack) -> None:
    group = pair()
    group.servers["data1"].long_stops = 3
    done = carried_out(succession(stack, group))
    assert group.leading == ["data2"] and group.servers["data1"].held
    assert done["failover.stand-down"].detail["lost"] == "nothing"


def test_a_stop_that_does_not_end_is_said_and_the_same_command_goes_on(stack: Stack) -> None:
    group = pair()
    group.servers["data1"].long_stops = standdown.TRIES + 1
    given = succession(stack, group)
    with pytest.raises(Unreachable, match="has not stopped, or does not answer") as raised:
        carried_out(given)
    assert "same command" in raised.value.hint and "--to data1" in raised.value.hint
    assert not group.servers["data2"].leads
    carried_out(given)
    assert group.leading == ["data2"]


def test_two_servers_that_take_writes_are_refused_whoever_is_to_lead(stack: Stack) -> None:
    group = GroupInMemory({"data1": Server(leads=True), "data2": Server(), "data3": Server(leads=True)})
    for heir in group.servers:
        fault = held(succession(stack, group, heir))
        assert fault.what in ("data1 and data3 both take writes", "data3 and data1 both take writes")
        assert "--rejoin" in fault.hint
    assert [server.runs for server in group.servers.values()] == [True, True, True]


def test_who_did_not_stop_in_time_can_be_made_to_lead_again(stack: Stack) -> None:
    group = pair()
    group.servers["data1"].long_stops = standdown.TRIES
    with pytest.raises(Unreachable):
        carried_out(succession(stack, group))
    carried_out(succession(stack, group, "data1"))
    assert group.leading == ["data1"] and group.servers["data1"].runs


def test_what_a_stopped_server_has_more_is_not_lost_in_silence(stack: Stack) -> None:
    """As a switch-over leaves it that was killed before all was there, and as a crash does."""
    for left in (Server(leads=True, runs=False, held=True), Server(leads=True, runs=False, crashed=True)):
        group = GroupInMemory({"data1": left, "data2": Server(received=960)})
        given = succession(stack, group)
        fault = held(given)
        assert fault.what == "data2 lacks 40 bytes of WAL that data1 has"
        assert "--to data1" in fault.hint and "--accept-loss" in fault.hint
        assert group.leading == ([] if left.held else ["data1"]), "a refusal leaves everything as it was"
        done = carried_out(replace(given, accept_loss=True))
        assert done["failover.stand-down"].detail["lost"] == ["40 bytes of WAL that data1 has"]
        assert group.leading == ["data2"]


def test_a_stopped_server_whose_wal_cannot_be_read_may_have_more(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    group = GroupInMemory({"data1": Server(leads=True, runs=False, crashed=True), "data2": Server()})
    whole = group._remains

    def without_wal(server: Server) -> str:
        return whole(server).rpartition("Last record:")[0] + "Last record: "

    monkeypatch.setattr(group, "_remains", without_wal)
    assert "at least 1 bytes of WAL that data1 has" in held(succession(stack, group)).what


def test_a_stopped_server_that_has_no_more_is_no_hindrance(stack: Stack) -> None:
    group = GroupInMemory({"data1": Server(leads=True, runs=False, crashed=True), "data2": Server()})
    carried_out(succession(stack, group))
    assert group.leading == ["data2"] and group.servers["data1"].held


def test_what_stands_on_an_older_timeline_was_given_up_when_the_newer_one_began(stack: Stack) -> None:
    group = GroupInMemory({
        "data1": Server(leads=True, runs=False, received=5000),
        "data2": Server(leads=True, timeline=2),
        "data3": Server(timeline=2),
    })  # fmt: skip
    carried_out(succession(stack, group, "data3"))
    assert group.leading == ["data3"]


def test_who_stood_down_can_be_made_to_lead_again(stack: Stack) -> None:
    group = GroupInMemory({"data1": Server(leads=True, runs=False, held=True), "data2": Server(received=960)})
    carried_out(succession(stack, group, "data1"))
    assert group.leading == ["data1"] and group.servers["data1"].runs


def test_a_switch_over_that_dies_anywhere_loses_nothing_in_silence(stack: Stack, tmp_path: Path) -> None:
    """At most it is refused by the next one; then the way that it names keeps everything."""
    endings = set()
    for call in count(1):
        (tmp_path / "leads.yml").unlink(missing_ok=True)
        group = pair(received=960, under_way=[20, 15, 5])
        group.pools = {name: Pool("", "192.0.2.21", {"192.0.2.21"}) for name in ("app1", "app2")}
        group.dies_at = call

        def whole(heir: str = "data2", group: GroupInMemory = group) -> None:
            given = succession(stack, group, heir, tmp_path / "hosts.yml")
            carried_out(given, ("stand-down", "promote", "pools", "lead"))

        try:
            whole()
            break
        except KeyboardInterrupt:
            pass
        try:
            whole()
            endings.add("goes on")
        except GateHeld as fault:
            endings.add("refused")
            assert group.servers["data2"].received < 1000, call
            if not group.leading or not group.servers["data1"].runs:
                whole(fault.hint.partition("--to ")[2].partition(";")[0])
        [leader] = group.leading
        assert group.servers[leader].runs and group.servers[leader].received >= 1000, call
        address = {"data1": "192.0.2.21", "data2": "192.0.2.22"}[leader]
        assert all(pool.memory == address and pool.sessions == {address} for pool in group.pools.values()), call
        leads = read_leads(tmp_path / "hosts.yml", inventory_led_by(leader, group.servers).hosts)
        assert leads.get("database", "data1") == leader, call
    assert endings == {"goes on", "refused"}
    assert call > 14


def test_a_host_that_is_away_needs_a_word(stack: Stack) -> None:
    group = pair()
    group.away = {"data1"}
    with pytest.raises(Unreachable, match="may go on taking writes") as raised:
        carried_out(succession(stack, group))
    assert "--old-is-off" in raised.value.hint
    group.asked.clear()
    done = carried_out(replace(succession(stack, group), off=OFF))
    assert "data1" not in group.asked, "each look would wait for it"
    assert group.servers["data2"].leads
    assert done["failover.stand-down"].detail["newest write that is kept, seconds ago"] == 3.5


def test_the_replica_that_received_most_leads_and_another_one_only_when_told(stack: Stack) -> None:
    group = GroupInMemory({"data1": Server(leads=True), "data2": Server(received=900), "data3": Server(received=980)})
    group.away = {"data1"}
    given = replace(succession(stack, group), off=OFF)
    hosts = [host for host in given.inventory.hosts.values() if "database" in host.groups]
    assert choose(look_at_group(group, hosts, 5432), "data1", "database") == "data3"
    fault = held(given)
    assert fault.what == "data2 lacks 80 bytes of WAL that data3 has" and "--to data3" in fault.hint
    assert not group.servers["data2"].leads
    done = carried_out(replace(given, accept_loss=True))
    assert group.servers["data2"].leads
    assert done["failover.stand-down"].detail["lost"] == ["80 bytes of WAL that data3 has"]


def test_one_that_leads_and_is_not_to_by_the_inventory_is_the_one_to_go_on_with(stack: Stack) -> None:
    group = GroupInMemory({"data1": Server(runs=False, held=True), "data2": Server(leads=True, timeline=2)})
    hosts = list(inventory_led_by("data1", group.servers).hosts.values())[:2]
    assert choose(look_at_group(group, hosts, 5432), "data1", "database") == "data2"
    group.servers["data2"].runs = False
    with pytest.raises(GateHeld, match="nobody can take over from data1"):
        choose(look_at_group(group, hosts, 5432), "data1", "database")


def test_a_server_that_answers_nobody_but_runs_is_stopped_before_another_one_leads(stack: Stack) -> None:
    group = GroupInMemory({"data1": Server(leads=True, runs=False), "data2": Server()})
    whole = group._remains
    group._remains = lambda server: whole(server).replace("inactive", "active") if not server.held else whole(server)  # type: ignore[method-assign]
    given = succession(stack, group)
    step = failover_plan(given.stack, given.inventory, "database").steps[0]
    assert OthersStoodDown(given).verify(step, StepContext()) is Verdict.FAIL
    carried_out(given)
    assert group.servers["data1"].held


def rejoined(given: Succession, host: str, told: list[Mapping[str, object]] | None = None) -> Mapping[str, object]:
    """What the rejoin of a host says; `told` gets what was in the journal before anything was changed."""
    assert isinstance(given.hosts, GroupInMemory)
    server = given.hosts.servers[host]
    before = told if told is not None else []

    def provision(name: str, context: StepContext) -> Outcome:
        assert context.progress == before.append
        assert before, "what it had is said before it gives way"
        server.leads, server.runs, server.held, server.timeline = False, True, True, 2
        return Outcome({"provisioned": name})

    step = rejoin_plan(given.stack, given.inventory, "database", host).steps[0]
    end = carry_out(step, Rejoined(given, provision), StepContext(progress=before.append))
    if end.error:
        raise end.error
    return end.outcome.detail


def after_an_unclean_fail_over(**of_data1: object) -> GroupInMemory:
    """data2 was promoted at byte 960."""
    new = Server(leads=True, timeline=2, received=5000, history="1\t0/3C0\tno recovery target specified\n")
    return GroupInMemory({"data1": Server(received=1008, **of_data1), "data2": new})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "old",
    [{"leads": True}, {"leads": True, "runs": False, "crashed": True, "record": 8}, {"runs": False, "held": True}],
)
def test_a_rejoin_says_what_the_old_server_had_that_no_other_has_even_if_it_does_not_run(
    stack: Stack, old: dict[str, object]
) -> None:
    had = rejoined(succession(stack, after_an_unclean_fail_over(**old)), "data1")
    parted = {"in common": "timeline 1, 0/3C0", "bytes that no other has": 48}
    assert had["had"] == {"timeline": 1, "up to": "0/3F0", **parted}
    assert had["data put aside"] == ["/var/lib/postgresql/15/main.put-aside-20260101T000000Z"]


def test_a_server_that_follows_is_left_as_it_is(stack: Stack) -> None:
    group = GroupInMemory({"data1": Server(timeline=2), "data2": Server(leads=True, timeline=2)})
    assert rejoined(succession(stack, group), "data1") == {}


def test_nothing_rejoins_a_group_that_nobody_leads(stack: Stack) -> None:
    group = GroupInMemory({"data1": Server(runs=False), "data2": Server()})
    with pytest.raises(GateHeld, match="data2 is to lead, and follows"):
        rejoined(succession(stack, group), "data1")


def test_leads_yml_names_who_leads_and_is_gone_when_the_first_host_does_again(stack: Stack, tmp_path: Path) -> None:
    servers = {"data1": Server(), "data2": Server()}
    (tmp_path / "leads.yml").write_text("cache: data2\n")
    for lead, written in (("data2", {"cache": "data2", "database": "data2"}), ("data1", {"cache": "data2"})):
        inventory = inventory_led_by(lead, servers, tmp_path / "hosts.yml")
        hosts = {name: replace(host, groups=(*host.groups, "cache")) for name, host in inventory.hosts.items()}
        given = Succession(stack, replace(inventory, hosts=hosts), GroupInMemory(servers), "database")
        step = failover_plan(given.stack, given.inventory, "database").steps[3]
        assert LeadWritten(given).verify(step, StepContext()) is Verdict.FAIL
        assert carry_out(step, LeadWritten(given), StepContext()).error is None
        assert read_leads(tmp_path / "hosts.yml", hosts) == written
    write_leads(tmp_path / "hosts.yml", {})
    assert not (tmp_path / "leads.yml").exists()
