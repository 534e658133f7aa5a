"""The lab's private bridge, its way out through this machine, and the cutting off of single hosts."""

import hashlib
import ipaddress
import json
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from migrate.errors import GateHeld
from migrate.lab.command import call, succeeds
from migrate.lab.files import write_whole
from migrate.lab.lock import held

LAB_RANGE = IPv4Network("10.192.0.0/11")
FIRST_HOST, LAST_HOST = 10, 249
DEFAULT_MTU = 1500
SWITCH_SECONDS = 10.0
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def choose_subnet(lab: str, taken: Iterable[IPv4Network]) -> IPv4Network:
    """A /24 for the lab: always the same for a name, unless it overlaps with a network that is taken."""
    subnets = list(LAB_RANGE.subnets(new_prefix=24))
    start = zlib.crc32(lab.encode()) % len(subnets)
    others = list(taken)
    for offset in range(len(subnets)):
        subnet = subnets[(start + offset) % len(subnets)]
        if not any(subnet.overlaps(other) for other in others):
            return subnet
    raise GateHeld(f"no /24 in {LAB_RANGE} is free on this machine", hint="remove routes that nothing needs")


def choose_address(host: str, subnet: IPv4Network, taken: Iterable[IPv4Address]) -> IPv4Address:
    """An address for the host: always the same for a name, unless another host of the lab has it."""
    others = set(taken)
    width = LAST_HOST - FIRST_HOST + 1
    start = zlib.crc32(host.encode())
    for offset in range(width):
        address = subnet[FIRST_HOST + (start + offset) % width]
        if address not in others:
            return address
    raise GateHeld(f"no address is free in {subnet}", expected=f"at most {width} hosts in a lab")


def routed_networks(except_on: str) -> list[IPv4Network]:
    """IPv4 networks that this machine has routes to, but for the default route and those on one interface."""
    routes = json.loads(call(["ip", "-json", "-4", "route", "show", "table", "all"]) or "[]")
    found = []
    for route in routes:
        if route.get("dev") == except_on or route.get("dst", "default") == "default":
            continue
        network = IPv4Network(route["dst"], strict=False)
        if network.prefixlen > 0 and network.overlaps(LAB_RANGE):
            found.append(network)
    return found


class Forwarding:
    """This machine's forwarding of packets: switched on for the first lab, and off again after the last one."""

    def __init__(self, root: Path) -> None:
        self.lock = root / "labs" / "forwarding.lock"
        self.mark = root / "labs" / "forwarding-was-off"

    def need(self) -> None:
        """Switches it on, and remembers that it was off."""
        with held(self.lock, "switching forwarding", wait_seconds=SWITCH_SECONDS):
            if IP_FORWARD.read_text().strip() == "0":
                write_whole(self.mark, "")
                IP_FORWARD.write_text("1")

    def release(self, labs_left: Callable[[], bool]) -> None:
        """Switches it off if a lab had switched it on, no lab is left, and no one else's bridge may rely on it."""
        with held(self.lock, "switching forwarding", wait_seconds=SWITCH_SECONDS):
            if not self.mark.exists() or labs_left():
                return
            bridges = json.loads(call(["ip", "-json", "link", "show", "type", "bridge"]) or "[]")
            if not any(bridges):
                IP_FORWARD.write_text("0")
            self.mark.unlink()


