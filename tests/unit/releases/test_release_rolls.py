"""How a release goes over many hosts: in which order, what happens to a bad one, and what a kill leaves behind."""

import pytest

from migrate.action import StepContext
from migrate.check import ChecksHeld, Verdict
from migrate.errors import GateHeld, Unreachable
from migrate.stack import Stack
from migrate.target.standing import REMEMBERED, Installed, history_with
from migrate.target.waves import waves_of
from tests.hosts_in_memory import inventory_with
from tests.rolled_home import BOTH, FIRST, NEW, OLD, folder, home_of, machines

CONTEXT = StepContext()


def test_one_host_goes_first_and_the_others_by_thirds(stack: Stack) -> None:
    names = [f"app{number}" for number in range(1, 9)]
    waves = waves_of(stack, "plaza", list(inventory_with(dict.fromkeys(names, BOTH)).hosts.values()))
    assert [len(wave.hosts) for wave in waves] == [1, 3, 3, 1]
    assert waves[0].services == ("worker", "web")


def test_hosts_of_what_others_wait_for_go_before_them(stack: Stack) -> None:
    inventory = inventory_with({"app1": ("app",), "app2": ("app",), "worker1": ("worker",), "worker2": ("worker",)})
    order = [[host.name for host in wave.hosts] for wave in waves_of(stack, "plaza", list(inventory.hosts.values()))]
    assert order == [["worker1"], ["worker2"], ["app1"], ["app2"]]


