"""The folder of one playbook run: fresh, private, and without secrets once the run is over, however it ended."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from migrate.inventory import Host, Inventory

KEPT_RUNS = 10
LOCK = "lock"
CONFIGURATION = "ansible.cfg"
END_SECONDS = 10.0
SECRET_FOLDERS = ("env", "private")


@dataclass(frozen=True)
class RunFolder:
    """`private` is for what Ansible itself may write secrets to; `sockets` is short, as paths of sockets must be."""

    path: Path
    private: Path
    sockets: Path

    @classmethod
    @contextlib.contextmanager
    def make(cls, parent: Path, name: str) -> Iterator[Self]:
        """A folder that no earlier run has touched. Secrets that a killed run left behind are removed first."""
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(parent)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        path = Path(tempfile.mkdtemp(prefix=f"{stamp}-{name}-", dir=parent))
        folder = cls(path, path / "private", _sockets_of(path))
        with _locked(path):
            for inner in (path / "env", folder.private, folder.private / "tmp", folder.sockets):
                inner.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                _clean(path)

    def write_variables(self, variables: Mapping[str, Any]) -> None:
        """Extra variables, by file: on a command line everyone could read them."""
        _write_private(self.path / "env" / "extravars", json.dumps(variables))

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        _write_private(self.path / "env" / "settings", json.dumps(settings))

    def write_empty_configuration(self) -> Path:
        """So that no ansible.cfg of the operator's, wherever it stands, has a say."""
        target = self.path / CONFIGURATION
        _write_private(target, "")
        return target

    def write_addresses(self, inventory: Inventory) -> Path:
        """A second inventory source: how each host is reached, exactly as the rest of cloudexit reads it."""
        hosts = {name: _connection(host) for name, host in inventory.hosts.items()}
        target = self.path / "addresses.json"
        _write_private(target, json.dumps({"all": {"hosts": hosts}}))
        return target

    def write_known_hosts(self, inventory: Inventory) -> Path:
        """Every pinned key of the inventory in one file."""
        own = Path("~/.ssh/known_hosts").expanduser()
        sources = dict.fromkeys(host.known_hosts or own for host in inventory.hosts.values())
        texts = [source.read_text().rstrip("\n") for source in sources if source.exists()]
        target = self.path / "known_hosts"
        _write_private(target, "\n".join(texts) + "\n")
        return target


def _connection(host: Host) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "ansible_connection": "ssh",
        "ansible_host": host.address,
        "ansible_port": host.port,
        "ansible_user": host.user,
    }
    if host.private_key:
        variables["ansible_ssh_private_key_file"] = str(host.private_key.resolve())
    return variables


def _sweep(parent: Path) -> None:
    runs = sorted(path for path in parent.iterdir() if path.is_dir())
    for path in runs:
        with contextlib.suppress(BlockingIOError), _locked(path):
            _clean_after_kill(path)
    for path in runs[: max(0, len(runs) - KEPT_RUNS + 1)]:
        with contextlib.suppress(BlockingIOError), _locked(path):
            shutil.rmtree(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held while a run lives; the kernel releases it when its process dies. Raises BlockingIOError when it is held."""
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _clean_after_kill(path: Path) -> None:
    """A run that was killed never came to redact what it printed."""
    if (path / "env").exists() and (path / "artifacts").exists():
        shutil.rmtree(path / "artifacts")
    _clean(path)


def _clean(path: Path) -> None:
    if (path / "private").exists():
        _end_what_outlived(path / CONFIGURATION)
    sockets = _sockets_of(path)
    if sockets.exists():
        for socket in sockets.glob("[0-9a-f]" * 40):  # of ssh: %C
            _end_connection(socket)
        shutil.rmtree(sockets, ignore_errors=True)
    for name in SECRET_FOLDERS:
        if (path / name).exists():
            shutil.rmtree(path / name)


def _end_what_outlived(configuration: Path) -> None:
    """Ends what a run has started and has not ended. Ansible's workers are in sessions of their own; they hold secrets,
    and one whose run was killed may wait for its answer without end. Looks again until nothing is left, for what was
    killed may start another meanwhile, and takes a moment to go."""
    until = time.monotonic() + END_SECONDS
    while (left := _carriers_of(f"ANSIBLE_CONFIG={configuration}".encode())) and time.monotonic() < until:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def _carriers_of(setting: bytes) -> list[int]:
    """Processes with a line in their environment. Those of others cannot be read, and are none of ours."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if setting in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _end_connection(socket: Path) -> None:
    """Asks the ssh process behind a control socket to exit; it would otherwise stay for its ControlPersist time."""
    command = ["ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "any"]
    with contextlib.suppress(subprocess.TimeoutExpired, FileNotFoundError):
        subprocess.run(command, capture_output=True, check=False, timeout=5)


def _sockets_of(path: Path) -> Path:
    return Path(tempfile.gettempdir()) / f"cloudexit-{path.name[-8:]}"


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
