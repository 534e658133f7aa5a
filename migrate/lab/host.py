"""One disposable host: an overlay disk on an image, an identity, a container that boots from it."""

import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from migrate.errors import Missing, Unreachable
from migrate.lab.command import call, last_lines
from migrate.lab.files import mounted_below, place_file, read_record, remove_tree, write_record
from migrate.lab.identity import ensure_key, ensure_machine_id
from migrate.lab.launcher import Launcher
from migrate.lab.network import Network, reachable_resolvers, uplink_mtu

BOOT_SECONDS = 60.0
SSHD_SECONDS = 30.0
HALT_SECONDS = 15.0
POLL_SECONDS = 0.02
CONSOLE_LINES = 25
# What makes a host this host: taken out of an image that is frozen from it.
IDENTITY_FILES = (
    "etc/hostname", "etc/hosts", "etc/machine-id", "etc/resolv.conf", "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub", "etc/systemd/network/10-lab.network", "root/.ssh/authorized_keys",
    "var/lib/dbus/machine-id", "var/lib/systemd/random-seed",
)  # fmt: skip


class Phase(StrEnum):
    """How far a host has come; kept on disk, so that a killed command leaves its truth behind."""

    MAKING = "making"
    BOOTING = "booting"
    READY = "ready"


@dataclass(frozen=True)
class Neighbourhood:
    """What every host of the lab is told about the lab."""

    subnet: IPv4Network
    addresses: Mapping[str, IPv4Address]
    authorized_key: str


