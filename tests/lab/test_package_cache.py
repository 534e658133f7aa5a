"""The package cache on the shared fleet: what one host has fetched, others get from there, and nobody depends on it."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from migrate.inventory import Host
from tests.homes import Home
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
PACKAGE = "hello"
"""Small, and needed by nobody."""
FOLDER = "/var/cache/apt-cacher-ng"
LOG = "/var/log/apt-cacher-ng/apt-cacher.log"
FETCH = f"""
set -e
cd "$(mktemp -d)"
chmod 755 .
apt-get -q -o Acquire::Retries=0 download {PACKAGE} >&2
sha256sum {PACKAGE}_*.deb | cut -d ' ' -f 1
rm -r "$PWD"
"""
NO_WAY_OUT = """
add table inet trial
add chain inet trial out { type filter hook output priority filter; }
add rule inet trial out tcp dport 80 drop
"""


@pytest.fixture(scope="module")
def home(fleet: Fleet) -> Home:
    """Skips where packages come to hosts of this machine's lab in a way that passes every cache by."""
    way = "apt-config shell proxy Acquire::http::Proxy; apt-get -q --print-uris download " + PACKAGE
    way = fleet.home.says(fleet.home.inventory.group("app")[0].name, way)
    if not way.startswith("'http://"):
        pytest.skip(f"packages come by https, or through a proxy of this machine's own: {way}")
    return fleet.home


@pytest.fixture(scope="module")
def keeper(home: Home) -> Host:
    return home.inventory.lead("packages")


@pytest.fixture
def forgotten(home: Home, keeper: Host) -> None:
    """The cache has never heard of the package."""
    home.says(keeper.name, f"find {FOLDER} -name '{PACKAGE}_*' -delete; : > {LOG}")


def asking(home: Home, keeper: Host) -> list[Host]:
    return [host for host in home.inventory.group("app") if host.name != keeper.name]


def logged(home: Home, keeper: Host) -> list[tuple[str, str]]:
    """(I for what came from the mirror or O for what went to a host, address of the host), for the package."""
    lines = [line.split("|") for line in home.says(keeper.name, f"cat {LOG}").splitlines()]
    return [(line[1], line[3]) for line in lines if f"/{PACKAGE}_" in line[4]]


def test_what_one_host_has_fetched_the_next_gets_from_the_cache(home: Home, keeper: Host, forgotten: None) -> None:
    first, second = asking(home, keeper)[:2]
    digest = home.says(first.name, FETCH)
    assert logged(home, keeper) == [("I", first.address), ("O", first.address)]
    kept = home.says(keeper.name, f"find {FOLDER} -name '{PACKAGE}_*.deb' -exec sha256sum {{}} +").split()
    assert kept[0] == digest and len(kept) == 2
    assert home.says(second.name, FETCH) == digest
    assert logged(home, keeper)[2:] == [("O", second.address)]
    assert home.says(keeper.name, FETCH) == digest
    assert logged(home, keeper)[3:] == [("O", keeper.address)]


@contextmanager
def stopped(home: Home, keeper: Host) -> Iterator[None]:
    home.says(keeper.name, "systemctl stop apt-cacher-ng.service")
    try:
        yield
    finally:
        home.says(keeper.name, "systemctl start apt-cacher-ng.service")


@contextmanager
def hanging(home: Home, keeper: Host) -> Iterator[None]:
    home.says(keeper.name, "systemctl kill --signal=STOP apt-cacher-ng.service")
    try:
        yield
    finally:
        home.says(keeper.name, "systemctl kill --signal=CONT apt-cacher-ng.service")


@contextmanager
def without_a_way_out(home: Home, keeper: Host) -> Iterator[None]:
    home.says(keeper.name, f"nft {shlex.quote(NO_WAY_OUT)}")
    try:
        yield
    finally:
        home.says(keeper.name, "nft delete table inet trial; systemctl restart apt-cacher-ng.service")


@pytest.mark.parametrize("trouble", [stopped, hanging, without_a_way_out])
def test_a_cache_in_trouble_keeps_no_package_off(
    home: Home, keeper: Host, forgotten: None, trouble: Callable[[Home, Host], AbstractContextManager[None]]
) -> None:
    [host] = asking(home, keeper)[:1]
    with trouble(home, keeper):
        assert home.says(host.name, FETCH)
        assert logged(home, keeper) == []
    home.says(host.name, FETCH)
    assert logged(home, keeper) == [("I", host.address), ("O", host.address)]


def test_a_proxy_of_the_hosts_own_is_kept(home: Home, keeper: Host, forgotten: None) -> None:
    [host] = asking(home, keeper)[:1]
    own = "/etc/apt/apt.conf.d/10trial"
    home.says(host.name, f"""echo 'Acquire::http::Proxy "http://127.0.0.1:9";' > {own}""")
    try:
        refused = home.run(host.name, "sh", "-c", FETCH)
    finally:
        home.says(host.name, f"rm {own}")
    assert refused.exit_status and "127.0.0.1:9" in refused.stderr
    assert logged(home, keeper) == []


def test_it_serves_no_page_for_administration_and_no_way_to_anywhere_else(home: Home, keeper: Host) -> None:
    [host] = asking(home, keeper)[:1]
    port = home.stack.services["packages"].port
    ask = "curl -s -o /dev/null -m 10 -w %{http_code}"
    status = f"{ask} http://{keeper.address}:{port}"
    assert home.says(host.name, f"{status}/") == "406"
    assert home.says(host.name, f"{status}/acng-report.html") not in ("200", "401")
    through = f"{ask} -x http://{keeper.address}:{port}"
    assert home.says(host.name, f"{through} http://127.0.0.1:9090/metrics; true") == "403"
    tunnel = f"curl -s -o /dev/null -m 10 -w %{{http_connect}} -x http://{keeper.address}:{port}"
    assert home.says(host.name, f"{tunnel} https://{keeper.address}:9100/; true") == "403"


def test_what_it_keeps_is_bounded_by_a_timer(home: Home, keeper: Host, forgotten: None) -> None:
    home.says(asking(home, keeper)[0].name, FETCH)
    home.says(keeper.name, f"find {FOLDER} -name '{PACKAGE}_*' -exec touch -d '61 days ago' {{}} +")
    home.says(keeper.name, "systemctl is-active cloudexit-keep-packages.timer")
    home.says(keeper.name, "systemctl start cloudexit-keep-packages.service")
    assert home.says(keeper.name, f"find {FOLDER} -name '{PACKAGE}_*'") == ""
