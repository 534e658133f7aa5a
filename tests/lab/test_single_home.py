"""The smallest real home: every service of the example app on one server, by the inventory inventories/single.

The tests of this module share one host and follow each other: what one has made, the next looks at.
"""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from migrate.adapters.ssh import SshHosts
from migrate.check import Verdict
from migrate.lab import Lab
from tests.homes import CONTEXT, STEP, Home, changed_tasks, home_on, lab_inventory

pytestmark = pytest.mark.lab
SERVER = "home1"
GATED = ("nginx-media", "plaza-worker", "plaza-web", "nginx-edge")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key pairs `ada` and `spare`."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ada", "spare"):
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@test", "-f", str(folder / name)]
        subprocess.run(made, check=True)
    return folder


def public(keys: Path, name: str) -> str:
    return (keys / f"{name}.pub").read_text().strip()


@pytest.fixture(scope="module")
def home(module_lab: Lab, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("single")
    users = [{"name": "ada", "keys": [public(keys, "ada")], "sudo": True}, {"name": "mallory", "state": "absent"}]
    path = lab_inventory(module_lab, "single", folder, cloudexit_users=users)
    with SshHosts() as hosts:
        yield home_on(path, hosts, folder)


def give(home: Home, operator: str, *users: Mapping[str, object]) -> None:
    """The role's own tasks for accounts, as an edited inventory would have them run."""
    whole = [{"sudo": False, "absent": False, "keys": [], **user} for user in users]
    assert home.role("base", "users", base_users=whole, base_operator=operator)


def signs_in(home: Home, user: str, key: Path) -> bool:
    """Whether sshd lets this user in with this key, on a connection of its own."""
    host = home.inventory.hosts[SERVER]
    options = ("BatchMode=yes", "IdentitiesOnly=yes", "ConnectTimeout=5", f"UserKnownHostsFile={host.known_hosts}")
    argv = ["ssh", "-F", "none", "-i", str(key), *(word for option in options for word in ("-o", option))]
    done = subprocess.run([*argv, f"{user}@{host.address}", "true"], capture_output=True, timeout=30, check=False)
    return done.returncode == 0


def test_a_dry_run_on_a_bare_server_foresees_changes_and_makes_none(home: Home) -> None:
    foreseen = changed_tasks(home.play(check=True))[SERVER]
    assert {"base : Install packages in one transaction", "base : Make the accounts of people"} <= set(foreseen)
    there = home.run(SERVER, "ls", "/etc/cloudexit", "/home/ada", "/etc/apt/apt.conf.d/52cloudexit")
    assert there.stdout == "" and there.exit_status == 2


def test_one_server_takes_every_service_and_a_second_run_changes_nothing(home: Home) -> None:
    home.says(SERVER, "useradd --create-home mallory")
    home.provision().apply(STEP, CONTEXT)
    assert home.provision().verify(STEP, CONTEXT) is Verdict.PASS
    assert changed_tasks(home.play(cloudexit_marker=home.says(SERVER, "cat /etc/cloudexit/provisioned"))) == {}


def test_a_dry_run_on_a_finished_server_foresees_nothing(home: Home) -> None:
    marker = home.says(SERVER, "cat /etc/cloudexit/provisioned")
    assert changed_tasks(home.play(check=True, cloudexit_marker=marker)) == {}


def test_the_system_is_kept_within_bounds_and_up_to_date(home: Home) -> None:
    assert home.says(SERVER, "journalctl --header --system | grep -m1 -o /var/log/journal/") == "/var/log/journal/"
    assert home.says(SERVER, "sysctl -n net.ipv4.conf.all.accept_redirects net.core.somaxconn") == "0\n4096"
    assert "vm.swappiness" not in home.says(SERVER, "cat /etc/sysctl.d/60-cloudexit.conf")
    updates = home.says(SERVER, "apt-config dump Unattended-Upgrade::Origins-Pattern")
    assert updates.count("label=Debian-Security") == 2 and updates.count("origin=") == 2
    assert home.says(SERVER, "unattended-upgrade --dry-run >/dev/null 2>&1; echo $?") == "0"


def test_a_container_that_may_not_set_its_clock_gets_no_daemon_for_it(home: Home) -> None:
    assert home.run(SERVER, "test", "-e", "/usr/sbin/chronyd").exit_status == 1


def test_people_sign_in_by_the_keys_of_the_inventory_and_by_no_others(home: Home, keys: Path) -> None:
    operator = Path(home.inventory.hosts[SERVER].private_key or "")
    assert signs_in(home, "ada", keys / "ada") and not signs_in(home, "ada", keys / "spare")
    assert home.says(SERVER, "runuser -u ada -- sudo -n id -u") == "0"
    assert home.run(SERVER, "id", "mallory").exit_status == 1
    give(home, "root", {"name": "ada", "keys": [public(keys, "spare")]})
    assert signs_in(home, "ada", keys / "spare") and not signs_in(home, "ada", keys / "ada")
    assert home.run(SERVER, "runuser", "-u", "ada", "--", "sudo", "-n", "id").exit_status == 1
    assert signs_in(home, "root", operator)


def test_the_operators_own_way_in_stays_whatever_the_inventory_names(home: Home, keys: Path) -> None:
    give(home, "root", {"name": "ada", "keys": [public(keys, "spare")], "sudo": True})
    give(home, "ada", {"name": "ada", "keys": [public(keys, "ada")], "sudo": False})
    assert signs_in(home, "ada", keys / "spare") and signs_in(home, "ada", keys / "ada")
    assert home.says(SERVER, "runuser -u ada -- sudo -n id -u") == "0"
