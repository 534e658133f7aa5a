"""Releases of a home that runs, while people read the site: good ones, bad ones, back again, a kill in the middle, and
a host that takes the place of a dead one. And processes that are given another environment.

The tests of this module share the fleet and follow each other: what one has made, the next looks at.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrate.check import ChecksHeld, Verdict
from migrate.errors import ExitCode
from migrate.lab import HostSpec
from migrate.target.restarting import DUE
from tests.homes import CONTEXT, PLAZA, STEP, Home
from tests.lab.conftest import Fleet
from tests.release_archives import Fault, release
from tests.visitors import Visitors

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
CLOUDEXIT = Path(sys.executable).with_name("cloudexit")
UNITS = {"media": "nginx-media", "worker": "plaza-worker", "app": "plaza-web", "edge": "nginx-edge"}
QUICK = "3s"
"""What the checks of the web server give it; the manifest's own bound would have a bad release waited for longer."""
COMMAND_SECONDS = 300
ASK_ALWAYS = "while sleep 0.1; do curl -s -m 5 http://{address}:8000/ >>/run/met; echo >>/run/met; done"


@dataclass(frozen=True)
class Site:
    """The home of the fleet, and what an operator has beside it: a manifest, an inventory, a state folder."""

    fleet: Fleet
    folder: Path

    @property
    def home(self) -> Home:
        return self.fleet.home

    @property
    def apps(self) -> list[str]:
        return [host.name for host in self.home.inventory.group("app")]

    @property
    def url(self) -> str:
        return f"http://{self.home.inventory.address('edge')}"

    def command(self, *words: str, state: str = "state") -> list[str]:
        where = ["-i", str(self.home.inventory.path), "--state", str(self.folder / state), "--json"]
        return [str(CLOUDEXIT), *words, *where]

    def deploy(self, *words: str | Path, state: str = "state") -> tuple[int, dict[str, Any]]:
        command = self.command("deploy", *map(str, words), "--stack", str(self.folder / "stack.yaml"), state=state)
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        print(done.stderr)
        return done.returncode, json.loads(done.stdout)

    def kill_while_it_switches(self, host: str, *words: str) -> None:
        """Begins a command, and kills it when it is at work on a host."""
        with subprocess.Popen(self.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            looked = "until [ -e /srv/plaza/switching ]; do sleep 0.05; done; sleep 0.5"
            self.home.hosts.run(self.home.inventory.hosts[host], ["sh", "-c", looked], timeout=120)
            os.kill(process.pid, signal.SIGKILL)

    @contextmanager
    def asked_by_the_edge(self, host: str) -> Iterator[set[str]]:
        """An edge that asks one host all the time, whatever it answered before: versions that it met, in the end."""
        edge = self.home.inventory.group("edge")[0].name
        asked = ASK_ALWAYS.format(address=self.home.inventory.hosts[host].address)
        self.home.says(edge, f"rm -f /run/met; systemd-run --quiet --collect --unit=asks sh -c '{asked}'")
        met: set[str] = set()
        try:
            yield met
        finally:
            self.home.says(edge, "systemctl stop asks")
        answers = self.home.says(edge, "cat /run/met").splitlines()
        met.update(json.loads(line)["version"] for line in answers if line)

    def given(self, service: str, **environment: str) -> Home:
        """The home, whose manifest gives a service more of an environment."""
        stack = self.home.stack
        told = stack.services[service]
        more = told.model_copy(update={"environment": {**told.environment, **environment}})
        services = {**stack.services, service: more}
        return replace(self.home, stack=stack.model_copy(update={"services": services}))

    def lives_with(self, host: str, name: str) -> str:
        """What the web server that runs on a host has in its environment."""
        environment = "/proc/$(systemctl show -P MainPID plaza-web)/environ"
        return self.home.says(host, f"tr '\\0' '\\n' <{environment} | sed -n 's/^{name}=//p'")

    def runs(self) -> dict[str, str]:
        """Host -> the release whose folder its web server runs in."""
        looked = "readlink /proc/$(systemctl show -P MainPID plaza-web)/cwd"
        return {host: self.home.says(host, looked).rsplit("/", 1)[-1].rsplit("-", 1)[0] for host in self.apps}


@pytest.fixture(scope="module")
def site(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    manifest = yaml.safe_load(PLAZA.read_text())
    for check in manifest["services"]["web"]["checks"]:
        check["within"] = QUICK
    (folder / "stack.yaml").write_text(yaml.safe_dump(manifest))
    for state in ("state", "colleague"):
        (folder / state).mkdir(mode=0o700)
        shutil.copy(fleet.home.folder / "secrets.json", folder / state / "secrets.json")
    made = Site(fleet, folder)
    for group, unit in UNITS.items():
        for host in fleet.home.inventory.group(group):
            fleet.home.says(host.name, f"systemctl start {unit}")
    for host in made.apps:
        fleet.home.says(host, "until ss -Hltn | grep -q ':8000 '; do sleep 0.1; done")
    yield made


def test_a_good_release_goes_over_the_hosts_while_nobody_notices_even_if_its_command_is_killed(site: Site) -> None:
    archive = release(site.folder, "2.0.0")
    first, second = site.apps
    with Visitors(site.url) as visitors:
        site.kill_while_it_switches(first, "deploy", str(archive), "--stack", str(site.folder / "stack.yaml"))
        assert site.home.says(first, "ls /srv/plaza/switching")
        assert site.runs()[second] == "1.0.0"
        code, report = site.deploy(archive)
    assert code == ExitCode.DONE, report
    assert site.runs() == dict.fromkeys(site.apps, "2.0.0")
    assert visitors.failed == []
    assert set(visitors.answered) == {"1.0.0", "2.0.0"}
    assert list(report["steps"][0]["detail"]["rolled"]) == site.apps
    for host in site.apps:
        assert site.home.run(host, "nft", "list", "table", "inet", "cloudexit_switching").exit_status == 1
        assert site.home.says(host, "tail -n 1 /srv/plaza/history").startswith("2.0.0 ")
    print("answered:", dict(visitors.answered), "slowest:", round(visitors.slowest, 2))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("crashes", "no such setting: PLAZA_NONSENSE"),
        ("ill", "/healthz answers 500, not 200"),
        ("hangs", "serving 3.0.2 hangs"),
    ],
)
def test_a_bad_release_is_taken_back_by_itself_and_no_visitor_meets_it(site: Site, fault: Fault, words: str) -> None:
    version = f"3.0.{('crashes', 'ill', 'hangs').index(fault)}"
    second = site.apps[1]
    before = site.home.says(second, "systemctl show -P MainPID plaza-web")
    with Visitors(site.url) as visitors, site.asked_by_the_edge(site.apps[0]) as met:
        code, report = site.deploy(release(site.folder, version, fault=fault))
    assert code == ExitCode.GATE, report
    assert (
        f"plaza {version} is not healthy and was taken back, now {site.apps[0]} runs 2.0.0" in report["error"]["what"]
    )
    assert words in report["error"]["what"] + report["error"]["hint"]
    assert site.runs() == dict.fromkeys(site.apps, "2.0.0")
    assert site.home.says(second, "systemctl show -P MainPID plaza-web") == before
    assert visitors.failed == []
    assert set(visitors.answered) == {"2.0.0"} and met == {"2.0.0"}
    print("answered:", dict(visitors.answered), "slowest:", round(visitors.slowest, 2))


