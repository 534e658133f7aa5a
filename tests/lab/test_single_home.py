"""The smallest real home: every service of the example app on one server, by the inventory inventories/single.

The tests of this module share one host and follow each other: what one has made, the next looks at.
"""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.adapters.ssh import SshHosts
from migrate.check import Verdict
from migrate.errors import GateHeld
from migrate.lab import Lab
from migrate.secret import Secret, Secrets
from migrate.target.ownsecrets import BACKUP
from migrate.target.provision import MARKER
from migrate.target.variables import provision_variables
from tests.homes import CONTEXT, STEP, Home, changed_tasks, home_on, lab_inventory

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
SERVER = "home1"
WAY_BACK, KEPT = "cloudexit-ssh-put-back.service", "/var/lib/cloudexit/ssh-before"
FIREWALL_TRIAL = "cloudexit-firewall-trial.service"
LIVES_WITH_OTHER_SETTINGS = """
cd /etc/postgresql/*/main/conf.d
sed -i.written 's/^max_connections = .*/max_connections = 77/' cloudexit.conf
systemctl restart postgresql
mv cloudexit.conf.written cloudexit.conf
"""
"""PostgreSQL as a run leaves it that was killed before its restart: the file is right, and the server is not told."""
RUN_ANYWAY = ("redis-server", "pgbouncer", "pgbackrest", "opendkim", "prometheus", "cloudexit-logs", "exporter-node")
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


def test_the_pass_of_the_backups_is_not_replaced_whatever_is_said(home: Home) -> None:
    """By the marks, and where there are none, by the file itself."""
    others = Secrets({**home.secrets, BACKUP: Secret("another-pass")})
    with pytest.raises(GateHeld, match="encrypted with another cloudexit_backup"):
        replace(home, secrets=others).provision(rotate_secrets=True).apply(STEP, CONTEXT)
    before = home.says(SERVER, "sha256sum /etc/pgbackrest.conf")
    home.says(SERVER, f"mv {MARKER} /root/marker")
    result = replace(home, secrets=others).play()
    assert "are encrypted with another pass" in result.hosts[SERVER].failure, result
    assert home.says(SERVER, "sha256sum /etc/pgbackrest.conf") == before
    home.says(SERVER, f"mv /root/marker {MARKER}")


def test_what_a_run_that_was_broken_off_had_written_is_taken_up_by_the_next(home: Home) -> None:
    """The run above was. What counts as written anew is told again to what runs, and to nothing else."""

    def pids() -> dict[str, str]:
        return {unit: home.says(SERVER, f"systemctl show -P MainPID {unit}") for unit in (*RUN_ANYWAY, *GATED)}

    bound = "runuser -u postgres -- psql -Atc 'SHOW max_connections'"
    asked = home.says(SERVER, bound)
    home.says(SERVER, LIVES_WITH_OTHER_SETTINGS)
    assert home.says(SERVER, bound) == "77" != asked
    before = pids()
    assert home.provision().verify(STEP, CONTEXT) is Verdict.FAIL
    home.provision().apply(STEP, CONTEXT)
    after = pids()
    assert {unit for unit in before if before[unit] != after[unit]} == set(RUN_ANYWAY)
    assert home.says(SERVER, bound) == asked
    assert home.provision().verify(STEP, CONTEXT) is Verdict.PASS
    assert changed_tasks(home.play(cloudexit_marker=home.says(SERVER, f"cat {MARKER}"))) == {}


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


def fresh_connections(home: Home) -> int:
    return int(home.says(SERVER, "journalctl -u ssh.service -o cat | grep -c '^Accepted publickey'"))


def effective(home: Home) -> set[str]:
    return set(home.says(SERVER, "sshd -T").splitlines())


def test_sshd_takes_keys_only_and_no_old_algorithm(home: Home) -> None:
    found = effective(home)
    assert {"passwordauthentication no", "kbdinteractiveauthentication no", "permitemptypasswords no"} <= found
    offered = "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o {} root@::1"
    for old in (
        "KexAlgorithms=diffie-hellman-group14-sha256",
        "Ciphers=aes128-cbc",
        "Ciphers=aes256-ctr -o MACs=hmac-sha1",
    ):
        refused = home.run(SERVER, "sh", "-c", offered.format(old))
        assert "no matching" in refused.stderr.lower(), (old, refused.stderr)
    asked = home.run(SERVER, "sh", "-c", offered.format("PubkeyAuthentication=no"))
    assert "Permission denied (publickey)" in asked.stderr
    with SshHosts() as anew:
        assert anew.run(home.inventory.hosts[SERVER], ["true"])


def test_a_change_of_sshd_is_confirmed_over_a_connection_of_its_own(home: Home) -> None:
    before = fresh_connections(home)
    result = home.role("ssh", ssh_allow_users=["root", "ada"])
    assert "ssh : Write sshd's settings" in changed_tasks(result)[SERVER]
    assert fresh_connections(home) >= before + 2  # one that was too slow is made again
    assert {"allowusers root", "allowusers ada"} <= effective(home)
    assert home.run(SERVER, "test", "-e", KEPT).exit_status == 1
    armed = [home.run(SERVER, "systemctl", asked, WAY_BACK).stdout.strip() for asked in ("is-active", "is-enabled")]
    assert armed == ["inactive", "disabled"]


