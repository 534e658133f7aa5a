"""Data disks, as an inventory says them in `cloudexit_storage`, and what is to be done to them, or why nothing is.

Pure, and of the standard library alone: this file also travels to the hosts, as a module_utils of the role `storage`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID, uuid5

STORAGE = "cloudexit_storage"
FIELDS = {"mount", "devices", "raid", "filesystem", "options", "overwrite"}
EXPECTED = "a list of {mount: /srv, devices: [SERIAL], raid: none|1|10, filesystem: xfs|ext4, options: noatime}"
FEWEST = {"none": 1, "1": 2, "10": 4}
FILESYSTEMS = ("xfs", "ext4")
DISK_KINDS = ("disk", "loop")
LABEL = "cloudexit"
"""Every filesystem and array that is made here bears it: what was made here is never overwritten."""
OF_THE_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr")
NAMESPACE = UUID("6b8fb0a4-6a0f-5a4e-9f0c-2f3c1d0a7e11")


@dataclass(frozen=True)
class Wish:
    """A filesystem that the inventory wants. Its UUID follows from host and mount: so a run knows it again."""

    host: str
    mount: str
    devices: tuple[str, ...]
    raid: str = "none"
    filesystem: str = "xfs"
    options: str = "noatime"
    overwrite: tuple[str, ...] = ()

    @property
    def uuid(self) -> str:
        return str(uuid5(NAMESPACE, f"{self.host} {self.mount}"))

    @property
    def array_uuid(self) -> str:
        return str(uuid5(NAMESPACE, f"{self.host} {self.mount} array"))

    @property
    def array(self) -> str:
        return f"/dev/md/{LABEL}{self.mount.replace('/', '-')}"


def wishes_of(host: str, value: object) -> tuple[Wish, ...]:
    """The filesystems that a value of `cloudexit_storage` names, outer mounts first; it must be without faults."""
    entries: list[dict[str, Any]] = value if isinstance(value, list) else []
    wishes = (
        Wish(
            host, entry["mount"], tuple(entry["devices"]), str(entry.get("raid", "none")),
            entry.get("filesystem", "xfs"), entry.get("options", "noatime"), tuple(entry.get("overwrite") or ()),
        )
        for entry in entries
    )  # fmt: skip
    return tuple(sorted(wishes, key=lambda wish: wish.mount.count("/")))


def unit_of(mount: str) -> str:
    """The name of a mount's systemd unit, as systemd-escape(1) has it."""
    escaped = "-".join(
        "".join(c if re.fullmatch(r"[A-Za-z0-9:_.]", c) else f"\\x{ord(c):02x}" for c in part)
        for part in mount.strip("/").split("/")
    )
    return f"{escaped}.mount"


def storage_faults(value: object) -> Iterator[tuple[str, str]]:
    """What is wrong with a value of `cloudexit_storage`, and what was expected."""
    if not isinstance(value, list):
        yield "not a list of filesystems", EXPECTED
        return
    mounts: set[object] = set()
    devices: set[object] = set()
    for entry in value:
        if not isinstance(entry, dict) or not isinstance(entry.get("mount"), str):
            yield f"not a filesystem: {entry!r}", EXPECTED
            continue
        mount = entry["mount"]
        if mount in mounts:
            yield f"{mount} is named twice", "each mount once"
        mounts.add(mount)
        yield from _faults_of_one(entry, mount)
        named = entry.get("devices") if isinstance(entry.get("devices"), list) else []
        for device in filter(lambda device: isinstance(device, str), named or []):
            if device in devices:
                yield f"the disk {device} is named twice", "each disk once"
            devices.add(device)


