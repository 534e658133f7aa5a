"""What each host needs of disk, files, memory and cores against what it has."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from migrate.check import Verdict
from migrate.facts import Machine
from migrate.figures import Figure, Ground, parse_size, sized
from migrate.forecast.basis import Basis, named_source
from migrate.forecast.history import SeenHost
from migrate.forecast.result import RoomLine
from migrate.inventory import Host
from migrate.stack import Service, ServiceKind

HEADROOM = 1.15
"""A filesystem that is full to the last byte is slow, and the app goes on writing; assumed."""
FOLDERS = 1.05
"""Files and folders for so many objects; assumed."""
LEDGER_BYTES = 400
"""A row of the ledger, with its index; assumed."""
BLOCK_BYTES = 4096
"""What the last block of a file wastes at most: ext4 and XFS as Debian makes them."""
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
    ServiceKind.MAIL: 128 * MIB,
    ServiceKind.LOGS: 128 * MIB,
    ServiceKind.BACKUP: 128 * MIB,
    ServiceKind.MONITOR: GIB + 256 * MIB,
    ServiceKind.PACKAGES: 128 * MIB,
}
"""Least memory of a service beside its data; assumed."""
KEPT_LOGS = 10_000_000_000
"""Bytes that the log host keeps at most, by the default of the role logs."""
KEPT_PACKAGES = 10_000_000_000
"""Bytes of packages that a cache of them keeps at most, by the default of the role package_cache."""
CORES: Mapping[ServiceKind, int] = {ServiceKind.POSTGRESQL: 2, ServiceKind.PROCESS: 1}
CACHE_OVER_SNAPSHOT = 2.5
"""Bytes in the memory of Redis over bytes of its compressed snapshot; assumed."""
RESOURCES = ("disk", "files", "memory", "cores")
VARIABLES = {name: f"cloudexit_{name}" for name in RESOURCES}
"""Variables of the inventory that say what a host has: cloudexit_disk: 14TB, cloudexit_cores: 64, …"""
EXPORT = "export"
NOBODY = "nobody said, and preflight has not looked"
MOST_PORTS = 4
"""More ports that are taken than this are not named."""


@dataclass(frozen=True)
class Need:
    """So much of a resource, and how it was reckoned. Not told: it is at least so much."""

    amount: float
    formula: str
    is_told: bool = True


def room_of(basis: Basis) -> tuple[RoomLine, ...]:
    """One line for each set of hosts that serve the same, and resource; the machine that fetches comes first."""
    lines = list(_export_room(basis))
    for served, hosts in _alike(basis).items():
        lines += _room(basis, served, hosts)
    return tuple(_merged(lines))


def _alike(basis: Basis) -> dict[tuple[str, ...], list[Host]]:
    """Groups -> the hosts that are in just these: a host's services share what it has, whichever group they are of."""
    alike: dict[tuple[str, ...], list[Host]] = {}
    order = {group: number for number, group in enumerate(basis.stack.groups())}
    for host in basis.inventory.hosts.values():
        served = tuple(sorted((group for group in host.groups if group in order), key=order.__getitem__))
        if served:
            alike.setdefault(served, []).append(host)
    return dict(sorted(alike.items(), key=lambda found: [order[group] for group in found[0]]))


def _export_room(basis: Basis) -> Iterator[RoomLine]:
    buckets = [basis.taken(name) for name in basis.stack.buckets]
    known = [taken for taken in buckets if taken is not None and taken.is_told]
    if not known:
        return
    hosts = basis.export.hosts
    size, objects = sum(taken.whole.bytes for taken in known), sum(taken.whole.objects for taken in known)
    is_told = len(known) == len(buckets)
    part = "" if is_told else f"; at least: {len(buckets) - len(known)} of {len(buckets)} buckets are of unknown size"
    share = f" / {hosts} hosts" if hosts > 1 else ""
    for resource, need in (
        ("disk", Need((size * HEADROOM + objects * (LEDGER_BYTES + BLOCK_BYTES)) / hosts,
                      f"({sized(size)} x {HEADROOM} + {objects:,} x {LEDGER_BYTES + BLOCK_BYTES} B of ledger and"
                      f" blocks){share}{part}", is_told)),
        ("files", Need(objects * FOLDERS / hosts, f"{objects:,} objects x {FOLDERS}{share}{part}", is_told)),
    ):  # fmt: skip
        there = _said(basis.export, resource)
        yield _line(EXPORT, [], resource, need, {EXPORT: there} if there else {}).model_copy(update={"hosts": hosts})


