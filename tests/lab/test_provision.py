"""The new home on real hosts: looked at, provisioned, proved free of drift, and closed but for what the stack needs.

The tests of this module share three hosts and follow each other: what one has made, the next looks at.
"""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.action import StepContext
from migrate.adapters.ssh import SshHosts
from migrate.check import ChecksHeld, Verdict
from migrate.errors import GateHeld
from migrate.lab import HostSpec, Lab
from migrate.secret import Secret, Secrets
from migrate.target.ownsecrets import AUTHORITY, OWN_SECRETS, REPLICATION
from migrate.target.preflight import HostsRefused, HostsUnreachable, Preflight
from migrate.target.provision import MARKER
from migrate.target.release import read_release
from migrate.target.restarting import DUE
from tests.homes import CONTEXT, STEP, Home, home_on
from tests.release_archives import release

pytestmark = pytest.mark.lab
ENVIRONMENT_OF_ANOTHER_TIME = """
echo 'OLD="yes"' >>/etc/plaza/web.env
systemctl restart plaza-web
cd /etc/systemd/system
cp -p plaza-web.service /root/
echo >>plaza-web.service
mount --bind plaza-web.service plaza-web.service
"""
START_ORDER = (("edge", "nginx-media"), ("app", "plaza-worker"), ("app", "plaza-web"), ("edge", "nginx-edge"))


def states(home: Home) -> dict[str, str]:
    return {unit: home.run(host, "systemctl", "is-active", unit).stdout.strip() for host, unit in START_ORDER}


