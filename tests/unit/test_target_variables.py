"""What the playbooks are told, as data."""

import base64
import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import UsageProblem
from migrate.inventory import Host, Inventory, hold_against, on_hosts_of, read_inventory
from migrate.manifest import read_stack
from migrate.secret import Secret, Secrets
from migrate.stack import Stack
from migrate.target.hostview import HostView
from migrate.target.parts.media import salted_sha1, url_path
from migrate.target.parts.processes import environment_file, exec_start, expand
from migrate.target.playbooks import playbooks_digest, playbooks_folder
from migrate.target.variables import packages_of, provision_variables, variables_of
from tests.ownsecrets import OWN_SECRETS_OF_TESTS

PLAZA = Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml"
NAMES = ("database_password", "cache_password", "media_password", "session_key", "old_home_s3_key")
SECRETS = Secrets({**OWN_SECRETS_OF_TESTS, **{name: Secret(f"value-of-{name}") for name in NAMES}})


def inventory_of(**hosts: tuple[str, tuple[str, ...]]) -> Inventory:
    return Inventory(Path("hosts.yml"), {n: Host(n, address, groups) for n, (address, groups) in hosts.items()})


THREE = inventory_of(
    data=("10.0.0.1", ("database", "cache")),
    app=("10.0.0.2", ("app", "worker")),
    edge=("10.0.0.3", ("edge", "media")),
    post=("10.0.0.5", ("mail",)),
)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return on_hosts_of(read_stack(PLAZA), THREE)


def told(stack: Stack, inventory: Inventory) -> tuple[dict[str, Any], dict[str, Any]]:
    given = provision_variables(stack, inventory, SECRETS)
    return dict(given.variables["cloudexit_hosts"]), json.loads(given.secrets["hosts"].reveal())


def test_the_firewall_of_each_host_opens_what_its_services_say_and_nothing_else(stack: Stack) -> None:
    hosts, _ = told(stack, THREE)
    assert {name: host["firewall"] for name, host in hosts.items()} == {
        "data": {
            "ssh_port": 22,
            "rules": [{"port": 5432, "sources": ["10.0.0.2"]}, {"port": 6379, "sources": ["10.0.0.2"]}],
        },
        "app": {"ssh_port": 22, "rules": [{"port": 8000, "sources": ["10.0.0.3"]}]},
        "edge": {
            "ssh_port": 22,
            "rules": [
                {"port": 80, "sources": ["anyone"]},
                {"port": 8080, "sources": ["10.0.0.3"]},
                {"port": 8081, "sources": ["10.0.0.2"]},
            ],
        },
        "post": {"ssh_port": 22, "rules": [{"port": 25, "sources": ["10.0.0.2"]}]},
    }


def test_sources_are_every_host_of_the_groups_once_and_in_order(stack: Stack) -> None:
    inventory = inventory_of(
        db=("10.0.0.1", ("database", "cache")),
        web9=("10.0.0.9", ("app",)),
        web10=("10.0.0.10", ("app", "worker")),
        six=("fd00::5", ("worker",)),
        edge=("10.0.0.3", ("edge", "media", "mail")),
    )
    hosts, _ = told(stack, inventory)
    assert hosts["db"]["firewall"]["rules"][0]["sources"] == ["10.0.0.9", "10.0.0.10", "fd00::5"]
    assert hosts["db"]["postgresql"]["clients"] == ["10.0.0.9/32", "10.0.0.10/32", "fd00::5/128"]
    assert hosts["edge"]["edge"]["upstream"] == ["10.0.0.9:8000", "10.0.0.10:8000"]


def test_a_host_gets_only_the_units_of_its_groups(stack: Stack) -> None:
    inventory = inventory_of(
        data=("10.0.0.1", ("database", "cache")),
        web=("10.0.0.2", ("app",)),
        worker=("10.0.0.4", ("worker",)),
        edge=("10.0.0.3", ("edge", "media", "mail")),
    )
    hosts, private = told(stack, inventory)
    units = {name: [process["unit"] for process in host["processes"] or []] for name, host in hosts.items()}
    assert units == {"data": [], "web": ["plaza-web.service"], "worker": ["plaza-worker.service"], "edge": []}
    nothing: dict[str, Any] = {"environments": {}}
    assert {name: list(own.get("processes", nothing)["environments"]) for name, own in private.items()} == {
        "data": [], "web": ["web"], "worker": ["worker"], "edge": [],
    }  # fmt: skip
    assert hosts["web"]["postgresql"] is hosts["web"]["redis"] is hosts["web"]["media"] is hosts["web"]["edge"] is None