def _room(basis: Basis, served: tuple[str, ...], hosts: list[Host]) -> Iterator[RoomLine]:
    needs = _needs_of_host(basis, hosts[0])
    for resource in RESOURCES:
        if resource in needs:
            found = {host.name: _there(basis, served, host, resource) for host in hosts}
            told = {name: figure for name, figure in found.items() if figure is not None}
            yield _line("+".join(served), hosts, resource, needs[resource], told)
    yield _ports(basis, served, hosts)


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
        resource: Need(sum(n.amount for n in needs), _summed(needs), all(n.is_told for n in needs))
        for resource, needs in amounts.items()
    }


def _summed(needs: list[Need]) -> str:
    """`4 GiB system + 2 x 512 MiB process`."""
    counts = Counter(need.formula for need in needs)
    return " + ".join(f"{count} x {formula}" if count > 1 else formula for formula, count in counts.items())


def _needs_of_service(basis: Basis, name: str, service: Service) -> Iterator[tuple[str, Need]]:
    memory = MEMORY[service.kind]
    yield "memory", Need(memory, f"{memory // MIB} MiB {service.kind}")
    yield "cores", Need(CORES.get(service.kind, 1), service.kind)
    match service.kind:
        case ServiceKind.POSTGRESQL:
            yield from _database_needs(basis, name)
        case ServiceKind.MEDIA:
            yield from _media_needs(basis, name)
        case ServiceKind.LOGS:
            yield "disk", Need(KEPT_LOGS, f"{sized(KEPT_LOGS)} logs")
        case ServiceKind.PACKAGES:
            yield "disk", Need(KEPT_PACKAGES, f"{sized(KEPT_PACKAGES)} packages")
        case ServiceKind.REDIS:
            for cache in (c for c, found in basis.stack.caches.items() if found.service == name):
                said = basis.facts.caches.get(cache)
                if said:
                    formula = f"{sized(said.bytes)} snapshot x {CACHE_OVER_SNAPSHOT}"
                    yield "memory", Need(said.bytes * CACHE_OVER_SNAPSHOT, formula)
                    yield "disk", Need(said.bytes * 3, f"{sized(said.bytes)} snapshot x 3")
                else:
                    yield "memory", Need(0, f"{cache} of unknown size", is_told=False)
        case _:
            return


def _database_needs(basis: Basis, service: str) -> Iterator[tuple[str, Need]]:
    for name, database in basis.stack.databases.items():
        if database.service != service:
            continue
        sizes = basis.database_bytes(name)
        if sizes is None:
            yield "disk", Need(0, f"{name} of unknown size", is_told=False)
        else:
            dump, whole = sizes
            formula = f"{sized(dump)} dump + {sized(whole.value)} database x {HEADROOM}"
            yield "disk", Need(dump + whole.value * HEADROOM, formula)


def _media_needs(basis: Basis, service: str) -> Iterator[tuple[str, Need]]:
    for media in basis.stack.media.values():
        if media.service != service:
            continue
        bucket = basis.bucket(media.bucket)
        if bucket is None:
            yield "disk", Need(0, f"{media.bucket} of unknown size", is_told=False)
            continue
        needed = bucket.bytes * HEADROOM + bucket.objects * BLOCK_BYTES
        yield "disk", Need(needed, f"{sized(bucket.bytes)} media x {HEADROOM} + {bucket.objects:,} x {BLOCK_BYTES} B")
        yield "files", Need(bucket.objects * FOLDERS, f"{bucket.objects:,} objects x {FOLDERS}")


def _there(basis: Basis, served: tuple[str, ...], host: Host, resource: str) -> Figure | None:
    """Facts first, of several groups the least; then what preflight saw, then the inventory's variables."""
    said = [figure for group in served if (machine := basis.facts.hosts.get(group))
            and (figure := _said(machine, resource))]  # fmt: skip
    if said:
        return min(said, key=lambda figure: figure.value)
    seen = basis.history.hosts.get(host.name)
    amount = getattr(seen, resource, None)
    if seen is not None and amount is not None:
        return _seen(resource, amount, seen)
    stated = basis.inventory.merged.get(host.name, {}).get(VARIABLES[resource])
    amount = _number(stated)
    return Figure(resource, amount, Ground.STATED, f"inventory: {VARIABLES[resource]}") if amount is not None else None


def _seen(resource: str, amount: float, seen: SeenHost) -> Figure:
    ground = Ground.MEASURED if seen.probed else Ground.KNOWN
    return Figure(resource, amount, ground, f"{'probe' if seen.probed else 'preflight'}, {seen.at:%Y-%m-%d %H:%M} UTC")


