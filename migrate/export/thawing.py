"""Has archived objects restored, and tells when each is there, while everything else goes on."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from migrate.errors import CloudexitError
from migrate.export.archived import COPY_DAYS, TERMS, WITHOUT_COPY, Tier
from migrate.export.lanes import Halted, Work
from migrate.export.ledger import utc_now
from migrate.export.source import ObjectForbidden, ObjectMissing, ObjectProblem, ObjectRejected, ObjectSource

REQUESTS_AT_ONCE = 8
# How often each restore is looked at, in seconds: a small part of what the tier takes.
LOOK_SECONDS = {Tier.EXPEDITED: 20.0, Tier.STANDARD: 600.0, Tier.BULK: 1800.0}
TURN_SECONDS = 0.5
TIMES_THE_PROMISE = 3.0
LONGEST_KNOWN_HOURS = 48.0
READY = 'ongoing-request="false"'


@dataclass(frozen=True, slots=True)
class Asked:
    """The restore of an object was asked for."""

    work: Work
    reason: str


@dataclass(frozen=True, slots=True)
class Thawed:
    """An object can be read."""

    work: Work


@dataclass(frozen=True, slots=True)
class StaysFrozen:
    """An object cannot be restored in this run."""

    work: Work
    reason: str


ThawNews = Asked | Thawed | StaysFrozen


@dataclass(slots=True)
class _Waiting:
    work: Work
    storage_class: str
    since: float
    look_at: float = 0.0
    asked: bool = False


class Thawing:
    """One thread that asks and looks, with a few requests at once. News are delivered to the callable."""

    def __init__(self, source: ObjectSource, tier: Tier, deliver: Callable[[ThawNews | Halted], None]) -> None:
        self._source = source
        self._tier = tier
        self._deliver = deliver
        self._new: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._waiting: list[_Waiting] = []
        self._submitted: set[int] = set()
        self._heard = 0
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="thawing", daemon=True).start()

    def submit(self, work: Work, storage_class: str) -> None:
        """Once for each object: what is archived still after it was there is left alone."""
        if work.id not in self._submitted:
            self._submitted.add(work.id)
            self._new.put(_Waiting(work, storage_class, time.monotonic()))

    def heard(self, news: ThawNews) -> None:
        """The receiver of news says that it has taken them in."""
        if not isinstance(news, Asked):
            self._heard += 1

    @property
    def is_waiting(self) -> bool:
        """Whether there are objects of which nothing final was heard."""
        return len(self._submitted) > self._heard

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        try:
            with ThreadPoolExecutor(REQUESTS_AT_ONCE) as requests:
                while not self._stop.is_set():
                    self._take_new()
                    now = time.monotonic()
                    due = [waiting for waiting in self._waiting if waiting.look_at <= now]
                    ended = {
                        id(waiting) for waiting, over in zip(due, requests.map(self._turn, due), strict=True) if over
                    }
                    self._waiting = [waiting for waiting in self._waiting if id(waiting) not in ended]
                    self._stop.wait(TURN_SECONDS)
        except CloudexitError as problem:
            self._deliver(Halted(problem))

    def _take_new(self) -> None:
        while True:
            try:
                self._waiting.append(self._new.get_nowait())
            except queue.Empty:
                return

    def _turn(self, waiting: _Waiting) -> bool:
        """Asks for one object or looks at it, and returns whether it is done with."""
        if self._stop.is_set():
            return False
        work = waiting.work
        waiting.look_at = time.monotonic() + LOOK_SECONDS[self._tier]
        try:
            if not waiting.asked:
                self._ask(waiting)
            if READY in self._source.head(work.key, version_id=work.version_id).headers.get("x-amz-restore", ""):
                self._deliver(Thawed(work))
                return True
        except (ObjectForbidden, ObjectMissing, ObjectRejected) as refusal:
            self._deliver(StaysFrozen(work, f"it cannot be restored: {refusal.detail}"))
            return True
        except ObjectProblem as problem:
            return self._is_overdue(waiting, f"its restore could not be asked for: {problem.detail}")
        return self._is_overdue(waiting, f"its restore ({self._tier}) takes longer than it should")

    def _ask(self, waiting: _Waiting) -> None:
        work = waiting.work
        dated = waiting.storage_class not in WITHOUT_COPY
        self._source.restore(work.key, version_id=work.version_id, tier=self._tier.value, days=COPY_DAYS, dated=dated)
        waiting.asked = True
        self._deliver(Asked(work, f"its restore ({self._tier}) was asked for at {utc_now()}"))

    def _is_overdue(self, waiting: _Waiting, reason: str) -> bool:
        terms = TERMS.get((waiting.storage_class, self._tier))
        hours = terms.hours_to if terms is not None else LONGEST_KNOWN_HOURS
        if time.monotonic() - waiting.since < hours * 3600 * TIMES_THE_PROMISE:
            return False
        self._deliver(StaysFrozen(waiting.work, reason))
        return True
