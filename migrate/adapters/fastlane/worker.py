"""One worker process: `python -m migrate.adapters.fastlane.worker FD`; it ends when the other end of the socket does.

From the parent come Setup (once, first), Credentials, Pause, and chunks of Work; back go lists of Outcome and Refusal.
"""

import gc
import os
import queue
import socket
import ssl
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from migrate.adapters.fastlane.fetching import LARGE_BYTES, Asked, Bench, Fetching
from migrate.adapters.fastlane.large import LargeFetching
from migrate.adapters.fastlane.messages import Channel, ChannelEnded, Message, Pause, Refusal, Setup
from migrate.adapters.fastlane.signing import Credentials, Requests
from migrate.adapters.fastlane.wire import Unfit
from migrate.export.lanes import Outcome, Work

MOST_THREADS = 8
FAR_SECONDS = 0.002
# Objects allocated between two searches for cycles: fetching makes none, and a search costs more than a request.
SELDOM = 200_000

Given = TypeVar("Given")
Made = TypeVar("Made")


class Worker:
    def __init__(self, channel: Channel, setup: Setup) -> None:
        tls = ssl.create_default_context(cafile=setup.endpoint.ca_file) if setup.endpoint.tls else None
        self._requests = Requests(setup.endpoint, setup.credentials)
        self._bench = Bench(setup.endpoint, self._requests, tls, setup.spool)
        self._channel = channel
        self._chunks: queue.SimpleQueue[tuple[Work, ...]] = queue.SimpleQueue()
        self._fetchers: list[Fetching] = []
        self._large = LargeFetching(self._bench)
        self._resume_at = 0.0

    def take(self, message: Message) -> None:
        if isinstance(message, Credentials):
            self._requests.credentials = message
        elif isinstance(message, Pause):
            self._resume_at = time.monotonic() + message.seconds
        else:
            self._chunks.put(message)
            self._staff()

    def _staff(self) -> None:
        """A near store keeps one thread busy; a far one needs many connections."""
        far = any(fetcher.seconds_waited > FAR_SECONDS for fetcher in self._fetchers)
        if len(self._fetchers) < (MOST_THREADS if far else 1):
            fetcher = Fetching(self._bench)
            self._fetchers.append(fetcher)
            threading.Thread(target=self._run, args=(fetcher,), daemon=True).start()

    def _run(self, fetcher: Fetching) -> None:
        """A thread that dies takes the process with it: the engine then has its work done elsewhere."""
        try:
            while True:
                self._channel.send(list(self._results(fetcher, self._chunks.get())))
        except ChannelEnded:
            os._exit(0)
        except BaseException:  # noqa: BLE001  a thread has nobody above it but the process
            traceback.print_exc()
            os._exit(1)

    def _results(self, fetcher: Fetching, chunk: tuple[Work, ...]) -> Iterator[Outcome | Refusal]:
        asked: deque[Asked] = deque()
        for work in chunk:
            while (seconds := self._resume_at - time.monotonic()) > 0:
                time.sleep(seconds)
            if work.size >= LARGE_BYTES:
                yield attempt(self._large.fetch, work, work)
                continue
            if not fetcher.has_room:
                yield taken(fetcher, asked.popleft())
            begun = attempt(fetcher.ask, work, work)
            if isinstance(begun, Asked):
                asked.append(begun)
            else:
                yield begun
        while asked:
            yield taken(fetcher, asked.popleft())


def taken(fetcher: Fetching, asked: Asked) -> Outcome | Refusal:
    return attempt(fetcher.take, asked, asked.work)


def attempt(what: Callable[[Given], Made], given: Given, work: Work) -> Made | Refusal:
    """What came of it, or why the careful lane must do it. A bug here must not cost an object either."""
    try:
        return what(given)
    except Unfit as unfit:
        return Refusal(work.id, str(unfit), time.monotonic() if unfit.slow_down else None)
    except Exception as bug:  # noqa: BLE001  the careful lane asks again; what it meets too, the engine raises
        return Refusal(work.id, f"a bug of the fast lane: {type(bug).__name__}: {bug}")


def main() -> None:
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    try:
        worker = Worker(channel, cast(Setup, channel.receive()))
        gc.freeze()
        gc.set_threshold(SELDOM)
        while True:
            worker.take(cast(Message, channel.receive()))
    except ChannelEnded:
        os._exit(0)  # the threads are in the middle of objects that nobody waits for any more


if __name__ == "__main__":
    main()