def _said(machine: Machine, resource: str) -> Figure | None:
    amount = getattr(machine, resource)
    return Figure(resource, amount, machine.ground, named_source(machine)) if amount is not None else None


def _number(stated: object) -> float | None:
    """A size or count of the inventory; `hold_resources` has refused what is none."""
    parsed = parse_size(stated) if isinstance(stated, str) else stated
    return float(parsed) if isinstance(parsed, int | float) and math.isfinite(parsed) else None


def _line(where: str, hosts: list[Host], resource: str, need: Need, told: Mapping[str, Figure]) -> RoomLine:
    """`told`: host -> what it has. Short where one of them is short; enough only where each is known to have enough."""
    least = min(told, key=lambda name: told[name].value, default="")
    there = told.get(least)
    short = sum(figure.value < need.amount for figure in told.values())
    silent = len(hosts) - len(told) if hosts else 0
    is_known = need.is_told and not silent and there is not None
    verdict = Verdict.FAIL if short else Verdict.PASS if is_known else Verdict.UNKNOWN
    source = there.source if there else NOBODY
    if there and silent:
        source = f"{source}; of {silent} of {len(hosts)} hosts nobody said"
    differ = len({figure.value for figure in told.values()}) > 1
    return RoomLine(
        where=where, hosts=len(hosts), short_hosts=short, resource=resource, needed=math.ceil(need.amount),
        there=there.value if there else None, verdict=verdict, formula=need.formula, source=source,
        ground=there.ground if there else None, worst_host=least if differ or (there and silent) else "",
    )  # fmt: skip


def _ports(basis: Basis, served: tuple[str, ...], hosts: list[Host]) -> RoomLine:
    """Each port of these hosts can have one holder: a service, sshd, or what preflight saw listening there."""
    wanted = _wanted_ports(basis, hosts[0])
    ports = {port for port, _ in wanted}
    names = ", ".join(f"{port} {name}" for port, name in wanted)
    free: dict[str, Figure] = {}
    taken: list[str] = []
    for host in hosts:
        seen = basis.history.hosts.get(host.name)
        busy = set(seen.busy_ports) & ports if seen and seen.busy_ports is not None else set()
        twice = [port for port, count in Counter([*(p for p, _ in wanted), host.port]).items() if count > 1]
        taken += [f"{port} is taken on {host.name}" for port in sorted(busy)]
        taken += [f"{port} is wanted twice on {host.name}" for port in twice]
        if busy or twice or (seen and seen.busy_ports is not None):
            count = len(ports - busy - set(twice))
            free[host.name] = (
                _seen("ports", count, seen)
                if seen and seen.busy_ports is not None
                else Figure("ports", count, Ground.STATED, "manifest and inventory")
            )
    need = Need(len(ports), "; ".join([names or "none", *taken[:MOST_PORTS]]))
    return _line("+".join(served), hosts, "ports", need, free)


def _wanted_ports(basis: Basis, host: Host) -> list[tuple[int, str]]:
    found = [
        (port, name)
        for name, service in basis.stack.services.items()
        if service.group in host.groups
        for port in service.ports
    ]
    return sorted(found)


def _merged(lines: list[RoomLine]) -> Iterator[RoomLine]:
    """Hosts that differ in nothing but their groups' names are one line: a hundred database hosts of one size."""
    merged: dict[tuple[object, ...], list[RoomLine]] = {}
    for line in lines:
        formula = _without_names(line.formula) if line.resource == "ports" else line.formula
        key = (line.hosts, line.resource, line.needed, line.there, formula, line.source, line.verdict)
        merged.setdefault(key, []).append(line)
    for same in merged.values():
        if len(same) == 1:
            yield same[0]
            continue
        names = _together([line.where for line in same])
        yield same[0].model_copy(update={
            "where": names,
            "hosts": sum(line.hosts for line in same),
            "short_hosts": sum(line.short_hosts for line in same),
            "formula": _without_names(same[0].formula) if same[0].resource == "ports" else same[0].formula,
        })  # fmt: skip


def _together(names: list[str]) -> str:
    """`db001…db100` of a series, every name otherwise."""
    series = len({name.rstrip("0123456789") for name in names}) == 1
    return f"{names[0]}…{names[-1]}" if series else ", ".join(names)


def _without_names(formula: str) -> str:
    """`5432 database007` of a hundred databases: the port alone."""
    return ", ".join(part.split(" ")[0] for part in formula.split(", ")) if ";" not in formula else formula
