"""What becomes of services on the shared fleet when an update replaces a library that they use."""

import time
from collections.abc import Iterator

import pytest

from tests.homes import Home
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(200)]
UNIT = "cloudexit-after-updates.service"
LIBRARY = "/usr/lib/$(uname -m)-linux-gnu/libssl.so.3"
REPLACE = f"cp --preserve {LIBRARY} {LIBRARY}.new && mv {LIBRARY}.new {LIBRARY}"
"""As dpkg does it: a new file takes the name, and who has the old one open keeps it."""
FIGURE = "tail --lines=1 /var/lib/prometheus/node-exporter/updates.prom"
HOOK = "/run/systemd/system/apt-daily-upgrade.service.d/nothing.conf"


@pytest.fixture(scope="module")
def home(fleet: Fleet) -> Home:
    return fleet.home


@pytest.fixture
def edge(home: Home) -> Iterator[str]:
    """A host with a running edge, whose service of updates has nothing to install."""
    name = home.inventory.lead("edge").name
    settings = "[Service]\\nExecStart=\\nExecStart=/bin/true\\n"
    home.says(name, f"install -D /dev/null {HOOK} && printf '{settings}' > {HOOK} && systemctl daemon-reload")
    home.says(name, "systemctl start nginx-edge.service")
    yield name
    home.says(name, f"rm {HOOK} && systemctl daemon-reload")


def process_of(home: Home, host: str, unit: str) -> str:
    return home.says(host, f"systemctl show --value --property=MainPID {unit}")


def test_an_edge_takes_up_a_new_library_when_updates_are_done(home: Home, edge: str) -> None:
    before = process_of(home, edge, "nginx-edge.service")
    figure = home.says(edge, f"systemctl start {UNIT} && {FIGURE}")
    assert process_of(home, edge, "nginx-edge.service") == before != "0"
    home.says(edge, f"{REPLACE}; systemctl start apt-daily-upgrade.service")
    deadline = time.monotonic() + 60
    while process_of(home, edge, "nginx-edge.service") in (before, "0"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    home.says(edge, f"systemctl start {UNIT}")  # waits where it still runs
    old = home.says(edge, "grep -l 'libssl.so.3 (deleted)' /proc/[0-9]*/maps | xargs --no-run-if-empty -n1 dirname")
    cgroups = home.says(edge, f"cat {' '.join(f'{folder}/cgroup' for folder in old.split())} /dev/null")
    assert [line for line in cgroups.splitlines() if ".service" in line] == []
    assert home.says(edge, FIGURE) == figure


def test_a_database_is_left_alone_and_the_monitor_is_told(home: Home) -> None:
    replica = home.inventory.group("database")[-1].name
    cluster = home.says(replica, "systemctl list-units --plain --no-legend 'postgresql@*' | cut -d' ' -f1")
    before = process_of(home, replica, cluster)
    figure = home.says(replica, f"systemctl start {UNIT} && {FIGURE}")
    try:
        home.says(replica, f"{REPLACE}; systemctl start {UNIT}")
        assert process_of(home, replica, cluster) == before != "0"
        assert home.says(replica, FIGURE) == "cloudexit_reboot_required 1"
    finally:
        home.says(replica, f"systemctl try-restart {cluster} redis-server.service && systemctl start {UNIT}")
    assert home.says(replica, FIGURE) == figure == "cloudexit_reboot_required 0"