def test_packages_are_one_list_for_all_services_of_a_host(stack: Stack) -> None:
    base = {"ca-certificates", "nftables", "rsync", "ssl-cert", "sudo", "unattended-upgrades"}
    assert {
        name: set(packages_of(HostView(stack, THREE, host, SECRETS))) - base for name, host in THREE.hosts.items()
    } == {
        "data": {"postgresql", "python3-psycopg2", "redis-server"},
        "app": {"pgbouncer", "postgresql-client", "python3-packaging", "python3-venv"},
        "edge": {"libnginx-mod-http-headers-more-filter", "libnginx-mod-http-perl", "nginx"},
        "post": {"opendkim", "postfix"},
    }


def test_values_that_hold_a_secret_travel_as_secrets_only(stack: Stack) -> None:
    given = provision_variables(stack, THREE, SECRETS)
    plain = json.dumps(given.variables)
    assert [name for name, secret in SECRETS.items() if secret.reveal() in plain] == []
    private = json.loads(given.secrets["hosts"].reveal())
    web = private["app"]["processes"]["environments"]["web"].splitlines()
    assert 'PLAZA_DATABASE_URL="postgresql://plaza:value-of-database_password@127.0.0.1:6432/plaza"' in web
    assert 'PLAZA_MEDIA_STORE="http://media:value-of-media_password@10.0.0.3:8081/plaza-media/"' in web
    assert 'PLAZA_MEDIA_URL="http://10.0.0.3/media/"' in web
    assert private["data"]["postgresql"]["roles"] == [{"name": "plaza", "password": "value-of-database_password"}]
    assert private["data"]["redis"]["password"] == "value-of-cache_password"
    assert {name: sorted(own) for name, own in private.items()} == {
        "data": ["postgresql", "redis", "tls"], "app": ["pooler", "processes", "tls"], "edge": ["edge", "media", "tls"],
        "post": ["mail", "tls"],
    }  # fmt: skip


def test_the_digest_follows_variables_and_secrets_and_reveals_none(stack: Stack) -> None:
    before = provision_variables(stack, THREE, SECRETS).digest
    assert before == provision_variables(stack, THREE, SECRETS).digest
    other = Secrets({**SECRETS, "session_key": Secret("another")})
    assert provision_variables(stack, THREE, other).digest != before
    moved = inventory_of(**{n: (h.address.replace("10.0.0.3", "10.0.0.4"), h.groups) for n, h in THREE.hosts.items()})
    assert provision_variables(stack, moved, SECRETS).digest != before


def test_an_address_that_is_a_name_is_refused(stack: Stack) -> None:
    named = inventory_of(
        **{**{n: (h.address, h.groups) for n, h in THREE.hosts.items()}, "app": ("app.example", ("app", "worker"))}
    )
    with pytest.raises(UsageProblem, match=r"the address of app is a name: app\.example") as problem:
        provision_variables(stack, named, SECRETS)
    assert problem.value.exit_code == 2 and "ansible_host" in problem.value.hint


def test_two_databases_services_on_one_host_are_refused(stack: Stack) -> None:
    services = {**stack.services, "second": stack.services["database"]}
    with pytest.raises(UsageProblem, match="database and second are both of kind postgresql"):
        provision_variables(stack.model_copy(update={"services": services}), THREE, SECRETS)


def test_two_services_of_one_host_on_one_port_are_refused(stack: Stack) -> None:
    services = {**stack.services, "web": stack.services["web"].model_copy(update={"port": 8080})}
    alone = inventory_of(one=("10.0.0.1", ("database", "cache", "app", "worker", "media", "edge", "mail")))
    changed = stack.model_copy(update={"services": services})
    with pytest.raises(UsageProblem, match="media and web both listen on port 8080"):
        provision_variables(changed, alone, SECRETS)
    provision_variables(changed, THREE, SECRETS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("http://{edge}:80/{secret:session_key}", "http://10.0.0.3:80/value-of-session_key"),
        ('{"json": 1}', '{"json": 1}'),
    ],
)
def test_placeholders_are_expanded_once(text: str, expected: str) -> None:
    assert expand(text, {"edge": "10.0.0.3"}, SECRETS, "here") == expected


def test_a_secret_that_looks_like_a_placeholder_is_left_as_it_is() -> None:
    assert expand("{secret:a}", {"edge": "x"}, Secrets({"a": Secret("{edge}")}), "here") == "{edge}"


@pytest.mark.parametrize("text", ["{nowhere}", "{secret:unknown}"])
def test_an_unknown_placeholder_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match="nothing is called"):
        expand(text, {"edge": "x"}, SECRETS, "services.web.environment.X")


HOSTILE = {
    "A": "plain",
    "B": 'quo"te',
    "C": "back\\slash",
    "D": "$HOME `id` #x",
    "E": " spaces  ",
    "F": "",
    "G": "ž%n'",
}