class Network:
    """The bridge and the packet filter of one lab, named after it. All methods need root."""

    def __init__(self, lab: str, owner: Path) -> None:
        self.lab = lab
        self.bridge = f"cx-{lab}"
        self.table = f"cloudexit_{lab.replace('-', '_')}"
        self.mark = _hardware_address(owner)

    def up(self, subnet: IPv4Network) -> None:
        """Makes the bridge and the filter, or mends them. Raises GateHeld for a bridge that is not this lab's."""
        link = self._link(self.bridge)
        if link is None:
            call(["ip", "link", "add", "name", self.bridge, "address", self.mark, "type", "bridge"])
        else:
            self._refuse_a_strangers(link)
        call(["ip", "address", "replace", f"{subnet[1]}/24", "dev", self.bridge])
        call(["ip", "link", "set", self.bridge, "up"])
        call(["nft", "-f", "-"], stdin=self._ruleset(subnet))
        self._pass_foreign_filter()

    def down(self) -> None:
        """Removes the bridge and the filter; fine when there are none. Raises GateHeld for a stranger's bridge."""
        link = self._link(self.bridge)
        if link is not None:
            self._refuse_a_strangers(link)
            call(["ip", "link", "delete", self.bridge])
        call(["nft", "-f", "-"], stdin=f"table ip {self.table}\ndelete table ip {self.table}\n")
        self._forget_foreign_filter()

    def port(self, address: IPv4Address) -> str:
        """The bridge's port towards a host: `vb-` and its machine name, as systemd-nspawn names it."""
        return f"vb-{self.machine(address)}"

    def machine(self, address: IPv4Address) -> str:
        """Machine name of a host: short enough that its port's name is not cut (15 characters)."""
        return f"{self.lab}-{int(address) & 0xFF}"

    def set_port(self, address: IPv4Address, *, attached: bool) -> None:
        """Cuts a running host off at its port, or lets it in again; raises CommandFailed when there is no such port."""
        state = ["master", self.bridge, "up"] if attached else ["down"]
        call(["ip", "link", "set", self.port(address), *state])

    def drop_port(self, address: IPv4Address) -> None:
        """Removes the port of a host that has ended. Its namespace, and with it the port, can outlive its last process
        for minutes: sockets that still have something to send keep it."""
        port = self.port(address)
        there = Path("/sys/class/net") / port
        if there.exists() and not succeeds(["ip", "link", "delete", port]) and there.exists():
            raise GateHeld(f"the port {port} of a host that has ended cannot be removed", hint=f"ip link delete {port}")

    def is_attached(self, address: IPv4Address) -> bool:
        """True while the host's port is there, on the bridge and up."""
        link = self._link(self.port(address))
        return link is not None and link.get("master") == self.bridge and "UP" in link.get("flags", [])

    def _ruleset(self, subnet: IPv4Network) -> str:
        return f"""
table ip {self.table}
delete table ip {self.table}
table ip {self.table} {{
    chain way_out {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet} oifname != "{self.bridge}" masquerade
    }}
    chain way_in {{
        type filter hook forward priority filter; policy accept;
        oifname "{self.bridge}" iifname != "{self.bridge}" ct state new drop
    }}
}}
"""

    def _pass_foreign_filter(self) -> None:
        """Where iptables drops what is forwarded by default (Docker, ufw), lets this bridge through there, too."""
        if shutil.which("iptables") is None or "-P FORWARD DROP" not in call(["iptables", "-w", "10", "-S", "FORWARD"]):
            return
        for direction in ("-i", "-o"):
            rule = [direction, self.bridge, "-m", "comment", "--comment", self.table, "-j", "ACCEPT"]
            if not succeeds(["iptables", "-w", "10", "-C", "FORWARD", *rule]):
                call(["iptables", "-w", "10", "-I", "FORWARD", *rule])

    def _forget_foreign_filter(self) -> None:
        if shutil.which("iptables") is None:
            return
        for direction in ("-i", "-o"):
            rule = [direction, self.bridge, "-m", "comment", "--comment", self.table, "-j", "ACCEPT"]
            if succeeds(["iptables", "-w", "10", "-C", "FORWARD", *rule]):
                call(["iptables", "-w", "10", "-D", "FORWARD", *rule])

    def _refuse_a_strangers(self, link: Mapping[str, Any]) -> None:
        if link.get("address") != self.mark:
            raise GateHeld(
                f"the interface {self.bridge} is not this lab's: its hardware address is {link.get('address')}",
                expected=f"no such interface, or one with the address {self.mark}",
                hint="choose another lab name, or remove the interface if nothing needs it",
            )

    @staticmethod
    def _link(name: str) -> dict[str, Any] | None:
        if not Path("/sys/class/net", name).exists():
            return None
        links = json.loads(call(["ip", "-json", "-details", "link", "show", "dev", name]))
        return dict(links[0])


def _hardware_address(owner: Path) -> str:
    """A bridge gets its owner's mark in the one call that makes it: a locally administered address."""
    digest = hashlib.sha256(str(owner).encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def uplink_mtu() -> int:
    """MTU, in bytes, of the way out of this machine: hosts must not send larger packets."""
    routes = json.loads(call(["ip", "-json", "-4", "route", "show", "default"]) or "[]")
    for route in routes:
        mtu = Path("/sys/class/net", route.get("dev", ""), "mtu")
        if mtu.is_file():
            return min(DEFAULT_MTU, int(mtu.read_text()))
    return DEFAULT_MTU


def reachable_resolvers() -> str:
    """resolv.conf for hosts: this machine's, without resolvers that only this machine itself can reach."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if line.startswith(("search ", "options ")) or _is_reachable_resolver(line)]
        if any(line.startswith("nameserver") for line in kept):
            return "\n".join(kept) + "\n"
    return ""


def _is_reachable_resolver(line: str) -> bool:
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return False
    try:
        resolver = ipaddress.ip_address(words[1].split("%")[0])
    except ValueError:
        return False
    return resolver.version == 4 and not resolver.is_loopback
