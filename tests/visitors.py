"""People who go on reading a site while something happens to it."""

import http.client
import json
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

AT_ONCE = 4
PAUSE_SECONDS = 0.12
"""All together they stay below what the edge lets one address ask for, 50 requests a second."""
PATIENCE_SECONDS = 20.0


@dataclass
class Visitors:
    """As a context: each visitor asks for the page again and again until the end of it."""

    url: str
    answered: Counter[str] = field(default_factory=Counter)
    """Version of the release that answered -> how often."""
    failed: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def __enter__(self) -> "Visitors":
        self._gone = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(AT_ONCE)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gone.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS + 1)
        if any(thread.is_alive() for thread in self._threads):
            self.failed.append(f"{time.strftime('%H:%M:%S')} no answer within {PATIENCE_SECONDS + 1:.0f} s")

    def _visit(self) -> None:
        while not self._gone.is_set():
            began = time.monotonic()
            try:
                with urllib.request.urlopen(self.url, timeout=PATIENCE_SECONDS) as reply:
                    self.answered[json.load(reply)["version"]] += 1
            except (OSError, http.client.HTTPException, ValueError, LookupError) as fault:
                self.failed.append(f"{time.strftime('%H:%M:%S')} {type(fault).__name__}: {fault}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self._gone.wait(PAUSE_SECONDS)
