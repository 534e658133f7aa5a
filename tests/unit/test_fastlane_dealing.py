"""How work is cut and dealt, who gets what, and what a worker is told: with a real worker process."""

import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from migrate.adapters.fastlane import lanes as fastlanes
from migrate.adapters.fastlane.fetching import LARGE_BYTES
from migrate.adapters.fastlane.lanes import FastLanes, chunks, surroundings
from migrate.adapters.fastlane.messages import Channel, ChannelEnded, Refusal, Setup
from migrate.adapters.fastlane.signing import Credentials, Endpoint
from migrate.adapters.fastlane.worker import attempt
from migrate.export.lanes import Batch, Ending, Halted, LaneSetting, Outcome, Outcomes, Work
from migrate.export.pace import Pace
from migrate.export.tree import Tree
from migrate.secret import Secret
from tests.hostile.memory_bucket import md5

BODY = b"hello"
PATIENCE_SECONDS = 20.0


def work(number: int, size: int = len(BODY), key: str = "k", etag: str = md5(BODY)) -> Work:
    return Work(number, key, "", size, etag)


def test_small_objects_travel_together_and_large_ones_alone() -> None:
    sizes = [10] * (fastlanes.CHUNK_OBJECTS + 2) + [fastlanes.CHUNK_BYTES * 3, 10, 10, fastlanes.CHUNK_BYTES - 5, 10]
    cut = [[item.size for item in chunk] for chunk in chunks(work(n, size) for n, size in enumerate(sizes))]
    assert [size for chunk in cut for size in chunk] == sizes
    assert [len(chunk) for chunk in cut] == [fastlanes.CHUNK_OBJECTS, 2, 1, 2, 1, 1]
    assert not list(chunks([]))


def test_a_worker_inherits_no_secret_and_runs_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    kept = surroundings()
    assert "hidden" not in str(kept)
    assert kept["PYTHONPATH"].split(os.pathsep) == [str(Path(fastlanes.__file__).parents[3]), "/elsewhere"]


class Store:
    """Answers every request with BODY, or with what `says` returns, and remembers who asked."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.says: Callable[[], bytes] = lambda: good(BODY)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.converse, args=(peer,), daemon=True).start()

    def converse(self, peer: socket.socket) -> None:
        with peer:
            while request := peer.recv(8192):
                self.asked.put(request.decode())
                peer.sendall(self.says())


def good(body: bytes) -> bytes:
    head = f'HTTP/1.1 200 OK\r\nETag: "{md5(BODY)}"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.listener.shutdown(socket.SHUT_RDWR)
    store.listener.close()


class Engine:
    """The engine's side of some lanes: what was delivered, and what the careful lane was asked for."""

    def __init__(self, store: Store, tree: Tree, **setting: bool) -> None:
        self.delivered: queue.SimpleQueue[Outcomes | Halted] = queue.SimpleQueue()
        self.heard: list[Outcome] = []
        self.credentials: Credentials | None = Credentials("first", Secret("s"))
        self.pace = Pace()
        port = store.listener.getsockname()[1]
        endpoint = Endpoint(False, "127.0.0.1", port, "h", "/b/", "r")
        made_with = LaneSetting(self.fetch, self.delivered.put, tree, self.pace, 2, **setting)
        self.lanes = FastLanes(endpoint, lambda: self.credentials, made_with, processes=1)

    def fetch(self, item: Work, cancel: threading.Event) -> Outcome:
        return Outcome(item.id, Ending.FETCHED, 1)

    def outcome(self) -> Outcome:
        if not self.heard:
            found = self.delivered.get(timeout=PATIENCE_SECONDS)
            assert not isinstance(found, Halted)
            self.heard = found
        return self.heard.pop(0)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path) as tree:
        tree.prepare()
        yield tree


def test_under_a_limit_chunks_are_small_bursts() -> None:
    cut = [len(chunk) for chunk in chunks((work(n, 1000) for n in range(10)), 3500)]
    assert cut == [3, 3, 3, 1]


def test_who_gets_what(store: Store, tree: Tree) -> None:
    engine = Engine(store, tree)
    try:
        engine.lanes.submit(Batch((work(1), work(2, key="../k"), work(3, LARGE_BYTES, etag=""), work(4, etag="other"))))
        ended = {outcome.id: outcome.ending for outcome in (engine.outcome() for _ in range(4))}
        assert ended == {1: Ending.VERIFIED, 2: Ending.FETCHED, 3: Ending.FETCHED, 4: Ending.FETCHED}
        assert store.asked.get().startswith("GET /b/k HTTP/1.1\r\n")
    finally:
        engine.lanes.stop()


def test_tags_are_the_careful_lanes(store: Store, tree: Tree) -> None:
    engine = Engine(store, tree, with_extras=True)
    try:
        engine.lanes.submit(Batch((work(1),)))
        assert engine.outcome().ending is Ending.FETCHED
        assert store.asked.empty()
    finally:
        engine.lanes.stop()


def test_renewed_credentials_reach_the_workers(store: Store, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastlanes, "CREDENTIALS_SECONDS", 0.0)
    engine = Engine(store, tree)
    try:
        engine.lanes.submit(Batch((work(1),)))
        assert engine.outcome().ending is Ending.VERIFIED
        assert "Credential=first/" in store.asked.get()
        engine.credentials = Credentials("second", Secret("s"), Secret("token"))
        for number in range(2, 40):
            engine.lanes.submit(Batch((work(number),)))
            engine.outcome()
            if "Credential=second/" in (asked := store.asked.get()):
                assert "x-amz-security-token:token" in asked
                return
        pytest.fail("the workers still use the old credentials")
    finally:
        engine.lanes.stop()


def test_a_store_that_wants_a_pause_gets_one_from_everybody(store: Store, tree: Tree) -> None:
    store.says = lambda: b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"
    engine = Engine(store, tree)
    try:
        engine.lanes.submit(Batch((work(1),)))
        assert engine.outcome().ending is Ending.FETCHED
        assert engine.pace.pause_left > 0
    finally:
        engine.lanes.stop()


def test_a_disk_that_cannot_be_synced_ends_the_run(store: Store, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tree, "sync_spool", fail)
    engine = Engine(store, tree)
    try:
        engine.lanes.submit(Batch((work(1),)))
        found = engine.delivered.get(timeout=PATIENCE_SECONDS)
        assert isinstance(found, Halted)
        assert isinstance(found.problem, OSError)
    finally:
        engine.lanes.stop()


def test_a_bug_of_the_fast_lane_costs_no_object() -> None:
    def bug(given: str) -> Outcome:
        raise ValueError(f"no number: {given}")

    assert attempt(bug, "x", work(1)) == Refusal(1, "a bug of the fast lane: ValueError: no number: x")


def test_a_thread_that_dies_takes_its_process_with_it(tmp_path: Path) -> None:
    """Or the engine would wait for ever for what the thread had in hand."""
    ours, theirs = socket.socketpair()
    spool = os.open(tmp_path, os.O_RDONLY)
    command = [sys.executable, "-m", fastlanes.MODULE, str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(), spool), stderr=subprocess.PIPE)
    channel = Channel(ours)
    channel.send(Setup(Endpoint(False, "127.0.0.1", 9, "h", "/b/", ""), None, spool))
    channel.send((cast(Work, "no work at all"),))
    with pytest.raises(ChannelEnded):
        channel.receive()
    assert b"AttributeError" in process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == 1
    channel.close()
    os.close(spool)
