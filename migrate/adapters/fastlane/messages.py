"""What passes between the engine's process and its workers."""

from dataclasses import dataclass

from migrate.adapters.fastlane.signing import Credentials, Endpoint
from migrate.export.lanes import Outcome, Work


@dataclass(frozen=True, slots=True)
class Setup:
    """`spool` is the descriptor of an open folder that the worker has inherited."""

    endpoint: Endpoint
    credentials: Credentials | None
    spool: int


@dataclass(frozen=True, slots=True)
class Pause:
    """No new requests for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Work that the fast lane leaves to the careful one; `slow_down_at` is when the store asked for a pause, if it did.

    A `time.monotonic()`, which is one clock for all processes of a host.
    """

    id: int
    why: str
    slow_down_at: float | None = None


Message = Credentials | Pause | tuple[Work, ...]
Results = list[Outcome | Refusal]
