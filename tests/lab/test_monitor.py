"""The monitor of a home of several servers: what it sees, and what it says of an outage made on purpose."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from migrate.inventory import Host
from migrate.target.provision import MARKER
from migrate.target.watching import ALERTMANAGER
from tests.homes import Home, changed_tasks
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
PROMETHEUS = 9090
INTERVAL = 15
WITHIN = 60
"""Of the check `media: healthy`, as of every check that does not say otherwise."""
FIRES_WITHIN = WITHIN + 4 * INTERVAL
UNSIGNED = r"""
import socket, ssl, sys
context = ssl._create_unverified_context()
try:
    with context.wrap_socket(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        print(connection.recv(99))
except ssl.SSLError as problem:
    print(problem)
"""
PASSED = 'cloudexit:check_passed{{service="media",check="healthy",host="{host}"}}'
Ask = Callable[[str], Any]


@pytest.fixture(scope="module")
def home(fleet: Fleet) -> Home:
    return fleet.home


@pytest.fixture(scope="module")
def monitor(home: Home) -> Host:
    return home.inventory.lead("monitor")


@pytest.fixture(scope="module")
def ask(home: Home, monitor: Host) -> Iterator[Ask]:
    """GET of a path: Alertmanager's where it begins with /api/v2, Prometheus's otherwise."""
    with ExitStack() as stack:
        ports = {port: stack.enter_context(home.hosts.tunnel(monitor, port)) for port in (PROMETHEUS, ALERTMANAGER)}

        def get(path: str) -> Any:
            port = ports[ALERTMANAGER if path.startswith("/api/v2") else PROMETHEUS]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
                text = reply.read().decode()
            return json.loads(text) if path.startswith("/api") else text

        yield get


def until(holds: Callable[[], bool], seconds: float) -> float:
    """Seconds until it held; fails where it did not in time."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(1)
    return time.monotonic() - began


def delivered(ask: Ask) -> set[tuple[str, str]]:
    """Alerts that Alertmanager holds, silenced ones not among them: name and host."""
    alerts = ask("/api/v2/alerts?silenced=false&inhibited=false")
    return {(alert["labels"]["alertname"], alert["labels"]["host"]) for alert in alerts}


def query(ask: Ask, text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask("/api/v1/query?" + urllib.parse.urlencode({"query": text}))["data"]["result"]
    return found


def targets_of(ask: Ask) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask("/api/v1/targets")["data"]["activeTargets"]
    return found


def test_every_target_is_asked_and_answers(home: Home, ask: Ask) -> None:
    for group, unit in (("edge", "nginx-edge"), ("media", "nginx-media")):
        for host in home.inventory.group(group):
            home.says(host.name, f"systemctl start {unit}.service")
    deadline = time.monotonic() + 6 * INTERVAL
    while any(t["health"] != "up" for t in targets_of(ask)) and time.monotonic() < deadline:
        time.sleep(1)
    targets = targets_of(ask)
    assert {t["scrapeUrl"]: t["lastError"] for t in targets if t["health"] != "up"} == {}
    nodes = {t["labels"]["host"] for t in targets if t["labels"]["job"] == "node"}
    assert nodes == set(home.inventory.hosts)


def test_every_check_of_the_manifest_has_its_alert_in_the_running_prometheus(home: Home, ask: Ask) -> None:
    groups = ask("/api/v1/rules?type=alert")["data"]["groups"]
    loaded = [rule["name"] for group in groups if group["name"] == "checks" for rule in group["rules"]]
    checks = [f"{name}: {check.name}" for name, service in home.stack.services.items() for check in service.checks]
    assert loaded == checks
    assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"] == []


def test_nobody_without_a_certificate_of_the_home_reads_a_host_s_figures(home: Home, monitor: Host) -> None:
    """From the one host whose packets arrive."""
    cache = home.inventory.lead("cache").address
    for port in (9100, 9121, 9187):
        done = home.run(monitor.name, "python3", "-c", UNSIGNED, cache, str(port))
        assert "alert" in done.stdout, (port, done)


def test_an_outage_raises_its_own_alert_within_a_bound_no_other_and_clears(home: Home, ask: Ask) -> None:
    media = home.inventory.lead("media").name
    alert = ("media: healthy", media)
    checks = [f"{name}: {check.name}" for name, service in home.stack.services.items() for check in service.checks]
    names = "|".join(["host: down", *checks])
    home.says(media, "systemctl start nginx-media.service")
    until(lambda: [found["value"][1] for found in query(ask, PASSED.format(host=media))] == ["1"], 4 * INTERVAL)
    until(lambda: alert not in delivered(ask), 6 * INTERVAL)
    until(lambda: not query(ask, f'ALERTS{{alertstate="pending",alertname=~"{names}"}}'), WITHIN + 4 * INTERVAL)
    before = delivered(ask)
    home.says(media, "systemctl stop nginx-media.service")
    try:
        until(lambda: alert in delivered(ask), FIRES_WITHIN)
        assert delivered(ask) - before == {alert}
    finally:
        home.says(media, "systemctl start nginx-media.service")
    until(lambda: alert not in delivered(ask), 6 * INTERVAL)
    assert delivered(ask) <= before


def test_a_home_that_can_be_restored_passes_by_the_figures_and_a_missing_backup_does_not(home: Home, ask: Ask) -> None:
    """The same verdict as `cloudexit check`, which asks the repository itself."""
    repository = home.inventory.lead("backup").name
    verdict = 'cloudexit:check_passed{service="backup",check="restorable"}'
    figures = "systemctl start pgbackrest-figures.service && cat /var/lib/prometheus/node-exporter/backups.prom"
    if " 0\n" in home.says(repository, figures) + "\n":
        until(lambda: [found["value"][1] for found in query(ask, verdict)] == ["0"], 4 * INTERVAL)
        home.says(repository, "systemctl start pgbackrest-backup@full.service")
        home.says(repository, figures)
    until(lambda: [found["value"][1] for found in query(ask, verdict)] == ["1"], 4 * INTERVAL)
    waits = query(ask, "cloudexit_archive_waiting_seconds")
    assert {found["metric"]["host"] for found in waits} == {host.name for host in home.inventory.group("database")}


def test_the_page_names_each_check_and_each_host_and_takes_nothing_from_elsewhere(home: Home, ask: Ask) -> None:
    page = ask("/consoles/home.html")
    for name, service in home.stack.services.items():
        for check in service.checks:
            assert f"<td>{name}</td><td>{check.name}</td>" in page
    assert all(f"<td>{host}</td>" in page for host in home.inventory.hosts)
    assert "http://" not in page and "https://" not in page and "<script" not in page


def test_a_second_run_changes_nothing_on_the_monitor(home: Home, monitor: Host) -> None:
    marker = home.says(monitor.name, f"cat {MARKER}")
    assert changed_tasks(home.play(limit=[monitor.name], cloudexit_marker=marker)) == {}
