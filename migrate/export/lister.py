"""Lists the source in a thread of its own, a few pages ahead of whoever takes them in."""

import threading
from collections.abc import Callable

from migrate.export.lanes import Halted
from migrate.export.source import Entry, ObjectSource

PAGES_AHEAD = 4


class ListingEnded:
    """The listing came to its end: everything was shown."""


class Lister:
    """Pages, then `ListingEnded` or `Halted`, go to `deliver`; each page is to be answered by `page_taken`."""

    def __init__(
        self,
        source: ObjectSource,
        prefix: str,
        deliver: Callable[[tuple[Entry, ...] | ListingEnded | Halted], None],
        *,
        versions: bool,
    ) -> None:
        self._pages = source.pages(prefix, versions=versions)
        self._deliver = deliver
        self._room = threading.Semaphore(PAGES_AHEAD)
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="listing", daemon=True).start()

    def page_taken(self) -> None:
        self._room.release()

    def stop(self) -> None:
        self._stopped.set()
        self._room.release()

    def _run(self) -> None:
        try:
            for page in self._pages:
                self._room.acquire()
                if self._stopped.is_set():
                    return
                self._deliver(page)
            self._deliver(ListingEnded())
        except BaseException as problem:  # noqa: BLE001  a thread has nobody above it: the loop raises it
            self._deliver(Halted(problem))
