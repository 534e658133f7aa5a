"""The seam between the engine and those who fetch: work goes out in batches, outcomes come back.

Everything that crosses it is a frozen value of plain types, so that lanes may be threads, processes or other hosts.
A lane writes bytes into the archive's spool and nowhere else; only the engine names files and writes the ledger.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from migrate.export.source import NOTHING

if TYPE_CHECKING:
    from migrate.export.pace import Pace
    from migrate.export.tree import Tree

STOP_SECONDS = 3.0


class Work(NamedTuple):
    """One object to fetch. `id` is the ledger's; `etag` and `version_id` pin what is read."""

    id: int
    key: str
    version_id: str
    size: int
    etag: str


class Batch(NamedTuple):
    items: tuple[Work, ...]


class Ending(StrEnum):
    VERIFIED = "verified"
    FETCHED = "fetched"
    QUARANTINED = "quarantined"
    ARCHIVED = "archived"
    GONE = "gone"
    FAILED = "failed"
    SILENT = "silent"
    CANCELLED = "cancelled"


class Outcome(NamedTuple):
    """How the work on one object ended. `spooled` is the spool file that holds its bytes, if any."""

    id: int
    ending: Ending
    attempts: int
    spooled: str | None = None
    size: int = 0
    transferred: int = 0
    etag: str = ""
    last_modified: str = ""
    headers: Mapping[str, str] = NOTHING
    metadata: Mapping[str, str] = NOTHING
    tags: Mapping[str, str] | None = None
    acl: Mapping[str, object] | None = None
    digest: str | None = None
    md5: str | None = None
    proof: str | None = None
    part_sizes: tuple[int, ...] = ()
    reason: str | None = None
    evidence: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Halted:
    """A lane met a failure that ends the run; `problem` is raised by the engine."""

    problem: BaseException


Outcomes = list[Outcome]
Deliver = Callable[[Outcomes | Halted], None]
Fetch = Callable[[Work, threading.Event], Outcome]


class Lanes(Protocol):
    """Those who fetch. Outcomes are delivered to the callable that the lanes were made with, one for each item,
    as many at a time as are there.
    """

    @property
    def appetite(self) -> int:
        """How many objects they like to have outstanding."""
        ...

    def submit(self, batch: Batch) -> None: ...

    def stop(self) -> None:
        """Ends the lanes within seconds; work not begun is dropped without an outcome."""
        ...


@dataclass(frozen=True, slots=True)
class LaneSetting:
    """What lanes are made with.

    `fetch` is the careful way to fetch one object; `workers` is how many do so at once; `with_extras` says that each
    object takes more than one request (tags, ACLs).
    """

    fetch: Fetch
    deliver: Deliver
    tree: "Tree"
    pace: "Pace"
    workers: int
    with_extras: bool = False


MakeLanes = Callable[[LaneSetting], Lanes]


def careful_lanes(setting: LaneSetting) -> Lanes:
    """Every object through the careful lane: right for any source."""
    return ThreadLanes(setting.fetch, setting.deliver, setting.workers)


class ThreadLanes:
    """Lanes as threads of this process: the careful lane, one object at a time each."""

    def __init__(self, fetch: Fetch, deliver: Deliver, workers: int) -> None:
        self.appetite = workers * 4
        self._fetch = fetch
        self._deliver = deliver
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._cancel = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"lane-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> None:
        for item in batch.items:
            self._work.put(item)

    def stop(self) -> None:
        self._cancel.set()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(STOP_SECONDS / len(self._threads))

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            if self._cancel.is_set():
                return
            try:
                self._deliver([self._fetch(item, self._cancel)])
            except BaseException as problem:  # noqa: BLE001  a lane's thread has nobody above it: the engine raises it
                self._deliver(Halted(problem))