@pytest.mark.parametrize(
    "locks_out", [{"ssh_ports": [2022]}, {"ssh_allow_users": ["nobody-at-all"]}], ids=["port", "users"]
)
def test_a_change_that_locks_everybody_out_is_undone_by_the_host_itself(
    home: Home, locks_out: Mapping[str, object]
) -> None:
    before = home.says(SERVER, "cat /etc/ssh/sshd_config.d/00-cloudexit.conf")
    result = home.role("ssh", ssh_trial_seconds=4, ssh_put_back_seconds=10, **locks_out)
    assert not result and result.hosts[SERVER].failed == 1 and not result.hosts[SERVER].unreachable
    failure = result.hosts[SERVER].failure
    assert "sshd's new settings were not kept: " in failure, failure
    assert "The old ones are back, and in force" in failure
    assert home.says(SERVER, "cat /etc/ssh/sshd_config.d/00-cloudexit.conf") == before
    assert signs_in(home, "root", Path(home.inventory.hosts[SERVER].private_key or ""))
    assert "the old settings of sshd are back" in home.says(SERVER, f"journalctl -u {WAY_BACK} -o cat")


def test_settings_that_sshd_does_not_take_never_reach_it(home: Home) -> None:
    result = home.role("ssh", ssh_ports=[70000], ssh_trial_seconds=2, ssh_put_back_seconds=4)
    assert "Write sshd's settings" in result.hosts[SERVER].failure or "Foresee" in result.hosts[SERVER].failure
    assert "port 70000" not in effective(home)


def test_a_change_that_a_killed_run_never_confirmed_is_taken_up_again(home: Home) -> None:
    """The way back is armed, and what lies in the settings was never proved: the next run proves it, or it goes."""
    home.says(SERVER, f"mkdir -p {KEPT} && cp -a /etc/ssh/sshd_config.d {KEPT}/ && systemctl enable --now {WAY_BACK}")
    assert home.role("ssh")
    assert home.run(SERVER, "test", "-e", KEPT).exit_status == 1
    assert changed_tasks(home.role("ssh")) == {}


def ruleset(home: Home) -> str:
    return home.says(SERVER, "nft list table inet cloudexit; cat /etc/nftables.conf")


OPEN = {"firewall_ssh_port": 22, "firewall_rules": [{"port": 4711, "sources": ["anyone"]}]}


def test_a_new_ruleset_is_confirmed_over_a_connection_of_its_own(home: Home) -> None:
    before, connections = ruleset(home), fresh_connections(home)
    assert changed_tasks(home.role("firewall", **OPEN))
    assert fresh_connections(home) >= connections + 2 and ruleset(home).count("tcp dport 4711 accept") == 2
    assert home.run(SERVER, "systemctl", "is-active", FIREWALL_TRIAL).stdout.strip() == "inactive"
    assert changed_tasks(home.role("firewall", **OPEN)) == {}
    told = provision_variables(home.stack, home.inventory, home.secrets).variables["cloudexit_hosts"][SERVER]
    own = {f"firewall_{name}": value for name, value in told["firewall"].items()}
    assert changed_tasks(home.role("firewall", **own)) and ruleset(home) == before


def test_a_ruleset_that_locks_everybody_out_is_undone_by_the_host_itself(home: Home) -> None:
    before = ruleset(home)
    bounds = {"firewall_trial_seconds": 4, "firewall_put_back_seconds": 8}
    result = home.role("firewall", **{**OPEN, "firewall_ssh_port": 2022}, **bounds)
    assert not result and result.hosts[SERVER].failed == 1 and not result.hosts[SERVER].unreachable
    failure = result.hosts[SERVER].failure
    assert "the new ruleset was not kept: " in failure and "The old one is back, and in force" in failure, failure
    assert ruleset(home) == before
    assert signs_in(home, "root", Path(home.inventory.hosts[SERVER].private_key or ""))
    assert "the old ruleset is back" in home.says(SERVER, f"journalctl -u {FIREWALL_TRIAL} -o cat")


def test_a_boot_before_the_move_starts_the_stores_and_nothing_of_the_app(home: Home, module_lab: Lab) -> None:
    module_lab.reboot(SERVER)
    stores = home.says(SERVER, "systemctl is-system-running --wait >&2; systemctl is-active postgresql redis-server")
    assert stores.split() == ["active", "active"]
    for question, answer in (("is-active", "inactive"), ("is-enabled", "disabled")):
        asked = home.run(SERVER, "systemctl", question, *GATED)
        assert asked.stdout.split() == [answer] * len(GATED), question
    assert "policy drop" in home.says(SERVER, "nft list table inet cloudexit")
    assert home.says(SERVER, "sysctl -n net.ipv4.conf.all.accept_redirects") == "0"
    assert "passwordauthentication no" in effective(home)
