"""What all workers share: the bandwidth they may use, the pause that the source asks for, and patience in an outage."""

import threading
import time

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0
CALM_SECONDS = 5.0
# How long the store may be out before objects are given up: longer than a restart, shorter than an operator's coffee.
PATIENCE_SECONDS = 90.0


class Pace:
    """Shared by the workers of one process. `bytes_per_second` of 0 is no limit."""

    def __init__(self, bytes_per_second: float = 0.0) -> None:
        self._limit = bytes_per_second
        self._lock = threading.Lock()
        self._paid_until = time.monotonic()
        self._pause_until = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self.witness: tuple[str, str] | None = None
        self._answered_at = 0.0
        self._trouble_since: float | None = None

    def answered(self, key: str, version_id: str) -> None:
        """The source gave somebody what was asked for: this object is the witness that it can."""
        self.witness = key, version_id
        self._answered_at = time.monotonic()
        self._trouble_since = None

    def has_answered_since(self, moment: float) -> bool:
        """Whether it gave anybody anything after this `time.monotonic()`."""
        return self._answered_at > moment

    @property
    def patience_is_lost(self) -> bool:
        """Whether it has given nobody anything for too long."""
        since = self._trouble_since
        return since is not None and time.monotonic() - since > PATIENCE_SECONDS

    def slow_down(self, said_at: float | None = None) -> None:
        """The source asked for fewer requests, or is out: everybody waits, longer each time until it has been calm.

        What it said before the last pause ended (`said_at`, a `time.monotonic()`, for news that come late) is not news.
        """
        with self._lock:
            now = time.monotonic()
            if said_at is not None and said_at < self._pause_until:
                return
            if self._trouble_since is None:
                self._trouble_since = now
            if now < self._pause_until:
                return
            calm = now - self._pause_until > CALM_SECONDS
            self._pause = FIRST_PAUSE_SECONDS if calm else min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            self._pause_until = now + self._pause

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit to the bytes a second."""
        return bool(self._limit)

    @property
    def pause_left(self) -> float:
        """Seconds until the next request may be sent."""
        return max(0.0, self._pause_until - time.monotonic())

    def wait(self, cancel: threading.Event) -> None:
        """Returns when the next request may be sent, or as soon as `cancel` is set."""
        if remaining := self.pause_left:
            cancel.wait(remaining)

    def spend(self, count: int, cancel: threading.Event) -> None:
        """Accounts for `count` bytes and waits until the limit allows them, or `cancel` is set."""
        if not self._limit:
            return
        with self._lock:
            now = time.monotonic()
            self._paid_until = max(self._paid_until, now) + count / self._limit
            owed = self._paid_until - now
        if owed > 0:
            cancel.wait(owed)
