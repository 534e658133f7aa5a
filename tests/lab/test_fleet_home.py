"""A home of several servers, by the inventory inventories/fleet: one is lost in the middle, and who reaches what.

The tests of this module share the hosts and follow each other: what one has made, the next looks at.
"""

import json
import subprocess
import sys

import pytest
import yaml

from migrate.check import Verdict
from migrate.errors import ExitCode
from migrate.target.provision import MARKER
from tests.homes import CONTEXT, PLAZA, STEP, Home, changed_tasks
from tests.lab.conftest import LOST, Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
OUTSIDE = "outside"
STRAY = 9999
TREES = 8082
"""Port on which media trees are handed out."""
EXPORTERS = {"edge": (9113,), "media": (9114,), "cache": (9121,), "database": (9187, 9188)}
"""Ports that show the monitor figures, beside the 9100 of every host."""
UNITS = {"edge": "nginx-edge", "media": "nginx-media", "app": "plaza-web", "worker": "plaza-worker"}
ECHO = f"""
import socket, threading
tcp, udp = socket.create_server(("", {STRAY})), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", {STRAY}))
threading.Thread(target=lambda: [udp.sendto(*udp.recvfrom(9)) for _ in iter(int, 1)], daemon=True).start()
while True:
    tcp.accept()
"""
"""A program that nobody asked for: it listens on a port that stands in no manifest, by TCP and UDP."""
PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reaches(to):
    kind, address, port = to
    try:
        if kind == "tcp":
            socket.create_connection((address, port), timeout=2).close()
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.settimeout(2)
                udp.connect((address, port))
                udp.send(b"hello")
                udp.recv(9)
    except OSError:
        return False
    return True
asked = json.load(sys.stdin)
with ThreadPoolExecutor(64) as pool:
    json.dump([to for to, open in zip(asked, pool.map(reaches, asked)) if open], sys.stdout)
