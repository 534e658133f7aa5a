"""The smallest real home on Debian 13: every service of the example app on one server, by inventories/single.

The tests of this module share one host and follow each other: what one has made, the next looks at.
"""

import json
import secrets
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from migrate.adapters.ssh import SshHosts
from migrate.check import Verdict
from migrate.lab import Lab, Release, doctor
from migrate.target.backups import FirstBackup
from migrate.target.provision import MARKER
from migrate.target.services import AllChecked, ServiceStarted
from tests.homes import CONTEXT, STEP, Home, changed_tasks, home_on, lab_inventory
from tests.release_archives import release

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
SERVER = "home1"
PROMETHEUS = 9090
WITHIN = 90.0
"""Seconds in which the monitor has asked everything twice."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(f"t{secrets.token_hex(3)}", release=Release.TRIXIE)
    lacking = [result for result in doctor(made.root, Release.TRIXIE) if result.holds]
    if lacking:
        pytest.skip("no hosts of Debian 13 here: " + "; ".join(f"{r.name}: {r.detail} ({r.hint})" for r in lacking))
    yield made
    made.down()


@pytest.fixture(scope="module")
def home(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("trixie")
    lab.plan([])
    keys = [lab.private_key.with_suffix(".pub").read_text().strip()]
    path = lab_inventory(lab, "single", folder, cloudexit_users=[{"name": "ada", "keys": keys, "sudo": True}])
    with SshHosts() as hosts:
        yield home_on(path, hosts, folder)


def marker(home: Home) -> str:
    return home.says(SERVER, f"cat {MARKER}")


def failed_units(home: Home) -> str:
    return home.says(SERVER, "systemctl list-units --failed --plain --no-legend")


def test_a_dry_run_on_a_bare_debian_13_foresees_changes_and_makes_none(home: Home) -> None:
    assert home.says(SERVER, '. /etc/os-release; echo "$VERSION_ID $VERSION_CODENAME"') == "13 trixie"
    assert "base : Install packages in one transaction" in changed_tasks(home.play(check=True))[SERVER]
    assert home.run(SERVER, "ls", "/etc/cloudexit", "/etc/nginx").stdout == ""


def test_one_server_takes_every_service_and_a_second_run_changes_nothing(home: Home) -> None:
    home.provision().apply(STEP, CONTEXT)
    assert home.provision().verify(STEP, CONTEXT) is Verdict.PASS
    assert changed_tasks(home.play(cloudexit_marker=marker(home))) == {}
    assert home.says(SERVER, "runuser -u ada -- sudo -n id -u") == "0"
    assert failed_units(home) == ""


def test_every_service_starts_and_passes_its_checks(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    home.says(SERVER, "runuser -u postgres -- env --chdir=/ createdb --owner=plaza plaza")
    home.says(SERVER, "runuser -u postgres -- env --chdir=/ psql -qd plaza -c "
              "'CREATE TABLE users AS SELECT 1 AS id; ALTER TABLE users OWNER TO plaza'")  # fmt: skip
    home.release_install(release(tmp_path_factory.mktemp("release"), "1.0.0")).apply(STEP, CONTEXT)
    FirstBackup(home.stack, home.inventory, home.hosts).apply(replace(STEP, subject="backup"), CONTEXT)
    started = ServiceStarted(home.stack, home.inventory, home.hosts, home.checks())
    for name in home.stack.services_in_order():
        started.apply(replace(STEP, subject=name), CONTEXT)
    outcome = AllChecked(home.checks()).apply(STEP, CONTEXT)
    assert {check.name for check in outcome.checks if not check} <= {"backup: stands-apart"}, outcome.checks
    assert failed_units(home) == ""


def asked(port: int, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
        found: dict[str, Any] = json.load(reply)["data"]
    return found


def test_the_monitor_is_answered_by_every_exporter_and_sees_every_check_pass(home: Home) -> None:
    checks = {(name, check.name) for name, service in home.stack.services.items() for check in service.checks}
    query = "/api/v1/query?" + urllib.parse.urlencode({"query": "cloudexit:check_passed"})
    home.says(SERVER, "systemctl start pgbackrest-figures.service")
    until = time.monotonic() + WITHIN
    with home.hosts.tunnel(home.inventory.hosts[SERVER], PROMETHEUS) as port:
        while True:
            silent = {t["scrapeUrl"]: t["lastError"] for t in asked(port, "/api/v1/targets")["activeTargets"]
                      if t["health"] != "up"}  # fmt: skip
            results = asked(port, query)["result"]
            failing = checks - {(r["metric"]["service"], r["metric"]["check"]) for r in results if r["value"][1] == "1"}
            if (not silent and not failing) or time.monotonic() > until:
                break
            time.sleep(2)
    assert (silent, failing) == ({}, set())


def test_a_dry_run_on_the_finished_server_foresees_nothing(home: Home) -> None:
    assert changed_tasks(home.play(check=True, cloudexit_marker=marker(home))) == {}


def test_everything_is_back_after_a_boot(home: Home, lab: Lab) -> None:
    lab.reboot(SERVER)
    assert home.says(SERVER, "systemctl is-system-running --wait") == "running", failed_units(home)
    AllChecked(home.checks()).apply(STEP, CONTEXT)
    assert "policy drop" in home.says(SERVER, "nft list table inet cloudexit")
    assert home.says(SERVER, "sshd -T | grep -x 'passwordauthentication no'")