def test_a_good_release_is_proved_on_every_host_and_what_was_long_before_goes(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert hosts.restarted == ["app1 worker", "app1 web", "app2 worker", "app2 web"]
    assert home_of(stack, hosts).verdict(NEW) is Verdict.PASS
    assert all(one.history == (FIRST, OLD, NEW) and not one.closed for one in hosts.machines.values())
    assert home_of(stack, hosts).release_before() == OLD


def test_the_history_has_an_end_and_each_release_stands_there_once() -> None:
    many = tuple(Installed(str(number), "d" * 64) for number in range(REMEMBERED))
    assert history_with(many, NEW) == (*many[1:], NEW)
    assert history_with((OLD, NEW), OLD) == (NEW, OLD)


def test_a_home_has_moved_on_from_a_release_that_it_ran_before(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home = home_of(stack, hosts)
    assert [home.has_moved_on_from(one) for one in (FIRST, OLD, NEW)] == [True, False, False]
    hosts.machines["app2"].wanted = hosts.machines["app1"].wanted = False
    assert not home.has_moved_on_from(FIRST)


def test_a_release_that_is_bad_on_the_first_host_touches_no_other(stack: Stack) -> None:
    hosts = machines("app1", "app2", "app3")
    hosts.is_bad = lambda host, runs: runs == folder(NEW)
    with pytest.raises(ChecksHeld) as held:
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert held.value.what.startswith("plaza 2 is not healthy and was taken back, now app1 runs 1-aaaaaaaa: app1: web:")
    assert "last words of 2-cccccccc" in held.value.hint
    assert {line.split()[0] for line in hosts.restarted} == {"app1"}
    assert home_of(stack, hosts).verdict(OLD) is Verdict.PASS


def test_a_release_that_is_bad_on_a_later_host_is_taken_back_from_all(stack: Stack) -> None:
    hosts = machines("app1", "app2", "app3", "app4")
    hosts.is_bad = lambda host, runs: host == "app3" and runs == folder(NEW)
    with pytest.raises(ChecksHeld, match="now app3 runs 1-aaaaaaaa, app2 runs 1-aaaaaaaa, app1 runs 1-aaaaaaaa"):
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert not [line for line in hosts.restarted if line.startswith("app4")]
    assert all(one.runs == folder(OLD) for one in hosts.machines.values())
    assert home_of(stack, hosts).verdict(OLD) is Verdict.PASS


def test_a_host_that_is_ill_with_both_releases_stays_closed_and_is_named(stack: Stack) -> None:
    hosts = machines("app1", "app2", "app3")
    hosts.is_bad = lambda host, runs: host == "app2"
    with pytest.raises(ChecksHeld) as held:
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert "now app1 runs 1-aaaaaaaa; still to be mended: app2: web: healthy" in held.value.what
    assert [name for name, one in hosts.machines.items() if one.closed] == ["app2"]


def test_the_last_host_that_answers_is_not_taken_back(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    hosts.is_bad = lambda host, runs: host == "app2"
    with pytest.raises(ChecksHeld, match=r"could not be taken back.*app1: it stays as it is, for no other host"):
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert hosts.machines["app1"].runs == folder(NEW) and not hosts.machines["app1"].closed


def test_a_bad_release_after_one_that_died_half_way_leaves_one_release_on_all_hosts(stack: Stack) -> None:
    third = Installed("3", "d" * 64)
    hosts = machines("app1", "app2", "app3", "app4")
    for name in ("app1", "app2"):
        hosts.machines[name].current = hosts.machines[name].runs = folder(NEW)
    for one in hosts.machines.values():
        one.installed.add(third)
    hosts.is_bad = lambda host, runs: runs == folder(third)
    with pytest.raises(ChecksHeld, match="now app1 runs 1-aaaaaaaa, app2 runs 1-aaaaaaaa:"):
        home_of(stack, hosts).roll(third, CONTEXT)
    assert {line.split()[0] for line in hosts.restarted} == {"app1", "app2"}
    assert home_of(stack, hosts).verdict(OLD) is Verdict.PASS


def test_hosts_that_were_told_of_different_histories_go_back_to_one_release(stack: Stack) -> None:
    third = Installed("3", "d" * 64)
    hosts = machines("app1", "app2", "app3")
    home_of(stack, hosts).roll(NEW, CONTEXT)
    hosts.machines["app1"].history = hosts.machines["app2"].history = (FIRST, OLD)  # it died while it noted NEW
    hosts.is_bad = lambda host, runs: host == "app2" and runs == folder(third)
    for one in hosts.machines.values():
        one.installed.add(third)
    with pytest.raises(ChecksHeld, match="now app2 runs 2-cccccccc, app1 runs 2-cccccccc"):
        home_of(stack, hosts).roll(third, CONTEXT)
    assert all(one.runs == one.current == folder(NEW) for one in hosts.machines.values())


def test_a_host_goes_back_to_what_it_ran_where_it_never_had_what_the_home_ran(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    hosts.machines["app1"].installed.discard(OLD)
    hosts.machines["app1"].history, hosts.machines["app1"].current = (), folder(FIRST)
    hosts.is_bad = lambda host, runs: runs == folder(NEW)
    with pytest.raises(ChecksHeld, match="now app1 runs 0-bbbbbbbb"):
        home_of(stack, hosts).roll(NEW, CONTEXT)


def test_a_host_that_is_lost_stops_the_roll_and_the_next_one_goes_on(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home = home_of(stack, hosts)
    standings = home.look
    hosts.lost = set()

    def lose_second(host: str, runs: str) -> bool:
        hosts.lost = {"app2"}
        return False

    hosts.is_bad = lose_second
    with pytest.raises(Unreachable):
        home.roll(NEW, CONTEXT)
    hosts.lost, hosts.is_bad = set(), lambda host, runs: False
    assert [one.proved for one in standings().values()] == [OLD, OLD]
    hosts.restarted.clear()
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert hosts.restarted == ["app2 worker", "app2 web"]


def test_a_single_host_is_not_closed_for_nobody_else_would_answer(stack: Stack) -> None:
    hosts = machines("app1")
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert home_of(stack, hosts).verdict(NEW) is Verdict.PASS


def test_a_host_on_which_nothing_runs_is_switched_and_left_so(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    for one in hosts.machines.values():
        one.wanted = False
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert hosts.restarted == []
    assert home_of(stack, hosts).verdict(NEW) is Verdict.PASS


def test_a_roll_that_dies_anywhere_is_ended_by_the_next_and_the_site_stays_open(stack: Stack) -> None:
    whole = machines("app1", "app2", "app3")
    home_of(stack, whole).roll(NEW, CONTEXT)
    for call in range(1, whole.calls + 1):
        hosts = machines("app1", "app2", "app3")
        hosts.dies_at = call
        with pytest.raises(KeyboardInterrupt):
            home_of(stack, hosts).roll(NEW, CONTEXT)
        home_of(stack, hosts).roll(NEW, CONTEXT)
        assert home_of(stack, hosts).verdict(NEW) is Verdict.PASS, call
        assert all(one.runs == folder(NEW) and not one.closed for one in hosts.machines.values()), call


def test_a_roll_that_dies_anywhere_and_turns_out_bad_goes_back_to_what_was_proved(stack: Stack) -> None:
    call = 0
    while True:
        call += 1
        hosts = machines("app1", "app2")
        hosts.dies_at = call
        with pytest.raises(KeyboardInterrupt):
            home_of(stack, hosts).roll(NEW, CONTEXT)
        if hosts.restarted[-1:] == ["app2 web"]:
            break
        hosts.is_bad = lambda host, runs: host == "app2" and runs == folder(NEW)
        with pytest.raises(ChecksHeld, match="app1 runs 1-aaaaaaaa"):
            home_of(stack, hosts).roll(NEW, CONTEXT)
        assert all(one.runs == one.current == folder(OLD) for one in hosts.machines.values()), call
    assert call > 10


def test_what_follows_a_deploy_that_died_anywhere_closes_no_host_while_the_other_is_closed_yet(stack: Stack) -> None:
    whole = machines("app1", "app2")
    home_of(stack, whole).roll(NEW, CONTEXT)
    third = Installed("3", "d" * 64)
    for call in range(1, whole.calls + 1):
        for next_one in (OLD, third):
            hosts = machines("app1", "app2")
            hosts.dies_at = call
            with pytest.raises(KeyboardInterrupt):
                home_of(stack, hosts).roll(NEW, CONTEXT)
            for one in hosts.machines.values():
                one.installed.add(third)
            home_of(stack, hosts).roll(next_one, CONTEXT)
            assert all(one.runs == folder(next_one) and not one.closed for one in hosts.machines.values()), call
            assert home_of(stack, hosts).verdict(next_one) is Verdict.PASS, call


def test_a_host_that_crashes_goes_first_for_it_serves_nobody(stack: Stack) -> None:
    hosts = machines("app1", "app2", "app3")
    hosts.machines["app3"].crashes = True
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert [line for line in hosts.restarted if line.endswith("web")] == ["app3 web", "app1 web", "app2 web"]


def test_a_host_that_does_not_take_the_switch_is_opened_again_and_the_next_command_goes_on(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    hosts.machines["app2"].full = True
    with pytest.raises(GateHeld, match="No space left on device"):
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert not any(one.closed for one in hosts.machines.values())
    assert hosts.machines["app2"].runs == folder(OLD) and home_of(stack, hosts).release_before() == OLD
    hosts.machines["app2"].full = False
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert home_of(stack, hosts).verdict(NEW) is Verdict.PASS


def test_a_bad_release_stays_closed_where_the_host_does_not_take_the_way_back(stack: Stack) -> None:
    hosts = machines("app1", "app2")

    def fill(host: str, runs: str) -> bool:
        hosts.machines[host].full = True
        return True

    hosts.is_bad = fill
    with pytest.raises(ChecksHeld, match=r"still to be mended: app1: .*No space left"):
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert [name for name, one in hosts.machines.items() if one.closed] == ["app1"]


def test_a_host_that_is_lost_hides_no_bad_release_on_another(stack: Stack) -> None:
    names = [f"app{number}" for number in range(1, 6)]
    hosts = machines(*names)

    def lose_one(host: str, runs: str) -> bool:
        if host == "app2":
            hosts.lost = {"app2"}
        return host == "app3" and runs == folder(NEW)

    hosts.is_bad = lose_one
    with pytest.raises(ChecksHeld, match=r"now app3 runs 1-aaaaaaaa, app1 runs 1-aaaaaaaa; still .* app2: no SSH"):
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert [name for name in names if hosts.machines[name].runs == folder(OLD) and name != "app2"] == [
        "app1", "app3", "app4", "app5",
    ]  # fmt: skip
