"""No secret shows: not on a command line, not in what a run keeps, not on a host in a log or where anybody may read.

Of a fleet that was provisioned, and of a whole drill that was carried out to its end.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from migrate.adapters.ssh import SshHosts
from migrate.inventory import read_inventory
from migrate.secret import Secret
from migrate.target.variables import provision_variables
from tests.drill import Drill
from tests.exposure import LOOK_ON_HOST, files_below, question, shown_in
from tests.homes import Home
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
KEPT_SECRETS = ("secrets.json",)
LOOK_SECONDS = 120
PLANTED = Secret("a-word-that-the-test-itself-put-there")


def of_hosts(home: Home) -> dict[str, Secret]:
    """What each host alone is given, and no other: its key."""
    told = json.loads(provision_variables(home.stack, home.inventory, home.secrets).secrets["hosts"].reveal())
    return {f"key of {name}": Secret(private["tls"]["key"]) for name, private in told.items()}


def looked_at(hosts: SshHosts, inventory: Any, secrets: Mapping[str, Secret]) -> dict[str, dict[str, Any]]:
    """Host -> what LOOK_ON_HOST found there."""
    answers = {}
    for name, host in inventory.hosts.items():
        done = hosts.run(host, ["python3", "-c", LOOK_ON_HOST], stdin=question(secrets), timeout=LOOK_SECONDS)
        assert done, done.stderr
        answers[name] = json.loads(done.stdout)
    return answers


def test_the_look_finds_what_is_planted(fleet: Fleet) -> None:
    """In a file, in a log that only root may read, and in the journal; not in a file that others may not read."""
    host = next(iter(fleet.home.inventory.hosts))
    word = PLANTED.reveal()
    fleet.home.says(
        host,
        f"umask 022; echo {word} >/var/tmp/open; install -m 600 /var/tmp/open /var/tmp/closed; "
        f"install -m 600 /var/tmp/open /var/log/closed.log; logger {word}; journalctl --sync",
    )
    try:
        done = fleet.home.hosts.run(
            fleet.home.inventory.hosts[host], ["python3", "-c", LOOK_ON_HOST],
            stdin=question({"planted": PLANTED}), timeout=LOOK_SECONDS,
        )  # fmt: skip
        found = {where for where, _ in json.loads(done.stdout)["found"]}
        assert found == {"/var/tmp/open", "/var/log/closed.log", "the journal"}
    finally:
        fleet.home.says(host, "rm -f /var/tmp/open /var/tmp/closed /var/log/closed.log")


def test_no_secret_was_on_a_command_line_while_the_fleet_was_provisioned(fleet: Fleet) -> None:
    secrets = {**fleet.home.secrets, **of_hosts(fleet.home)}
    assert fleet.watch.looks > 100 and any(b"ansible-playbook" in line for line in fleet.watch.seen)
    assert shown_in((("command line", line) for line in fleet.watch.seen), secrets) == []


def test_no_secret_is_in_what_the_runs_of_the_fleet_left_behind(fleet: Fleet) -> None:
    secrets = {**fleet.home.secrets, **of_hosts(fleet.home)}
    kept = dict(files_below(fleet.home.folder, KEPT_SECRETS))
    assert any(name.endswith("stdout") for name in kept)
    assert shown_in(kept.items(), secrets) == []


def test_no_secret_shows_on_a_host_of_the_fleet(fleet: Fleet) -> None:
    secrets = {**fleet.home.secrets, **of_hosts(fleet.home)}
    answers = looked_at(fleet.home.hosts, fleet.home.inventory, secrets)
    assert all(answer["files"] > 100 and answer["journal"] > 10_000 for answer in answers.values())
    assert {name: answer["found"] for name, answer in answers.items() if answer["found"]} == {}


def test_no_secret_shows_after_a_whole_drill(undisturbed: Drill) -> None:
    """In no artifact, ledger, journal or report of it, and on none of its hosts."""
    data = undisturbed.state / "rehearsal"
    secrets = {name: Secret(value) for name, value in json.loads((data / "secrets.json").read_text()).items()}
    kept = {name: text for name, text in files_below(undisturbed.state, KEPT_SECRETS) if "/objects/" not in name}
    assert {"journal.sqlite", "reports/run-1.json"} <= set(kept)
    assert shown_in(kept.items(), secrets) == []
    assert shown_in([("page", undisturbed.page.encode())], secrets) == []
    with SshHosts() as hosts:
        answers = looked_at(hosts, read_inventory(data / "hosts.yml"), secrets)
    assert {name: answer["found"] for name, answer in answers.items() if answer["found"]} == {}
