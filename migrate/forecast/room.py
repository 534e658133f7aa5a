"""What each host needs of disk, files, memory and cores against what it has."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from migrate.check import Verdict
from migrate.facts import Machine
from migrate.figures import Figure, Ground, parse_size, sized
from migrate.forecast.basis import Basis, named_source
from migrate.forecast.result import RoomLine
from migrate.inventory import Host
from migrate.stack import Service, ServiceKind

HEADROOM = 1.15
"""A filesystem that is full to the last byte is slow, and the app goes on writing; assumed."""
FOLDERS = 1.05
"""Files and folders for so many objects; assumed."""
LEDGER_BYTES = 400
"""A row of the ledger, with its index; assumed."""
MIB = 2**20
GIB = 2**30
SYSTEM_DISK = 4 * GIB
SYSTEM_MEMORY = 384 * MIB
MEMORY: Mapping[ServiceKind, int] = {
    ServiceKind.POSTGRESQL: 2 * GIB,
    ServiceKind.REDIS: 256 * MIB,
    ServiceKind.MEDIA: 256 * MIB,
    ServiceKind.PROCESS: 512 * MIB,
    ServiceKind.EDGE: 128 * MIB,
}
"""Least memory of a service beside its data; assumed."""
CORES: Mapping[ServiceKind, int] = {ServiceKind.POSTGRESQL: 2, ServiceKind.PROCESS: 1}
CACHE_OVER_SNAPSHOT = 2.5
"""Bytes in the memory of Redis over bytes of its compressed snapshot; assumed."""
RESOURCES = ("disk", "files", "memory", "cores")
VARIABLES = {name: f"cloudexit_{name}" for name in RESOURCES}
"""Variables of the inventory that say what a host has: cloudexit_disk: 14TB, cloudexit_cores: 64, …"""
EXPORT = "export"


@dataclass(frozen=True)
class Need:
    """So much of a resource, and how it was reckoned."""

    amount: float
    formula: str


def room_of(basis: Basis) -> tuple[RoomLine, ...]:
    """One line for each group of hosts that serve the same, and resource; the machine that fetches comes first."""
    lines = list(_export_room(basis))
    for group in basis.stack.groups():
        hosts = basis.inventory.group(group)
        if hosts:
            lines += _group_room(basis, group, hosts)
    return tuple(_merged(lines))


def _export_room(basis: Basis) -> Iterator[RoomLine]:
    buckets = [basis.bucket(name) for name in basis.stack.buckets]
    known = [bucket for bucket in buckets if bucket is not None]
    if not known:
        return
    hosts = basis.export.hosts
    size, objects = sum(b.bytes for b in known), sum(b.objects for b in known)
    part = "" if len(known) == len(buckets) else f"; {len(buckets) - len(known)} buckets of unknown size not counted"
    share = f" / {hosts} hosts" if hosts > 1 else ""
    for resource, need in (
        ("disk", Need((size * HEADROOM + objects * LEDGER_BYTES) / hosts,
                      f"({sized(size)} x {HEADROOM} + {objects:,} rows x {LEDGER_BYTES} B){share}{part}")),
        ("files", Need(objects * FOLDERS / hosts, f"{objects:,} objects x {FOLDERS}{share}{part}")),
    ):  # fmt: skip
        there = _said(basis.export, resource)
        yield _line(EXPORT, hosts, resource, need, there, "")


def _group_room(basis: Basis, group: str, hosts: list[Host]) -> Iterator[RoomLine]:
    there = {host.name: host for host in hosts}
    needs = _needs_of_host(basis, hosts[0])
    for resource in RESOURCES:
        if resource not in needs:
            continue
        found = {name: _there(basis, group, host, resource) for name, host in there.items()}
        told = {name: figure for name, figure in found.items() if figure is not None}
        if not told:
            yield _line(group, len(hosts), resource, needs[resource], None, "")
            continue
        worst = min(told, key=lambda name: told[name].value)
        same = len({figure.value for figure in told.values()}) == 1
        yield _line(group, len(hosts), resource, needs[resource], told[worst], "" if same else worst)


def _needs_of_host(basis: Basis, host: Host) -> dict[str, Need]:
    """Everything that the services of a host need together."""
    amounts: dict[str, list[Need]] = {
        "disk": [Need(SYSTEM_DISK, "4 GiB system")],
        "memory": [Need(SYSTEM_MEMORY, "384 MiB system")],
    }
    for name, service in basis.stack.services.items():
        if service.group in host.groups:
            for resource, need in _needs_of_service(basis, name, service):
                amounts.setdefault(resource, []).append(need)
    return {
        resource: Need(sum(need.amount for need in needs), " + ".join(dict.fromkeys(need.formula for need in needs)))
        for resource, needs in amounts.items()
    }


def _needs_of_service(basis: Basis, name: str, service: Service) -> Iterator[tuple[str, Need]]:
    memory = MEMORY[service.kind]
    yield "memory", Need(memory, f"{memory // MIB} MiB {service.kind}")
    yield "cores", Need(CORES.get(service.kind, 1), service.kind)
    match service.kind:
        case ServiceKind.POSTGRESQL:
            yield from _database_needs(basis, name)
        case ServiceKind.MEDIA:
            yield from _media_needs(basis, name)
        case ServiceKind.REDIS:
            for cache in (c for c, found in basis.stack.caches.items() if found.service == name):
                said = basis.facts.caches.get(cache)
                if said:
                    formula = f"{sized(said.bytes)} snapshot x {CACHE_OVER_SNAPSHOT}"
                    yield "memory", Need(said.bytes * CACHE_OVER_SNAPSHOT, formula)
                    yield "disk", Need(said.bytes * 3, f"{sized(said.bytes)} snapshot x 3")
        case _:
            return


def _database_needs(basis: Basis, service: str) -> Iterator[tuple[str, Need]]:
    for name, database in basis.stack.databases.items():
        sizes = basis.database_bytes(name) if database.service == service else None
        if sizes:
            dump, whole = sizes
            formula = f"{sized(dump)} dump + {sized(whole.value)} database x {HEADROOM}"
            yield "disk", Need(dump + whole.value * HEADROOM, formula)


def _media_needs(basis: Basis, service: str) -> Iterator[tuple[str, Need]]:
    for media in basis.stack.media.values():
        bucket = basis.bucket(media.bucket) if media.service == service else None
        if bucket:
            yield "disk", Need(bucket.bytes * HEADROOM, f"{sized(bucket.bytes)} media x {HEADROOM}")
            yield "files", Need(bucket.objects * FOLDERS, f"{bucket.objects:,} objects x {FOLDERS}")


def _there(basis: Basis, group: str, host: Host, resource: str) -> Figure | None:
    """Facts first, then what preflight saw, then the inventory's variables."""
    said = basis.facts.hosts.get(group)
    figure = _said(said, resource) if said else None
    if figure:
        return figure
    seen = basis.history.hosts.get(host.name)
    amount = getattr(seen, resource, None)
    if seen is not None and amount is not None:
        ground = Ground.MEASURED if seen.probed else Ground.KNOWN
        return Figure(
            resource, amount, ground, f"{'probe' if seen.probed else 'preflight'}, {seen.at:%Y-%m-%d %H:%M} UTC"
        )
    stated = basis.inventory.merged.get(host.name, {}).get(VARIABLES[resource])
    amount = _number(stated)
    return Figure(resource, amount, Ground.STATED, f"inventory: {VARIABLES[resource]}") if amount is not None else None


