"""One worker process: `python -m migrate.adapters.fastlane.worker FD`. It ends when the other end of FD is closed.

From the parent come Setup (once, first), Credentials, Pause, and chunks of Work; back go lists of Outcome and Refusal.
"""

import gc
import os
import pickle
import queue
import ssl
import sys
import threading
import time
from multiprocessing.connection import Connection as Pipe

from migrate.adapters.fastlane.fetching import LARGE_BYTES, Bench, Fetching
from migrate.adapters.fastlane.large import LargeFetching
from migrate.adapters.fastlane.messages import Message, Pause, Refusal, Setup
from migrate.adapters.fastlane.signing import Credentials, Requests
from migrate.adapters.fastlane.wire import Unfit
from migrate.export.lanes import Outcome, Work

FIRST_THREADS = 4
MOST_THREADS = 32
FAR_SECONDS = 0.01


class Worker:
    def __init__(self, pipe: "Pipe[bytes, bytes]", setup: Setup) -> None:
        tls = ssl.create_default_context(cafile=setup.endpoint.ca_file) if setup.endpoint.tls else None
        self._requests = Requests(setup.endpoint, setup.credentials)
        self._bench = Bench(setup.endpoint, self._requests, tls, setup.spool)
        self._pipe = pipe
        self._sending = threading.Lock()
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
        while True:
            results = [self._fetch(fetcher, work) for work in self._chunks.get()]
            message = pickle.dumps(results, pickle.HIGHEST_PROTOCOL)
            with self._sending:
                self._pipe.send_bytes(message)

    def _fetch(self, fetcher: Fetching, work: Work) -> Outcome | Refusal:
        while (seconds := self._resume_at - time.monotonic()) > 0:
            time.sleep(seconds)
        try:
            return (self._large if work.size >= LARGE_BYTES else fetcher).fetch(work)
        except Unfit as unfit:
            return Refusal(work.id, str(unfit), time.monotonic() if unfit.slow_down else None)


def main() -> None:
    pipe: Pipe[bytes, bytes] = Pipe(int(sys.argv[1]))
    try:
        worker = Worker(pipe, pickle.loads(pipe.recv_bytes()))
        gc.freeze()
        while True:
            worker.take(pickle.loads(pipe.recv_bytes()))
    except (EOFError, ConnectionError):
        os._exit(0)  # the threads are in the middle of objects that nobody waits for any more


if __name__ == "__main__":
    main()
