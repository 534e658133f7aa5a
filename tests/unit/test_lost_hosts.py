"""How a play ended, host by host: failed, or lost in the middle."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import CloudexitError, ExitCode, Refused, Unreachable
from migrate.inventory import Host, Inventory
from migrate.ports import Completed, HostPlay, PlayResult
from migrate.target.provision import raise_unless_good, with_lost_hosts
from tests.local_hosts import LocalHosts

INVENTORY = Inventory(Path("hosts.yml"), {name: Host(name, "192.0.2.1", ("app",)) for name in ("a", "b", "c")})


class Answering(LocalHosts):
    """Hosts that answer, but for those that do not."""

    def __init__(self, **faults: CloudexitError) -> None:
        self.faults = faults
        self.asked: list[str] = []

    def run(self, host: Host, command: Sequence[str], **_: Any) -> Completed:
        self.asked.append(host.name)
        if host.name in self.faults:
            raise self.faults[host.name]
        return Completed(host.name, "true", 0, "", "")


def ended(**plays: HostPlay) -> PlayResult:
    return PlayResult("provision", {name: plays.get(name, HostPlay(name, ok=3)) for name in "abc"}, 1.0)


FAILED = HostPlay("b", failed=1, failure="base : Install packages: no word")


@pytest.mark.parametrize(
    ("hosts", "code", "said"),
    [
        (Answering(b=Unreachable("no SSH")), ExitCode.UNREACHABLE, "b: no SSH, after base : Install packages: no word"),
        (Answering(), ExitCode.GATE, "b: base : Install packages: no word"),
        (Answering(b=Refused("no sudo")), ExitCode.GATE, "b: base : Install packages: no word"),
    ],
    ids=["silent", "answers", "refuses"],
)
def test_a_host_that_failed_is_lost_if_it_does_not_answer_now(hosts: Answering, code: ExitCode, said: str) -> None:
    with pytest.raises(CloudexitError) as problem:
        raise_unless_good(with_lost_hosts(ended(b=FAILED), hosts, INVENTORY))
    assert problem.value.exit_code is code and problem.value.where == "b"
    assert problem.value.what == f"{said} (went through on: a, c)"
    assert hosts.asked == ["b"]


def test_hosts_that_went_through_are_not_asked_again() -> None:
    hosts = Answering()
    raise_unless_good(with_lost_hosts(ended(), hosts, INVENTORY))
    assert hosts.asked == []
