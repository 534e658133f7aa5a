"""Starts and stops containers so that they outlive this process and can always be found again by name.

On a machine that systemd runs, a container is a transient unit. Elsewhere (a container image, a bare init) it is a
control group of its own. Either way the kernel or systemd, not a file with a process id, says what runs."""

import os
import select
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from migrate.errors import GateHeld, Unreachable
from migrate.lab.command import CommandFailed, call, succeeds

# /tmp on the disk, as on a server: a tenth of the memory is too little for a dump.
NSPAWN_ENVIRONMENT = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_TMPFS_TMP": "0"}
KILL_SECONDS = 60.0
"""What waits for a busy disk ends only when that answers."""
POLL_SECONDS = 0.02


class Launcher(Protocol):
    """Containers by name. `names` are the lab's own, such as `cloudexit-demo-data`."""

    def start(self, name: str, argv: Sequence[str], console: Path, *, timeout: float) -> None:
        """Starts systemd-nspawn and waits until the system inside says that it has booted; raises Unreachable."""

    def pid(self, name: str) -> int | None:
        """Process id of the running container's systemd-nspawn; None when it does not run."""

    def halt(self, name: str, *, timeout: float) -> bool:
        """Asks the system inside to power off; True when it did within `timeout` seconds."""

    def kill(self, name: str) -> None:
        """Ends every process of the container at once; fine when there is none."""

    def names(self, prefix: str) -> list[str]:
        """Containers that exist in any state, whose name starts so."""


def launcher_of_this_machine() -> Launcher:
    """Units where systemd runs the machine, control groups elsewhere. Raises GateHeld without a cgroup2 hierarchy."""
    if Path("/run/systemd/system").is_dir():
        return SystemdUnits()
    return ControlGroups(_cgroup2_folder())


class ControlGroups:
    """Containers as children of this machine's root in the cgroup2 hierarchy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, name: str, argv: Sequence[str], console: Path, *, timeout: float) -> None:
        group = self.folder / name
        group.mkdir(exist_ok=True)
        join_and_go = 'echo $$ >"$1/cgroup.procs" && shift && exec setsid --fork "$@" </dev/null >>"$0" 2>&1'
        until = time.monotonic() + timeout
        with _notifications(name) as (address, channel):
            environment = {**NSPAWN_ENVIRONMENT, "NOTIFY_SOCKET": address}
            call(["sh", "-c", join_and_go, str(console), str(group), *argv], environment=environment)
            while time.monotonic() < until:
                readable, _, _ = select.select([channel], [], [], 0.25)
                if readable and b"READY=1" in channel.recv(4096):
                    return
                if not readable and not self._is_populated(group):
                    raise Unreachable("the container ended while it booted", where=name)
        raise Unreachable(f"not booted within {timeout:g} s", where=name)

    def pid(self, name: str) -> int | None:
        group = self.folder / name
        if not self._is_populated(group):
            return None
        for member in (group / "supervisor" / "cgroup.procs", group / "cgroup.procs"):
            pids = member.read_text().split() if member.exists() else []
            if pids:
                return int(pids[0])
        return None

    def halt(self, name: str, *, timeout: float) -> bool:
        pid = self.pid(name)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return self._wait_empty(self.folder / name, timeout)

    def kill(self, name: str) -> None:
        group = self.folder / name
        if not group.is_dir():
            return
        (group / "cgroup.kill").write_text("1")
        if not self._wait_empty(group, KILL_SECONDS):
            raise Unreachable("processes of the container do not die", where=str(group), hint="see `ps`; then again")
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()

    def names(self, prefix: str) -> list[str]:
        return sorted(path.name for path in self.folder.glob(f"{prefix}*") if path.is_dir())

    @staticmethod
    def _is_populated(group: Path) -> bool:
        try:
            return "populated 1" in (group / "cgroup.events").read_text()
        except (FileNotFoundError, OSError):
            return False

    def _wait_empty(self, group: Path, timeout: float) -> bool:
        """The kernel signals a change of cgroup.events as urgent data."""
        try:
            events = os.open(group / "cgroup.events", os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            poller = select.poll()
            poller.register(events, select.POLLPRI)
            until = time.monotonic() + timeout
            while b"populated 1" in os.pread(events, 200, 0):
                left = until - time.monotonic()
                if left <= 0:
                    return False
                poller.poll(min(left, 1.0) * 1000)
            return True
        finally:
            os.close(events)


class SystemdUnits:
    """Containers as transient services of this machine's systemd."""

    def start(self, name: str, argv: Sequence[str], console: Path, *, timeout: float) -> None:
        succeeds(["systemctl", "reset-failed", f"{name}.service"])
        properties = [
            "Type=notify", "NotifyAccess=main", "Delegate=yes", "KillMode=mixed", "TasksMax=16384",
            f"TimeoutStartSec={timeout:g}", "SuccessExitStatus=133",
            f"StandardOutput=append:{console}", f"StandardError=append:{console}",
        ]  # fmt: skip
        command = ["systemd-run", "--quiet", "--collect", f"--unit={name}", "--slice=machine.slice"]
        command += [f"--property={value}" for value in properties]
        command += [f"--setenv={key}={value}" for key, value in NSPAWN_ENVIRONMENT.items()]
        try:
            call([*command, *argv], timeout=timeout + 10)
        except CommandFailed as fault:
            raise Unreachable(f"the container did not boot: {fault.what}", where=name) from fault

    def pid(self, name: str) -> int | None:
        answer = call(["systemctl", "show", "--property=MainPID", "--value", f"{name}.service"]).strip()
        return int(answer) if answer.isdigit() and answer != "0" else None

    def halt(self, name: str, *, timeout: float) -> bool:
        pid = self.pid(name)
        if pid is None:
            return True
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return True
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self.pid(name) is None:
                return True
            time.sleep(POLL_SECONDS)
        return False

    def kill(self, name: str) -> None:
        if self.pid(name) is not None:
            succeeds(["systemctl", "kill", "--signal=KILL", f"{name}.service"])
        succeeds(["systemctl", "stop", f"{name}.service"])
        succeeds(["systemctl", "reset-failed", f"{name}.service"])

    def names(self, prefix: str) -> list[str]:
        listing = call(["systemctl", "list-units", "--all", "--plain", "--no-legend", f"{prefix}*.service"])
        return sorted(line.split()[0].removesuffix(".service") for line in listing.splitlines() if line.strip())


@contextmanager
def _notifications(name: str) -> Iterator[tuple[str, socket.socket]]:
    """An abstract socket (no path, so no limit from deep folders) on which the booted system reports itself."""
    address = f"cloudexit/{name}/{os.getpid()}/{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{address}")
        yield f"@{address}", channel


def _cgroup2_folder() -> Path:
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if " - cgroup2 " in line and "rw" in fields[5].split(","):
            return Path(fields[4])
    raise GateHeld(
        "no writable cgroup2 hierarchy on this machine",
        where="/proc/self/mountinfo",
        expected="systemd as process 1, or cgroup2 mounted read-write",
        hint="mount -t cgroup2 none /sys/fs/cgroup/unified; in Docker: --privileged --cgroupns=private",
    )
