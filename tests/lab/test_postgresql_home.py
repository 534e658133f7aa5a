"""PostgreSQL of a home of several servers: a replica that keeps up, and another host that leads while the app writes.

The tests of this module share the fleet and follow each other: what one has made, the next looks at. In the end the
first host leads again, as it did before.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrate.check import CheckResult, Verdict
from migrate.errors import ExitCode, GateHeld, Interrupted
from migrate.inventory import read_inventory
from migrate.leads import LEADS
from migrate.plan import Effect, Phase, Step
from migrate.ports import PlayResult
from migrate.target.backups import FirstBackup
from migrate.target.playbooks import playbooks_folder
from migrate.target.variables import provision_variables
from tests.app_writers import Writer
from tests.drill import CLOUDEXIT
from tests.homes import CONTEXT, PLAZA, STEP, Home, changed_tasks
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
BACK_WITHIN = 20.0
"""Seconds in which the app may write nothing."""
COMMAND_SECONDS = 500
GROUP, DATABASE = "database", "plaza"
UNITS = {"media": "nginx-media", "worker": "plaza-worker", "app": "plaza-web", "edge": "nginx-edge"}
SERVER = "postgresql@$(ls /etc/postgresql)-main.service"
"""`postgresql.service` itself is an umbrella: stopping it says nothing of the server."""
CUT_OFF = """
nft add table inet cut
nft 'add chain inet cut out {{ type filter hook output priority -10; }}'
nft add rule inet cut out ip daddr {address} tcp sport 5432 drop
"""
TABLES = """
SET ROLE plaza;
CREATE TABLE users (name text);
INSERT INTO users VALUES ('ada');
CREATE TABLE written (number int PRIMARY KEY);
"""
BACKUP = Step("restore.backup", Phase.RESTORE, "restore.backup", "title", Effect.REVERSIBLE, subject="backup")


@dataclass(frozen=True)
class Site:
    """The home of the fleet with its app running, and an operator's state folder."""

    home: Home
    state: Path

    @property
    def servers(self) -> list[str]:
        """By the inventory's order, whoever leads."""
        return [host.name for host in replace(self.home.inventory, leads={}).group(GROUP)]

    @property
    def leads_file(self) -> Path:
        return self.home.inventory.path.with_name(LEADS)

    def failover(self, *options: str, **environment: str) -> tuple[int, dict[str, Any]]:
        command = [CLOUDEXIT, "failover", GROUP, "--stack", str(PLAZA), "-i", str(self.home.inventory.path)]
        done = subprocess.run(
            [*command, "--state", str(self.state), "--json", *options],
            capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False, env={**os.environ, **environment},
        )  # fmt: skip
        print(done.stderr)
        return done.returncode, json.loads(done.stdout or "{}")

    def as_it_is_led(self) -> Home:
        return replace(self.home, inventory=read_inventory(self.home.inventory.path))

    def sql(self, host: str, script: str, database: str = DATABASE) -> str:
        argv = ["env", "--chdir=/", "psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", database]
        done = self.home.hosts.run(self.home.inventory.hosts[host], argv, stdin=script.encode(), as_user="postgres")
        assert done, done
        return done.stdout.strip()

    def follows(self, host: str) -> bool:
        asked = "SELECT pg_is_in_recovery() AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"
        return self.sql(host, asked, "postgres") == "t"

    def replication(self) -> CheckResult:
        """One look of the manifest's own check."""
        results = self.as_it_is_led().checks().of_service(GROUP, patient=False)
        return next(result for result in results if result.name == f"{GROUP}: replicas-keep-up")

    @contextmanager
    def through_the_pool(self, options: str = "") -> Iterator[psycopg.Connection]:
        """As the app on its first host: it knows the pool on 127.0.0.1, and not where the database is."""
        app = self.home.inventory.group("app")[0]
        service = self.home.stack.services[GROUP]
        with (
            self.home.hosts.tunnel(app, service.pool_port or 0) as port,
            psycopg.connect(
                host="127.0.0.1", port=port, dbname=DATABASE, user="plaza", autocommit=True, connect_timeout=10,
                password=self.home.secrets["database_password"].reveal(), options=options or None,
            ) as connection,
        ):  # fmt: skip
            yield connection