"""
Way = tuple[str, str, str, int]
"""From, to, `tcp` or `udp`, port."""


@pytest.fixture(scope="module")
def home(fleet: Fleet) -> Home:
    return fleet.home


def test_a_host_that_is_lost_in_the_middle_is_named_and_the_rest_is_finished(fleet: Fleet) -> None:
    assert fleet.loss.exit_code is ExitCode.UNREACHABLE, fleet.loss
    assert fleet.loss.where == LOST
    rest = [name for name in fleet.home.inventory.hosts if name != LOST]
    assert f"went through on: {', '.join(rest)}" in fleet.loss.what


def test_the_next_run_goes_on_with_the_host_that_is_back(fleet: Fleet) -> None:
    assert {name for name, play in fleet.second_run.detail["hosts"].items() if play["changed"]} == {LOST}
    assert fleet.home.provision().verify(STEP, CONTEXT) is Verdict.PASS


def test_a_second_run_changes_nothing_on_that_host_either(home: Home) -> None:
    """The run before was the second one for every other host, and changed nothing there."""
    marker = home.says(LOST, f"cat {MARKER}")
    assert changed_tasks(home.play(limit=[LOST], cloudexit_marker=marker)) == {}


def manifest_allows(home: Home) -> set[Way]:
    """Straight from the manifest's text: open_to and writers, host by host, SSH for all, a host itself for itself; and
    what backups need: their repository and the databases reach each other; and hosts of one Redis or PostgreSQL; and
    media hosts, which fetch their trees from the one that leads."""
    # The monitor itself listens to its own host alone.
    described = yaml.safe_load(PLAZA.read_text())["services"].values()
    services = [service for service in described if service["kind"] != "monitor"]
    groups = {name: set(host.groups) for name, host in home.inventory.hosts.items()} | {OUTSIDE: set()}
    allowed = {(source, target, "tcp", 22) for source in groups for target in groups if target != OUTSIDE}
    for service in services:
        replicas = {service["group"]} if service["kind"] in ("redis", "postgresql") else set()
        opened = [(service.get("port"), set(service.get("open_to", [])) | replicas)]
        opened.append((service.get("write_port"), set(service.get("writers", []))))
        if service["kind"] in ("logs", "packages"):  # every host uses them, and the manifest need not say so
            opened.append((service["port"], {group for names in groups.values() for group in names}))
        for target in (name for name in groups if service["group"] in groups[name]):
            for port, to in opened:
                for source in groups:
                    if port and (source == target or "anyone" in to or to & groups[source]):
                        allowed.add((source, target, "tcp", port))
    for service in (service for service in services if service["kind"] == "backup"):
        keepers = {name for name in groups if service["group"] in groups[name]}
        kept = {name for name in groups if "database" in groups[name]}
        ways = {(one, other) for one in keepers for other in kept} | {(one, one) for one in keepers | kept}
        allowed |= {(source, target, "tcp", service["port"]) for way in ways for source, target in (way, way[::-1])}
    for target, of_target in groups.items():
        asked = {s["port"] for s in services if s["group"] in of_target and any("http" in c for c in s["checks"])}
        shown = {9100, *(port for group in of_target & EXPORTERS.keys() for port in EXPORTERS[group])}
        for source in (name for name in groups if target != OUTSIDE):
            if "monitor" in groups[source] or source == target:
                allowed |= {(source, target, "tcp", port) for port in asked | shown}
    media = {host.name for host in home.inventory.group("media")}
    allowed |= {(source, home.inventory.lead("media").name, "tcp", TREES) for source in media}
    stray = {(name, name, kind, STRAY) for name in home.inventory.hosts for kind in ("tcp", "udp")}
    return allowed | stray


def listening(home: Home, host: str) -> set[tuple[str, int]]:
    """What `ss` shows of a host, but for what listens to the host itself alone."""
    found = set()
    for line in home.says(host, "ss -Hltun").splitlines():
        kind, _, _, _, local = line.split()[:5]
        address, port = local.rsplit(":", 1)
        if not address.startswith(("127.", "[::1]")):
            found.add((kind, int(port)))
    return found


def reached(home: Home, source: str, asked: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    if source == OUTSIDE:
        command = [sys.executable, "-c", PROBE]
        text = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True).stdout
    else:
        done = home.hosts.run(
            home.inventory.hosts[source], ["python3", "-c", PROBE], stdin=json.dumps(asked).encode(), timeout=60
        )
        assert done, done
        text = done.stdout
    return [tuple(way) for way in json.loads(text)]


def test_what_answers_is_what_the_manifest_allows_from_every_host_to_every_port(home: Home) -> None:
    for name, host in home.inventory.hosts.items():
        units = [unit for group, unit in UNITS.items() if group in host.groups]
        home.says(name, f"systemctl start {' '.join(units)}" if units else "true")
        home.hosts.run(host, ["systemd-run", "--collect", "--unit=unasked", "python3", "-c", ECHO])
    late = {"app1": (8000,), "app2": (8000,), "edge1": (9113, 9114), "edge2": (9113,)}
    for name, wanted in late.items():  # nginx's exporters listen once their nginx has answered
        for port in wanted:
            home.says(name, f"timeout 40 sh -c \"until ss -Hltn | grep -q ':{port} '; do sleep 0.2; done\"")
    ports = {name: listening(home, name) for name in home.inventory.hosts}
    address_of = {name: host.address for name, host in home.inventory.hosts.items()}
    name_of = {address: name for name, address in address_of.items()}
    asked = [(kind, address_of[name], port) for name, found in ports.items() for kind, port in sorted(found)]
    answered = {
        (source, name_of[address], kind, port)
        for source in (*home.inventory.hosts, OUTSIDE)
        for kind, address, port in reached(home, source, asked)
    }
    assert answered == manifest_allows(home)
    assert len(asked) >= 3 * len(home.inventory.hosts)