def _faults_of_one(entry: Mapping[str, Any], mount: str) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+", mount):
        yield f"no folder to mount at: {mount!r}", "an absolute path of letters, digits, '.', '_' and '-'"
    elif mount == "/var" or any(mount == own or mount.startswith(f"{own}/") for own in OF_THE_SYSTEM):
        yield f"{mount} belongs to the system", "a folder for data, such as /srv or /var/lib/postgresql"
    unknown = sorted(map(str, set(entry) - FIELDS))
    if unknown:
        yield f"unknown field of {mount}: {', '.join(unknown)}", ", ".join(sorted(FIELDS))
    for field in ("devices", "overwrite"):
        yield from _faults_of_names(field, entry.get(field, []), mount)
    raid, devices = str(entry.get("raid", "none")), entry.get("devices") or []
    if raid not in FEWEST:
        yield f"`raid` of {mount} is {raid!r}", ", ".join(FEWEST)
    elif isinstance(devices, list) and (len(devices) < FEWEST[raid] or (raid == "none" and len(devices) > 1)):
        fewest = "exactly 1 disk" if raid == "none" else f"at least {FEWEST[raid]} disks"
        yield f"{mount} has {len(devices)} disks and raid {raid}", fewest
    if entry.get("filesystem", "xfs") not in FILESYSTEMS:
        yield f"`filesystem` of {mount} is {entry['filesystem']!r}", " or ".join(FILESYSTEMS)
    options = entry.get("options", "noatime")
    if not isinstance(options, str) or not re.fullmatch(r"[a-z0-9_=,.-]+", options):
        yield f"`options` of {mount} are {options!r}", "mount options as in fstab, separated by commas"


def _faults_of_names(field: str, names: object, mount: str) -> Iterator[tuple[str, str]]:
    if not isinstance(names, list):
        yield f"`{field}` of {mount} is no list", "a list of serial numbers"
        return
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"\S+", name):
            yield f"`{field}` of {mount}: {name!r} is no text", "a serial number in quotes: lsblk -o PATH,SERIAL"
        elif field == "overwrite" and name.startswith("/"):
            yield f"`overwrite` of {mount} names a path: {name}", "a serial number: paths change from boot to boot"


@dataclass(frozen=True)
class Signature:
    """Something that a disk shows it holds: a filesystem, a partition table, a member of an array."""

    kind: str
    uuid: str = ""
    label: str = ""


@dataclass(frozen=True)
class Disk:
    """A block device of a host as it was found; an array is one too, `kind` tells."""

    path: str
    kind: str = "disk"
    serial: str = ""
    names: tuple[str, ...] = ()
    """Other names that it goes by: WWN, links under /dev/disk."""
    size: int = 0
    read_only: bool = False
    signatures: tuple[Signature, ...] = ()
    blank: bool = True
    """Nothing but zeros was found where it was read: first MiB, last MiB, places between."""
    parts: tuple[str, ...] = ()
    """Partitions, arrays and volumes that lie on it."""
    mounts: tuple[str, ...] = ()
    busy: bool = False
    """The kernel gives it to nobody else: mounted (anywhere), swap, member of something that runs."""

    @property
    def holds(self) -> tuple[str, ...]:
        """What keeps us from touching it, in words."""
        found = [f"mounted at {', '.join(self.mounts)}"] if self.mounts else []
        found += ["in use"] if self.busy and not self.mounts else []
        found += [f"parts: {', '.join(self.parts)}"] if self.parts else []
        found += [signature.kind for signature in self.signatures]
        return (*found, *([] if self.blank or found else ["data of no known kind"]))

    def bears(self, uuid: str) -> bool:
        return any(signature.uuid == uuid for signature in self.signatures)

    @property
    def was_made_here(self) -> bool:
        return any(LABEL in signature.label for signature in self.signatures)


@dataclass(frozen=True)
class Folder:
    """A place to mount at: what is mounted there (a device's path, empty for nothing), and whether files lie in it."""

    source: str = ""
    filled: bool = False


@dataclass(frozen=True)
class Act:
    """Something that is done to disks. `kind` is wipe, array or filesystem."""

    kind: str
    paths: tuple[str, ...]
    wish: Wish

    def __str__(self) -> str:
        what = {
            "wipe": "wipe",
            "array": f"make {self.wish.array}, RAID {self.wish.raid}, of",
            "filesystem": f"make {self.wish.filesystem} for {self.wish.mount} on",
        }[self.kind]
        return f"{what} {', '.join(self.paths)}"


@dataclass(frozen=True)
class Layout:
    """What is to be done, or why nothing is: where there is one refusal, no disk is touched. `sources`: mount -> the
    device that is to be mounted there."""

    acts: tuple[Act, ...]
    refusals: tuple[str, ...]
    sources: Mapping[str, str]


