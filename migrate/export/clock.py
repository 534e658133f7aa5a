"""How fast it goes, when it will end, and whether an object can still be fetched before the deadline."""

import time
from collections import deque
from datetime import UTC, datetime

WINDOW_SECONDS = 15.0
SAMPLE_SECONDS = 0.25
MEASURED_SECONDS = 1.0


class Clock:
    """Rates over the last quarter minute, from samples of (settled objects, settled bytes)."""

    def __init__(self, deadline: datetime | None = None) -> None:
        self._started = time.monotonic()
        self._samples: deque[tuple[float, int, int]] = deque([(self._started, 0, 0)])
        self._ends = (
            self._started + (deadline - datetime.now(UTC)).total_seconds() if deadline is not None else float("inf")
        )

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._started

    def sample(self, objects: int, bytes_: int) -> None:
        now = time.monotonic()
        if now - self._samples[-1][0] < SAMPLE_SECONDS:
            return
        self._samples.append((now, objects, bytes_))
        while now - self._samples[0][0] > WINDOW_SECONDS and len(self._samples) > 2:
            self._samples.popleft()

    def rates(self) -> tuple[float, float]:
        """Objects and bytes per second."""
        first, last = self._samples[0], self._samples[-1]
        span = last[0] - first[0]
        if span <= 0:
            return 0.0, 0.0
        return (last[1] - first[1]) / span, (last[2] - first[2]) / span

    def seconds_left(self, objects: int, bytes_: int) -> float | None:
        """For so much work, as the slower of both rates has it; None before anything is measured."""
        object_rate, byte_rate = self.rates()
        if not object_rate:
            return None
        return max(objects / object_rate, bytes_ / byte_rate if byte_rate else 0.0)

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self._ends

    def can_finish(self, size: int, workers: int) -> bool:
        """Whether an object of `size` bytes would be here before the deadline, at one worker's share of the rate."""
        left = self._ends - time.monotonic()
        if left <= 0:
            return False
        if left == float("inf") or self.seconds < MEASURED_SECONDS:
            return True
        byte_rate = self.rates()[1] / workers
        return not byte_rate or size / byte_rate <= left
