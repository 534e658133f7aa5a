"""Fetches one object into the spool over a bare connection, and proves it, or says why the careful lane must."""

import contextlib
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from migrate.adapters.fastlane.signing import Endpoint, Requests
from migrate.adapters.fastlane.wire import Answer, Connection, Unfit
from migrate.export.headers import describing
from migrate.export.lanes import Ending, Outcome, Work
from migrate.export.source import ObjectFacts
from migrate.export.tree import KEPT, new_file, write_new_file
from migrate.export.verification import MIB, Judgement, StreamCheck, Verdict

LARGE_BYTES = 32 * MIB
BUFFER_BYTES = MIB
AHEAD = 8
METADATA_PREFIX = "x-amz-meta-"
HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}:\d{2}:\d{2}) GMT")
MONTHS = {name: f"{number:02}" for number, name in enumerate(
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1)}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What the fetchers of one worker share: `spool` is an open folder."""

    endpoint: Endpoint
    requests: Requests
    tls: ssl.SSLContext | None
    spool: int

    def connection(self) -> Connection:
        return Connection(self.endpoint, self.tls)


class Asked(NamedTuple):
    """An object that was asked for, and the connection that the answer comes on."""

    work: Work
    connection: Connection


class Fetching:
    """The fetcher of one thread. It asks for several objects, each on its own connection, before it takes the first:
    while one is hashed, the next are on their way, and nobody sleeps.

    `seconds_waited` is a running mean of the time for which an answer was waited: how far away the store is.
    """

    def __init__(self, bench: Bench, ahead: int = AHEAD) -> None:
        self._bench = bench
        self._free = [bench.connection() for _ in range(ahead)]
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self.seconds_waited = 0.0

    @property
    def has_room(self) -> bool:
        """Whether one more object may be asked for."""
        return bool(self._free)

    def ask(self, work: Work) -> Asked:
        """To be followed by `take`, in the order of asking. Raises Unfit."""
        connection = self._free.pop()
        try:
            connection.send(self._bench.requests.write("GET", work.key, version_query(work)))
        except BaseException:
            self._free.append(connection)
            raise
        return Asked(work, connection)

    def take(self, asked: Asked) -> Outcome:
        """Raises Unfit; nothing of the object is then left in the spool."""
        try:
            return self._take(*asked)
        finally:
            self._free.append(asked.connection)

    def close(self) -> None:
        for connection in self._free:
            connection.close()

    def _take(self, work: Work, connection: Connection) -> Outcome:
        began = time.monotonic()
        answer = connection.answer()
        self.seconds_waited += (time.monotonic() - began - self.seconds_waited) / 8
        facts = facts_of(answer, work, status=200)
        check = StreamCheck(facts)
        if any(said.parts for said in check.statements):
            raise Unfit("the part sizes must be asked for")
        if answer.length > len(self._buffer):
            return self._stream(work, connection, check)
        data = self._buffer[: answer.length]
        connection.read(data)
        check.update(data)
        outcome = proved(work, check, check.judge())
        store(self._bench.spool, work, data)
        return outcome

    def _stream(self, work: Work, connection: Connection, check: StreamCheck) -> Outcome:
        with spooled(self._bench.spool, work) as file:
            while got := connection.read(self._buffer):
                data = self._buffer[:got]
                check.update(data)
                write_all(file, data)
            return proved(work, check, check.judge(file))


def version_query(work: Work) -> dict[str, str]:
    return {"versionId": work.version_id} if work.version_id else {}


def spool_name(work: Work) -> str:
    """An object is on the fast lane once a run, so that what a dead worker left behind can be named.

    The beginning of a large object outlives the worker and the run: see export/kept.py.
    """
    return f"{KEPT}{work.id}" if work.size >= LARGE_BYTES else f"{work.id}-fast"


@contextlib.contextmanager
def spooled(folder: int, work: Work) -> Iterator[BinaryIO]:
    """A new file of the spool, which is gone again where the block raises. Raises Unfit for what the disk refuses."""
    try:
        with new_file(folder, spool_name(work)) as file:
            yield file
    except BaseException as problem:
        discard(folder, work)
        if isinstance(problem, OSError):
            raise Unfit(f"the spool: {problem}") from problem
        raise


def store(folder: int, work: Work, data: memoryview) -> None:
    """A whole object into the spool. Raises Unfit for what the disk refuses; nothing of it is then left."""
    try:
        write_new_file(folder, spool_name(work), data)
    except OSError as problem:
        discard(folder, work)
        raise Unfit(f"the spool: {problem}") from problem


def discard(folder: int, work: Work) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(spool_name(work), dir_fd=folder)


def write_all(file: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def proved(work: Work, check: StreamCheck, judgement: Judgement) -> Outcome:
    """Raises Unfit for all but bytes that were proved."""
    if judgement.verdict is not Verdict.PROVED:
        raise Unfit(f"not proved: {judgement.reason}")
    facts = check.facts
    return Outcome(
        work.id,
        Ending.VERIFIED,
        1,
        spooled=spool_name(work),
        size=check.received,
        transferred=check.received,
        etag=facts.etag,
        last_modified=facts.last_modified,
        headers=describing(facts.headers),
        metadata=facts.metadata,
        digest=check.digest,
        md5=check.md5,
        proof=judgement.proof,
        part_sizes=judgement.part_sizes,
    )


def facts_of(answer: Answer, work: Work, *, status: int) -> ObjectFacts:
    """The facts as the careful lane has them. Raises Unfit where they are not those of what was asked for."""
    headers = answer.headers
    etag = headers.get("etag", "").strip('"')
    if answer.status != status:
        raise Unfit(f"status {answer.status}, not {status}")
    if work.etag and etag != work.etag:
        raise Unfit(f"the ETag is {etag}, the listing said {work.etag}")
    return ObjectFacts(
        size=answer.length,
        etag=etag,
        last_modified=moment(headers.get("last-modified", "")),
        headers=headers,
        metadata=metadata_of(headers),
    )


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(METADATA_PREFIX): value for name, value in headers.items() if name.startswith(METADATA_PREFIX)
    }


def moment(date: str) -> str:
    """RFC 3339 of an HTTP date. Raises Unfit."""
    parts = HTTP_DATE.fullmatch(date)
    if parts is None or parts[2] not in MONTHS:
        raise Unfit(f"no HTTP date: {date!r}")
    return f"{parts[3]}-{MONTHS[parts[2]]}-{parts[1]}T{parts[4]}Z"