class DisposableHost:
    """A host under the lab's folder. `unit` is its name towards the launcher. All methods need root.

    A host that reboots itself is stopped then: `boot_again` brings it back."""

    def __init__(self, name: str, address: IPv4Address, folder: Path, unit: str, launcher: Launcher, network: Network):
        self.name = name
        self.address = address
        self.folder = folder
        self.unit = unit
        self.launcher = launcher
        self.network = network
        self.root = folder / "root"
        self.upper = folder / "disk" / "upper"
        self.console = folder / "console.log"
        self.key = folder.parent.parent / "identities" / name / "ssh_host_ed25519_key"
        self.machine_id = self.key.with_name("machine-id")

    @property
    def phase(self) -> Phase | None:
        record = read_record(self.folder / "host.json")
        return Phase(record["phase"]) if record else None

    @property
    def image(self) -> str | None:
        """Name of the image that the disk stands on; None for the base image."""
        record = read_record(self.folder / "host.json")
        return record["image"] if record else None

    @property
    def layers(self) -> list[Path]:
        record = read_record(self.folder / "host.json")
        return [Path(layer) for layer in record["layers"]] if record else []

    def known_hosts_line(self) -> str:
        """The host's key for known_hosts, made here if need be, long before the host boots."""
        return f"{self.address} {ensure_key(self.key, self.name).public_text}\n"

    def make(self, image: str | None, layers: Sequence[Path], around: Neighbourhood) -> None:
        """Makes the host from nothing and waits until it answers on SSH; what was there of it is removed first.
        Raises Unreachable, with the tail of its console, when it does not boot (retriable)."""
        self.remove()
        self._note(Phase.MAKING, image, layers)
        (self.folder / "disk" / "work").mkdir(parents=True, exist_ok=True)
        self.upper.mkdir()
        self._boot(layers, around)
        self._note(Phase.READY, image, layers)

    def boot_again(self, around: Neighbourhood) -> None:
        """Boots a stopped host from its own disk. Raises Unreachable as `make` does."""
        image, layers = self.image, self.layers
        self._note(Phase.BOOTING, image, layers)
        self._end()
        self._boot(layers, around)
        self._note(Phase.READY, image, layers)

    def halt(self) -> None:
        """Powers the host off, or kills it when it has not within the bound; its disk stays, unmounted."""
        self.launcher.halt(self.unit, timeout=HALT_SECONDS)
        self._end()

    def remove(self) -> None:
        """Ends the host at once and removes all of it but its identity; fine when there is nothing."""
        self._end()
        remove_tree(self.folder)

    def _end(self) -> None:
        self.launcher.kill(self.unit)
        self.network.drop_port(self.address)
        self._unmount()

    def take_disk(self) -> Path:
        """The upper layer of the stopped host without the host's identity, for an image. The host is then half-made."""
        self._note(Phase.MAKING, self.image, self.layers)
        for file in IDENTITY_FILES:
            path = self.upper / file
            if path.is_symlink() or path.exists():
                path.unlink()
        return self.upper

    def _boot(self, layers: Sequence[Path], around: Neighbourhood) -> None:
        self._mount(layers)
        self._write_identity(around)
        try:
            self.launcher.start(self.unit, self._nspawn(), self.console, timeout=BOOT_SECONDS)
            self._await_sshd()
        except Unreachable as fault:
            tail = last_lines(self.console.read_text(errors="replace") if self.console.exists() else "", CONSOLE_LINES)
            raise Unreachable(
                f"{fault.what}; the last lines of its console:\n    {tail}",
                where=f"lab host {self.name} ({self.address})",
                expected="systemd up, and sshd answering",
                hint=f"the whole console is in {self.console}; run the command again to make the host anew",
            ) from fault

    def _mount(self, layers: Sequence[Path]) -> None:
        missing = [layer for layer in layers if not layer.is_dir()]
        if missing:
            raise Missing(
                f"the image of host {self.name} is gone: {missing[0]}",
                hint="cloudexit lab down, then up: the host is made anew",
            )
        self.root.mkdir(exist_ok=True)
        options = (
            f"lowerdir={':'.join(map(str, layers))},upperdir={self.upper},workdir={self.folder}/disk/work,"
            "redirect_dir=on,index=off,metacopy=off"
        )
        call(["mount", "-t", "overlay", "-o", options, f"cloudexit-{self.unit}", str(self.root)])

    def _unmount(self) -> None:
        for point in mounted_below(self.folder):
            call(["umount", str(point)])

    def _write_identity(self, around: Neighbourhood) -> None:
        key = ensure_key(self.key, self.name)
        network = f"""[Match]
Name=host0

[Link]
MTUBytes={uplink_mtu()}

[Network]
Address={self.address}/{around.subnet.prefixlen}
Gateway={around.subnet[1]}
LinkLocalAddressing=no
IPv6AcceptRA=no
LLMNR=no
MulticastDNS=no
"""
        hosts = "127.0.0.1 localhost\n::1 localhost\n" + "".join(
            f"{address} {name}\n" for name, address in sorted(around.addresses.items())
        )
        place_file(self.root / "etc/hostname", f"{self.name}\n")
        place_file(self.root / "etc/hosts", hosts)
        place_file(self.root / "etc/machine-id", f"{ensure_machine_id(self.machine_id)}\n", mode=0o444)
        place_file(self.root / "etc/resolv.conf", reachable_resolvers())
        place_file(self.root / "etc/systemd/network/10-lab.network", network)
        place_file(self.root / "etc/ssh/ssh_host_ed25519_key", key.private.read_text(), mode=0o600)
        place_file(self.root / "etc/ssh/ssh_host_ed25519_key.pub", f"{key.public_text} {self.name}\n")
        (self.root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        place_file(self.root / "root/.ssh/authorized_keys", f"{around.authorized_key} cloudexit lab\n", mode=0o600)

    def _nspawn(self) -> list[str]:
        return [
            shutil.which("systemd-nspawn") or "/usr/bin/systemd-nspawn",
            "--quiet", "--boot", "--register=no", "--keep-unit", "--notify-ready=yes", f"--directory={self.root}",
            f"--machine={self.network.machine(self.address)}", f"--hostname={self.name}",
            f"--network-bridge={self.network.bridge}",
            "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=read-only",
        ]  # fmt: skip

    def _await_sshd(self) -> None:
        until = time.monotonic() + SSHD_SECONDS
        while time.monotonic() < until:
            try:
                with socket.create_connection((str(self.address), 22), timeout=1.0) as connection:
                    if connection.recv(64).startswith(b"SSH-2.0-"):
                        return
            except OSError:
                pass
            time.sleep(POLL_SECONDS)
        raise Unreachable(f"booted, but sshd does not answer within {SSHD_SECONDS:g} s")

    def _note(self, phase: Phase, image: str | None, layers: Sequence[Path]) -> None:
        write_record(
            self.folder / "host.json", {"phase": phase, "image": image, "layers": [str(layer) for layer in layers]}
        )
