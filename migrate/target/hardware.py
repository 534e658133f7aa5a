"""Disks, arrays and network cards of a host: the questions, their answers, and the checks that follow. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from migrate.check import CheckResult, Severity, Verdict
from migrate.datadisks import Disk, Folder, Signature, Wish, disks_of, lay_out

COLUMNS = "PATH,TYPE,SIZE,RO,SERIAL,WWN,FSTYPE,UUID,LABEL,PTTYPE,MOUNTPOINTS"
SLOW_MBITS = 100
QUESTIONS: Mapping[str, str] = {
    "container": "systemd-detect-virt --container",
    "machine": "systemd-detect-virt --vm",
    "blockdevices": f"lsblk --json --bytes --output {COLUMNS}",
    "signatures": "blkid -o export",  # lsblk knows them from udev, which a container lacks
    "links": "find /dev/disk -type l -printf '%p %l\\n'",
    "loops": "grep -H '' /sys/block/loop*/loop/backing_file",
    "arrays": "cat /proc/mdstat",
    "cards": """for c in /sys/class/net/*/device; do
        [ -e "$c" ] || continue
        c=${c%/device}
        echo "${c##*/} $(cat $c/operstate || echo unknown) $(cat $c/speed || echo -1)" \\
            "$(cat $c/duplex || echo unknown) $(basename "$(readlink $c/master)")"
    done""",
    "health": """command -v smartctl && {
        for d in $(lsblk -dnro PATH,TYPE | awk '$2 == "disk" {print $1}'); do
            timeout 10 smartctl -H $d | sed -n "s|^.*[Hh]ealth.*: *|$d |p" &
        done
        wait
    }""",
}


@dataclass(frozen=True)
class Array:
    """A software RAID as /proc/mdstat shows it. `lacks`: members that are failed or gone."""

    name: str
    level: str
    lacks: int


@dataclass(frozen=True)
class Card:
    """A network card. `mbits` is 0 where the driver tells no speed; `bond` is what it is a member of."""

    name: str
    state: str
    mbits: int
    duplex: str
    bond: str = ""


@dataclass(frozen=True)
class Hardware:
    """What a machine is made of. A container has none of its own: there, only disks are told."""

    container: str = ""
    machine: str = ""
    """The hypervisor, where it is a virtual machine."""
    disks: tuple[Disk, ...] = ()
    arrays: tuple[Array, ...] = ()
    cards: tuple[Card, ...] = ()
    health: Mapping[str, str] | None = None
    """Disk -> what SMART says of it; None where nothing there can ask."""


def read_hardware(sections: Mapping[str, Sequence[str]]) -> Hardware:
    """The hardware in the sections of an answer, by the names of QUESTIONS."""
    said = {name: next((line for line in sections.get(name, []) if line != "none"), "") for name in QUESTIONS}
    health = sections.get("health", [])
    return Hardware(
        container=said["container"],
        machine=said["machine"],
        disks=tuple(_disks(sections)),
        arrays=tuple(_arrays(sections.get("arrays", []))),
        cards=tuple(_cards(sections.get("cards", []))),
        health=dict(line.split(" ", 1) for line in health[1:] if " " in line) if health else None,
    )


def _disks(sections: Mapping[str, Sequence[str]]) -> list[Disk]:
    try:
        document = json.loads("\n".join(sections.get("blockdevices", [])))
    except ValueError:
        return []
    links: dict[str, list[str]] = {}
    for line in sections.get("links", []):
        name, _, target = line.partition(" ")
        links.setdefault(f"/dev/{PurePosixPath(target).name}", []).append(name)
    loops = (re.fullmatch(r"/sys/block/(loop\d+)/loop/backing_file:(.*)", line) for line in sections.get("loops", []))
    disks = disks_of(document, links, {f"/dev/{found[1]}": found[2] for found in loops if found})
    seen = dict(_signatures(sections.get("signatures", [])))
    return [replace(d, signatures=(seen[d.path],)) if d.path in seen and not d.signatures else d for d in disks]


def _signatures(lines: Sequence[str]) -> Iterator[tuple[str, Signature]]:
    for block in "\n".join(lines).split("\n\n"):
        found = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        kind = found.get("TYPE") or found.get("PTTYPE")
        if kind and "DEVNAME" in found:
            yield found["DEVNAME"], Signature(kind, found.get("UUID", ""), found.get("LABEL", ""))


def _arrays(lines: Iterable[str]) -> Iterator[Array]:
    name, level = "", ""
    for line in lines:
        if head := re.match(r"(md\S*) : (?:in)?active (?:\([^)]*\) )?(raid\d+|linear)?", line):
            name, level = head[1], head[2] or "inactive"
            if level == "inactive":
                yield Array(name, level, 1)
        elif (state := re.search(r"\[(\d+)/(\d+)\] \[[U_]+\]", line)) and name:
            yield Array(name, level, int(state[1]) - int(state[2]))


def _cards(lines: Iterable[str]) -> Iterator[Card]:
    for line in lines:
        if found := re.fullmatch(r"(\S+) (\S+) (-?\d+) (\S+) ?(\S*)", line.strip()):
            yield Card(found[1], found[2], max(0, int(found[3])), found[4], found[5])


def judge_hardware(
    host: str, found: Hardware, wishes: Sequence[Wish], *, provisioned: bool = False
) -> Iterator[CheckResult]:
    """Checks of what the machine is made of. A container yields none, but for data disks that its inventory names."""
    if wishes:
        yield _data_disks(host, found, wishes)
    if found.container:
        return
    yield _raid(host, found.arrays, Severity.WARNING if provisioned else Severity.GATE)
    if found.cards:
        yield _network(host, found.cards)
    if not found.machine:
        yield _health(host, found.health)


def _data_disks(host: str, found: Hardware, wishes: Sequence[Wish]) -> CheckResult:
    mounted = {mount: Folder(source=disk.path) for disk in found.disks for mount in disk.mounts}
    layout = lay_out(wishes, found.disks, mounted)
    if not found.disks:
        return CheckResult("data-disks", Verdict.UNKNOWN, "the host told no disks", "see `lsblk` on the host", host)
    if layout.refusals:
        hint = "see lsblk -o PATH,SERIAL,FSTYPE on the host, and cloudexit_storage in the inventory"
        return CheckResult("data-disks", Verdict.FAIL, "; ".join(layout.refusals), hint, host)
    to_do = "; ".join(map(str, layout.acts))
    return CheckResult("data-disks", Verdict.PASS, to_do or "made, and known again", "", host)


def _raid(host: str, arrays: Sequence[Array], severity: Severity) -> CheckResult:
    """Nothing moves onto an array that lacks a disk. A home that stands on it must still take a new secret."""
    bad = [array for array in arrays if array.lacks]
    words = ", ".join(f"{array.name} ({array.level}) lacks {array.lacks} of its disks" for array in bad)
    whole = ", ".join(f"{array.name} ({array.level}) is whole" for array in arrays)
    hint = "see cat /proc/mdstat and mdadm --detail; replace the disk, and let it rebuild before anything moves in"
    verdict = Verdict.FAIL if bad else Verdict.PASS
    return CheckResult("raid", verdict, words or whole or "no software RAID", hint if bad else "", host, severity)


def _network(host: str, cards: Sequence[Card]) -> CheckResult:
    up = [card for card in cards if card.state == "up"]
    faults = [f"{card.name} runs at {card.mbits} Mbit/s" for card in up if 0 < card.mbits <= SLOW_MBITS]
    faults += [f"{card.name} runs at half duplex" for card in up if card.duplex == "half"]
    faults += [f"{card.name} of {card.bond} is {card.state}" for card in cards if card.bond and card.state != "up"]
    good = ", ".join(f"{card.name} {f'{card.mbits} Mbit/s' if card.mbits else 'up, speed not told'}" for card in up)
    hint = "see ethtool; often a cable or a switch port that did not agree on a speed"
    verdict = Verdict.FAIL if faults else Verdict.PASS
    return CheckResult(
        "network", verdict, "; ".join(faults) or good or "no card is up", hint if faults else "", host, Severity.WARNING
    )


def _health(host: str, health: Mapping[str, str] | None) -> CheckResult:
    if not health:
        words, hint = "nothing there asks the disks", "apt-get install smartmontools"
        return CheckResult("disk-health", Verdict.UNKNOWN, words, hint, host, Severity.WARNING)
    bad = {disk: words for disk, words in health.items() if words not in ("PASSED", "OK")}
    detail = ", ".join(f"{disk}: {words}" for disk, words in (bad or health).items())
    hint = "smartctl -a names why; have the hoster replace the disk before data lies on it"
    verdict = Verdict.FAIL if bad else Verdict.PASS
    return CheckResult("disk-health", verdict, detail, hint if bad else "", host, Severity.WARNING)
