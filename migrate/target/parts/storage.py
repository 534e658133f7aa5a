"""Data disks: the filesystems that the inventory wants on them."""

from dataclasses import asdict
from typing import Any

from migrate.datadisks import STORAGE, Wish, unit_of, wishes_of
from migrate.target.hostview import HostView
from migrate.target.parts.part import Part

PACKAGES = {"xfs": "xfsprogs", "ext4": "e2fsprogs"}


def variables(view: HostView) -> dict[str, Any] | None:
    wishes = _wishes(view)
    if not wishes:
        return None
    return {"packages": packages(view), "filesystems": [_told(wish) for wish in wishes]}


def packages(view: HostView) -> list[str]:
    wishes = _wishes(view)
    of_arrays = {"mdadm"} if any(wish.raid != "none" for wish in wishes) else set()
    return sorted(of_arrays | {PACKAGES[wish.filesystem] for wish in wishes})


def _wishes(view: HostView) -> tuple[Wish, ...]:
    return wishes_of(view.host.name, view.own_variables.get(STORAGE))


def _told(wish: Wish) -> dict[str, Any]:
    lists = {"devices": list(wish.devices), "overwrite": list(wish.overwrite)}
    told = {**asdict(wish), **lists, "uuid": wish.uuid, "unit": unit_of(wish.mount)}
    return {name: value for name, value in told.items() if name != "host"}


PART = Part("storage", variables, packages=packages)
