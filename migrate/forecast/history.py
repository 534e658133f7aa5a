"""What earlier runs and drills took, from the journal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from migrate.journal import Event, Journal, Record, Run

ROOM_CHECKS = {"disk /srv": "disk", "memory": "memory"}
PORTS_CHECK = "ports"
OLD_HOME = "lab.old-home"


@dataclass(frozen=True)
class Known:
    """How a step once went: seconds of the attempt that did the work."""

    seconds: float
    run: int
    command: str
    at: datetime
    bytes: int | None = None
    objects: int | None = None
    hosts: int | None = None
    tells_sizes: bool = True
    """Whether bytes and objects are those of the real thing: not of a drill, whose old home may be its own, and not of
    a run that went on where another had stopped."""
    own_old_home: bool = False
    """Whether it was a drill that made its own old home, on this machine."""

    @property
    def source(self) -> str:
        where = "drill on disposable hosts" if self.command == "rehearse" else f"cloudexit {self.command}"
        return f"journal: run {self.run}, {where}, {self.at:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class SeenHost:
    """What preflight last saw free on a host, in bytes."""

    at: datetime
    disk: int | None = None
    memory: int | None = None
    probed: bool = False
    """By a probe of this plan, and not by an earlier run."""
    busy_ports: tuple[int, ...] | None = None
    """Ports on which something listens that is not of the stack; None where nobody looked."""


@dataclass(frozen=True)
class History:
    """(kind, subject) -> how it last went, and host -> what was last seen there."""

    steps: Mapping[tuple[str, str], Known] = field(default_factory=dict)
    hosts: Mapping[str, SeenHost] = field(default_factory=dict)


def history_of(journal: Journal) -> History:
    """The newest success of each kind and subject, of all runs."""
    steps: dict[tuple[str, str], Known] = {}
    hosts: dict[str, SeenHost] = {}
    for run in journal.runs():
        planned = {step["id"]: step for step in run.plan.get("steps", [])}
        records = journal.records(run)
        count = _host_count(records)
        for record in records:
            step = planned.get(record.step)
            if step is None:
                continue
            if record.event is Event.DONE and record.seconds is not None:
                known = _known(run, record, count)
                steps[step["kind"], step["subject"]] = replace(known, own_old_home=OLD_HOME in planned)
            if step["kind"] == "preflight.hosts" and run.command != "rehearse":
                hosts.update(_seen(record))
    return History(steps, hosts)


def _known(run: Run, record: Record, hosts: int | None) -> Known:
    objects = record.detail.get("objects", record.detail.get("verified"))
    return Known(
        seconds=record.seconds or 0.0, run=run.id, command=run.command, at=record.at,
        bytes=_whole(record.detail.get("bytes")), objects=_whole(objects), hosts=hosts,
        tells_sizes=run.command != "rehearse" and not record.detail.get("skipped"),
    )  # fmt: skip


def _host_count(records: Iterable[Record]) -> int | None:
    counts = [_whole(r.detail.get("hosts")) for r in records if r.step == "preflight.hosts" and r.event is Event.DONE]
    return counts[-1] if counts else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seen(record: Record) -> dict[str, SeenHost]:
    found: dict[str, SeenHost] = {}
    for check in record.detail.get("checks", []):
        facts, host = check.get("facts", {}), check["host"]
        seen = found.get(host, SeenHost(record.at))
        amount = _whole(facts.get("bytes"))
        if amount is not None and check["name"] in ROOM_CHECKS:
            is_disk = ROOM_CHECKS[check["name"]] == "disk"
            found[host] = replace(seen, disk=amount) if is_disk else replace(seen, memory=amount)
        elif check["name"] == PORTS_CHECK and isinstance(facts.get("busy"), list):
            found[host] = replace(seen, busy_ports=tuple(facts["busy"]))
    return found
