"""A group of PostgreSQL servers as they are: which one takes writes, which follow it, and how far behind they are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from migrate.check import Verdict
from migrate.errors import CloudexitError, GateHeld, OutsideProblem, Unreachable
from migrate.inventory import Host
from migrate.ports import Hosts
from migrate.target.sidebyside import answers_and_faults_of

LOOK_SECONDS = 20.0
STATE = """
WITH newest AS (
  SELECT coalesce(max(('x' || substr(name, 1, 8))::bit(32)::int), 1) AS timeline
  FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')
SELECT json_build_object(
  'follows', pg_is_in_recovery(),
  'timeline', timeline,
  'history', pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline)), 8, '0') || '.history', 0, 1000000, true),
  'position',
    (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) - '0/0'::pg_lsn,
  'received',
    coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0'::pg_lsn) - '0/0'::pg_lsn,
  'replayed_at', extract(epoch FROM pg_last_xact_replay_timestamp()),
  'now', extract(epoch FROM clock_timestamp()),
  'streams', (SELECT count(*) > 0 FROM pg_stat_wal_receiver WHERE status = 'streaming'),
  'followers', (SELECT coalesce(json_agg(json_build_object('name', application_name, 'state', state,
     'bytes', pg_current_wal_lsn() - replay_lsn, 'seconds', coalesce(extract(epoch FROM replay_lag), 0))), '[]')
     FROM pg_stat_replication WHERE NOT pg_is_in_recovery() AND application_name <> 'pg_basebackup')
) FROM newest
"""
"""The timeline is that of the newest WAL: the control file learns of another one minutes later."""


@dataclass(frozen=True)
class ServerState:
    """What one server says of itself. Positions in bytes of WAL since the beginning of the cluster."""

    host: str
    follows: bool
    timeline: int
    position: int
    received: int
    streams: bool
    followers: Mapping[str, Mapping[str, Any]]
    seconds_behind: float
    """Age of the newest transaction that was replayed; grows on a database that nobody writes to."""
    history: str = ""
    """Where earlier timelines ended, as PostgreSQL keeps it."""


@dataclass(frozen=True)
class GroupState:
    """Servers that answered, and what hindered the others: a server that is stopped is not a host that is away."""

    servers: Mapping[str, ServerState]
    stopped: Mapping[str, str]
    away: Mapping[str, CloudexitError]

    @property
    def leaders(self) -> list[str]:
        """Servers that take writes. More than one is the one thing that must never be."""
        return [name for name, server in self.servers.items() if not server.follows]


def look_at_group(hosts: Hosts, group: list[Host], port: int) -> GroupState:
    """Asks every server of a group, side by side; raises GateHeld where one answers with what cannot be read."""
    answers, faults = answers_and_faults_of(group, lambda host: _ask(hosts, host, port))
    stopped = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
    servers = {name: answer for name, answer in answers.items() if isinstance(answer, ServerState)}
    unexpected = [fault for fault in faults.values() if not isinstance(fault, OutsideProblem)]
    if unexpected:
        raise unexpected[0]
    return GroupState(servers, stopped, faults)


def _ask(hosts: Hosts, host: Host, port: int) -> ServerState | str:
    command = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-p", str(port), "-d", "postgres", "-f", "-"]
    done = hosts.run(
        host, ["env", "--chdir=/", "PGCONNECT_TIMEOUT=5", *command], stdin=STATE.encode(), as_user="postgres",
        timeout=LOOK_SECONDS,
    )  # fmt: skip
    if not done:
        return (done.stderr.strip().splitlines() or ["it does not answer"])[0]
    try:
        told = json.loads(done.stdout)
    except ValueError as fault:
        raise GateHeld(f"the server answers what is no answer: {fault}", where=host.name) from fault
    behind = told["now"] - told["replayed_at"] if told["replayed_at"] is not None else 0.0
    followers = {follower["name"]: follower for follower in told["followers"]}
    return ServerState(
        host.name, told["follows"], told["timeline"], int(told["position"]), int(told["received"]), told["streams"],
        followers, behind, told["history"] or "",
    )  # fmt: skip


def judge_replication(state: GroupState, lead: str, others: list[str], at_most: float) -> tuple[Verdict, str]:
    """Whether every other host of a group follows the one that leads it, at most so many seconds behind."""
    if not others:
        return Verdict.PASS, "the group has one host"
    server = state.servers.get(lead)
    if server is None:
        return Verdict.UNKNOWN, f"{lead} does not answer: {state.stopped.get(lead) or state.away[lead].what}"
    if server.follows:
        return Verdict.FAIL, f"{lead} leads by the inventory, and follows"
    second = [name for name in state.leaders if name != lead]
    if second:
        return Verdict.FAIL, f"{', '.join(second)} takes writes beside {lead}"
    faults, words = [], []
    for name in others:
        follower = server.followers.get(name)
        if follower is None or follower["state"] != "streaming":
            faults.append(f"{name} does not follow" + (f": {follower['state']}" if follower else ""))
        elif follower["seconds"] > at_most:
            faults.append(f"{name} is {follower['seconds']:.1f} s behind, at most {at_most:.0f}")
        else:
            words.append(f"{name} is {int(follower['bytes'] or 0):,} bytes, {follower['seconds']:.1f} s behind")
    return (Verdict.FAIL, "; ".join(faults)) if faults else (Verdict.PASS, "; ".join(words))


def require_one_leader(state: GroupState, service: str) -> None:
    """Raises GateHeld where two servers take writes."""
    if len(state.leaders) > 1:
        raise GateHeld(
            f"{' and '.join(state.leaders)} both take writes",
            where=f"services.{service}",
            expected="one server that leads; the others follow it",
            hint=f"find out which has what counts, then: cloudexit failover {service} --rejoin THE-OTHER",
        )


def require_reached(state: GroupState, host: str) -> ServerState:
    """The server of a host; raises Unreachable where it does not answer."""
    server = state.servers.get(host)
    if server is None:
        why = state.stopped.get(host) or state.away[host].what
        raise Unreachable(f"the server does not answer: {why}", where=host, hint="systemctl status postgresql there")
    return server