@pytest.mark.skipif(shutil.which("systemd-run") is None, reason="no systemd tools here: apt-get install systemd")
def test_units_and_environments_are_what_systemd_reads_without_complaint(tmp_path: Path, stack: Stack) -> None:
    hosts, _ = told(stack, THREE)
    for process in hosts["app"]["processes"]:
        unit = tmp_path / process["unit"]
        unit.write_text(f"[Service]\nExecStart={process['exec_start'].replace('/srv/plaza/current/venv', '/usr')}\n")
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--recursive-errors=no", str(unit)], capture_output=True, text=True
        )
        assert "Failed to parse" not in checked.stderr and "Unbalanced" not in checked.stderr, checked.stderr


def test_an_environment_file_quotes_what_systemd_would_take_apart() -> None:
    assert environment_file(HOSTILE) == (
        'A="plain"\nB="quo\\"te"\nC="back\\\\slash"\nD="\\$HOME \\`id\\` #x"\nE=" spaces  "\nF=""\nG="ž%n\'"\n'
    )


def test_a_value_with_a_line_break_is_refused() -> None:
    with pytest.raises(UsageProblem, match="TOKEN has a line break"):
        environment_file({"TOKEN": "a\nb"})


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m plaza.worker", "/srv/plaza/current/venv/bin/python -m plaza.worker"),
        ("gunicorn 'a b' %h", '/srv/plaza/current/venv/bin/gunicorn "a b" %%h'),
        ("run $HOME '\"'", '/srv/plaza/current/venv/bin/run $$HOME "\\""'),
    ],
)
def test_a_command_line_reaches_the_process_word_by_word(command: str, expected: str) -> None:
    assert exec_start("plaza", command) == expected


def test_media_hosts_hand_out_their_trees_to_each_other_alone(stack: Stack) -> None:
    groups = ("edge", "media", "mail")
    two = inventory_of(
        data=("10.0.0.1", ("database", "cache")), web=("10.0.0.2", ("app", "worker")), edge=("10.0.0.3", groups),
        edge2=("10.0.0.4", ("edge", "media")),
    )  # fmt: skip
    for inventory, lead, follows in (
        (two, "edge", "edge2"), (replace(two, leads={"media": "edge2"}), "edge2", "edge"),
    ):  # fmt: skip
        views = {name: HostView(stack, inventory, host, SECRETS) for name, host in inventory.hosts.items()}
        told = {name: variables_of(view) for name, view in views.items()}
        addresses = {name: host.address for name, host in inventory.hosts.items()}
        assert {name: told[name]["media"]["leads"] for name in (lead, follows)} == {lead: True, follows: False}
        assert {told[name]["media"]["lead"] for name in (lead, follows)} == {addresses[lead]}
        rules = {name: {rule["port"]: rule["sources"] for rule in told[name]["firewall"]["rules"]} for name in told}
        assert rules[lead][8082] == [addresses[follows]] and 8082 not in rules[follows]
        assert addresses[follows] in rules[lead][8080]
        assert [name for name in told if "stunnel4" in told[name]["packages"]] == ["edge", "edge2"]


def test_media_passwords_are_salted_and_the_same_each_time() -> None:
    entry = salted_sha1("secret")
    raw = base64.b64decode(entry.removeprefix("{SSHA}"))
    assert raw[:20] == hashlib.sha1(b"secret" + raw[20:]).digest() and len(raw) == 28
    assert salted_sha1("secret") == entry != salted_sha1("other")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://{edge}/media/", "/media/"),
        ("https://cdn.example/a/b", "/a/b/"),
        ("http://{edge}/", "/"),
        ("http://x", "/"),
    ],
)
def test_the_path_of_a_media_tree(url: str, path: str) -> None:
    assert url_path(url) == path


def test_the_digest_of_the_playbooks_follows_every_file(tmp_path: Path) -> None:
    copy = tmp_path / "playbooks"
    shutil.copytree(playbooks_folder(), copy)
    before = playbooks_digest(copy)
    assert before == playbooks_digest(playbooks_folder())
    target = copy / "roles" / "firewall" / "templates" / "nftables.conf.j2"
    target.write_text(target.read_text() + "\n")
    assert playbooks_digest(copy) != before


def test_the_example_inventory_fits_the_example_app() -> None:
    inventory = read_inventory(Path(__file__).parents[2] / "inventories" / "example")
    stack = on_hosts_of(read_stack(PLAZA), inventory)
    hold_against(stack, inventory)
    hosts, _ = told(stack, inventory)
    assert hosts["edge1"]["edge"]["upstream"] == ["192.0.2.13:8000", "192.0.2.14:8000"]
    assert hosts["app2"]["firewall"]["ssh_port"] == 2222
    assert hosts["db1"]["postgresql"]["clients"] == ["192.0.2.13/32", "192.0.2.14/32"]
