"""What a host tells about itself, in one question. Nothing there is changed."""

import math
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from migrate.inventory import Host
from migrate.ports import Completed, Hosts
from migrate.target import hardware
from migrate.target.hardware import Hardware, read_hardware
from migrate.target.provision import MARKER

FACTS_SECONDS = 30.0
MARK = "##cloudexit "
QUESTIONS: Mapping[str, str] = {
    "clock": "date +%s.%N",
    "os": '. /etc/os-release && printf \'%s\\n%s\\n%s\\n\' "$ID" "$VERSION_ID" "$PRETTY_NAME"',
    "user": "id -u",
    "memory": "sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo",
    "disks": 'd=/srv; [ -d "$d" ] || d=/; df -kP / "$d" | tail -n +2',
    "python": "test -e /usr/lib/python3/dist-packages/apt/__init__.py && echo there",
    "provisioned": f"test -s {MARKER} && echo there",
    # `ss` is not on every host; the kernel's own tables are. State 0A is LISTEN.
    "listeners": "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == \"0A\" {print $2, $10}'",
    "sockets": "find /proc/[0-9]*/fd -lname 'socket:*' -printf '%l %p\\n'",
    "units": "grep -H '' /proc/[0-9]*/cgroup 2>/dev/null",
}


@dataclass(frozen=True)
class Listener:
    """A TCP port that something listens on, and the systemd unit of that something (empty if none)."""

    port: int
    unit: str


@dataclass(frozen=True)
class HostFacts:
    """Sizes in bytes; `clock_ahead` in seconds, positive where the host's clock is ahead of ours,
    NaN where it told no time."""

    os_id: str
    os_version: str
    os_name: str
    is_root: bool
    clock_ahead: float
    clock_doubt: float
    memory_free: int
    disk_free: Mapping[str, int]
    has_python_apt: bool
    missing_packages: tuple[str, ...]
    listeners: tuple[Listener, ...]
    hardware: Hardware = field(default_factory=Hardware)
    provisioned: bool = False
    """Whether a run of the playbooks came to its end there."""


def observe(hosts: Hosts, host: Host, packages: Iterable[str]) -> HostFacts:
    """Raises Unreachable or Refused as ports.Hosts does."""
    hosts.run(host, ["true"], timeout=FACTS_SECONDS)  # connects first, so that connecting does not count as clock
    asked = {
        **QUESTIONS,
        **hardware.QUESTIONS,
        "packages": f"dpkg-query -W -f '${{Status}} ${{Package}}\\n' {shlex.join(packages)}",
    }
    script = "".join(f"echo '{MARK}{name}'\n({question}) 2>/dev/null\n" for name, question in asked.items())
    sent = time.time()
    answer = hosts.run(host, ["sh", "-s"], stdin=script.encode(), timeout=FACTS_SECONDS)
    return read_answer(answer, packages, sent, time.time())


def read_answer(answer: Completed, packages: Iterable[str], sent: float, received: float) -> HostFacts:
    """The facts in an answer; `sent` and `received` are our own clock's seconds."""
    sections = _sections(answer.stdout)
    os_id, os_version, os_name = (*sections.get("os", []), "", "", "")[:3]
    theirs = float(next(iter(sections.get("clock", [])), "nan"))
    installed = {line.split()[-1] for line in sections.get("packages", []) if line.startswith("install ok installed")}
    return HostFacts(
        os_id=os_id,
        os_version=os_version,
        os_name=os_name,
        is_root=sections.get("user") == ["0"],
        clock_ahead=_clock_ahead(theirs, sent, received),
        clock_doubt=received - sent,
        memory_free=int(next(iter(sections.get("memory", [])), "0")) * 1024,
        disk_free=dict(_disks(sections.get("disks", []))),
        has_python_apt="there" in sections.get("python", []),
        missing_packages=tuple(sorted(set(packages) - installed)),
        listeners=tuple(_listeners(sections)),
        hardware=read_hardware(sections),
        provisioned=bool(sections.get("provisioned")),
    )


def _clock_ahead(theirs: float, sent: float, received: float) -> float:
    """The clock was read at some moment between the two: only what lies outside is a difference for certain."""
    if math.isnan(theirs):
        return math.nan
    return min(0.0, theirs - sent) + max(0.0, theirs - received)


def _sections(text: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith(MARK):
            current = sections.setdefault(line.removeprefix(MARK), [])
        else:
            current.append(line)
    return sections


def _disks(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for line, folder in zip(lines, ("/", "/srv"), strict=False):
        yield folder, int(line.split()[3]) * 1024


def _listeners(sections: Mapping[str, list[str]]) -> Iterator[Listener]:
    process_of = {link: path.split("/")[2] for link, path in map(str.split, sections.get("sockets", []))}
    unit_of = dict(_units(sections.get("units", [])))
    for line in dict.fromkeys(sections.get("listeners", [])):
        address, inode = line.split()
        process = process_of.get(f"socket:[{inode}]", "")
        yield Listener(port=int(address.rsplit(":", 1)[1], 16), unit=unit_of.get(process, ""))


def _units(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        found = re.match(r"/proc/(\d+)/cgroup:[^:]*:[^:]*:(.*)", line)
        units = [part for part in found.group(2).split("/") if part.endswith(".service")] if found else []
        if found and units:
            yield found.group(1), units[-1]
