"""Who fetches packages through whom, what the program answers that apt asks, and what a cache lets go."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jinja2
import pytest

from migrate.errors import UsageProblem
from migrate.inventory import Host, Inventory, on_hosts_of
from migrate.manifest import read_stack
from migrate.stack import Service, Stack
from migrate.target.firewall import Opening
from migrate.target.hostview import HostView
from migrate.target.parts import packagecache
from migrate.target.variables import provision_variables
from tests.unit.test_target_variables import SECRETS

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "playbooks" / "roles"
CLEANER = ROLES / "package_cache" / "files" / "cloudexit-keep-packages"
LISTS = "http://deb.example/debian/dists/bookworm/InRelease"
PACKAGE = "http://deb.example/debian/pool/main/h/hello/hello_2_amd64.deb"
HOSTS = {
    "ops": Host("ops", "10.0.0.9", ("packages", "mail")),
    "app": Host("app", "10.0.0.2", ("app", "worker")),
    "data": Host("data", "fd00::1", ("database", "cache", "media", "edge")),
}
HOME = Inventory(Path("hosts.yml"), HOSTS)
WITHOUT = Inventory(Path("hosts.yml"), {**HOSTS, "ops": Host("ops", "10.0.0.9", ("mail",))})
TWO = Inventory(Path("hosts.yml"), {**HOSTS, "ops2": Host("ops2", "10.0.0.8", ("packages",))})


@pytest.fixture(scope="module")
def stack() -> Stack:
    return read_stack(ROOT / "examples" / "plaza" / "stack.yaml")


def view(stack: Stack, name: str, inventory: Inventory = HOME) -> HostView:
    return HostView(on_hosts_of(stack, inventory), inventory, inventory.hosts[name], SECRETS)


def cache(address: str) -> dict[str, Any]:
    return {"address": address, "port": 3142}


def test_every_host_asks_the_cache_and_one_host_keeps_it(stack: Stack) -> None:
    one = [cache("10.0.0.9")]
    assert {name: packagecache.variables(view(stack, name)) for name in HOSTS} == {
        "ops": {"caches": one, "port": 3142}, "app": {"caches": one, "port": 0}, "data": {"caches": one, "port": 0},
    }  # fmt: skip
    assert {name: packagecache.packages(view(stack, name)) for name in HOSTS} == {
        "ops": ["apt-cacher-ng", "logrotate"], "app": [], "data": [],
    }  # fmt: skip


def test_of_two_caches_each_host_asks_its_own_first(stack: Stack) -> None:
    asked = {name: (packagecache.variables(view(stack, name, TWO)) or {})["caches"] for name in TWO.hosts}
    first, second = cache("10.0.0.9"), cache("10.0.0.8")
    assert asked == {
        "ops": [first, second], "app": [first, second], "data": [first, second], "ops2": [second, first],
    }  # fmt: skip


def test_only_the_cache_opens_the_port_and_to_hosts_of_the_home_only(stack: Stack) -> None:
    assert packagecache.openings(view(stack, "ops")) == [Opening(3142, ("10.0.0.2", "10.0.0.9", "fd00::1"))]
    assert packagecache.openings(view(stack, "app")) == []


def test_a_home_without_a_host_for_it_has_none(stack: Stack) -> None:
    hosts = provision_variables(on_hosts_of(stack, WITHOUT), WITHOUT, SECRETS).variables["cloudexit_hosts"]
    assert [host["package_cache"] for host in hosts.values()] == [None] * 3
    assert not any("apt-cacher-ng" in host["packages"] for host in hosts.values())


def test_a_host_has_one_of_them_and_it_has_a_port(stack: Stack) -> None:
    service = stack.services["packages"]
    with pytest.raises(ValueError, match="kind packages needs `port`"):
        Service.model_validate({**service.model_dump(mode="json", exclude_none=True), "port": None})
    twice = stack.model_copy(update={"services": {**stack.services, "more": service}})
    with pytest.raises(UsageProblem, match="both of kind packages"):
        packagecache.variables(view(twice, "ops"))


class Cache(BaseHTTPRequestHandler):
    """Answers as the server was told, and keeps what it was asked for."""

    def do_HEAD(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        time.sleep(self.server.slow)  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(status: int, slow: float = 0) -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Cache) as server:
        server.status, server.asked, server.slow = status, [], slow  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def rendered(template: str, ports: list[int]) -> str:
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    return environment.from_string((ROLES / "base" / "templates" / template).read_text()).render(
        ansible_managed="managed", base_package_cache_seconds=3, base_package_cache_program="/opt/program",
        base_package_caches=[{"address": "127.0.0.1", "port": port} for port in ports],
        base_security_updates_except=[], base_security_updates_reboot_at="",
    )  # fmt: skip


def answer(folder: Path, address: str, *ports: int, settings: str = "", **environment: str) -> str:
    program = folder / "program"
    program.write_text(rendered("cloudexit-package-cache.j2", list(ports)))
    (folder / "apt.conf").write_text(settings)
    found = {"PATH": os.environ["PATH"], "APT_CONFIG": str(folder / "apt.conf"), **environment}
    done = subprocess.run(
        ["bash", program, address], env=found, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("status", "goes_through"), [(200, True), (304, True), (404, True), (403, False), (503, False)]
)
@pytest.mark.parametrize("address", [LISTS, PACKAGE])
def test_a_cache_is_used_where_it_can_ask_the_mirror(
    tmp_path: Path, address: str, status: int, goes_through: bool
) -> None:
    with serving(status) as server:
        expected = f"http://127.0.0.1:{server.server_port}" if goes_through else "DIRECT"
        assert answer(tmp_path, address, server.server_port) == expected
        [asked] = server.asked
    assert asked.startswith("http://deb.example/debian/dists/") and asked.endswith("/InRelease")


def test_the_next_one_is_asked_where_the_first_is_away_or_takes_too_long(tmp_path: Path) -> None:
    away = 1
    with serving(200) as server, serving(200, slow=4) as slow:
        good = f"http://127.0.0.1:{server.server_port}"
        assert answer(tmp_path, LISTS, away, slow.server_port, server.server_port) == good
    assert answer(tmp_path, LISTS, away) == "DIRECT"


def test_a_proxy_of_the_hosts_own_holds_and_so_does_https(tmp_path: Path) -> None:
    with serving(200) as server:
        port = server.server_port
        assert answer(tmp_path, LISTS, port, settings='Acquire::http::Proxy "http://10.9.9.9:8080";\n') == ""
        assert answer(tmp_path, LISTS, port, http_proxy="http://10.9.9.9:8080") == ""
        assert answer(tmp_path, LISTS.replace("http:", "https:"), port) == ""
        assert server.asked == []
        assert answer(tmp_path, LISTS, port, settings='Acquire::https::Proxy "http://10.9.9.9:8080";\n') != ""


def test_apt_is_told_to_ask_only_where_there_is_a_cache() -> None:
    assert 'Acquire::http::Proxy-Auto-Detect "/opt/program";' in rendered("apt.conf.j2", [3142])
    assert "Acquire" not in rendered("apt.conf.j2", [])


def put(folder: Path, name: str, size: int, days: float) -> None:
    """A file of the cache and what belongs to it, asked for last so many days ago."""
    moment = time.time() - days * 86400
    for path, content in ((folder / name, os.urandom(size)), (folder / f"{name}.head", b"HTTP/1.1 200 OK")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (moment, moment))


def clean(folder: Path, days: int, most: int) -> set[str]:
    command = [sys.executable, "-I", str(CLEANER), str(folder), str(days), str(most)]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    whole = {name for name in left if not name.endswith(".head")}
    assert left == whole | {f"{name}.head" for name in whole}
    return whole


def test_what_nobody_asked_for_goes_first_and_there_is_a_bound_to_all(tmp_path: Path) -> None:
    ages = {"deb.example/a.deb": 1.0, "deb.example/b.deb": 5.0, "deb.example/c.deb": 20.0, "d.deb": 70.0}
    for name, days in ages.items():
        put(tmp_path, name, 100_000, days)
    assert clean(tmp_path, 60, 10**9) == {"deb.example/a.deb", "deb.example/b.deb", "deb.example/c.deb"}
    assert clean(tmp_path, 60, 250_000) == {"deb.example/a.deb", "deb.example/b.deb"}
    assert clean(tmp_path, 60, 250_000) == {"deb.example/a.deb", "deb.example/b.deb"}


def test_a_package_that_is_read_is_not_an_old_one(tmp_path: Path) -> None:
    put(tmp_path, "old.deb", 10, 70)
    os.utime(tmp_path / "old.deb", (time.time(), time.time() - 70 * 86400))
    assert clean(tmp_path, 60, 10**9) == {"old.deb"}
