"""How long a provision waits for the copies of databases: by their size, and only where one is to be made."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import Unreachable
from migrate.inventory import Host, Inventory
from migrate.manifest import read_stack
from migrate.ports import Completed
from migrate.target.cloning import BYTES, BYTES_PER_SECOND, FOLLOWS, SHORTEST_BOUND, seconds_for_copies
from tests.homes import PLAZA
from tests.local_hosts import LocalHosts

HOSTS = {name: Host(name, f"192.0.2.2{n}", ("database",)) for n, name in enumerate(("data1", "data2", "data3"), 1)}
TERABYTE = 10**12


class Servers(LocalHosts):
    """data1 leads and holds so many bytes, or is not there yet; of the others some follow and some are away."""

    def __init__(self, held: int | None = 0, follow: Collection[str] = (), away: Collection[str] = ()) -> None:
        self.held, self.follow, self.away = held, follow, away

    def run(self, host: Host, command: Sequence[str], *, stdin: bytes = b"", **_: Any) -> Completed:
        if host.name in self.away:
            raise Unreachable("no SSH", where=host.name)
        if stdin == BYTES.encode():
            assert host.name == "data1"
            return Completed(host.name, "psql", int(self.held is None), str(self.held), "no psql")
        assert list(command) == ["sh", "-c", FOLLOWS] and host.name != "data1"
        return Completed(host.name, "ls", int(host.name not in self.follow), "", "")


@pytest.mark.parametrize(
    ("servers", "reached", "anyway", "seconds"),
    [
        (Servers(TERABYTE, follow=("data2", "data3")), HOSTS, (), 0),
        (Servers(TERABYTE, follow=("data3",)), HOSTS, (), TERABYTE // BYTES_PER_SECOND),
        (Servers(TERABYTE, follow=("data3",)), ("data1", "data3"), (), 0),
        (Servers(TERABYTE, follow=("data2", "data3")), ("data2",), ("data2",), TERABYTE // BYTES_PER_SECOND),
        (Servers(1000), HOSTS, (), SHORTEST_BOUND),
        (Servers(None), HOSTS, (), SHORTEST_BOUND),
        (Servers(TERABYTE, follow=("data3",), away=("data2",)), HOSTS, (), 0),
        (Servers(follow=("data3",), away=("data1",)), HOSTS, (), SHORTEST_BOUND),
    ],
    ids=["all follow", "one does not", "and is not reached", "one follows and is copied anyway", "a small lead",
         "a bare lead", "who is away is not copied", "a lead that is away"],
)  # fmt: skip
def test_a_copy_may_take_as_long_as_its_size_asks_for(
    servers: Servers, reached: Collection[str], anyway: Collection[str], seconds: int
) -> None:
    inventory = Inventory(Path("hosts.yml"), HOSTS)
    assert seconds_for_copies(servers, read_stack(PLAZA), inventory, reached, anyway) == seconds
