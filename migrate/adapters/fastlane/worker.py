"""One worker process: `python -m migrate.adapters.fastlane.worker FD`; it ends when the other end of the socket does.

From the parent come Setup (once, first), Credentials, Pause, and chunks of Work; back go lists of Outcome and Refusal.
"""

import contextlib
import gc
import os
import queue
import socket
import ssl
import sys
import threading
import time
from typing import cast

from migrate.adapters.fastlane.fetching import LARGE_BYTES, Bench, Fetching
from migrate.adapters.fastlane.large import LargeFetching
from migrate.adapters.fastlane.messages import Channel, ChannelEnded, Message, Pause, Refusal, Setup
from migrate.adapters.fastlane.signing import Credentials, Requests
from migrate.adapters.fastlane.wire import Unfit
from migrate.export.lanes import Outcome, Work

FIRST_THREADS = 2
MOST_THREADS = 32
FAR_SECONDS = 0.01
# Objects allocated between two searches for cycles: fetching makes none, and a search costs more than a request.
SELDOM = 200_000


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
        """A near store is busy with few connections; a far one needs many."""
        far = any(fetcher.seconds_to_answer > FAR_SECONDS for fetcher in self._fetchers)
        if len(self._fetchers) < (MOST_THREADS if far else FIRST_THREADS):
            fetcher = Fetching(self._bench, self._bench.connection())
            self._fetchers.append(fetcher)
            threading.Thread(target=self._run, args=(fetcher,), daemon=True).start()

    def _run(self, fetcher: Fetching) -> None:
        with contextlib.suppress(ChannelEnded):  # the main thread hears of it too, and ends the process
            while True:
                self._channel.send([self._fetch(fetcher, work) for work in self._chunks.get()])

    def _fetch(self, fetcher: Fetching, work: Work) -> Outcome | Refusal:
        while (seconds := self._resume_at - time.monotonic()) > 0:
            time.sleep(seconds)
        try:
            return (self._large if work.size >= LARGE_BYTES else fetcher).fetch(work)
        except Unfit as unfit:
            return Refusal(work.id, str(unfit), time.monotonic() if unfit.slow_down else None)


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
