"""Files of the lab's own records: written whole or not at all."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migrate.errors import GateHeld


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Writes under a temporary name, syncs and renames, so that a reader sees the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    temporary.rename(path)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(record, indent=2) + "\n")


def read_record(path: Path) -> dict[str, Any] | None:
    """The record, or None where there is none. Raises GateHeld on one that this program did not write."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as fault:
        raise GateHeld(
            f"not a record of the lab: {fault}",
            where=str(path),
            expected="JSON as the lab writes it",
            hint="cloudexit lab down removes what the lab made",
        ) from fault
    if not isinstance(record, dict):
        raise GateHeld("not a record of the lab", where=str(path), expected="a JSON object")
    return record


def place_file(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Puts a file into a host's tree; replaces a link there instead of following it out of the tree."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def mounted_below(folder: Path) -> list[Path]:
    """Mount points at or below a folder, deepest first."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point == folder or folder in point.parents:
            points.append(point)
    return sorted(points, key=lambda point: len(point.parts), reverse=True)


def remove_tree(folder: Path) -> None:
    """Removes a folder of the lab; raises GateHeld rather than reach through something still mounted in it."""
    if not folder.exists():
        return
    still = mounted_below(folder)
    if still:
        raise GateHeld(
            f"still mounted: {', '.join(map(str, still))}",
            where=str(folder),
            expected="nothing mounted in a folder that is to be removed",
            hint="umount it, then run the command again",
        )
    shutil.rmtree(folder)
