"""The lab: a few disposable hosts on a private bridge, made, kept, frozen, cut off and removed together."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from migrate.errors import CloudexitError, GateHeld, Missing, OutsideProblem, UsageProblem
from migrate.lab.build import STACK_PACKAGES
from migrate.lab.command import call
from migrate.lab.files import mounted_below, read_record, remove_tree, write_record, write_whole
from migrate.lab.host import DisposableHost, Neighbourhood, Phase
from migrate.lab.identity import KeyPair, ensure_key
from migrate.lab.image import FrozenImage, Images
from migrate.lab.inventory import inventory_text
from migrate.lab.launcher import Launcher, launcher_of_this_machine
from migrate.lab.limits import raise_limits
from migrate.lab.lock import held
from migrate.lab.network import Forwarding, Network, choose_address, choose_subnet, routed_networks
from migrate.lab.releases import DEFAULT_RELEASE, Release
from migrate.lab.requirements import require

DEFAULT_ROOT = Path("/var/lib/cloudexit/lab")
LAB_NAME = re.compile(r"^[a-z][a-z0-9-]{0,6}[a-z0-9]$|^[a-z]$")
HOST_NAME = re.compile(r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$")
AT_A_TIME = 8


class HostState(StrEnum):
    """`planned` has an address only; `half-made` is what a killed command left, and is made anew by `up`."""

    RUNNING = "running"
    CUT_OFF = "cut off"
    STOPPED = "stopped"
    HALF_MADE = "half-made"
    PLANNED = "planned"


@dataclass(frozen=True)
class HostSpec:
    """A host that is wanted: its groups in the inventory, the image it starts from (None: the base image), and its
    release of Debian (None: what the lab is for, or else what the host has)."""

    name: str
    groups: tuple[str, ...] = ()
    image: str | None = None
    release: Release | None = None


@dataclass(frozen=True)
class LabHost:
    """A host as it is now. `pid` is its systemd-nspawn; `ssh` the command that signs in, key pinned."""

    name: str
    address: str
    state: HostState
    groups: tuple[str, ...]
    image: str | None
    pid: int | None
    ssh: tuple[str, ...]


class Lab:
    """One lab by name. Needs root; every method that changes something takes the lab's lock, and raises LockHeld
    when another command has it. `release`: of hosts that do not name another one."""

    def __init__(
        self,
        name: str = "demo",
        root: Path | None = None,
        *,
        release: Release | None = None,
        cached_packages: Sequence[str] = STACK_PACKAGES,
        progress: Callable[[str], None] = lambda message: None,
    ) -> None:
        if not LAB_NAME.match(name):
            raise UsageProblem(
                f"not a name for a lab: {name!r}", expected="1 to 8 of a-z, 0-9 and -, starting with a letter"
            )
        self.name = name
        self.root = (root or Path(os.environ.get("CLOUDEXIT_LAB_ROOT") or DEFAULT_ROOT)).absolute()
        self.folder = self.root / "labs" / name
        self.known_hosts = self.folder / "known_hosts"
        self.private_key = self.folder / "ssh" / "id_ed25519"
        self.network = Network(name, self.folder)
        self.forwarding = Forwarding(self.root)
        self.wanted_release = release
        self.cached_packages = cached_packages
        self._images: dict[Release, Images] = {}
        self.progress = progress

    @property
    def _lock_file(self) -> Path:
        return self.root / "labs" / f"{self.name}.lock"

    @cached_property
    def _launcher(self) -> Launcher:
        return launcher_of_this_machine()

    @property
    def images(self) -> Images:
        """Those of the lab's release."""
        return self._images_of(self.wanted_release or DEFAULT_RELEASE)

    @property
    def subnet(self) -> IPv4Network | None:
        """The lab's network, once something has been planned in it."""
        record = read_record(self.folder / "lab.json")
        return IPv4Network(record["subnet"]) if record else None

    def prepare(self) -> Path:
        """Makes sure that the base image is there (a minute on a machine with nothing); returns its folder.
        Raises GateHeld with what this machine lacks."""
        return self._prepare(self.images)

    def plan(self, specs: Sequence[HostSpec]) -> dict[str, str]:
        """Name -> IPv4 address of each host, now and later; keys and known_hosts are made, nothing is started."""
        with self._locked("plan"):
            return {name: str(address) for name, address in self._plan(specs).items()}

    def up(self, specs: Sequence[HostSpec]) -> list[LabHost]:
        """Makes these hosts, side by side, and waits until each answers on SSH. Running ones are kept (a cut-off one
        is let in again), stopped ones boot from their own disk, half-made ones are made anew. Raises Unreachable
        naming every host that did not come up (retriable), UsageProblem where one is of another release or image."""
        for release in sorted({self._release_of(spec) for spec in specs}):
            self._prepare(self._images_of(release))
        raise_limits()
        with self._locked("up"):
            self._plan(specs)
            subnet = self.subnet
            assert subnet is not None
            self.network.up(subnet)
            self.forwarding.need()
            around = self._around(subnet)
            with ThreadPoolExecutor(max_workers=AT_A_TIME) as pool:
                running = {spec.name: pool.submit(self._up_one, spec, around) for spec in specs}
            faults = {name: fault for name, made in running.items() if (fault := made.exception())}
            _raise_together(faults)
        wanted = {spec.name for spec in specs}
        return [host for host in self.hosts() if host.name in wanted]

    def hosts(self) -> list[LabHost]:
        """Every host of the lab, in the order of planning; takes no lock."""
        return [self._seen(host, groups) for host, groups in self._hosts()]

    def get(self, name: str) -> LabHost:
        """One host; raises Missing with the names that there are."""
        host, groups = self._host(name)
        return self._seen(host, groups)

    def ssh_argv(self, name: str) -> list[str]:
        """The command for `lab ssh`: strict about the host's key."""
        return list(self.get(name).ssh)

    def write_inventory(
        self,
        path: Path,
        *,
        hosts: Sequence[str] | None = None,
        extra_groups: Mapping[str, Sequence[str]] | None = None,
    ) -> Path:
        """Writes an Ansible inventory (YAML) of the planned hosts, or of those named; returns `path`."""
        chosen = [(host.name, str(host.address), groups) for host, groups in self._hosts()
                  if hosts is None or host.name in hosts]  # fmt: skip
        write_whole(path, inventory_text(chosen, self.private_key, self.known_hosts, extra_groups or {}))
        return path

    def freeze(self, name: str, image: str) -> FrozenImage:
        """Stops the host cleanly; what it changed becomes image `image`, without its identity. The host is gone then:
        `up` with `HostSpec(name, image=image)` brings it back in a second. Raises GateHeld if the image exists."""
        with self._locked(f"freeze {name}"):
            host, _ = self._host(name)
            if host.phase not in (Phase.READY, Phase.BOOTING):
                raise Missing(f"host {name!r} is not made", where=str(host.folder), hint="cloudexit lab up")
            images = self._images_of(self._release_there(name) or DEFAULT_RELEASE)
            if images.frozen(image) is not None:
                raise GateHeld(f"there is an image {image!r} already", hint="remove it first, or choose another name")
            host.halt()
            images.adopt(image, host.take_disk(), host.layers, name)
            host.remove()
        frozen = images.frozen(image)
        assert frozen is not None
        return frozen

    def has_image(self, name: str) -> bool:
        """True when `freeze` made this image, and the base image below it is still the right one."""
        return self.images.frozen(name) is not None

    def remove_image(self, name: str) -> None:
        """Removes a frozen image; fine when there is none."""
        self.images.remove(name)

    def cut_off(self, name: str) -> None:
        """Takes the host's network away at its port; it runs on. `up` gives it back."""
        with self._locked(f"cut off {name}"):
            host, _ = self._host(name)
            self.network.set_port(host.address, attached=False)

    def is_cut_off(self, name: str) -> bool:
        """True when nothing can reach the host any more: its port is down, or it does not run."""
        host, _ = self._host(name)
        return not self.network.is_attached(host.address)

    def stop(self, name: str) -> None:
        """Powers the host off (killed when it has not within 15 s); its disk stays for `up`."""
        with self._locked(f"stop {name}"):
            host, _ = self._host(name)
            host.halt()

    def reboot(self, name: str) -> None:
        """Powers the host off, boots it from its own disk, and waits until it answers on SSH. Raises Unreachable."""
        with self._locked(f"reboot {name}"):
            host, _ = self._host(name)
            subnet = self.subnet
            assert subnet is not None
            host.halt()
            host.boot_again(self._around(subnet))

    def remove(self, name: str) -> None:
        """Ends one host at once and removes it, disk and all; its address and keys stay planned for it."""
        with self._locked(f"remove {name}"):
            host, _ = self._host(name)
            host.remove()

    def down(self) -> None:
        """Removes every host, the network and the records of this lab, and nothing else; images stay. Fine when there
        is nothing, and after a crash."""
        with self._locked("down"):
            units = set(self._launcher.names(self._unit("")))
            with ThreadPoolExecutor(max_workers=AT_A_TIME) as pool:
                removed = {host.name: pool.submit(host.remove) for host, _ in self._hosts()}
            _raise_together({name: fault for name, gone in removed.items() if (fault := gone.exception())})
            for unit in units:
                self._launcher.kill(unit)
            self.network.down()
            for point in mounted_below(self.folder):
                call(["umount", "--lazy", str(point)])
            remove_tree(self.folder)
            self.forwarding.release(lambda: any((self.root / "labs").glob("*/lab.json")))
            self._lock_file.unlink()

    def _up_one(self, spec: HostSpec, around: Neighbourhood) -> None:
        host, _ = self._host(spec.name)
        phase = host.phase
        if phase in (Phase.READY, Phase.BOOTING) and host.image != spec.image:
            raise UsageProblem(
                f"host {spec.name!r} stands on image {host.image or 'base'!r}, and {spec.image or 'base'!r} is wanted",
                hint="cloudexit lab down, then up",
            )
        if phase is Phase.READY and self._launcher.pid(host.unit) is not None:
            self.network.set_port(host.address, attached=True)
        elif phase in (Phase.READY, Phase.BOOTING):
            self.progress(f"{spec.name}: boots again")
            host.boot_again(around)
        else:
            self.progress(f"{spec.name}: is made at {host.address}")
            host.make(spec.image, self._images_of(self._release_of(spec)).layers(spec.image), around)

    def _plan(self, specs: Sequence[HostSpec]) -> dict[str, IPv4Address]:
        for spec in specs:
            if not HOST_NAME.match(spec.name):
                raise UsageProblem(f"not a name for a host: {spec.name!r}", expected="a-z, 0-9 and -, from a letter on")
            self._hold_release(spec)
        record = read_record(self.folder / "lab.json") or {"subnet": str(self._free_subnet()), "hosts": {}}
        subnet = IPv4Network(record["subnet"])
        planned: dict[str, dict[str, object]] = record["hosts"]
        for spec in specs:
            taken = [IPv4Address(str(entry["address"])) for name, entry in planned.items() if name != spec.name]
            known = planned.get(spec.name, {})
            address = known.get("address") or str(choose_address(spec.name, subnet, taken))
            release = self._release_of(spec)
            planned[spec.name] = {"address": address, "groups": list(spec.groups), "release": release}
        write_record(self.folder / "lab.json", record)
        self._key()
        write_whole(self.known_hosts, "".join(host.known_hosts_line() for host, _ in self._hosts()))
        addresses = self._addresses()
        return {spec.name: addresses[spec.name] for spec in specs}

    def _images_of(self, release: Release) -> Images:
        if release not in self._images:
            self._images[release] = Images(self.root, self.cached_packages, self.progress, release)
        return self._images[release]

    def _prepare(self, images: Images) -> Path:
        require(self.root, images.release)
        return images.ensure_base()

    def _release_there(self, name: str) -> Release | None:
        """What the host of that name has, or was planned with."""
        planned = (read_record(self.folder / "lab.json") or {"hosts": {}})["hosts"].get(name)
        return Release(planned.get("release", DEFAULT_RELEASE)) if planned else None

    def _release_of(self, spec: HostSpec) -> Release:
        return spec.release or self.wanted_release or self._release_there(spec.name) or DEFAULT_RELEASE

    def _hold_release(self, spec: HostSpec) -> None:
        """Raises UsageProblem where the host is there, and of another release than is wanted."""
        made = {host.name for host, _ in self._hosts() if host.phase in (Phase.READY, Phase.BOOTING)}
        there, wanted = self._release_there(spec.name), self._release_of(spec)
        if spec.name in made and there is not wanted:
            raise UsageProblem(
                f"host {spec.name!r} is of Debian {there}, and Debian {wanted} is wanted",
                hint=f"cloudexit lab down --name {self.name}, then up; or another name",
            )

    def _free_subnet(self) -> IPv4Network:
        others = [read_record(path) for path in (self.root / "labs").glob("*/lab.json")]
        taken = [IPv4Network(record["subnet"]) for record in others if record]
        return choose_subnet(self.name, [*taken, *routed_networks(except_on=self.network.bridge)])

    def _hosts(self) -> Iterator[tuple[DisposableHost, tuple[str, ...]]]:
        record = read_record(self.folder / "lab.json") or {"hosts": {}}
        for name, entry in record["hosts"].items():
            address = IPv4Address(entry["address"])
            folder = self.folder / "hosts" / name
            host = DisposableHost(name, address, folder, self._unit(name), self._launcher, self.network)
            yield host, tuple(entry["groups"])

    def _host(self, name: str) -> tuple[DisposableHost, tuple[str, ...]]:
        hosts = {host.name: (host, groups) for host, groups in self._hosts()}
        if name not in hosts:
            raise Missing(
                f"no host {name!r} in lab {self.name!r}",
                expected=f"one of: {', '.join(hosts) or 'none there yet'}",
                hint="cloudexit lab list",
            )
        return hosts[name]

    def _around(self, subnet: IPv4Network) -> Neighbourhood:
        return Neighbourhood(subnet, self._addresses(), self._key().public_text)

    def _addresses(self) -> dict[str, IPv4Address]:
        return {host.name: host.address for host, _ in self._hosts()}

    def _unit(self, host: str) -> str:
        return f"cloudexit-{self.name}.{host}"

    def _key(self) -> KeyPair:
        return ensure_key(self.private_key, f"cloudexit lab {self.name}")

    def _seen(self, host: DisposableHost, groups: tuple[str, ...]) -> LabHost:
        pid = self._launcher.pid(host.unit)
        phase = host.phase
        if phase is None:
            state = HostState.PLANNED
        elif phase is not Phase.READY:
            state = HostState.HALF_MADE
        elif pid is None:
            state = HostState.STOPPED
        else:
            state = HostState.RUNNING if self.network.is_attached(host.address) else HostState.CUT_OFF
        ssh = (
            "ssh", "-F", "none", "-i", str(self.private_key), "-o", "IdentitiesOnly=yes",
            "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "GlobalKnownHostsFile=none",
            "-o", "StrictHostKeyChecking=yes", f"root@{host.address}",
        )  # fmt: skip
        return LabHost(host.name, str(host.address), state, groups, host.image, pid, ssh)

    @contextmanager
    def _locked(self, purpose: str) -> Iterator[None]:
        with held(self._lock_file, f"lab {purpose}"):
            yield


def _raise_together(faults: Mapping[str, BaseException]) -> None:
    """Raises the only fault as it is, or one that names all hosts that failed."""
    if not faults:
        return
    expected = [fault for fault in faults.values() if isinstance(fault, CloudexitError)]
    if len(faults) == 1 or len(expected) < len(faults):
        raise next(fault for fault in faults.values() if len(faults) == 1 or not isinstance(fault, CloudexitError))
    raise OutsideProblem(
        "; ".join(f"{name}: {fault}" for name, fault in faults.items()),
        where=f"lab hosts {', '.join(faults)}",
        hint="run the command again; hosts that are up are kept",
    ) from expected[0]
