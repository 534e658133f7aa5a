"""Large objects: ranges come in parallel, are written and hashed once, in order: what is on disk is a beginning."""

import threading
from collections.abc import Iterator
from typing import BinaryIO

from migrate.adapters.fastlane.fetching import (
    Bench,
    discard,
    facts_of,
    proved,
    spool_name,
    version_query,
    write_all,
)
from migrate.adapters.fastlane.wire import Connection, Unfit
from migrate.export.lanes import Outcome, Work
from migrate.export.layouts import part_layouts
from migrate.export.source import ObjectFacts
from migrate.export.tree import kept_file
from migrate.export.verification import MIB, StreamCheck, Verdict

RANGE_BYTES = 16 * MIB
RANGES_AT_ONCE = 4


class Ranges:
    """The ranges of one object: taken in order by those who fetch, handed on in order to the one who hashes.

    There are as many buffers as fetchers, and a range is taken only with a buffer in hand, so memory is bounded and
    the range that is hashed next is always on its way.
    """

    def __init__(self, start: int, size: int, buffers: list[memoryview]) -> None:
        self._size = size
        self._free = buffers
        self._start = self._next = start
        self._here: dict[int, tuple[memoryview, memoryview]] = {}
        self._problem: BaseException | None = None
        self._changed = threading.Condition()

    def take(self) -> tuple[int, memoryview, memoryview] | None:
        """Where the next range starts, the memory for it, and the buffer that holds it; None when there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._problem or self._next >= self._size)
            if self._problem or self._next >= self._size:
                return None
            start = self._next
            self._next = min(self._size, start + RANGE_BYTES)
            whole = self._free.pop()
            return start, whole[: self._next - start], whole

    def bring(self, start: int, data: memoryview, whole: memoryview) -> None:
        with self._changed:
            self._here[start] = data, whole
            self._changed.notify_all()

    def fail(self, problem: BaseException) -> None:
        with self._changed:
            self._problem = self._problem or problem
            self._changed.notify_all()

    def in_order(self) -> Iterator[memoryview]:
        """Every range as soon as it is its turn. Raises what `fail` was told."""
        at = self._start
        while at < self._size:
            with self._changed:
                while at not in self._here and not self._problem:
                    self._changed.wait()
                if self._problem:
                    raise self._problem
                data, whole = self._here.pop(at)
            yield data
            at += len(data)
            with self._changed:
                self._free.append(whole)
                self._changed.notify_all()


class LargeFetching:
    """Fetches one large object at a time, whoever asks: the others wait for its memory."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._turn = threading.Lock()
        self._connections = [bench.connection() for _ in range(RANGES_AT_ONCE)]
        self._buffers: list[memoryview] = []

    def fetch(self, work: Work) -> Outcome:
        """Goes on where the spool's file ends, which stays there for the careful lane where this raises Unfit."""
        with self._turn:
            self._buffers = self._buffers or [memoryview(bytearray(RANGE_BYTES)) for _ in self._connections]
            facts = self._head(work)
            check, sizes = self._check_for(work, facts)
            try:
                with kept_file(self._bench.spool, spool_name(work)) as file:
                    self._take_kept(file, check)
                    self._take_rest(work, file, check)
                    judgement = check.judge(file)
            except OSError as problem:
                raise Unfit(f"the spool: {problem}") from problem
        if judgement.verdict is not Verdict.PROVED:
            discard(self._bench.spool, work)  # what does not match is no beginning for anybody
        outcome = proved(work, check, judgement)
        return outcome._replace(part_sizes=outcome.part_sizes or sizes)

    def _head(self, work: Work) -> ObjectFacts:
        request = self._bench.requests.write("HEAD", work.key, version_query(work))
        facts = facts_of(self._connections[0].ask(request, body=False), work, status=200)
        if not facts.etag or facts.size != work.size:
            raise Unfit(f"nothing ties the ranges together: {facts.size} bytes, ETag {facts.etag!r}")
        return facts

    def _check_for(self, work: Work, facts: ObjectFacts) -> tuple[StreamCheck, tuple[int, ...]]:
        """How it is hashed, and its part sizes where the source itself told them and no hash needs them."""
        plain = StreamCheck(facts)
        counts = {said.parts for said in plain.statements if said.parts}
        if not counts:
            return plain, ()

        def part_size(part: int) -> int | None:
            query = {**version_query(work), "partNumber": str(part)}
            answer = self._connections[0].ask(self._bench.requests.write("HEAD", work.key, query), body=False)
            told = answer.status == 206 or "x-amz-mp-parts-count" in answer.headers
            return answer.length if told else None

        layouts, certain = part_layouts(facts.size, max(counts), part_size)
        lean = certain and any(said.is_full_checksum for said in plain.statements)
        check = StreamCheck(facts, layouts, layouts_certain=certain, lean=lean)
        return check, layouts[0] if lean else ()

    def _take_kept(self, file: BinaryIO, check: StreamCheck) -> None:
        buffer = self._buffers[0]
        while got := file.readinto(buffer):  # type: ignore[attr-defined]
            check.update(buffer[:got])

    def _take_rest(self, work: Work, file: BinaryIO, check: StreamCheck) -> None:
        ranges = Ranges(check.received, check.facts.size, list(self._buffers))
        threads = [
            threading.Thread(target=self._run, args=(connection, ranges, work, check.facts), daemon=True)
            for connection in self._connections
        ]
        for thread in threads:
            thread.start()
        try:
            for data in ranges.in_order():
                write_all(file, data)
                check.update(data)
        except BaseException as problem:
            ranges.fail(problem)
            raise
        finally:
            for thread in threads:
                thread.join()

    def _run(self, connection: Connection, ranges: Ranges, work: Work, facts: ObjectFacts) -> None:
        try:
            while (taken := ranges.take()) is not None:
                start, data, whole = taken
                self._fetch_range(connection, work, facts, start, data)
                ranges.bring(start, data, whole)
        except BaseException as problem:  # noqa: BLE001  a thread has nobody above it: the one who hashes raises it
            ranges.fail(problem)

    def _fetch_range(
        self, connection: Connection, work: Work, facts: ObjectFacts, start: int, data: memoryview
    ) -> None:
        last = start + len(data) - 1
        request = self._bench.requests.write("GET", work.key, version_query(work), f"bytes={start}-{last}")
        answer = connection.ask(request)
        part = facts_of(answer, work, status=206)
        told, wanted = answer.headers.get("content-range"), f"bytes {start}-{last}/{facts.size}"
        if (part.etag, told, answer.length) != (facts.etag, wanted, len(data)):
            raise Unfit(f"{told} of {part.etag}, not {wanted} of {facts.etag}")
        connection.read(data)
