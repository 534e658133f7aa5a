"""Two operators, two state folders, one home: one command at a time moves its release."""

import os
import subprocess
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.action import StepContext
from migrate.check import ChecksHeld, Verdict
from migrate.errors import LockHeld, Unreachable
from migrate.stack import Stack
from migrate.target.claims import CLAIM_MINUTES, GIVE_BACK, TAKE, TAKEN
from migrate.target.release import ReleaseRollback
from tests.homes import STEP
from tests.hosts_in_memory import inventory_with
from tests.rolled_home import BOTH, FIRST, NEW, OLD, checks_of, folder, home_of, machines

CONTEXT = StepContext()


def test_a_second_operator_touches_nothing_while_the_first_is_at_work(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    mine, theirs = home_of(stack, hosts), home_of(stack, hosts, who="them")
    with mine.claim.held():
        with pytest.raises(LockHeld, match="another command moves plaza: me") as held:
            theirs.roll(FIRST, CONTEXT)
        assert held.value.where == "app1" and "rm /srv/plaza/deploying on app1" in held.value.hint
        assert hosts.restarted == [] and hosts.machines["app1"].holder == "me"
        mine.roll(NEW, CONTEXT)
    theirs.roll(OLD, CONTEXT)
    assert theirs.verdict(OLD) is Verdict.PASS


def test_a_roll_stops_before_the_next_host_where_another_command_has_taken_over(stack: Stack) -> None:
    hosts = machines("app1", "app2")

    def taken_over(host: str, runs: str) -> bool:
        hosts.machines["app1"].holder = "them"
        return False

    hosts.is_bad = taken_over
    with pytest.raises(LockHeld):
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert [one.runs for one in hosts.machines.values()] == [folder(NEW), folder(OLD)]


@pytest.mark.parametrize("fault", ["none", "bad", "lost"])
def test_a_claim_is_given_back_however_the_command_ends(stack: Stack, fault: str) -> None:
    hosts = machines("app1", "app2")

    def meet(host: str, runs: str) -> bool:
        if fault == "lost":
            hosts.lost = {"app2"}
        return fault == "bad" and runs == folder(FIRST)

    hosts.is_bad = meet
    inventory = inventory_with(dict.fromkeys(hosts.machines, BOTH))
    rollback = ReleaseRollback(hosts, stack, inventory, checks_of(stack, hosts, inventory), "me")
    step = replace(STEP, subject=f"plaza {FIRST.version} {FIRST.sha256}")
    with nullcontext() if fault == "none" else pytest.raises((ChecksHeld, Unreachable)):
        rollback.apply(step, CONTEXT)
    assert hosts.restarted and hosts.machines["app1"].holder == ""


def test_a_claim_keeps_others_out_until_it_is_given_back_or_has_ended(tmp_path: Path) -> None:
    name = os.path.relpath(tmp_path / "plaza", "/srv")
    me = r"me@here:/home/me/the \new home"

    def ask(script: str, who: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-c", script, "sh", name, who]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert [ask(TAKE, who).returncode for who in (me, me, "them")] == [0, 0, TAKEN]
    assert ask(TAKE, "them").stdout.startswith(f"{me}, last seen there at ")
    assert ask(GIVE_BACK, "them").returncode == 0
    assert ask(TAKE, "them").returncode == TAKEN
    assert ask(GIVE_BACK, me).returncode == 0
    assert [ask(TAKE, who).returncode for who in ("them", me)] == [0, TAKEN]
    long_ago = time.time() - 60 * CLAIM_MINUTES - 61
    os.utime(tmp_path / "plaza" / "deploying", (long_ago, long_ago))
    assert [ask(TAKE, who).returncode for who in (me, "them")] == [0, TAKEN]


def test_of_many_who_claim_at_once_one_has_it(tmp_path: Path) -> None:
    command = ["sh", "-c", TAKE, "sh", os.path.relpath(tmp_path, "/srv")]
    asked = [subprocess.Popen([*command, f"operator {number}"], stdout=subprocess.DEVNULL) for number in range(8)]
    assert sorted(one.wait(timeout=60) for one in asked) == [0, *[TAKEN] * 7]
