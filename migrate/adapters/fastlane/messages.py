"""What passes between the engine's process and its workers, and the way that it passes."""

import pickle
import socket
import threading
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
BUFFER_BYTES = 64 * 1024


class ChannelEnded(Exception):
    """The other end is closed: its process has ended, or is about to."""


class Channel:
    """One end of a socket pair between two processes of this program. Any thread may send; one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._stream = end.makefile("rb", buffering=BUFFER_BYTES)
        self._sending = threading.Lock()

    def send(self, message: "Setup | Message | Results") -> None:
        """Raises ChannelEnded."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        try:
            with self._sending:
                self._end.sendall(data)
        except OSError as problem:
            raise ChannelEnded from problem

    def receive(self) -> object:
        """Waits for the next message. Raises ChannelEnded."""
        try:
            return pickle.load(self._stream)
        except (EOFError, pickle.UnpicklingError, OSError) as problem:
            raise ChannelEnded from problem

    def close(self) -> None:
        self._stream.close()
        self._end.close()
