"""What provisioning holds before it changes anything (other secrets, another lead), and when it is due."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from migrate.action import StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld, Unreachable
from migrate.inventory import Host, Inventory, on_hosts_of, read_inventory
from migrate.ports import Completed, HostPlay, PlayResult
from migrate.secret import Secret, Secrets
from migrate.stack import Stack
from migrate.target import cloning, duerestarts, leadership, provision, restarting
from migrate.target.livesecrets import fingerprints
from migrate.target.ownsecrets import BACKUP, REPLICATION
from migrate.target.provision import ROTATE, Narrowed, Provision
from tests.homes import CHECKOUT, CONTEXT, STEP
from tests.hosts_in_memory import HostsInMemory
from tests.ownsecrets import OWN_SECRETS_OF_TESTS
from tests.rolled_home import checks_of, impatient_stack, machines
from tests.servers_in_memory import GroupInMemory, Server

HOME = read_inventory(CHECKOUT / "inventories" / "fleet")
UNITS = ("plaza-worker.service", "plaza-web.service")
NAMES = ("database_password", "cache_password", "media_password", "session_key", "old_home_s3_key")
BYTES_OF_DATABASES = 2 * cloning.SHORTEST_BOUND * cloning.BYTES_PER_SECOND
SECRETS = Secrets({**OWN_SECRETS_OF_TESTS, **{name: Secret(f"value-of-{name}") for name in NAMES}})


@dataclass
class HomeInMemory(GroupInMemory):
    """A fleet whose hosts bear marks; `databases`: how many a server holds."""

    marks: dict[str, str] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)
    apps: HostsInMemory = field(default_factory=lambda: machines("app1", "app2"))
    """What runs on the hosts of the app."""
    databases: Mapping[str, int] = field(default_factory=dict)

    def run(
        self, host: Host, command: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0,
        as_user: str | None = None,
    ) -> Completed:  # fmt: skip
        if list(command) == ["sh", "-c", provision.LOOK] and host.name not in self.away:
            broken_off = f"{provision.UNFINISHED}\n" if host.name in self.unfinished else ""
            machine = self.apps.machines.get(host.name)
            due = "".join(f"due {unit}\n" for unit in machine.due) if machine else ""
            self.asked.append(host.name)
            return Completed(host.name, "sh", 0, f"boot\n{self.marks.get(host.name, '')}\n{broken_off}{due}", "")
        if list(command) == ["true"] and host.name not in self.away:
            return Completed(host.name, "true", 0, "", "")
        if host.name in self.apps.machines and host.name not in self.away:
            self.asked.append(host.name)
            return self.apps.run(host, command, stdin=stdin, timeout=timeout, as_user=as_user)
        if command[-1] == leadership.CLUSTER:
            return Completed(host.name, "sh", 0 if self.databases.get(host.name, 1) else 2, "", "")
        if command[-1] == leadership.DATABASES:
            return Completed(host.name, "psql", 0, f"{self.databases.get(host.name, 1)}\n", "")
        if command[-1] == cloning.FOLLOWS:
            return Completed(host.name, "sh", 2 if self.servers[host.name].leads else 0, "", "")
        if stdin == cloning.BYTES.encode():
            return Completed(host.name, "psql", 0, f"{BYTES_OF_DATABASES}\n", "")
        return super().run(host, command, stdin=stdin, timeout=timeout, as_user=as_user)

    def tunnel(self, host: Host, port: int) -> AbstractContextManager[int]:
        return self.apps.tunnel(host, port)


@dataclass
class PlaysInMemory:
    """ports.Playbooks; each play writes the marks that it was told to."""

    home: HomeInMemory
    told: list[Mapping[str, Any]] = field(default_factory=list)
    due: Sequence[str] = ()
    """Hosts whose processes are given another environment."""
    ends: Mapping[str, HostPlay] = field(default_factory=dict)
    """How it ends where it does not go through."""

    def run(self, playbook: Path, inventory: Inventory, **given: Any) -> PlayResult:
        self.told.append(given["variables"])
        self.home.marks.update(dict.fromkeys(given["limit"], given["variables"]["cloudexit_marker"]))
        for name in self.due:
            self.home.apps.machines[name].due = list(UNITS)
        return PlayResult(playbook.stem, {name: HostPlay(name, ok=1) for name in given["limit"]} | {**self.ends}, 1.0)


@dataclass
class Bench:
    home: HomeInMemory
    stack: Stack
    inventory: Inventory = HOME

    def __post_init__(self) -> None:
        self.plays = PlaysInMemory(self.home)

    def provision(self, secrets: Secrets = SECRETS, **how: Any) -> Provision:
        checks = checks_of(self.stack, self.home.apps, self.inventory)
        return Provision(self.home, self.plays, self.stack, self.inventory, secrets, checks, "me", **how)

    def held(self, given: Provision) -> GateHeld:
        before = len(self.plays.told)
        with pytest.raises(GateHeld) as raised:
            given.apply(STEP, CONTEXT)
        assert len(self.plays.told) == before, "nothing was played"
        return raised.value


@pytest.fixture
def bench() -> Bench:
    """The fleet as it was provisioned: data1 leads, data2 follows."""
    stack = on_hosts_of(impatient_stack(), HOME)
    mark = f"digest {fingerprints(stack, SECRETS)}"
    servers = {"data1": Server(leads=True), "data2": Server()}
    return Bench(HomeInMemory(servers, marks=dict.fromkeys(HOME.hosts, mark)), stack)


def with_other(*names: str) -> Secrets:
    return Secrets({**SECRETS, **{name: Secret(f"another-{name}") for name in names}})


FORMED = {name: SECRETS[name] for name in ("cloudexit_authority", "cloudexit_dkim")}
"""Secrets that are no plain words."""


@pytest.mark.parametrize("rotate", [False, True])
def test_the_pass_of_the_backups_is_never_replaced(bench: Bench, rotate: bool) -> None:
    """A state folder that was lost is made anew with all secrets, this one among them."""
    lost = Secrets({**with_other(*SECRETS), **FORMED})
    for secrets in (with_other(BACKUP), lost):
        fault = bench.held(bench.provision(secrets, rotate_secrets=rotate))
        assert "cloudexit_backup" in fault.what and fault.where == "ops1:/etc/pgbackrest.conf"
        assert "repo1-cipher-pass" in fault.hint and "CLOUDEXIT_BACKUP" in fault.hint
        assert "--rotate-secrets" not in str(fault)


def test_where_nothing_keeps_backups_their_pass_may_be_another(bench: Bench) -> None:
    hosts = {name: replace(h, groups=tuple(g for g in h.groups if g != "backup")) for name, h in HOME.hosts.items()}
    bench.inventory = replace(HOME, hosts=hosts)
    bench.stack = on_hosts_of(bench.stack, bench.inventory)
    assert "--rotate-secrets" in bench.held(bench.provision(with_other(BACKUP))).hint
    bench.provision(with_other(BACKUP), rotate_secrets=True).apply(STEP, CONTEXT)
    assert len(bench.plays.told) == 1


def test_other_secrets_are_given_on_purpose_only_and_to_the_stores_first(bench: Bench) -> None:
    fault = bench.held(bench.provision(with_other("database_password", REPLICATION)))
    assert "cloudexit_replication, database_password" in fault.what and fault.hint == ROTATE
    bench.provision(with_other("database_password"), rotate_secrets=True).apply(STEP, CONTEXT)
    assert bench.plays.told[-1]["cloudexit_rotating"] == ["data1", "edge1"]
    bench.provision(with_other("database_password"), rotate_secrets=True).apply(STEP, CONTEXT)
    assert "cloudexit_rotating" not in bench.plays.told[-1], "the hosts live with these by now"


def test_a_host_that_does_not_answer_is_left_to_the_play(bench: Bench) -> None:
    bench.home.away = {"edge2", "data2"}
    bench.provision().apply(STEP, CONTEXT)
    assert len(bench.plays.told) == 1


DATA2_LEADS = {"data1": Server(runs=False, held=True), "data2": Server(leads=True, timeline=2)}


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        (DATA2_LEADS, "data2 takes writes and holds databases; data1 is to lead it, and does not"),
        ({"data1": Server(), "data2": Server(leads=True)}, "data2 takes writes and holds databases"),
        ({"data1": Server(), "data2": Server(runs=False)}, "data1 is to lead it, and follows another server"),
        ({"data1": Server(leads=True), "data2": Server(leads=True)}, "data1 is to lead it, and takes writes too"),
    ],
    ids=["leads.yml was lost", "it follows", "it follows one that is gone", "two take writes"],
)
def test_nothing_is_changed_where_another_server_leads_than_the_inventory_says(
    bench: Bench, servers: Mapping[str, Server], said: str
) -> None:
    bench.home.servers = servers
    fault = bench.held(bench.provision())
    assert said in fault.what
    assert fault.where.endswith("fleet/leads.yml") and "cloudexit failover database" in fault.hint
    bench.inventory = replace(HOME, leads={"database": "data2"})
    if servers is DATA2_LEADS:
        assert "`database: data2`" in fault.hint
        bench.provision().apply(STEP, CONTEXT)


def test_a_lead_that_is_away_does_not_hide_that_another_one_took_over(bench: Bench) -> None:
    bench.home.servers = DATA2_LEADS
    bench.home.away = {"data1"}
    assert "data2 takes writes" in bench.held(bench.provision()).what


def test_a_new_host_that_stands_first_leads_nobody_away(bench: Bench) -> None:
    new = Host("data0", "192.0.2.20", ("database",))
    bench.inventory = replace(HOME, hosts={"data0": new, **HOME.hosts})
    for server in (Server(runs=False), Server(leads=True)):
        bench.home.servers = {"data0": server, "data1": Server(leads=True), "data2": Server()}
        bench.home.databases = {"data0": 0}
        fault = bench.held(bench.provision())
        assert "data1 takes writes and holds databases; data0 is to lead it, and does not" in fault.what
        assert "`database: data1`" in fault.hint


def test_a_host_that_comes_back_empty_under_the_name_of_the_lead_leads_nothing(bench: Bench) -> None:
    for server in (Server(runs=False), Server(leads=True)):
        bench.home.servers = {"data1": server, "data2": Server()}
        bench.home.databases = {"data1": 0}
        fault = bench.held(bench.provision())
        assert "data2 has databases, and data1 is to lead it and has none" in fault.what
        assert fault.hint.endswith("cloudexit failover database")
    bench.home.databases = {}
    bench.home.servers = {"data1": Server(runs=False), "data2": Server()}
    bench.provision().apply(STEP, CONTEXT)


def test_servers_without_databases_and_hosts_without_servers_hold_nothing(bench: Bench) -> None:
    """As a first run finds them, and one that was killed before the replica was made."""
    for servers in (
        {"data1": Server(runs=False), "data2": Server(runs=False)},
        {"data1": Server(leads=True), "data2": Server(leads=True)},
        {"data1": Server(runs=False), "data2": Server(leads=True)},
    ):
        bench.home.servers, bench.home.databases = servers, {"data1": 0, "data2": 0}
        bench.provision().apply(STEP, CONTEXT)


def test_one_that_is_to_become_a_replica_may_take_writes_until_then(bench: Bench) -> None:
    bench.home.servers = {"data1": Server(leads=True), "data2": Server(leads=True)}
    narrowed = Narrowed(("data2",), {"cloudexit_clone": ["data2"]})
    bench.provision(narrowed=narrowed).apply(STEP, CONTEXT)
    assert bench.plays.told[-1]["cloudexit_clone_seconds"] == 2 * cloning.SHORTEST_BOUND
    bench.home.servers = {"data1": Server(leads=True), "data2": Server()}
    bench.provision().apply(STEP, CONTEXT)
    assert "cloudexit_clone_seconds" not in bench.plays.told[-1], "it follows, and nothing is copied"


def test_marks_that_fit_are_no_reason_to_leave_out_what_somebody_asked_for(bench: Bench) -> None:
    bench.provision().apply(STEP, CONTEXT)
    assert bench.provision().verify(STEP, CONTEXT) is Verdict.PASS
    asked = bench.provision(play_anyway=True)
    assert asked.verify(STEP, StepContext(previous={"marker": "of an earlier attempt"})) is Verdict.UNKNOWN
    asked.apply(STEP, CONTEXT)
    assert asked.verify(STEP, CONTEXT) is Verdict.PASS


def test_a_host_whose_run_was_broken_off_is_not_provisioned(bench: Bench) -> None:
    bench.provision().apply(STEP, CONTEXT)
    bench.home.unfinished = {"app1"}
    assert bench.provision().verify(STEP, CONTEXT) is Verdict.FAIL


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "STEADY_SECONDS", 0.0)
    monkeypatch.setattr(restarting, "REJOIN_SECONDS", 0.0)
    monkeypatch.setattr(duerestarts, "LOOK_AGAIN_SECONDS", 0.0)


GOES_OVER_BOTH = ["app1 worker", "app1 web", "app2 worker", "app2 web"]


@pytest.mark.usefixtures("no_waiting")
def test_what_was_given_other_files_is_restarted_host_by_host_and_then_it_is_there(bench: Bench) -> None:
    bench.plays.due = ["app2", "app1"]
    outcome = bench.provision().apply(STEP, CONTEXT)
    assert bench.home.apps.restarted == GOES_OVER_BOTH
    assert outcome.detail["restarts"].keys() == {"app1", "app2"} and outcome.detail["restarted"].startswith("app1 ")
    assert bench.provision().verify(STEP, CONTEXT) is Verdict.PASS


def test_where_nothing_is_due_hosts_with_processes_are_asked_for_that_and_nothing_more(bench: Bench) -> None:
    bench.provision().apply(STEP, CONTEXT)
    assert bench.home.asked[-2:] == ["app1", "app2"] and bench.home.apps.calls == 0
    of_secrets, of_servers = len(HOME.hosts), bench.home.calls
    assert len(bench.home.asked) == of_secrets + of_servers + 2


@pytest.mark.usefixtures("no_waiting")
def test_a_run_that_was_killed_before_the_restarts_is_not_there_and_the_next_one_restarts(bench: Bench) -> None:
    bench.plays.due = ["app1", "app2"]
    bench.home.apps.dies_at = 1
    with pytest.raises(KeyboardInterrupt):
        bench.provision().apply(STEP, CONTEXT)
    assert bench.home.marks["app1"] == bench.home.marks["edge1"], "the play went through"
    assert bench.provision().verify(STEP, CONTEXT) is Verdict.FAIL
    bench.plays.due = ()
    bench.provision().apply(STEP, CONTEXT)
    assert bench.home.apps.restarted == GOES_OVER_BOTH
    assert bench.provision().verify(STEP, CONTEXT) is Verdict.PASS


def test_a_mark_of_a_unit_that_is_no_process_of_the_host_is_nobodys(bench: Bench) -> None:
    bench.home.apps.machines["app1"].due = ["moved-away.service"]
    bench.provision().apply(STEP, CONTEXT)
    assert bench.provision().verify(STEP, CONTEXT) is Verdict.PASS
    assert bench.home.apps.restarted == []


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(("unreachable", "fault"), [(True, Unreachable), (False, GateHeld)])
def test_a_host_on_which_the_play_fails_keeps_no_process_from_what_it_was_given(
    bench: Bench, unreachable: bool, fault: type[Exception]
) -> None:
    """Its password may be another one on the database's host by now."""
    bench.plays.due = ["app1", "app2"]
    failed = HostPlay("edge2", failed=not unreachable, unreachable=unreachable, failure="it went wrong")
    bench.plays.ends = {"edge2": failed}
    with pytest.raises(fault, match="it went wrong"):
        bench.provision().apply(STEP, CONTEXT)
    assert bench.home.apps.restarted == GOES_OVER_BOTH
    bench.home.apps.is_bad = lambda host, runs: bool(bench.home.apps.restarted)
    bench.home.apps.restarted.clear()
    with pytest.raises(GateHeld, match=r"plaza-web.service on app1: not healthy.*before that, .*it went wrong"):
        bench.provision().apply(STEP, CONTEXT)


@pytest.mark.usefixtures("no_waiting")
def test_a_host_that_is_lost_after_the_play_is_named_when_the_others_are_restarted(bench: Bench) -> None:
    bench.plays.due = ["app1", "app2"]
    bench.home.away = {"app1"}
    bench.plays.ends = {"app1": HostPlay("app1", ok=1)}
    with pytest.raises(Unreachable):
        bench.provision().apply(STEP, CONTEXT)
    assert bench.home.apps.restarted == ["app2 worker", "app2 web"]


@pytest.mark.usefixtures("no_waiting")
def test_a_run_of_one_host_restarts_what_is_due_there_while_the_other_answers(bench: Bench) -> None:
    bench.plays.due = ["app1", "app2"]
    bench.provision(narrowed=Narrowed(("app2",))).apply(STEP, CONTEXT)
    assert bench.home.apps.restarted == ["app2 worker", "app2 web"]
    assert bench.provision().verify(STEP, CONTEXT) is Verdict.FAIL, "the other one is due yet"