class _Refused(Exception):
    pass


def lay_out(wishes: Sequence[Wish], disks: Sequence[Disk], folders: Mapping[str, Folder]) -> Layout:
    """What makes the wishes come true on these disks. A disk that holds anything is touched only where its serial
    number stands under `overwrite`, nothing uses it, and what it holds was not made here."""
    acts: list[Act] = []
    refusals: list[str] = []
    sources: dict[str, str] = {}
    taken: dict[str, str] = {}
    for wish in wishes:
        try:
            array = _standing_array(wish, disks)
            absent = [name for name in wish.devices if not _matches(name, disks)] if array else []
            chosen = [_named(name, disks) for name in wish.devices if name not in absent]
            _hold_choice(wish, chosen, taken)
            if not absent:
                _hold_overwrite(wish, chosen)
            todo, sources[wish.mount] = _of_one(wish, chosen, disks, array)
            _hold_folder(wish, sources[wish.mount], folders.get(wish.mount, Folder()))
            acts += todo
        except _Refused as refusal:
            refusals.append(f"{wish.mount}: {refusal}")
    return Layout(() if refusals else tuple(acts), tuple(refusals), sources)


def _matches(name: str, disks: Iterable[Disk]) -> list[Disk]:
    return [disk for disk in disks if name in (disk.path, disk.serial, *disk.names)]


def _standing_array(wish: Wish, disks: Sequence[Disk]) -> Disk | None:
    """The wish's own array, where it runs and bears its filesystem: nothing is done to it, whatever disk it lacks."""
    members = [disk for disk in disks if disk.bears(wish.array_uuid)] if wish.raid != "none" else []
    arrays = [disk for disk in disks if disk.kind.startswith("raid") and any(disk.path in m.parts for m in members)]
    return arrays[0] if len(arrays) == 1 and arrays[0].bears(wish.uuid) else None


def _named(name: str, disks: Sequence[Disk]) -> Disk:
    found = _matches(name, disks)
    if len(found) == 1:
        return found[0]
    if found:
        raise _Refused(f"{name} is the name of several disks: {', '.join(disk.path for disk in found)}")
    there = ", ".join(f"{disk.serial or 'no serial'} ({disk.path})" for disk in disks if disk.kind in DISK_KINDS)
    raise _Refused(f"there is no disk {name}; there are: {there or 'none'}")


def _hold_choice(wish: Wish, chosen: Sequence[Disk], taken: dict[str, str]) -> None:
    for disk in chosen:
        if disk.kind not in DISK_KINDS:
            raise _Refused(f"{disk.path} is a {disk.kind}, not a disk")
        if disk.read_only:
            raise _Refused(f"{disk.path} can only be read")
        first = taken.setdefault(disk.path, wish.mount)
        if first != wish.mount or sum(disk.path == other.path for other in chosen) > 1:
            raise _Refused(f"{disk.path} is named twice")


def _hold_overwrite(wish: Wish, chosen: Sequence[Disk]) -> None:
    strange = set(wish.overwrite) - {disk.serial for disk in chosen}
    if strange:
        raise _Refused(f"`overwrite` names what is none of its disks: {', '.join(sorted(strange))}")


def _of_one(wish: Wish, chosen: Sequence[Disk], disks: Sequence[Disk], standing: Disk | None) -> tuple[list[Act], str]:
    """Acts, and the device that is mounted in the end."""
    if wish.raid == "none":
        return _filesystem(wish, chosen[0], told=_is_told(wish, chosen[0])), chosen[0].path
    members = [disk for disk in chosen if disk.bears(wish.array_uuid)]
    if standing and not members:
        raise _Refused(f"its array {standing.path} runs, on none of the disks that are named")
    if not members:
        wipes = [act for disk in chosen for act in _cleared(wish, disk, told=_is_told(wish, disk))]
        paths = tuple(disk.path for disk in chosen)
        made = [Act("array", paths, wish), Act("wipe", (wish.array,), wish), Act("filesystem", (wish.array,), wish)]
        return [*wipes, *made], wish.array
    if len(members) < len(chosen):
        strangers = ", ".join(disk.path for disk in chosen if disk not in members)
        raise _Refused(f"its array is there, without {strangers}; add it by hand: mdadm --manage ARRAY --add DISK")
    if standing:
        return _filesystem(wish, standing, told=False), standing.path
    arrays = [disk for disk in disks if disk.kind.startswith("raid") and disk.path in members[0].parts]
    if len(arrays) != 1 or any(arrays[0].path not in disk.parts for disk in members):
        raise _Refused("its array is there, but not all of it runs; see cat /proc/mdstat, mdadm --examine")
    told = all(_is_told(wish, disk) for disk in members)
    return _filesystem(wish, arrays[0], told=told), arrays[0].path