def step(report: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in report["steps"] if one["id"] == name)
    return found


def eventually(question: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def site(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Every check of the manifest passes: the app runs, the database has users, a backup was made."""
    state = tmp_path_factory.mktemp("state")
    state.chmod(0o700)
    shutil.copy(fleet.home.folder / "secrets.json", state / "secrets.json")
    made = Site(fleet.home, state)
    home, lead = fleet.home, made.servers[0]
    made.sql(lead, "CREATE DATABASE plaza OWNER plaza", "postgres")
    made.sql(lead, TABLES)
    started = []
    for group, unit in UNITS.items():
        for host in home.inventory.group(group):
            if not home.run(host.name, "systemctl", "is-active", "--quiet", unit):
                started.append((host.name, unit))
                home.says(host.name, f"systemctl start {unit}")
    for host in home.inventory.group("app"):
        home.says(host.name, "until ss -Hltn | grep -q ':8000 '; do sleep 0.1; done")
    first = FirstBackup(home.stack, home.inventory, home.hosts)
    if first.verify(BACKUP, CONTEXT) is Verdict.FAIL:
        first.apply(BACKUP, CONTEXT)
    yield made
    made.sql(lead, "DROP DATABASE plaza WITH (FORCE)", "postgres")
    for name, unit in started:
        home.says(name, f"systemctl stop {unit}")


def test_rows_that_are_written_to_the_lead_are_on_the_replica(site: Site) -> None:
    lead, replica = site.servers
    with site.through_the_pool() as connection:
        connection.execute("INSERT INTO written (number) SELECT -generate_series(1, 1000)")
    eventually(lambda: site.sql(replica, "SELECT count(*), min(number) FROM written") == "1000|-1000")
    assert (
        site.sql(replica, "SELECT pg_is_in_recovery()") == "t" and site.sql(lead, "SELECT pg_is_in_recovery()") == "f"
    )


def test_what_an_app_asks_for_when_it_signs_in_is_not_dropped_without_a_word(site: Site) -> None:
    """Debian 12's pgbouncer refuses it; a later one passes it on."""
    try:
        with site.through_the_pool("-c search_path=elsewhere") as connection:
            assert connection.execute("SHOW search_path").fetchone() == ("elsewhere",)
    except psycopg.OperationalError as refusal:
        assert "unsupported startup parameter: options" in str(refusal)


def test_a_replica_that_is_stopped_is_missed_and_missed_no_more_when_it_is_back(site: Site) -> None:
    replica = site.servers[1]
    eventually(lambda: bool(site.replication()))
    site.home.says(replica, f"systemctl stop {SERVER}")
    try:
        eventually(lambda: site.replication().verdict is Verdict.FAIL)
        assert f"{replica} does not follow" in site.replication().detail
    finally:
        site.home.says(replica, f"systemctl start {SERVER}")
    eventually(lambda: bool(site.replication()))


def test_with_other_secrets_than_the_hosts_live_with_nobody_is_stood_down(site: Site) -> None:
    lead, replica = site.servers
    code, report = site.failover(CLOUDEXIT_MONITORING="another")
    assert code == ExitCode.GATE and "cloudexit_monitoring" in report["what"], report
    assert "--without-provision" in report["hint"] and "--rotate-secrets" not in report["hint"]
    assert site.sql(lead, "SELECT pg_is_in_recovery()") == "f" and site.follows(replica)


def test_the_other_host_leads_while_the_app_writes_and_no_row_is_lost(site: Site) -> None:
    old, new = site.servers
    with Writer(site.through_the_pool) as writer:
        eventually(lambda: len(writer.committed) > 50)
        code, report = site.failover()
        since = len(writer.committed)
        eventually(lambda: len(writer.committed) > since + 50)
    assert code == ExitCode.DONE, report
    print(f"nothing was written for {writer.longest_gap:.1f} s", writer.failures)
    assert writer.longest_gap < BACK_WITHIN
    assert step(report, "failover.stand-down")["detail"]["lost"] == "nothing"
    there = {int(row) for row in site.sql(new, "SELECT number FROM written").splitlines()}
    assert set(writer.committed) <= there
    assert site.leads_file.read_text().splitlines()[-1] == f"{GROUP}: {new}"
    eventually(lambda: site.follows(old))
    assert bool(site.replication())


def killed(site: Site, host: str) -> None:
    """As a crash: no last checkpoint, nobody is told. And nothing starts it again."""
    site.home.says(host, f"systemctl kill -s KILL {SERVER}; systemctl stop {SERVER}")


def test_what_a_server_that_died_has_and_no_other_is_not_lost_in_silence(site: Site) -> None:
    """Cut off until it is refused: else the kernel of the host still sends what the dead server had written."""
    new, old = site.servers
    address = site.home.inventory.hosts[new].address
    site.home.says(old, CUT_OFF.format(address=address))
    try:
        site.sql(old, "INSERT INTO written (number) VALUES (-2000)")
        killed(site, old)
        code, report = site.failover()
    finally:
        site.home.says(old, "nft delete table inet cut")
    assert code == ExitCode.GATE, report
    fault = report["error"]
    assert fault["where"] == new and f"bytes of WAL that {old} has" in fault["what"]
    assert f"--to {old}" in fault["hint"] and "--accept-loss" in fault["hint"]
    assert not site.home.run(old, "sh", "-c", "test -e /var/lib/postgresql/*/main/standby.signal")
    site.home.says(old, f"systemctl start {SERVER}")
    eventually(lambda: site.sql(new, "SELECT count(*) FROM written WHERE number = -2000") == "1")


def test_the_first_host_leads_again_after_the_other_died_and_nothing_is_lost(site: Site) -> None:
    new, old = site.servers
    with site.through_the_pool() as connection:
        connection.execute("INSERT INTO written (number) SELECT -2000 - generate_series(1, 500)")
    position = site.sql(old, "SELECT pg_current_wal_lsn()")
    eventually(lambda: site.sql(new, f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t")
    rows = site.sql(old, "SELECT count(*), sum(number) FROM written")
    killed(site, old)
    code, report = site.failover("--without-provision", CLOUDEXIT_MONITORING="not needed")
    assert code == ExitCode.DONE, report
    assert step(report, "failover.stand-down")["detail"]["lost"] == "nothing that hosts which answer have"
    assert site.sql(new, "SELECT count(*), sum(number) FROM written") == rows
    assert not site.leads_file.exists(), "the first host leads: there is nothing to say"
    with site.through_the_pool() as connection:
        connection.execute("INSERT INTO written (number) VALUES (-3000)")
    assert site.sql(new, "SELECT count(*) FROM written WHERE number = -3000") == "1"
    site.home.provision().apply(STEP, CONTEXT)
    eventually(lambda: site.follows(old))


def test_two_servers_that_take_writes_are_refused_and_one_of_them_rejoins(site: Site) -> None:
    lead, second = site.servers
    timeline = int(site.sql(lead, "SELECT timeline_id FROM pg_control_checkpoint()"))
    site.sql(second, "SELECT pg_promote()", "postgres")
    site.sql(second, "INSERT INTO written (number) VALUES (-4000)")
    code, report = site.failover()
    assert code == ExitCode.GATE and not report.get("steps"), report
    found = site.replication()
    assert found.verdict is Verdict.FAIL and f"{second} takes writes beside {lead}" in found.detail
    with pytest.raises(GateHeld, match=f"{second} takes writes and holds databases; {lead} is to lead it, and takes"):
        site.home.provision().apply(STEP, CONTEXT)
    assert not site.home.run(lead, "sh", "-c", f"systemctl restart {SERVER}")
    said = site.home.says(lead, f"journalctl -u {SERVER} -n 20 -o cat")
    assert f"{second} takes writes for {GROUP}, on timeline {timeline + 1}" in said
    assert f"cloudexit failover {GROUP} --rejoin {lead}" in said
    site.home.says(second, f"systemctl stop {SERVER}")
    site.home.says(lead, f"systemctl start {SERVER}")
    code, report = site.failover("--rejoin", second)
    assert code == ExitCode.DONE, report
    detail = step(report, "failover.rejoin")["detail"]
    assert detail["had"]["timeline"] == timeline + 1
    assert detail["had"]["in common"].startswith(f"timeline {timeline}, ")
    assert detail["had"]["bytes that no other has"] > 0
    [aside] = detail["data put aside"]
    assert site.home.says(second, f"cat {aside}/PG_VERSION; rm -r {aside}")
    assert site.follows(second)
    eventually(lambda: site.sql(second, "SELECT count(*) FROM written WHERE number = -3000") == "1")
    assert site.sql(second, "SELECT count(*) FROM written WHERE number = -4000") == "0"


def test_a_copy_that_was_broken_off_between_its_renames_is_ended_by_the_next_run_which_changes_nothing_else(
    site: Site,
) -> None:
    lead, replica = site.servers
    folder = site.home.says(replica, "ls -d /var/lib/postgresql/*/main")
    site.home.says(replica, f"systemctl stop {SERVER}; mv {folder} {folder}.clone")
    marker = site.home.says(replica, "cat /etc/cloudexit/provisioned")
    changed = changed_tasks(site.home.play(limit=[lead, replica], cloudexit_marker=marker))
    assert changed.keys() == {replica}
    assert [task.removeprefix("postgresql : ") for task in changed[replica]] == [
        "Put the copy in the place of the data that were there, and those aside", "Start the replica",
    ]  # fmt: skip
    eventually(lambda: site.follows(replica))
    assert site.home.says(replica, "ls -d /var/lib/postgresql/*/main*") == folder
    assert site.home.provision().verify(STEP, CONTEXT) is Verdict.PASS


COPY = "cloudexit-clone.service"
SLOWLY = "4M"
"""A second: some ten of them for what the fleet's database holds."""

RESTORED = {"recovery_target_time": "2001-01-01 00:00:00+00", "recovery_target_action": "promote"}


def provisioned_slowly(site: Site, cancelled: Callable[[], bool] = lambda: False) -> PlayResult:
    """A play over the replica whose copy takes its time."""
    home, told = site.home, provision_variables(site.home.stack, site.home.inventory, site.home.secrets)
    marker = home.says(site.servers[1], "cat /etc/cloudexit/provisioned")
    variables = {**told.variables, "cloudexit_marker": marker, "postgresql_clone_rate": SLOWLY}
    return home.playbooks.run(
        playbooks_folder() / "provision.yml", home.inventory, variables=variables, secrets=told.secrets,
        limit=[site.servers[1]], cancelled=cancelled,
    )  # fmt: skip


def test_a_copy_goes_on_when_the_run_that_began_it_is_gone_and_one_that_failed_is_begun_anew(site: Site) -> None:
    """Nor does it end where a restore of the lead to a moment ended."""
    lead, replica = site.servers
    folder = site.home.says(replica, "ls -d /var/lib/postgresql/*/main")
    site.home.says(replica, f"systemctl stop {SERVER}; rm -r {folder}")
    for setting, value in RESTORED.items():
        site.sql(lead, f"ALTER SYSTEM SET {setting} = '{value}'", "postgres")

    def is_written() -> bool:
        return bool(site.home.run(replica, "systemctl", "is-active", "--quiet", COPY))

    def spoil() -> bool:
        return is_written() and not site.home.says(replica, f"systemctl kill --signal KILL {COPY}") and False

    failed = provisioned_slowly(site, spoil).hosts[replica]
    assert failed.failed and "Wait for the copy" in failed.failure and "Result=signal" in failed.failure, failed
    with pytest.raises(Interrupted):
        provisioned_slowly(site, is_written)
    assert is_written(), "whoever began it is gone"
    begun = site.home.says(replica, f"stat -c %i {folder}.clone")

    result = provisioned_slowly(site)

    assert result, result
    tasks = " ".join(result.hosts[replica].changed_tasks)
    assert "Put the copy in the place" in tasks and "Begin to copy" not in tasks
    assert site.home.says(replica, f"stat -c %i {folder}") == begun
    position = site.sql(lead, "SELECT txid_current(); SELECT pg_current_wal_lsn()", "postgres").split()[-1]
    for setting in RESTORED:
        site.sql(lead, f"ALTER SYSTEM RESET {setting}", "postgres")
    eventually(lambda: site.sql(replica, f"SELECT pg_last_wal_replay_lsn() >= '{position}'", "postgres") == "t")
    eventually(lambda: site.follows(replica))
    assert site.home.says(replica, "ls -d /var/lib/postgresql/*/main*") == folder
    assert site.home.provision().verify(STEP, CONTEXT) is Verdict.PASS
