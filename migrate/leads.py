"""`leads.yml` beside an inventory: which host leads its group, where that is not the group's first one."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from migrate.documents import read_yaml
from migrate.errors import DocumentProblems, UsageProblem

LEADS = "leads.yml"
"""Written by a fail-over, read by everything, kept with the inventory."""
WORDS = "# Which host leads its group, where it is not the first one. Written by: cloudexit failover\n"


def leads_beside(inventory: Path, groups_of: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Group -> host that leads it; empty where there is no such file. `groups_of`: host -> its groups.

    Raises UsageProblem where two inventories share the file, DocumentProblems where a host is not there or not in the
    group."""
    path = inventory.with_name(LEADS)
    if not path.exists():
        return {}
    refuse_a_second_inventory(inventory)
    document = read_yaml(path)
    content = document.content if document.content is not None else {}
    if not isinstance(content, dict):
        raise document.problem((), "not a mapping", expected="group: host")
    problems = [
        document.problem((group,), f"{host!r} is no host of the group {group!r}", expected=", ".join(members) or "none")
        for group, host in content.items()
        for members in [[name for name, groups in groups_of.items() if group in groups]]
        if host not in members
    ]
    if problems:
        raise DocumentProblems(problems)
    return {str(group): str(host) for group, host in content.items()}


def refuse_a_second_inventory(inventory: Path) -> None:
    """Raises UsageProblem: who leads the one is not who leads the other, and one file says both."""
    others = sorted(path.name for path in _other_inventories(inventory))
    if others:
        raise UsageProblem(
            f"{', '.join(others)} lies in the same folder: both would be led by one {LEADS}",
            where=str(inventory.with_name(LEADS)),
            expected="one inventory a folder",
            hint="a folder of its own for each, its known_hosts with it",
        )


def _other_inventories(inventory: Path) -> Iterator[Path]:
    for path in (*inventory.parent.glob("*.yml"), *inventory.parent.glob("*.yaml")):
        if path.name in (inventory.name, LEADS):
            continue
        try:
            content = read_yaml(path).content
        except UsageProblem:
            continue  # nothing that anybody could use as an inventory
        if isinstance(content, dict) and isinstance(content.get("all"), dict):
            yield path


def write_leads(inventory: Path, leads: Mapping[str, str]) -> None:
    """Whole or not at all, and on disk when it returns; no file where the first host of every group leads."""
    path = inventory.with_name(LEADS)
    if leads:
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(WORDS + yaml.safe_dump(dict(leads)))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    else:
        path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
