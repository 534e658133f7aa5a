"""Where a rollback goes: after what came to its end, and after what did not."""

import pytest

from migrate.action import StepContext
from migrate.check import ChecksHeld, Verdict
from migrate.errors import GateHeld
from migrate.stack import Stack
from migrate.target.attempts import Attempt
from migrate.target.standing import Installed
from tests.hosts_in_memory import Machine
from tests.rolled_home import FIRST, NEW, OLD, folder, home_of, machines

CONTEXT = StepContext()


def test_a_rollback_takes_the_last_release_out_of_what_was_proved(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home = home_of(stack, hosts)
    home.roll(home.release_before(), CONTEXT)
    assert all(one.history == (FIRST,) and one.runs == folder(FIRST) for one in hosts.machines.values())
    with pytest.raises(GateHeld, match="no release of plaza before"):
        home_of(stack, hosts).release_before()


def test_a_rollback_of_a_deploy_that_died_anywhere_leads_to_what_was_proved_last(stack: Stack) -> None:
    whole = machines("app1", "app2", "app3")
    home_of(stack, whole).roll(NEW, CONTEXT)
    died_with: set[tuple[str, ...]] = set()
    for call in range(1, whole.calls + 1):
        hosts = machines("app1", "app2", "app3")
        hosts.dies_at = call
        with pytest.raises(KeyboardInterrupt):
            home_of(stack, hosts).roll(NEW, CONTEXT)
        home = home_of(stack, hosts)
        died_with.add(tuple(one.current[-1] for one in hosts.machines.values()))
        aim = home.release_before(Attempt(NEW, goes_back=False, taken_back=False))
        assert aim == OLD, call
        home.refuse_without(aim)
        home.roll(aim, CONTEXT)
        assert home.verdict(OLD) is Verdict.PASS, call
        for one in hosts.machines.values():
            assert one.runs == folder(OLD) and one.history == (FIRST, OLD) and not one.closed, call
            assert {FIRST, OLD} <= one.installed, call
    assert died_with == {("a", "a", "a"), ("c", "a", "a"), ("c", "c", "a"), ("c", "c", "c")}


def test_without_a_journal_the_hosts_tell_a_deploy_that_did_not_come_to_its_end(stack: Stack) -> None:
    for change in ({"current": folder(NEW)}, {"switching": True}, {"current": folder(NEW), "history": ()}):
        hosts = machines("app1", "app2")
        for name, value in change.items():
            setattr(hosts.machines["app2"], name, value)
        assert home_of(stack, hosts).release_before() == OLD, change
    hosts = machines("app1", "app2")
    hosts.machines["app2"] = Machine("", "", (), set(), wanted=False)
    assert home_of(stack, hosts).release_before() == FIRST, "a host that has only joined is in no switch"


def test_a_deploy_that_died_before_it_switched_anything_is_what_a_rollback_takes_back(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home = home_of(stack, hosts)
    assert home.release_before(Attempt(NEW, goes_back=False, taken_back=False)) == OLD
    assert home.release_before(Attempt(NEW, goes_back=False, taken_back=True)) == FIRST, "it was taken back already"
    assert home.release_before(Attempt(OLD, goes_back=False, taken_back=False)) == FIRST, "it was proved"


def test_a_rollback_that_is_said_again_ends_what_it_began_and_goes_no_further(stack: Stack) -> None:
    for taken_back in (False, True):
        hosts = machines("app1", "app2")
        home = home_of(stack, hosts)
        home.roll(NEW, CONTEXT)
        home.roll(home.release_before(), CONTEXT)
        assert home.release_before(Attempt(OLD, goes_back=True, taken_back=taken_back)) == OLD
        assert home.release_before() == FIRST


def test_a_rollback_that_was_taken_back_itself_is_begun_anew(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    hosts.is_bad = lambda host, runs: runs == folder(FIRST)
    home = home_of(stack, hosts)
    with pytest.raises(ChecksHeld, match="plaza 0 is not healthy and was taken back, now app1 runs 1-aaaaaaaa"):
        home.roll(FIRST, CONTEXT)
    assert home.release_before(Attempt(FIRST, goes_back=True, taken_back=True)) == FIRST
    assert home.verdict(OLD) is Verdict.PASS
    hosts.machines["app1"].switching = True
    assert home.release_before(Attempt(FIRST, goes_back=True, taken_back=True)) == OLD, "one host did not come back"


def test_an_old_rollback_of_this_machine_does_not_undo_what_others_have_deployed_since(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home = home_of(stack, hosts)
    home.roll(NEW, CONTEXT)
    assert home.release_before(Attempt(FIRST, goes_back=True, taken_back=False)) == OLD


def test_of_histories_that_differ_the_one_counts_that_ends_with_what_runs(stack: Stack) -> None:
    third = Installed("3", "d" * 64)
    cases = [
        ((FIRST, OLD), (FIRST, OLD, NEW), OLD, FIRST),  # a rollback died while it was noted
        ((FIRST, OLD, NEW), (FIRST, OLD), NEW, OLD),  # a deploy did
        ((FIRST, NEW, OLD), (FIRST, OLD, NEW), OLD, NEW),  # a deploy of an earlier release did
    ]
    for one, other, runs, before in cases:
        for histories in ((one, other), (other, one)):
            hosts = machines("app1", "app2")
            for machine, history in zip(hosts.machines.values(), histories, strict=True):
                machine.history, machine.current, machine.runs = history, folder(runs), folder(runs)
                machine.installed.add(third)
            home = home_of(stack, hosts)
            assert home.release_before() == before, (histories, runs)
            home.roll(third, CONTEXT)
            assert home.release_before() == runs, (histories, runs)
            assert len({machine.history for machine in hosts.machines.values()}) == 1


def test_a_rollback_names_the_host_that_never_had_the_release(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    hosts.machines["app2"].installed.discard(FIRST)
    with pytest.raises(GateHeld, match="plaza 0 is not installed there") as held:
        home_of(stack, hosts).refuse_without(FIRST)
    assert held.value.where == "app2"