def _is_told(wish: Wish, disk: Disk) -> bool:
    return bool(disk.serial) and disk.serial in wish.overwrite


def _filesystem(wish: Wish, disk: Disk, *, told: bool) -> list[Act]:
    if disk.bears(wish.uuid):
        kinds = [signature.kind for signature in disk.signatures if signature.uuid == wish.uuid]
        if wish.filesystem not in kinds:
            raise _Refused(f"{disk.path} is its own, with {kinds[0]} on it; {wish.filesystem} is wanted")
        if set(disk.mounts) - {wish.mount}:
            raise _Refused(f"{disk.path} is its own, and mounted at {', '.join(disk.mounts)}")
        return []
    return [*_cleared(wish, disk, told=told), Act("filesystem", (disk.path,), wish)]


def _cleared(wish: Wish, disk: Disk, *, told: bool) -> list[Act]:
    """What makes a disk empty: nothing where it is."""
    if not disk.holds:
        return []
    what = f"{disk.path} ({disk.serial or 'no serial number'}) holds something: {', '.join(disk.holds)}"
    if disk.was_made_here or disk.bears(wish.uuid):
        raise _Refused(f"{what}, made here for another mount or host; where it may go: wipefs --all {disk.path}")
    if not told:
        wanted = f"`overwrite: [{disk.serial}]`" if disk.serial else f"by hand: wipefs --all {disk.path}"
        raise _Refused(f"{what}; where all of it may go: {wanted}")
    if disk.mounts or disk.busy:
        raise _Refused(f"{what}, and is in use; unmount it, swapoff, or stop its array first")
    return [Act("wipe", (disk.path,), wish)]


def _hold_folder(wish: Wish, source: str, folder: Folder) -> None:
    if folder.source and folder.source != source:
        raise _Refused(f"{folder.source} is mounted there already")
    if folder.filled and not folder.source:
        raise _Refused("files lie in that folder, which the mount would hide; move them away first")


def disks_of(document: Mapping[str, Any], links: Mapping[str, Sequence[str]], files: Mapping[str, str]) -> list[Disk]:
    """The block devices in an answer of `lsblk --json --bytes`, as far as lsblk looks into them. `links`: path -> names
    under /dev/disk; `files`: path of a loop device -> its file, which stands for a serial number."""
    found: dict[str, Disk] = {}
    for entry in _flat(document.get("blockdevices") or []):
        path = entry["path"]
        parts = tuple(child["path"] for child in entry.get("children") or [])
        mounts = tuple(mount for mount in entry.get("mountpoints") or [] if mount)
        kinds = [(entry.get("fstype"), entry.get("uuid"), entry.get("label")), (entry.get("pttype"), "", "")]
        names = (*([entry["wwn"]] if entry.get("wwn") else []), *links.get(path, []))
        found[path] = Disk(
            path, entry["type"], entry.get("serial") or (f"loop:{files[path]}" if path in files else ""), names,
            int(entry.get("size") or 0), bool(entry.get("ro")),
            tuple(Signature(kind, uuid or "", label or "") for kind, uuid, label in kinds if kind),
            parts=parts, mounts=mounts,
        )  # fmt: skip
    return list(found.values())


def _flat(entries: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for entry in entries:
        yield entry
        yield from _flat(entry.get("children") or [])


def outermost(wishes: Sequence[Wish]) -> list[Wish]:
    """Those that are mounted on what was there before, not on another of the wishes."""
    mounts = {wish.mount for wish in wishes}
    return [wish for wish in wishes if not mounts & {str(parent) for parent in PurePosixPath(wish.mount).parents}]
