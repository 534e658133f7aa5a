"""Redis of a home of several servers: what a kill leaves, who notices a stale snapshot, and who leads after a change.

The tests of this module follow each other on hosts that they share, and leave the cache as empty as it was.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from migrate.adapters.http import HttpxClient
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.check import CheckResult, Verdict
from migrate.inventory import read_inventory
from migrate.leads import LEADS
from migrate.servicechecks import RedisCheck, ServiceCheck
from migrate.target.checks import ServiceChecks
from tests.homes import Home, changed_tasks
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
CACHE = "cache"
TLS = ["--tls", "--cacert", "/etc/cloudexit/tls/authority.crt"]
EVERYSEC = 1.5
"""Longer than an append-only file that is synced every second keeps anything to itself."""


@pytest.fixture(scope="module")
def home(fleet: Fleet) -> Iterator[Home]:
    yield fleet.home
    ask(fleet.home, lead(fleet.home), "FLUSHALL")


def lead(home: Home) -> str:
    return home.inventory.lead(CACHE).name


def replica(home: Home) -> str:
    return home.inventory.group(CACHE)[1].name


def ask(home: Home, on: str, *commands: str, to: str = "", options: list[str] = TLS) -> list[str]:
    """Redis's answers to a client on a host that holds the certificate against the home's authority."""
    address = home.inventory.hosts[to or on].address
    password = home.secrets["cache_password"].reveal()
    said = home.hosts.run(
        home.inventory.hosts[on],
        ["redis-cli", "-h", address, "-p", "6379", *options],
        stdin="\n".join([f"AUTH {password}", *commands, ""]).encode(),
        timeout=20,
    )
    return [line for line in (said.stdout + said.stderr).splitlines() if line][1:]


def eventually(question: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


def looked_at(home: Home, **bounds: float) -> list[CheckResult]:
    """One look with these bounds, at every host of the cache, the lead first."""
    check = ServiceCheck(name="looked", redis=RedisCheck(cache="plaza", **bounds), timeout=3)
    service = home.stack.services[CACHE].model_copy(update={"checks": (check,)})
    stack = home.stack.model_copy(update={"services": {**home.stack.services, CACHE: service}})
    checks = ServiceChecks(
        stack, home.inventory, home.secrets, home.hosts, HttpxClient(), PsycopgClient(), RedisClient()
    )
    return checks.of_service(CACHE, patient=False)


def killed(home: Home, host: str) -> None:
    """Ends Redis as a power cut would, and waits for the one that systemd starts in its place."""
    before = home.says(host, "systemctl show -p MainPID --value redis-server")
    home.says(host, "systemctl kill -s KILL redis-server")
    eventually(lambda: home.says(host, "systemctl show -p MainPID --value redis-server") not in (before, "0"))
    eventually(lambda: ask(home, host, "PING") == ["PONG"])


def test_what_was_written_a_second_ago_outlives_a_kill(home: Home) -> None:
    assert ask(home, lead(home), "SET kept yes", "RPUSH queue 1 2 3") == ["OK", "3"]
    time.sleep(EVERYSEC)
    killed(home, lead(home))
    assert ask(home, lead(home), "GET kept", "LLEN queue") == ["yes", "3"]


def test_the_replica_has_it_too_and_takes_no_writes(home: Home) -> None:
    eventually(lambda: ask(home, replica(home), "GET kept") == ["yes"])
    [refusal] = ask(home, replica(home), "SET other 1")
    assert refusal.startswith("READONLY")
    eventually(lambda: all(looked_at(home, in_step_within=30)))
    assert [result.host for result in looked_at(home, in_step_within=30)] == [lead(home), replica(home)]


def test_nothing_is_spoken_in_the_clear_and_the_certificate_is_the_homes(home: Home) -> None:
    assert ask(home, replica(home), "GET kept", to=lead(home)) == ["yes"]
    assert ask(home, replica(home), "GET kept", to=lead(home), options=[]) != ["yes"]
    stranger = ["--tls", "--cacert", "/etc/ssl/certs/ca-certificates.crt"]
    assert "yes" not in ask(home, replica(home), "GET kept", to=lead(home), options=stranger)


def test_the_data_is_bounded_by_the_memory_of_the_host(home: Home) -> None:
    [_, bound] = ask(home, lead(home), "CONFIG GET maxmemory")
    memory = int(home.says(lead(home), "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")) * 1024
    assert 0.2 * memory < int(bound) < 0.55 * memory
    assert ask(home, lead(home), "CONFIG GET maxmemory-policy")[1] == "noeviction"


def test_a_stale_snapshot_is_noticed(home: Home) -> None:
    assert ask(home, lead(home), "SAVE", "SET fresh 1")[0] == "OK"
    time.sleep(2.1)
    stale = looked_at(home, saved_within=1)[0]
    assert stale.verdict is Verdict.FAIL and "1 changes and no snapshot for" in stale.detail
    assert all(looked_at(home, saved_within=3600))
    ask(home, lead(home), "SAVE")
    time.sleep(1.1)
    assert looked_at(home, saved_within=1)[0], "nothing has changed since: an old snapshot is a whole one"


def test_a_snapshot_that_fails_is_noticed(home: Home) -> None:
    home.says(lead(home), "mv /var/lib/redis/dump.rdb /var/lib/redis/aside && mkdir /var/lib/redis/dump.rdb")
    ask(home, lead(home), "BGSAVE")
    eventually(lambda: not looked_at(home, saved_within=600)[0])
    failed = looked_at(home, saved_within=600)[0]
    assert failed.verdict is Verdict.FAIL and "the last snapshot failed" in failed.detail
    home.says(lead(home), "rmdir /var/lib/redis/dump.rdb && mv /var/lib/redis/aside /var/lib/redis/dump.rdb")
    ask(home, lead(home), "BGSAVE")
    eventually(lambda: bool(looked_at(home, saved_within=600)[0]))


def test_a_redis_that_cannot_be_asked_is_not_called_stale(home: Home) -> None:
    home.says(replica(home), "systemctl stop redis-server")
    try:
        results = looked_at(home, saved_within=600)
        assert [result.verdict for result in results] == [Verdict.PASS, Verdict.UNKNOWN]
        eventually(lambda: looked_at(home, in_step_within=30)[0].verdict is Verdict.FAIL)
    finally:
        home.says(replica(home), "systemctl start redis-server")
    eventually(lambda: all(looked_at(home, in_step_within=30)))


def test_a_snapshot_that_stands_alone_is_what_redis_goes_on_from(home: Home) -> None:
    ask(home, lead(home), "SET alone 1", "SAVE")
    home.says(lead(home), "systemctl stop redis-server && rm -r /var/lib/redis/appendonlydir")
    home.says(lead(home), "systemctl start redis-server")
    eventually(lambda: ask(home, lead(home), "GET alone") == ["1"])
    ask(home, lead(home), "SET after 1")
    time.sleep(EVERYSEC)
    killed(home, lead(home))
    assert ask(home, lead(home), "MGET alone after") == ["1", "1"]


@pytest.fixture
def led_by_another(home: Home) -> Iterator[Home]:
    """The home after leads.yml names the replica; put back, and provisioned again, afterwards."""
    path = home.inventory.path
    names = [host.name for host in home.inventory.group(CACHE)]
    leads: Path = path.with_name(LEADS)
    leads.write_text(yaml.safe_dump({CACHE: names[1]}))
    try:
        other = replace(home, inventory=read_inventory(path))
        assert changed_tasks(other.play(limit=names)).keys() == set(names)
        yield other
    finally:
        leads.unlink()
        assert home.play(limit=names)
        eventually(lambda: all(looked_at(home, in_step_within=30)))


def test_after_a_change_of_lead_the_other_takes_writes_and_the_old_one_follows(led_by_another: Home) -> None:
    home = led_by_another
    new, old = lead(home), replica(home)
    eventually(lambda: all(looked_at(home, in_step_within=30)))
    assert ask(home, new, "GET kept", "SET later 1") == ["yes", "OK"]
    eventually(lambda: ask(home, old, "GET later") == ["1"])
    assert ask(home, old, "SET other 1")[0].startswith("READONLY")
    again = home.play(limit=[new, old])
    assert changed_tasks(again) == {}
