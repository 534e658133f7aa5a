"""What Redis says of its saves and its replicas (INFO), judged. Pure, but for the clock."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from migrate.check import Verdict
from migrate.servicechecks import RedisCheck
from migrate.target.finding import Finding


def redis_findings(
    check: RedisCheck, said: Mapping[str, Any], *, leads: bool, replicas: int, now: float | None = None
) -> Iterator[Finding]:
    """One finding for each bound that the check names; `now` in seconds since 1970."""
    if check.saved_within:
        yield saved(said, check.saved_within, time.time() if now is None else now)
    if check.in_step_within:
        yield leading(said, replicas) if leads else following(said, check.in_step_within)


def saved(said: Mapping[str, Any], within: float, now: float) -> Finding:
    """Fails where a write waits for its snapshot longer than `within` seconds, or where a save failed."""
    for what, title in (
        ("rdb_last_bgsave_status", "the last snapshot"),
        ("aof_last_write_status", "the last write to the append-only file"),
        ("aof_last_bgrewrite_status", "the last rewriting of the append-only file"),
    ):
        if said.get(what, "ok") != "ok":
            return Finding(Verdict.FAIL, f"{title} failed: look at the disk, and at Redis's log")
    missing = [name for name in ("rdb_last_save_time", "rdb_changes_since_last_save") if name not in said]
    if missing:
        return Finding(Verdict.UNKNOWN, f"Redis does not say {missing[0]}")
    changes, age = int(said["rdb_changes_since_last_save"]), now - int(said["rdb_last_save_time"])
    if int(said.get("rdb_bgsave_in_progress", 0)):
        age = float(said.get("rdb_current_bgsave_time_sec", age))
    if changes and age > within:
        return Finding(Verdict.FAIL, f"{changes:,} changes and no snapshot for {age:,.0f} s, at most {within:,.0f} s")
    return Finding(Verdict.PASS, f"last snapshot {age:,.0f} s ago, {changes:,} changes since")


def leading(said: Mapping[str, Any], replicas: int) -> Finding:
    """The host that takes writes, and whether all its replicas are connected."""
    if said.get("role") != "master":
        return Finding(Verdict.FAIL, "is a replica, and the inventory has it lead")
    connected = int(said.get("connected_slaves", 0))
    verdict = Verdict.PASS if connected >= replicas else Verdict.FAIL
    return Finding(verdict, f"{connected} of {replicas} replicas are connected")


def following(said: Mapping[str, Any], within: float) -> Finding:
    """A replica, and when it last heard from the host that leads."""
    if said.get("role") != "slave":
        return Finding(Verdict.FAIL, "takes writes of its own, and the inventory has another host lead")
    if said.get("master_link_status") != "up":
        return Finding(Verdict.FAIL, "has lost the host that leads")
    silent = int(said.get("master_last_io_seconds_ago", -1))
    verdict = Verdict.PASS if 0 <= silent <= within else Verdict.FAIL
    return Finding(verdict, f"heard from the host that leads {silent} s ago, at most {within:,.0f} s")