@pytest.fixture(scope="module")
def home(module_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    module_lab.up(
        [
            HostSpec("data", ("database", "cache")),
            HostSpec("app", ("app", "worker")),
            HostSpec("edge", ("edge", "media", "mail")),
        ]
    )
    path = module_lab.write_inventory(folder / "hosts.yml", hosts=["data", "app", "edge"], extra_groups={})
    with SshHosts() as hosts:
        yield home_on(path, hosts, folder)


def test_preflight_passes_on_bare_hosts(home: Home) -> None:
    outcome = Preflight(home.hosts, home.stack, home.inventory, home.secrets).apply(STEP, CONTEXT)
    assert {check.host for check in outcome.checks} == {"data", "app", "edge"}
    assert [check for check in outcome.checks if not check] == []
    mirror = {check.host: check.detail for check in outcome.checks if check.name == "package-mirror"}
    assert all("packages to come" in detail for detail in mirror.values())


def test_preflight_shows_the_other_hosts_beside_a_silent_one(home: Home) -> None:
    gone = replace(home.inventory.hosts["app"], address="192.0.2.1")
    inventory = replace(home.inventory, hosts={**home.inventory.hosts, "app": gone})
    with SshHosts(connect_seconds=2.0) as hosts, pytest.raises(HostsUnreachable) as silence:
        Preflight(hosts, home.stack, inventory, home.secrets).apply(STEP, CONTEXT)
    verdicts = {(check.host, check.name): check.verdict for check in silence.value.checks}
    assert verdicts["app", "reachable"] is Verdict.FAIL
    assert verdicts["data", "operating-system"] is Verdict.PASS
    assert "app: no SSH" in str(silence.value) and "data, edge" in str(silence.value)


def test_preflight_names_a_host_with_another_key(home: Home, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    data = home.inventory.hosts["data"]
    (tmp_path / "known").write_text(f"{data.address} {(tmp_path / 'other.pub').read_text()}")
    impostor = replace(data, known_hosts=tmp_path / "known")
    inventory = replace(home.inventory, hosts={**home.inventory.hosts, "data": impostor})
    with pytest.raises(HostsRefused, match="data: the host shows another key"):
        Preflight(home.hosts, home.stack, inventory, home.secrets).apply(STEP, CONTEXT)


def test_preflight_holds_where_a_port_is_taken_by_something_else(home: Home) -> None:
    home.says(
        "edge", "systemd-run --unit squatter python3 -m http.server 80 && until ss -ltn | grep -q ':80 '; do :; done"
    )
    try:
        with pytest.raises(ChecksHeld, match=r"edge: ports: fail 80 is taken by squatter\.service"):
            Preflight(home.hosts, home.stack, home.inventory, home.secrets).apply(STEP, CONTEXT)
    finally:
        home.says("edge", "systemctl stop squatter")


def test_preflight_holds_where_the_package_mirror_does_not_answer(home: Home) -> None:
    home.says(
        "app",
        "cp /etc/hosts /root/hosts; mv /etc/resolv.conf /root/; mkdir /root/lists; mv /etc/apt/sources* /root/lists/",
    )
    home.says("app", "echo 'deb http://127.0.0.1:9/debian bookworm main' >/etc/apt/sources.list")
    try:
        with pytest.raises(ChecksHeld, match="app: package-mirror: fail"):
            Preflight(home.hosts, home.stack, home.inventory, home.secrets).apply(STEP, CONTEXT)
    finally:
        home.says(
            "app", "rm /etc/apt/sources.list; mv /root/lists/* /etc/apt/; mv /root/resolv.conf /etc/; apt-get -q update"
        )


def test_a_dry_run_on_bare_hosts_foresees_changes_and_makes_none(home: Home) -> None:
    result = home.play(check=True)
    assert result, result
    assert all("base : Install packages in one transaction" in play.changed_tasks for play in result.hosts.values())
    assert home.run("data", "dpkg-query", "-W", "postgresql").exit_status == 1
    assert home.run("app", "ls", "/etc/cloudexit", "/etc/plaza").exit_status == 2


def test_provision_makes_the_hosts_ready_and_starts_only_database_and_cache(home: Home) -> None:
    action = home.provision()
    assert action.verify(STEP, CONTEXT) is Verdict.FAIL
    outcome = action.apply(STEP, CONTEXT)
    print("provision:", json.dumps(outcome.detail))
    assert action.verify(STEP, CONTEXT) is Verdict.PASS
    assert set(states(home).values()) == {"inactive"}
    assert home.says("data", "systemctl is-active postgresql redis-server").split() == ["active", "active"]
    assert home.says("edge", "systemctl is-enabled nginx.service || true") == "masked"


def test_a_second_run_finds_nothing_to_change_until_a_host_boots_anew(home: Home) -> None:
    action = home.drift()
    assert action.verify(STEP, CONTEXT) is Verdict.UNKNOWN
    outcome = action.apply(STEP, CONTEXT)
    print("second run:", json.dumps(outcome.detail))
    previous = json.loads(json.dumps(outcome.detail))
    assert action.verify(STEP, StepContext(previous=previous)) is Verdict.PASS
    previous["hosts_proved"]["data"]["boot_id"] = "another"
    assert action.verify(STEP, StepContext(previous=previous)) is Verdict.FAIL


def test_the_database_has_checksums_and_lets_in_only_who_may_sign_in(home: Home) -> None:
    assert home.says("data", "runuser -u postgres -- psql -Atc 'SHOW data_checksums'") == "on"
    assert (
        home.says("data", "runuser -u postgres -- psql -Atc \"SELECT count(*) FROM pg_database WHERE datname='plaza'\"")
        == "0"
    )
    password = home.secrets["database_password"].reveal()
    sign_in = "PGPASSWORD=%s psql -w -h 127.0.0.1 -U plaza -d postgres -Atc 'SELECT current_user'"
    assert home.says("data", sign_in % password) == "plaza"
    assert home.run("data", "sh", "-c", sign_in % "wrong").exit_status == 2
    assert home.says("data", "redis-cli --tls --insecure PING || true").startswith("NOAUTH")


def test_a_release_is_installed_beside_the_last_and_switched_to(home: Home, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        archive = release(tmp_path, version)
        action = home.release_install(archive)
        assert action.verify(STEP, CONTEXT) is Verdict.FAIL
        print("release:", json.dumps(action.apply(STEP, CONTEXT).detail))
        assert action.verify(STEP, CONTEXT) is Verdict.PASS
    folder = read_release(archive, "plaza").folder
    assert home.says("app", "readlink /srv/plaza/current") == folder
    assert home.says("app", "ls /srv/plaza/releases | sed s/-.*//").split() == ["1.0.0", "1.1.0"]
    assert states(home)["plaza-web"] == "inactive"


def test_an_interrupted_installation_is_made_whole(home: Home, tmp_path: Path) -> None:
    archive = release(tmp_path, "1.1.0")
    home.release_install(archive).apply(STEP, CONTEXT)
    folder = read_release(archive, "plaza").folder
    home.says("app", f"rm -r {folder}/installed.sha256 {folder}/venv/lib")
    action = home.release_install(archive)
    assert action.verify(STEP, CONTEXT) is Verdict.FAIL
    action.apply(STEP, CONTEXT)
    assert (
        home.says("app", "/srv/plaza/current/venv/bin/python -c 'import plaza.serve as s; print(s.VERSION)'") == "1.1.0"
    )


def test_a_release_of_another_app_is_refused_before_anything_is_touched(home: Home, tmp_path: Path) -> None:
    with pytest.raises(GateHeld, match=r"it says that it is 'plaza' '\.\./1'"):
        home.release_install(release(tmp_path, "2.0.0", says="../1")).apply(STEP, CONTEXT)


def test_everything_started_answers_through_the_edge_and_nothing_drifts(home: Home) -> None:
    for host, unit in START_ORDER:
        assert home.run(host, "systemctl", "start", unit), home.says(
            host, f"journalctl -u {unit} --no-pager | tail -20"
        )
    for host, port in (("app", 8000), ("edge", 80)):
        home.says(host, f"until ss -Hltn | grep -q ':{port} '; do sleep 0.1; done")
    edge = home.inventory.hosts["edge"]
    body, headers = fetch(f"http://{edge.address}/anything")
    assert json.loads(body)["media"].endswith(f"@{edge.address}:8081/plaza-media/")
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "SAMEORIGIN"
    home.drift().apply(STEP, CONTEXT)
    assert set(states(home).values()) == {"active"}


def test_media_is_written_with_the_password_only_and_read_through_the_edge(home: Home) -> None:
    edge = home.inventory.hosts["edge"].address
    store = f"http://{edge}:8081/plaza-media/images/2026/ab/picture.jpg"
    password = home.secrets["media_password"].reveal()
    put = "head -c 100000 /dev/zero | curl -s -o /dev/null -w '%%{http_code}' -T - %s " + store
    assert home.says("app", put % "") == "401"
    assert home.says("app", put % "-u media:wrong") == "401"
    assert home.says("app", put % f"-u media:{password}") == "201"
    body, headers = fetch(f"http://{edge}/media/images/2026/ab/picture.jpg")
    assert body == bytes(100000) and headers["Content-Type"] == "image/jpeg"
    assert home.says("edge", "stat -c '%a %U' /srv/media/plaza-media/images/2026/ab/picture.jpg") == "644 media"
    assert status(f"http://{edge}/media/images/") in (403, 404)
    assert status(f"http://{edge}/media/.uploads/") == 404
    assert home.says("app", f"curl -s -o /dev/null -w '%{{http_code}}' -u media:{password} -X DELETE {store}") == "204"
    assert status(f"http://{edge}/media/images/2026/ab/picture.jpg") == 404


def test_a_firewall_that_was_emptied_by_hand_is_drift_and_comes_back(home: Home) -> None:
    home.says("edge", "nft flush ruleset")
    with pytest.raises(GateHeld, match=r"edge: firewall : Look whether the kernel holds our table"):
        home.drift().apply(STEP, CONTEXT)
    assert "policy drop" in home.says("edge", "nft list table inet cloudexit")


def test_a_user_with_sudo_provisions_as_root_does(home: Home) -> None:
    home.says(
        "app",
        "useradd --create-home rescuer && install -d -m 700 -o rescuer /home/rescuer/.ssh && "
        "install -m 600 -o rescuer /root/.ssh/authorized_keys /home/rescuer/.ssh/ && "
        "echo 'rescuer ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/rescuer",
    )
    rescuer = replace(home.inventory.hosts["app"], user="rescuer")
    inventory = replace(home.inventory, hosts={**home.inventory.hosts, "app": rescuer})
    rescued = replace(home, inventory=inventory)
    assert rescued.provision().verify(STEP, CONTEXT) is Verdict.PASS
    result = rescued.play(limit=["app"], cloudexit_marker=home.says("app", f"cat {MARKER}"))
    assert result and result.changed == 0 and result.hosts["app"].ok > 10


def test_a_changed_environment_restarts_only_the_processes_that_run(home: Home) -> None:
    home.says(
        "app",
        "systemctl stop plaza-worker; sed -i s/MEDIA_URL/OTHER/ /etc/plaza/*.env; rm -f /etc/cloudexit/provisioned",
    )
    before = home.says("app", "systemctl show -P MainPID plaza-web")
    home.provision().apply(STEP, CONTEXT)
    assert home.says("app", "systemctl show -P MainPID plaza-web") != before
    assert states(home) | {"plaza-worker": ""} == dict.fromkeys(states(home), "active") | {"plaza-worker": ""}
    assert states(home)["plaza-worker"] == "inactive"
    assert home.says("app", f"cat {MARKER}") != ""
    assert home.says("app", f"ls {DUE}") == ""


def test_a_run_that_was_killed_before_the_restarts_is_not_there_and_the_next_one_restarts(home: Home) -> None:
    """The play alone restarts nothing, and the process lives on with what it had."""
    marker = home.says("app", f"sed -i s/MEDIA_URL/OTHER/ /etc/plaza/*.env; cat {MARKER}")
    before = home.says("app", "systemctl show -P MainPID plaza-web")
    assert home.play(cloudexit_marker=marker)
    assert home.says("app", f"systemctl show -P MainPID plaza-web; ls {DUE}").split() == [before, "plaza-web.service"]
    assert home.provision().verify(STEP, CONTEXT) is Verdict.FAIL, "although its mark fits"
    assert list(home.provision().apply(STEP, CONTEXT).detail["restarts"]) == ["app"]
    assert home.says("app", "systemctl show -P MainPID plaza-web") != before
    assert home.provision().verify(STEP, CONTEXT) is Verdict.PASS


def test_an_environment_that_was_written_when_the_run_broke_off_reaches_the_process_with_the_next_run(
    home: Home,
) -> None:
    """The unit cannot be written at first: a mount lies on it. Then nothing is left to be written."""
    home.says("app", ENVIRONMENT_OF_ANOTHER_TIME)
    lives_with = "tr '\\0' '\\n' </proc/$(systemctl show -P MainPID plaza-web)/environ | grep -c ^OLD= || true"
    with pytest.raises(GateHeld, match=r"app: process : Write the unit of each process"):
        home.provision().apply(STEP, CONTEXT)
    assert home.says("app", "umount /etc/systemd/system/plaza-web.service; cat /etc/plaza/web.env").count("OLD") == 0
    home.says("app", "cp -p /root/plaza-web.service /etc/systemd/system/")
    assert home.says("app", lives_with) == "1"
    assert home.provision().verify(STEP, CONTEXT) is Verdict.FAIL, "although its mark fits"
    home.provision().apply(STEP, CONTEXT)
    assert home.says("app", lives_with) == "0"
    assert states(home)["plaza-worker"] == "inactive" and states(home)["plaza-web"] == "active"
    assert home.provision().verify(STEP, CONTEXT) is Verdict.PASS


def test_a_new_database_host_that_stands_first_leads_nobody_away(home: Home) -> None:
    app, marker = home.inventory.hosts["app"], home.says("app", f"cat {MARKER}")
    first = {"app": replace(app, groups=(*app.groups, "database")), "data": home.inventory.hosts["data"]}
    inventory = replace(home.inventory, hosts={**first, "edge": home.inventory.hosts["edge"]})
    home.says("data", "runuser -u postgres -- createdb kept")
    with pytest.raises(GateHeld, match="data takes writes and holds databases; app is to lead it, and does not"):
        replace(home, inventory=inventory).provision().apply(STEP, CONTEXT)
    assert home.says("app", f"cat {MARKER}") == marker
    home.says("data", "runuser -u postgres -- dropdb kept")


def test_a_task_that_fails_is_named_with_its_host_and_the_others_go_through(home: Home) -> None:
    home.says("data", "rm -f /etc/cloudexit/provisioned; echo 'broken = ' >/etc/postgresql/15/main/conf.d/zz.conf; "
              "echo >>/etc/postgresql/15/main/conf.d/cloudexit.conf")  # fmt: skip
    with pytest.raises(GateHeld, match=r"(?s)data: postgresql : .*went through on: app, edge"):
        home.provision().apply(STEP, CONTEXT)
    assert home.provision().verify(STEP, CONTEXT) is Verdict.FAIL
    home.says("data", "rm /etc/postgresql/15/main/conf.d/zz.conf; systemctl restart postgresql")


def test_no_secret_is_left_in_what_a_run_leaves_behind(home: Home) -> None:
    values = [secret.reveal().encode() for secret in home.secrets.values()]
    kept = [path for path in (home.folder / "ansible").rglob("*") if path.is_file()]
    assert len([path for path in kept if path.name == "stdout"]) >= 3
    assert [path for path in kept if any(value in path.read_bytes() for value in values)] == []


def fetch(url: str) -> tuple[bytes, dict[str, str]]:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.read(), dict(reply.headers)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


def test_hosts_that_live_with_other_secrets_are_not_given_new_ones_in_silence(home: Home) -> None:
    before = home.says("app", f"cat {MARKER}")
    others = Secrets({**home.secrets, **{name: Secret(f"another-{name}") for name in home.stack.secrets}})
    with pytest.raises(GateHeld, match=r"lives with other secrets.*database_password"):
        replace(home, secrets=others).provision().apply(STEP, CONTEXT)
    assert home.says("app", f"cat {MARKER}") == before


def test_where_the_database_does_not_take_up_a_new_password_the_app_goes_on_with_the_old_one(home: Home) -> None:
    rotated = Secrets({**home.secrets, "database_password": Secret("another-database-password")})
    before = home.says("app", "systemctl show -P MainPID plaza-web pgbouncer; cat /etc/plaza/web.env")
    home.says("data", "echo 'broken = ' >/etc/postgresql/15/main/conf.d/zz.conf; "
              "echo >>/etc/postgresql/15/main/conf.d/cloudexit.conf")  # fmt: skip
    with pytest.raises(GateHeld, match=r"(?s)data: postgresql : .*data did not take up the new secrets: the app here"):
        replace(home, secrets=rotated).provision(rotate_secrets=True).apply(STEP, CONTEXT)
    assert home.says("app", "systemctl show -P MainPID plaza-web pgbouncer; cat /etc/plaza/web.env") == before
    home.says("data", "rm /etc/postgresql/15/main/conf.d/zz.conf; systemctl restart postgresql")


def test_secrets_that_were_rotated_on_purpose_replace_the_old_ones_everywhere(home: Home) -> None:
    """Password, the app's environment, and the certificates of a new authority."""
    old = home.secrets["database_password"].reveal()
    anew = {name: Secret(OWN_SECRETS[name]()) for name in (AUTHORITY, REPLICATION)}
    rotated = Secrets({**home.secrets, **anew, "database_password": Secret("another-database-password")})
    there = home.says("app", "sha256sum /etc/cloudexit/tls/authority.crt")
    replace(home, secrets=rotated).provision(rotate_secrets=True).apply(STEP, CONTEXT)
    sign_in = "PGPASSWORD=%s psql -w -h 127.0.0.1 -U plaza -d postgres -Atc 'SELECT current_user'"
    assert home.says("data", sign_in % "another-database-password") == "plaza"
    assert home.run("data", "sh", "-c", sign_in % old).exit_status == 2
    assert "another-database-password" in home.says("app", "cat /etc/plaza/web.env")
    assert home.says("app", "sha256sum /etc/cloudexit/tls/authority.crt") != there
    proof = "openssl verify -CAfile /etc/cloudexit/tls/authority.crt /etc/cloudexit/tls/host.crt"
    assert {home.run(host, *proof.split()).exit_status for host in home.inventory.hosts} == {0}