def test_a_rollback_of_a_deploy_that_was_killed_goes_to_what_was_proved_last_and_no_further(site: Site) -> None:
    archive = release(site.folder, "4.0.0")
    first = site.apps[0]
    proved = {host: site.home.says(host, "cat /srv/plaza/history") for host in site.apps}
    with Visitors(site.url) as visitors:
        site.kill_while_it_switches(first, "deploy", str(archive), "--stack", str(site.folder / "stack.yaml"))
        assert "4.0.0" in site.home.says(first, "readlink /srv/plaza/current")
        refused, of_colleague = site.deploy("--rollback", state="colleague")
        code, report = site.deploy("--rollback")
    assert refused == ExitCode.GATE and "another command moves plaza" in of_colleague["error"]["what"], of_colleague
    assert code == ExitCode.DONE, report
    assert site.runs() == dict.fromkeys(site.apps, "2.0.0")
    assert {host: site.home.says(host, "cat /srv/plaza/history") for host in site.apps} == proved
    for host in site.apps:
        assert site.home.says(host, "ls /srv/plaza/releases | cut -d- -f1").split() == ["1.0.0", "2.0.0"]
        assert site.home.run(host, "ls", "/srv/plaza/deploying").exit_status == 2
        assert site.home.run(host, "nft", "list", "table", "inet", "cloudexit_switching").exit_status == 1
    assert visitors.failed == [] and "1.0.0" not in visitors.answered
    assert list(report["steps"][0]["detail"]["rolled"]) == [first]
    print("answered:", dict(visitors.answered), "slowest:", round(visitors.slowest, 2))


