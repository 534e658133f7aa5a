#!/usr/bin/python
"""Looks at the disks of this host, decides (cloudexit_datadisks), and carries it out."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cloudexit_datadisks import (
    LABEL,
    Act,
    Disk,
    Folder,
    Signature,
    disks_of,
    lay_out,
    outermost,
    wishes_of,
)

DOCUMENTATION = r"""
module: cloudexit_data_disks
short_description: Makes filesystems on data disks, and touches none that holds anything
description:
  - Looks at every disk, decides for all filesystems at once, and does nothing where one of them is refused.
  - In check mode it looks and decides.
options:
  host:
    description: Name of the host; with the mount it gives a filesystem its UUID.
    type: str
    required: true
  filesystems:
    description: What the inventory says in C(cloudexit_storage).
    type: list
    elements: dict
    required: true
author: cloudexit
"""

RETURN = r"""
acts:
  description: What was done, or in check mode would be, in words.
  returned: always
  type: list
sources:
  description: Mount to the device that belongs there.
  returned: always
  type: dict
"""

MIB = 1024**2
SPOTS = 64
SPOT_BYTES = 4096
COLUMNS = "PATH,TYPE,SIZE,RO,SERIAL,WWN,FSTYPE,UUID,LABEL,PTTYPE,MOUNTPOINTS"


class Host:
    """What is read and done here. Every command fails the task, with its words, where it does not succeed."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def call(self, *argv: str) -> str:
        _, out, _ = self.module.run_command(list(argv), check_rc=True, data="", environ_update={"LC_ALL": "C.UTF-8"})
        return out

    def disks(self, asked: set[str]) -> list[Disk]:
        """All disks; of those that are asked for, what lsblk does not see is looked at too."""
        document = json.loads(self.call("lsblk", "--json", "--bytes", "--output", COLUMNS))
        known = disks_of(document, _links(), _files())
        return [self._looked_into(disk) if _is_asked(disk, asked, known) else disk for disk in known]

    def _looked_into(self, disk: Disk) -> Disk:
        found = json.loads(self.call("wipefs", "--no-act", "--json", disk.path) or "{}").get("signatures", [])
        signatures = (Signature(one["type"], one["uuid"] or "", one["label"] or "") for one in found)
        return Disk(
            **{
                **vars(disk),
                "signatures": tuple(dict.fromkeys((*signatures, *disk.signatures))),
                "blank": _is_blank(disk.path),
                "busy": _is_busy(disk.path),
            }
        )

    def carry_out(self, act: Act) -> None:
        {"wipe": self._wipe, "array": self._make_array, "filesystem": self._make_filesystem}[act.kind](act)

    def _wipe(self, act: Act) -> None:
        (path,) = act.paths
        self.call("wipefs", "--all", path)
        with Path(path).open("r+b") as device:
            size = device.seek(0, os.SEEK_END)
            for start in (0, max(0, size - MIB)):
                device.seek(start)
                device.write(bytes(min(MIB, size)))
            device.flush()
            os.fsync(device.fileno())

    def _make_array(self, act: Act) -> None:
        uuid = act.wish.array_uuid.replace("-", "")
        colons = ":".join(uuid[start : start + 8] for start in range(0, 32, 8))
        name = act.wish.array.rsplit("/", 1)[1]
        self.call(
            "mdadm", "--create", act.wish.array, "--run", "--metadata=1.2", f"--level={act.wish.raid}",
            f"--raid-devices={len(act.paths)}", f"--name={name}", f"--uuid={colons}", *act.paths,
        )  # fmt: skip

    def _make_filesystem(self, act: Act) -> None:
        (path,), uuid = act.paths, act.wish.uuid
        commands = {
            "xfs": ["mkfs.xfs", "-q", "-L", LABEL, "-m", f"uuid={uuid}", path],
            "ext4": ["mkfs.ext4", "-q", "-L", LABEL, "-U", uuid, path],
        }
        self.call(*commands[act.wish.filesystem])


def _is_asked(disk: Disk, asked: set[str], known: list[Disk]) -> bool:
    """Whether the inventory names the disk, or one that this array or partition lies on."""
    below = [other for other in known if disk.path in other.parts]
    return bool(asked & {disk.path, disk.serial, *disk.names}) or any(_is_asked(one, asked, known) for one in below)


def _links() -> dict[str, list[str]]:
    """Path of a device -> its names under /dev/disk."""
    found: dict[str, list[str]] = {}
    for link in sorted(Path("/dev/disk").glob("by-*/*")):
        found.setdefault(str(link.resolve()), []).append(str(link))
    return found


def _files() -> dict[str, str]:
    return {
        f"/dev/{file.parts[3]}": file.read_text().strip() for file in Path("/sys/block").glob("loop*/loop/backing_file")
    }


def _is_blank(path: str) -> bool:
    with Path(path).open("rb") as device:
        size = device.seek(0, os.SEEK_END)
        spots = [(0, MIB), (max(0, size - MIB), MIB)]
        spots += [(size // SPOTS * spot, SPOT_BYTES) for spot in range(1, SPOTS)]
        for start, length in spots:
            device.seek(start)
            if device.read(length).strip(b"\0"):
                return False
    return True


def _is_busy(path: str) -> bool:
    """The kernel opens a device for itself alone only where nothing holds it: no mount, swap, array or volume."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return True
    return False


def _folder(mount: str) -> Folder:
    source = ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, rest = line.split(" - ")
        if fields.split()[4] == mount:
            source = os.path.realpath(rest.split()[1])
    filled = False
    with suppress(FileNotFoundError):
        filled = any(Path(mount).iterdir())
    return Folder(source, filled)


def _close_mount_point(mount: str) -> None:
    """What writes there while nothing is mounted would fill the system's own disk: only root still could."""
    Path(mount).mkdir(mode=0o000, parents=True, exist_ok=True)
    Path(mount).chmod(0o000)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "filesystems": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    host = Host(module)
    wishes = wishes_of(module.params["host"], module.params["filesystems"])
    disks = host.disks({device for wish in wishes for device in wish.devices})
    folders = {wish.mount: _folder(wish.mount) for wish in wishes}
    layout = lay_out(wishes, disks, folders)
    if layout.refusals:
        module.fail_json(msg="no disk was touched; " + "; ".join(layout.refusals))
    acts = [str(act) for act in layout.acts]
    if not module.check_mode:
        for act in layout.acts:
            host.carry_out(act)
        for wish in outermost(wishes):
            if not folders[wish.mount].source:
                _close_mount_point(wish.mount)
    module.exit_json(changed=bool(acts), acts=acts, sources=layout.sources)


if __name__ == "__main__":
    main()
