"""The fast lane as the engine sees it: deals work out to the workers, and what they refuse to the careful lane."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from migrate.adapters.fastlane.fetching import LARGE_BYTES, spool_name
from migrate.adapters.fastlane.messages import Channel, ChannelEnded, Message, Pause, Refusal, Results, Setup
from migrate.adapters.fastlane.signing import Credentials, Endpoint
from migrate.export.kept import claim, is_keepable
from migrate.export.keymap import is_safe
from migrate.export.lanes import Batch, Halted, LaneSetting, Outcome, ThreadLanes, Work
from migrate.export.verification import MIB

CHUNK_OBJECTS = 32
CHUNK_BYTES = 4 * MIB
# Under a bandwidth limit a chunk is a burst.
LIMITED_BYTES = MIB // 4
MOST_PROCESSES = 8
ROOM_OBJECTS = 256
GATHER_SECONDS = 0.2
LEAST_APPETITE = 256
MOST_APPETITE = 16_384
APPETITE_SECONDS = 2.0
CREDENTIALS_SECONDS = 5.0
STOP_SECONDS = 3.0
REPLACEMENTS = 4
MODULE = "migrate.adapters.fastlane.worker"
CODE = str(Path(__file__).parents[3])
INHERITED = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "OPENSSL_CONF", "TZ")

CredentialsNow = Callable[[], Credentials | None]


@dataclass(eq=False)
class Crew:
    """One worker process and what it has been given."""

    process: "subprocess.Popen[bytes]"
    channel: Channel
    given: dict[int, Work] = field(default_factory=dict)
    bytes: int = 0
    alive: bool = True

    def send(self, message: Message | Setup) -> None:
        # Where it has died, whoever listens to it finds that out, and knows what it had been given.
        with contextlib.suppress(ChannelEnded):
            self.channel.send(message)


class FastLanes:
    """Worker processes for plain objects and the careful lane for all others, as one pair of Lanes.

    Outcomes are gathered for a moment and made durable together before they are delivered.
    """

    def __init__(
        self, endpoint: Endpoint, credentials: CredentialsNow, setting: LaneSetting, processes: int | None = None
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._setting = setting
        self._careful = ThreadLanes(setting.fetch, setting.deliver, setting.workers)
        self._cancel = threading.Event()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Work, ...]] = deque()
        self._ripe: list[Outcome] = []
        self._rate = 0.0
        self._replacements = REPLACEMENTS
        self._known = credentials()
        self._crews: list[Crew] = []
        self._wanted = processes or min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
        self._threads = [
            threading.Thread(target=self._guarded, args=(target,), name=target.__name__, daemon=True)
            for target in (self._deal, self._harvest)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def appetite(self) -> int:
        """As much as keeps the workers busy for a moment, and little where they are slow: a deadline may be near."""
        return max(LEAST_APPETITE, min(MOST_APPETITE, int(self._rate * APPETITE_SECONDS)))

    def submit(self, batch: Batch) -> None:
        fast = [work for work in batch.items if self._is_plain(work)]
        chosen = {work.id for work in fast}
        self._careful.submit(Batch(tuple(work for work in batch.items if work.id not in chosen)))
        while fast and self._wanted:
            self._wanted -= 1
            self._hire()
        with self._changed:
            self._waiting.extend(chunks(fast, LIMITED_BYTES if self._setting.pace.is_limited else CHUNK_BYTES))
            self._changed.notify_all()

    def _is_plain(self, work: Work) -> bool:
        if self._setting.with_extras or not is_safe(work.key):
            return False
        # A limit is paid for chunk by chunk here; the careful lane pays for large objects as their bytes come.
        return work.size < LARGE_BYTES or (is_keepable(work) and not self._setting.pace.is_limited)

    def stop(self) -> None:
        with self._changed:
            self._cancel.set()
            self._changed.notify_all()
            crews = list(self._crews)
        for crew in crews:
            crew.process.kill()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        self._careful.stop()
        for crew in crews:
            crew.process.wait(STOP_SECONDS)

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as problem:  # noqa: BLE001  a thread has nobody above it: the engine raises it
            self._setting.deliver(Halted(problem))

    def _hire(self) -> None:
        """Starts a worker. It inherits two descriptors and no secret: those come through the channel."""
        ours, theirs = socket.socketpair()
        spool = self._setting.tree.spool
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())],
                pass_fds=(theirs.fileno(), spool),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=surroundings(),
                start_new_session=True,  # Ctrl-C is for the engine, which then stops its workers
            )
        crew = Crew(process, Channel(ours))
        crew.send(Setup(self._endpoint, self._known, spool))
        with self._changed:
            self._crews.append(crew)
        threading.Thread(target=self._guarded, args=(lambda: self._listen(crew),), name="listen", daemon=True).start()

    def _deal(self) -> None:
        """Gives chunks to whoever has the least to do, as fast as the pace allows."""
        setting, renewed = self._setting, time.monotonic()
        while not self._cancel.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._cancel.is_set() or (self._waiting and self._has_room()), 1.0)
                chunk = self._waiting.popleft() if self._waiting and self._has_room() else ()
            if time.monotonic() - renewed > CREDENTIALS_SECONDS:
                renewed = time.monotonic()
                self._renew_credentials()
            if not chunk:
                continue
            setting.pace.wait(self._cancel)
            setting.pace.spend(sum(work.size for work in chunk), self._cancel)
            self._give(chunk)

    def _has_room(self) -> bool:
        alive = [crew for crew in self._crews if crew.alive]
        return not alive or any(len(crew.given) < ROOM_OBJECTS for crew in alive)

    def _give(self, chunk: tuple[Work, ...]) -> None:
        with self._changed:
            crew = min((crew for crew in self._crews if crew.alive), key=lambda crew: crew.bytes, default=None)
            if crew is not None:
                crew.given.update((work.id, work) for work in chunk)
                crew.bytes += sum(work.size for work in chunk)
        if crew is None:
            self._careful.submit(Batch(chunk))
            return
        for work in chunk:
            if work.size >= LARGE_BYTES:
                claim(self._setting.tree, work)
        crew.send(chunk)

    def _renew_credentials(self) -> None:
        now = self._credentials()
        if now is not None and now != self._known:
            self._known = now
            self._tell(now)

    def _tell(self, message: Message) -> None:
        with self._changed:
            crews = [crew for crew in self._crews if crew.alive]
        for crew in crews:
            crew.send(message)

    def _listen(self, crew: Crew) -> None:
        while True:
            try:
                results = cast(Results, crew.channel.receive())
            except ChannelEnded:
                break
            with self._changed:
                done = {result.id: crew.given.pop(result.id) for result in results}
                crew.bytes -= sum(work.size for work in done.values())
                self._ripe.extend(result for result in results if isinstance(result, Outcome))
                self._changed.notify_all()
            for result in results[-1:]:
                if isinstance(result, Outcome):
                    work = done[result.id]
                    self._setting.pace.answered(work.key, work.version_id)
            refused = [result for result in results if isinstance(result, Refusal)]
            if asked := [result.slow_down_at for result in refused if result.slow_down_at is not None]:
                # A chunk's results come together: what the store said before a pause may be heard after it.
                self._setting.pace.slow_down(max(asked))
                self._tell(Pause(self._setting.pace.pause_left))
            self._careful.submit(Batch(tuple(done[result.id] for result in refused)))
        self._bury(crew)

    def _bury(self, crew: Crew) -> None:
        """A worker has died: what it had in hand is done again by the careful lane, and another takes its place."""
        with self._changed:
            crew.alive = False
            left = tuple(crew.given.values())
            crew.given.clear()
            replace = not self._cancel.is_set() and self._replacements > 0
            self._replacements -= replace
            self._changed.notify_all()
        crew.channel.close()
        if self._cancel.is_set():
            return
        crew.process.kill()
        crew.process.wait(STOP_SECONDS)
        for work in left:
            if work.size < LARGE_BYTES:
                self._setting.tree.discard(spool_name(work))
        self._careful.submit(Batch(left))
        if replace:
            self._hire()

    def _harvest(self) -> None:
        """Gathers outcomes, makes their bytes durable with one call, and delivers them."""
        delivered_at = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ripe or self._cancel.is_set())
                self._changed.wait_for(lambda: self._cancel.is_set() or not self._busy(), GATHER_SECONDS)
                ripe, self._ripe = self._ripe, []
            if ripe:
                self._setting.tree.sync_spool()
                now = time.monotonic()
                self._rate, delivered_at = len(ripe) / (now - delivered_at), now
                self._setting.deliver(ripe)
            elif self._cancel.is_set():
                return

    def _busy(self) -> bool:
        return bool(self._waiting) or any(crew.given for crew in self._crews)


def surroundings() -> dict[str, str]:
    """A worker's environment: nothing secret, and the code that this process runs, wherever it was found."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, (CODE, kept.get("PYTHONPATH"))))}


def chunks(items: Iterable[Work], most_bytes: int = CHUNK_BYTES) -> Iterable[tuple[Work, ...]]:
    """Cut so that small objects travel together and large ones alone."""
    chunk: list[Work] = []
    size = 0
    for work in items:
        if chunk and (len(chunk) == CHUNK_OBJECTS or size + work.size > most_bytes):
            yield tuple(chunk)
            chunk, size = [], 0
        chunk.append(work)
        size += work.size
    if chunk:
        yield tuple(chunk)
