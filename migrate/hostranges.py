"""Ranges of hosts in an inventory, as Ansible writes them: `db[001:100]`, `rack[a:f]`, `app[1:9:2]`."""

import ipaddress
import re
import string
from collections.abc import Mapping
from typing import Any

FIRST_ADDRESS = "cloudexit_first_address"
"""Address of the first host of a range; each that follows has the next one."""
RANGE = re.compile(r"\[(\w+):(\w+)(?::(\d+))?\]")
MOST_HOSTS = 65_536


def is_range(name: str) -> bool:
    return "[" in name or "]" in name


def expand(name: str) -> list[str]:
    """The names that a range stands for; raises ValueError where it is none."""
    found = list(RANGE.finditer(name))
    if len(found) != 1 or is_range(RANGE.sub("", name)):
        raise ValueError("one range, such as db[001:100]")
    first, last, step = found[0].groups()
    parts = _parts(first, last, int(step or 1))
    return [name[: found[0].start()] + part + name[found[0].end() :] for part in parts]


def _parts(first: str, last: str, step: int) -> list[str]:
    if not step:
        raise ValueError("a step of at least 1")
    if first.isdecimal() and last.isdecimal():
        padded = first.startswith("0") and len(first) > 1
        if padded and len(first) != len(last):
            raise ValueError("both ends of one length, such as [001:100]")
        numbers = range(int(first), int(last) + 1, step)
        if not 0 < len(numbers) <= MOST_HOSTS:
            raise ValueError(f"from small to large, at most {MOST_HOSTS:,} hosts")
        return [str(number).zfill(len(first)) if padded else str(number) for number in numbers]
    letters = string.ascii_letters
    if len(first) == len(last) == 1 and first in letters and last in letters:
        found = letters[letters.index(first) : letters.index(last) + 1 : step]
        if found:
            return list(found)
    raise ValueError("numbers or single letters at both ends, from small to large")


def address_of(variables: Mapping[str, Any], position: int) -> dict[str, Any]:
    """`ansible_host` of the host at a position (from 0) of a range; nothing where no first address is given.

    Raises ValueError where it is no address, or there are not so many behind it."""
    if FIRST_ADDRESS not in variables:
        return {}
    return {"ansible_host": str(ipaddress.ip_address(str(variables[FIRST_ADDRESS])) + position)}