def test_a_rollback_goes_back_to_the_release_before_and_requests_under_way_are_answered(site: Site) -> None:
    slow: list[str] = []

    def ask_slowly() -> None:
        for _ in range(3):
            with urllib.request.urlopen(f"{site.url}/slow", timeout=20) as reply:
                slow.append(json.load(reply)["version"])

    proved = site.home.says(site.apps[0], "cat /srv/plaza/history").splitlines()
    threads = [threading.Thread(target=ask_slowly) for _ in range(4)]
    with Visitors(site.url) as visitors:
        for thread in threads:
            thread.start()
        code, report = site.deploy("--rollback")
        for thread in threads:
            thread.join()
    assert code == ExitCode.DONE, report
    assert site.runs() == dict.fromkeys(site.apps, "1.0.0")
    assert visitors.failed == [] and len(slow) == 12
    assert site.home.says(site.apps[0], "cat /srv/plaza/history").splitlines() == proved[:-1]


def test_a_host_takes_the_place_of_a_dead_one_while_people_read(site: Site) -> None:
    archive = site.home.folder / "plaza-1.0.0.tar.gz"
    dead = site.apps[1]
    lab = site.fleet.lab
    with Visitors(site.url) as visitors:
        lab.remove(dead)
        lab.up([HostSpec(dead, site.home.inventory.hosts[dead].groups)])
        site.home.provision().apply(STEP, CONTEXT)
        code, report = site.deploy(archive)
    assert code == ExitCode.DONE, report
    assert site.runs() == dict.fromkeys(site.apps, "1.0.0")
    assert site.home.says(dead, "systemctl is-enabled plaza-web plaza-worker").split() == ["enabled", "enabled"]
    assert visitors.failed == []


def test_another_environment_reaches_every_process_while_nobody_is_turned_away(site: Site) -> None:
    home = site.given("web", PLAZA_NOTE="anew")
    before = {host: site.home.says(host, "systemctl show -P MainPID plaza-worker") for host in site.apps}
    with Visitors(site.url) as visitors:
        outcome = home.provision().apply(STEP, CONTEXT)
    assert list(outcome.detail["restarts"]) == site.apps
    assert {host: site.lives_with(host, "PLAZA_NOTE") for host in site.apps} == dict.fromkeys(site.apps, "anew")
    assert {host: site.home.says(host, "systemctl show -P MainPID plaza-worker") for host in site.apps} == before
    assert visitors.failed == []
    assert home.provision().verify(STEP, CONTEXT) is Verdict.PASS
    for host in site.apps:
        assert site.home.says(host, f"ls {DUE}") == ""
        assert site.home.run(host, "nft", "list", "table", "inet", "cloudexit_switching").exit_status == 1
        assert site.home.run(host, "ls", "/srv/plaza/deploying").exit_status == 2
    print("answered:", dict(visitors.answered), "slowest:", round(visitors.slowest, 2), outcome.detail["restarted"])


@pytest.mark.timeout(600)
def test_an_environment_that_no_process_starts_with_stops_at_the_first_host_and_the_next_provision_mends_it(
    site: Site,
) -> None:
    first, second = site.apps
    bad = site.given("web", PYTHONHOME="/nowhere")
    before = site.home.says(second, "systemctl show -P MainPID plaza-web")
    with Visitors(site.url) as visitors:
        with pytest.raises(ChecksHeld) as held:
            bad.provision().apply(STEP, CONTEXT)
        said = (
            f"plaza-web.service on {first}: not healthy with what it was given; still run with what they had: {second}"
        )
        assert said in held.value.what and "PYTHONHOME = '/nowhere'" in held.value.hint
        assert site.home.says(second, "systemctl show -P MainPID plaza-web") == before
        assert bad.provision().verify(STEP, CONTEXT) is Verdict.FAIL
        outcome = site.home.provision().apply(STEP, CONTEXT)
    assert list(outcome.detail["restarts"]) == site.apps
    assert visitors.failed == []
    for name in ("PYTHONHOME", "PLAZA_NOTE"):
        assert [site.lives_with(host, name) for host in site.apps] == ["", ""]
    assert site.home.provision().verify(STEP, CONTEXT) is Verdict.PASS
    print("answered:", dict(visitors.answered), "slowest:", round(visitors.slowest, 2), outcome.detail["restarted"])
