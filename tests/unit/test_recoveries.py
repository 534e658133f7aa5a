"""A cluster is rebuilt beside what runs: what is in the way is refused, what an interrupted recovery left is not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import GateHeld
from migrate.inventory import Host, Inventory
from migrate.manifest import read_stack
from migrate.ports import Completed
from migrate.target import recovery
from migrate.target.recovery import LISTENERS, RESTORE_UNIT, UNFINISHED, Recovered, Recovery
from tests.homes import PLAZA

STACK = read_stack(PLAZA)
INVENTORY = Inventory(
    Path("hosts.yml"), {name: Host(name, "192.0.2.1", (group,)) for name, group in
                        (("data1", "database"), ("ops1", "backup"))}
)  # fmt: skip
CLUSTER = "/etc/postgresql/15/recovered"
OWN = "/var/lib/postgresql/15/recovered"
INFO = [{
    "name": "database", "status": {"code": 0, "message": "ok"}, "db": [{"id": 1, "version": "15"}],
    "archive": [{"id": "15-1", "max": "000000010000000000000005"}],
    "backup": [{"label": "20260103F", "type": "full", "error": False, "info": {"size": 100}, "database": {"id": 1},
                "timestamp": {"start": 0, "stop": 1767441600}}],
}]  # fmt: skip


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "POLL_SECONDS", 0.01)


@dataclass
class Scratch:
    """ops1, with its files and units. On the port of the cluster somebody answers for the folder `answers`."""

    files: set[str] = field(default_factory=set)
    units: dict[str, str] = field(default_factory=dict)
    listeners: str = ""
    answers: str = OWN
    starts: bool = True
    interrupted: bool = False
    done: list[str] = field(default_factory=list)

    def run(self, host: Host, command: Sequence[str], *, stdin: bytes = b"", **_: Any) -> Completed:
        status, said = self._answer(list(command), stdin.decode())
        return Completed(host.name, " ".join(command), status, said, "")

    def _answer(self, command: list[str], stdin: str) -> tuple[int, str]:
        match command:
            case [*_, "info"]:
                return 0, json.dumps(INFO)
            case ["test", "-e", path]:
                return int(path not in self.files), ""
            case ["sh", "-c", script, *_] if script == LISTENERS:
                return 0, self.listeners
            case ["systemctl", "is-active", unit]:
                return 0, self.units.get(unit, "inactive")
            case ["df", *_]:
                return 0, "Avail\n1000000\n"
            case [*_, "psql", "-X", "-At", "-p", _, "-d", _, "-c", _]:
                return 0, f"{self.answers}|f\n"
            case [*_, "-f", "-"] if "newest" in stdin:
                return 0, json.dumps({"newest": None, "databases": {"plaza": 1}})
        return self._do(command)

    def _do(self, command: list[str]) -> tuple[int, str]:
        self.done.append(" ".join(command[:2]))
        match command:
            case ["pg_createcluster", *_]:
                self.files.add(CLUSTER)
            case ["pg_dropcluster", *_]:
                assert self.units.get(f"{RESTORE_UNIT}.service") != "active", "somebody still writes into it"
                self.files.discard(CLUSTER)
            case ["touch", path]:
                self.files.add(path)
            case ["rm", "-f", path]:
                self.files.discard(path)
            case ["systemctl", "stop", unit]:
                self.units[unit] = "inactive"
            case ["systemctl", "restart", *_, unit]:
                self.units[unit] = "active" if self.starts else "failed"
            case ["systemd-run", *words] if not self.interrupted:
                assert f"--pg1-path={OWN}" in words, "the host's own configuration names the version of now"
            case ["systemd-run", *_]:
                self.units[f"{RESTORE_UNIT}.service"] = "active"
                self.interrupted = False
                raise KeyboardInterrupt
        return 0, ""


def recovered(scratch: Scratch, *, replace: bool = False) -> Recovered:
    return Recovery(STACK, INVENTORY, scratch).recover("database", "ops1", None, replace=replace)  # type: ignore[arg-type]


def refused(scratch: Scratch, *, replace: bool = False) -> GateHeld:
    with pytest.raises(GateHeld) as raised:
        recovered(scratch, replace=replace)
    return raised.value


def test_a_port_that_is_taken_is_refused_before_anything_is_done() -> None:
    taken = 'u_str LISTEN 0 244 /var/run/postgresql/.s.PGSQL.5439 7 * 0 users:(("postgres",pid=7,fd=6))'
    for files in (set[str](), {CLUSTER}):
        scratch = Scratch(files, listeners=taken)
        fault = refused(scratch, replace=True)
        assert "5439" in fault.what and "pid=7" in fault.what and "--port" in fault.hint
        assert scratch.done == []


def test_a_server_that_is_not_the_rebuilt_one_proves_nothing() -> None:
    fault = refused(Scratch(answers="/var/lib/postgresql/15/main", starts=False))
    assert "does not start" in fault.what


def test_what_a_finished_recovery_left_is_kept_and_given_up_when_asked() -> None:
    scratch = Scratch()
    assert recovered(scratch).databases == {"plaza": 1}
    assert scratch.files == {CLUSTER}
    assert "--replace" in refused(scratch).hint
    assert recovered(scratch, replace=True).host == "ops1"
    assert scratch.files == {CLUSTER}


def test_what_an_interrupted_recovery_left_is_begun_anew_by_the_same_command() -> None:
    scratch = Scratch(interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        recovered(scratch)
    assert scratch.files == {CLUSTER, UNFINISHED}
    assert scratch.units[f"{RESTORE_UNIT}.service"] == "inactive", "nothing is written any more"
    assert recovered(scratch).databases == {"plaza": 1}
    assert "pg_dropcluster --stop" in scratch.done and scratch.files == {CLUSTER}


def test_a_recovery_that_failed_is_begun_anew_too() -> None:
    scratch = Scratch(starts=False)
    refused(scratch)
    scratch.starts = True
    assert recovered(scratch).host == "ops1"


def test_a_restore_that_still_writes_is_let_be_and_stopped_before_its_folder_goes() -> None:
    writing = {f"{RESTORE_UNIT}.service": "active"}
    scratch = Scratch({CLUSTER, UNFINISHED}, writing)
    fault = refused(scratch)
    assert "under way" in fault.what and "--replace" in fault.hint and scratch.done == []
    assert recovered(scratch, replace=True).host == "ops1"
