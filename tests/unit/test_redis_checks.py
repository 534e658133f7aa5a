"""What Redis says of its saves and replicas, and what is made of it."""

from typing import Any

import pytest

from migrate.check import Verdict
from migrate.servicechecks import RedisCheck
from migrate.target.finding import Finding, worst
from migrate.target.redischecks import redis_findings

NOW = 1_000_000.0
SAVED = {"rdb_last_save_time": int(NOW) - 100, "rdb_changes_since_last_save": 5, "rdb_last_bgsave_status": "ok"}
LEADS = {"role": "master", "connected_slaves": 1}
FOLLOWS = {"role": "slave", "master_link_status": "up", "master_last_io_seconds_ago": 3}
CASES = [
    ("within its bound", {}, 200, Verdict.PASS),
    ("changes wait too long", {}, 50, Verdict.FAIL),
    ("nothing has changed since", {"rdb_changes_since_last_save": 0}, 50, Verdict.PASS),
    ("one is being made", {"rdb_bgsave_in_progress": 1, "rdb_current_bgsave_time_sec": 2}, 50, Verdict.PASS),
    ("one takes too long", {"rdb_bgsave_in_progress": 1, "rdb_current_bgsave_time_sec": 51}, 50, Verdict.FAIL),
    ("the last one failed", {"rdb_last_bgsave_status": "err"}, 200, Verdict.FAIL),
    ("the disk takes no writes", {"aof_last_write_status": "err"}, 200, Verdict.FAIL),
    ("no rewriting", {"aof_last_bgrewrite_status": "err"}, 200, Verdict.FAIL),
]


def judged(check: dict[str, Any], said: dict[str, Any], *, leads: bool = True) -> Verdict:
    asked = RedisCheck(cache="plaza", **check)
    return worst(redis_findings(asked, said, leads=leads, replicas=1, now=NOW)).verdict


@pytest.mark.parametrize(("said", "within", "verdict"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_snapshots(said: dict[str, Any], within: int, verdict: Verdict) -> None:
    assert judged({"saved_within": within}, {**SAVED, **said}) is verdict


def test_who_does_not_say_when_it_saved_is_unknown() -> None:
    assert judged({"saved_within": 50}, {"role": "master"}) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("leads", "said", "verdict"),
    [
        (True, LEADS, Verdict.PASS),
        (True, {**LEADS, "connected_slaves": 0}, Verdict.FAIL),
        (True, FOLLOWS, Verdict.FAIL),
        (False, FOLLOWS, Verdict.PASS),
        (False, LEADS, Verdict.FAIL),
        (False, {**FOLLOWS, "master_link_status": "down"}, Verdict.FAIL),
        (False, {**FOLLOWS, "master_last_io_seconds_ago": 11}, Verdict.FAIL),
        (False, {**FOLLOWS, "master_last_io_seconds_ago": -1}, Verdict.FAIL),
    ],
)
def test_replicas(leads: bool, said: dict[str, Any], verdict: Verdict) -> None:
    assert judged({"in_step_within": 10}, said, leads=leads) is verdict


def test_of_several_findings_the_worst_is_told() -> None:
    good, blind, bad = (Finding(verdict, verdict.value) for verdict in (Verdict.PASS, Verdict.UNKNOWN, Verdict.FAIL))
    assert worst([good, blind, bad]) == bad and worst([good, blind]) == blind
    assert worst([good, good]) == Finding(Verdict.PASS, "pass; pass")
