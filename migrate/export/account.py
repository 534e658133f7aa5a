"""What a run has come to so far, and at its end."""

from collections import Counter
from collections.abc import Callable

from migrate.export.archived import offers
from migrate.export.clock import Clock
from migrate.export.crosscheck import CrossCheck
from migrate.export.fetch import SECOND_READ
from migrate.export.intake import IntakeTally
from migrate.export.lanes import Ending, Outcome
from migrate.export.ledger import Ledger, Progress, State
from migrate.export.own_count import CountCheck
from migrate.export.pruning import Pruned
from migrate.export.results import ExportResult

STATES = "SELECT state, count(*), total(proof IS ?) FROM temp.seen JOIN objects USING (id) GROUP BY state"
ARCHIVED = (
    "SELECT storage_class, count(*), sum(size) FROM temp.seen JOIN objects USING (id) WHERE state = 'archived'"
    " GROUP BY storage_class"
)
NO_REPORT = "no inventory report was named (--inventory-report)"
LEFT = "SELECT count(*), total(o.size) FROM temp.queue q JOIN objects o ON o.id = q.id WHERE q.position > ?"


class Account:
    """Counts of one run: objects, and bytes of objects."""

    def __init__(self, ledger: Ledger, tally: IntakeTally, clock: Clock) -> None:
        self._connection = ledger.connection
        self._tally = tally
        self._clock = clock
        self.settled: Counter[Ending] = Counter()
        self.settled_bytes = 0
        self.fetched_bytes = 0
        self.passed_over = 0
        self.passed_over_bytes = 0
        self.waiting = 0
        self.gone = 0
        self.pruned = Pruned()
        self.cross_check: CrossCheck | None = None
        self.own_count: Callable[[int], CountCheck | str] = lambda listed: "the bucket's own count did not come in time"

    def settle(self, outcome: Outcome, size: int) -> None:
        self.settled[outcome.ending] += 1
        self.settled_bytes += size
        self.fetched_bytes += outcome.transferred

    def take_back(self, ending: Ending, size: int) -> None:
        """An object that had ended so is worked on again."""
        self.settled[ending] -= 1
        self.settled_bytes -= size

    def progress(self, *, listing_done: bool) -> Progress:
        tally, ended = self._tally, self.settled
        here = tally.skipped + tally.already_fetched + tally.markers
        settled = here + sum(ended.values())
        settled_bytes = tally.skipped_bytes + self.settled_bytes
        left = max(0, tally.listed - settled), max(0, tally.listed_bytes - settled_bytes)
        return Progress(
            phase="fetching" if listing_done else "listing",
            listed=tally.listed,
            listed_bytes=tally.listed_bytes,
            settled=settled,
            settled_bytes=settled_bytes,
            verified=ended[Ending.VERIFIED] + tally.skipped + tally.markers,
            skipped=tally.skipped,
            quarantined=ended[Ending.QUARANTINED],
            archived=ended[Ending.ARCHIVED],
            gone=ended[Ending.GONE] + self.gone,
            unverified=ended[Ending.FETCHED] + tally.already_fetched,
            fetched_bytes=self.fetched_bytes,
            seconds=self._clock.seconds,
            bytes_per_second=self._clock.rates()[1],
            seconds_left=self._clock.seconds_left(*left) if listing_done else None,
            errors=ended[Ending.FAILED] + ended[Ending.SILENT] + ended[Ending.QUARANTINED],
        )

    def result(self, position: int) -> ExportResult:
        """The end of the run, as the ledger has it; the queue was handed out up to `position`. Reads all rows."""
        found = {State(row[0]): row for row in self._connection.execute(STATES, (SECOND_READ,))}
        counts = {state: found[state][1] if state in found else 0 for state in State}
        left = self._connection.execute(LEFT, (position,)).fetchone()
        held = self._connection.execute(ARCHIVED) if counts[State.ARCHIVED] else ()
        unverified = counts[State.LISTED] + counts[State.FETCHED]
        checked = self.cross_check or self.own_count(sum(counts.values()))
        is_checked = not isinstance(checked, str)
        return ExportResult(
            listed=sum(counts.values()),
            verified=counts[State.VERIFIED],
            quarantined=counts[State.QUARANTINED],
            archived=counts[State.ARCHIVED],
            gone=self.gone + counts[State.GONE],
            skipped=self._tally.skipped,
            bytes=self.fetched_bytes,
            seconds=self._clock.seconds,
            complete=not (unverified or counts[State.QUARANTINED] or counts[State.ARCHIVED])
            and (isinstance(checked, str) or checked.agrees),
            unverified=unverified,
            remaining_objects=left[0] + self.passed_over,
            remaining_bytes=int(left[1]) + self.passed_over_bytes,
            second_read=int(found[State.VERIFIED][2]) if State.VERIFIED in found else 0,
            pruned=self.pruned.objects,
            pruned_bytes=self.pruned.bytes,
            restore_offers=tuple(offers(held)),
            cross_checked=is_checked,
            cross_check=checked if is_checked else f"not cross-checked: {NO_REPORT}, and {checked}",
        )
