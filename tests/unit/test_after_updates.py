"""Which services an update has left with old code, what becomes of them, and what the monitor is told."""

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "playbooks" / "roles" / "base" / "files" / "cloudexit-after-updates"
OLD = "7f0c4a200000-7f0c4a263000 r-xp 0001e000 00:2d 4242 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)"
SYSTEM = "/system.slice"
ORDINARY = "Type=exec\nTransient=no"


@pytest.fixture
def after_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, with folders of the test's own in the place of the host's."""
    specification = spec_from_loader("after_updates", SourceFileLoader("after_updates", str(FILE)))
    assert specification and specification.loader
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    for name in ("PROCESSES", "FIGURES"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(module, name, tmp_path / name)
    monkeypatch.setattr(module, "WAITS", tmp_path / "reboot-required")
    return module


def process(program: Any, number: int, cgroup: str, *maps: str) -> None:
    folder = program.PROCESSES / str(number)
    folder.mkdir()
    (folder / "maps").write_text("".join(f"{line}\n" for line in maps))
    (folder / "cgroup").write_text(f"0::{cgroup}\n")


def ran(program: Any, monkeypatch: pytest.MonkeyPatch, *patterns: str, **kinds: str) -> list[str]:
    """Units that it restarts; `kinds` are the properties of those that are no ordinary ones."""
    restarted: list[str] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if command[1] == "try-restart":
            restarted.extend(command[2:])
            return subprocess.CompletedProcess(command, 0)
        told = [f"Id={unit}\n{kinds.get(unit.split('.')[0], ORDINARY)}\n" for unit in command[3:]]
        return subprocess.CompletedProcess(command, 0, "\n".join(told))

    monkeypatch.setattr(program.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", [str(FILE), *patterns])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert not end.value.code
    return restarted


def figure(program: Any) -> str:
    return str((program.FIGURES / "updates.prom").read_text().splitlines()[-1])


@pytest.mark.parametrize("line", [
    OLD.removesuffix(" (deleted)"),
    OLD.replace("r-xp", "r--p"),
    "7f0c4a200000-7f0c4a263000 r-xp 00000000 00:01 99 /memfd:pcre2 (deleted)",
    "7f0c4a200000-7f0c4a263000 rwxs 00000000 00:01 7 /dev/zero (deleted)",
    "7f0c4a200000-7f0c4a263000 r-xp 00000000 00:2d 7 /tmp/jit-7 (deleted)",
    "7f0c4a200000-7f0c4a263000 r-xp 00000000 00:00 0 [vdso]",
])  # fmt: skip
def test_what_was_not_replaced_is_left_running(after_updates: Any, monkeypatch: Any, line: str) -> None:
    process(after_updates, 10, f"{SYSTEM}/nginx-edge.service", line)
    assert ran(after_updates, monkeypatch) == []
    assert figure(after_updates) == "cloudexit_reboot_required 0"


def test_services_with_a_replaced_library_are_restarted_each_once(after_updates: Any, monkeypatch: Any) -> None:
    for number in (10, 11):
        process(after_updates, number, f"{SYSTEM}/nginx-edge.service", "7f00-7f01 r-xp 0 00:2d 5 /usr/sbin/nginx", OLD)
    process(after_updates, 12, f"{SYSTEM}/system-exporter.slice/exporter@node.service/worker", OLD)
    process(after_updates, 13, "/user.slice/user-0.slice/session-3.scope", OLD)
    process(after_updates, 14, "/machine.slice/guest.service/system.slice/nginx.service", OLD)
    (after_updates.PROCESSES / "15").mkdir()  # a process that ends while it is looked at
    assert ran(after_updates, monkeypatch) == ["exporter@node.service", "nginx-edge.service"]
    assert figure(after_updates) == "cloudexit_reboot_required 0"


@pytest.mark.parametrize("unit", ["postgresql@15-main.service", "dbus.service", "init.scope"])
def test_a_database_and_the_system_itself_are_left_and_told(after_updates: Any, monkeypatch: Any, unit: str) -> None:
    process(after_updates, 10, f"{SYSTEM}/system-postgresql.slice/{unit}", OLD)
    process(after_updates, 11, f"{SYSTEM}/ssh.service", OLD)
    assert ran(after_updates, monkeypatch, "postgresql@*") == ["ssh.service"]
    assert figure(after_updates) == "cloudexit_reboot_required 1"


def test_what_comes_to_an_end_by_itself_is_not_broken_off(after_updates: Any, monkeypatch: Any) -> None:
    process(after_updates, 10, f"{SYSTEM}/pgbackrest-backup@full.service", OLD)
    process(after_updates, 11, f"{SYSTEM}/run-u7.service", OLD)
    process(after_updates, 12, f"{SYSTEM}/unattended-upgrades.service", OLD)
    kinds = {"pgbackrest-backup@full": "Type=oneshot\nTransient=no", "run-u7": "Transient=yes\nType=simple"}
    assert ran(after_updates, monkeypatch, **kinds) == []


def test_a_kernel_that_waits_is_told_and_no_longer_after_the_reboot(after_updates: Any, monkeypatch: Any) -> None:
    after_updates.WAITS.touch()
    ran(after_updates, monkeypatch)
    assert figure(after_updates) == "cloudexit_reboot_required 1"
    after_updates.WAITS.unlink()
    ran(after_updates, monkeypatch)
    assert figure(after_updates) == "cloudexit_reboot_required 0"


def test_without_a_monitor_nothing_is_written(after_updates: Any, monkeypatch: Any) -> None:
    after_updates.FIGURES.rmdir()
    assert ran(after_updates, monkeypatch) == []
    assert not after_updates.FIGURES.exists()