def _said(machine: Machine, resource: str) -> Figure | None:
    amount = getattr(machine, resource)
    return Figure(resource, amount, machine.ground, named_source(machine)) if amount is not None else None


def _number(stated: object) -> float | None:
    """A size or count of the inventory; `hold_resources` has refused what is none."""
    parsed = parse_size(stated) if isinstance(stated, str) else stated
    return float(parsed) if isinstance(parsed, int | float) and math.isfinite(parsed) else None


def _line(where: str, hosts: int, resource: str, need: Need, there: Figure | None, worst: str) -> RoomLine:
    verdict = Verdict.UNKNOWN if there is None else Verdict.PASS if there.value >= need.amount else Verdict.FAIL
    return RoomLine(
        where=where, hosts=hosts, resource=resource, needed=math.ceil(need.amount),
        there=there.value if there else None, verdict=verdict, formula=need.formula,
        source=there.source if there else "nobody said, and preflight has not looked",
        ground=there.ground if there else None, worst_host=worst,
    )  # fmt: skip


def _merged(lines: list[RoomLine]) -> Iterator[RoomLine]:
    """Groups that differ in nothing but their name are one line: a hundred database hosts of one size."""
    merged: dict[tuple[object, ...], list[RoomLine]] = {}
    for line in lines:
        key = (line.hosts, line.resource, line.needed, line.there, line.formula, line.source)
        merged.setdefault(key, []).append(line)
    for same in merged.values():
        if len(same) == 1:
            yield same[0]
            continue
        names = f"{same[0].where}…{same[-1].where}"
        yield same[0].model_copy(update={"where": names, "hosts": sum(line.hosts for line in same)})
