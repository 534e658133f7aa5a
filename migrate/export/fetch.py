"""Fetches one object through the careful lane: bounded retries, every byte hashed while it streams."""

import os
import threading
import uuid
from dataclasses import dataclass, replace
from typing import BinaryIO

from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_after_attempt, wait_random_exponential

from migrate.export.lanes import Ending, Outcome, Work
from migrate.export.layouts import part_layouts
from migrate.export.ledger import utc_now
from migrate.export.pace import Pace
from migrate.export.source import (
    ObjectArchived,
    ObjectChanged,
    ObjectFacts,
    ObjectForbidden,
    ObjectMissing,
    ObjectProblem,
    ObjectRejected,
    ObjectSource,
    SlowDown,
    SourceSilent,
    TransferBroken,
)
from migrate.export.tree import Tree
from migrate.export.verification import Judgement, StreamCheck, Verdict, statements

MAX_ATTEMPTS = 4
LONGEST_WAIT_SECONDS = 5.0
CHUNK_BYTES = 256 * 1024
SECOND_READ = "second-read"


class Cancelled(Exception):
    """The run stops; nothing is known about this object."""


class WrongBytes(Exception):
    """The bytes are not what the source says they are. Retriable: it may have been the way here."""

    def __init__(self, check: StreamCheck, judgement: Judgement) -> None:
        super().__init__(judgement.reason)
        self.check = check
        self.judgement = judgement


RETRIABLE = (TransferBroken, SlowDown, ObjectChanged, WrongBytes)
ENDINGS: tuple[tuple[type[ObjectProblem], Ending], ...] = (
    (ObjectMissing, Ending.GONE),
    (ObjectArchived, Ending.ARCHIVED),
    (ObjectForbidden, Ending.QUARANTINED),
    (SourceSilent, Ending.SILENT),
    (TransferBroken, Ending.FAILED),
    (SlowDown, Ending.FAILED),
    (ObjectChanged, Ending.FAILED),
    (ObjectProblem, Ending.QUARANTINED),
)


@dataclass(slots=True)
class _Attempt:
    """What survives from one attempt at an object to the next."""

    work: Work
    number: int = 0
    spooled: str | None = None
    transferred: int = 0
    ask_every_part: bool = False


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches objects of one source into one spool. Safe to call from many threads."""

    source: ObjectSource
    tree: Tree
    pace: Pace
    with_tags: bool = False

    def __call__(self, work: Work, cancel: threading.Event) -> Outcome:
        attempt = _Attempt(work)
        retrying = Retrying(
            stop=stop_after_attempt(MAX_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.1, max=LONGEST_WAIT_SECONDS),
            retry=retry_if_exception_type(RETRIABLE),
            sleep=sleep_using_event(cancel),
            reraise=True,
        )
        try:
            return retrying(self._attempt, attempt, cancel)
        except WrongBytes as wrong:
            return self._quarantined(attempt, wrong)
        except ObjectProblem as problem:
            self._drop(attempt)
            return self._unread(attempt, problem)
        except Cancelled:
            self._drop(attempt)
            return Outcome(work.id, Ending.CANCELLED, attempt.number, transferred=attempt.transferred)
        except BaseException:
            self._drop(attempt)
            raise

    def _attempt(self, attempt: _Attempt, cancel: threading.Event) -> Outcome:
        if cancel.is_set():
            raise Cancelled
        attempt.number += 1
        self._drop(attempt)
        self.pace.wait(cancel)
        try:
            return self._read(attempt, cancel)
        except SlowDown:
            self.pace.slow_down()
            raise
        except ObjectChanged:
            self._adopt_new_head(attempt)
            raise

    def _adopt_new_head(self, attempt: _Attempt) -> None:
        facts = self.source.head(attempt.work.key, version_id=attempt.work.version_id)
        attempt.work = replace(attempt.work, etag=facts.etag, size=facts.size)

    def _read(self, attempt: _Attempt, cancel: threading.Event) -> Outcome:
        work = attempt.work
        name = f"{work.id}-{uuid.uuid4().hex}"
        attempt.spooled = name
        with self.tree.spool_file(name) as file:
            check, judgement = self._stream(attempt, cancel, file)
            if judgement.verdict is Verdict.WRONG:
                # Parts may be uneven between an even first and last one: the next attempt asks for each.
                attempt.ask_every_part = True
                raise WrongBytes(check, judgement)
            if judgement.verdict is Verdict.UNKNOWN:
                self._compare_second_read(attempt, cancel, check, judgement)
                judgement = replace(judgement, proof=SECOND_READ)
            os.fsync(file.fileno())
        return self._whole(attempt, name, check, judgement)

    def _whole(self, attempt: _Attempt, name: str, check: StreamCheck, judgement: Judgement) -> Outcome:
        work, facts = attempt.work, check.facts
        reasons = []
        if judgement.verdict is not Verdict.PROVED:
            reasons.append(f"{judgement.reason}; two reads were equal, which proves no origin")
        tags = None
        if self.with_tags:
            try:
                tags = self.source.tags(work.key, version_id=work.version_id)
            except (ObjectForbidden, ObjectRejected) as refusal:
                reasons.append(f"its tags could not be read: {refusal.detail}")
                judgement = replace(judgement, proof=None)  # so that the next run tries again
        return Outcome(
            work.id,
            Ending.FETCHED if reasons else Ending.VERIFIED,
            attempt.number,
            spooled=name,
            size=check.received,
            transferred=attempt.transferred,
            etag=facts.etag,
            last_modified=facts.last_modified,
            headers=facts.headers,
            metadata=facts.metadata,
            tags=tags,
            digest=check.digest,
            md5=check.md5,
            proof=judgement.proof,
            part_sizes=judgement.part_sizes,
            reason="; ".join(reasons) or None,
        )

    def _stream(
        self, attempt: _Attempt, cancel: threading.Event, file: BinaryIO | None
    ) -> tuple[StreamCheck, Judgement]:
        work = attempt.work
        with self.source.read(work.key, version_id=work.version_id, if_match=work.etag) as reading:
            facts = reading.facts
            if work.etag and facts.etag != work.etag:
                raise ObjectChanged(work.key, f"the ETag is {facts.etag}, the listing said {work.etag}")
            check = self._check_for(attempt, facts)
            while data := reading.read(CHUNK_BYTES):
                if cancel.is_set():
                    raise Cancelled
                self.pace.spend(len(data), cancel)
                attempt.transferred += len(data)
                check.update(data)
                if file is not None:
                    _write_all(file, data)
        return check, check.judge(file) if file is not None else Judgement(Verdict.UNKNOWN)

    def _compare_second_read(
        self, attempt: _Attempt, cancel: threading.Event, check: StreamCheck, judgement: Judgement
    ) -> None:
        second, _ = self._stream(attempt, cancel, None)
        if second.digest != check.digest:
            compared = {**judgement.compared, "second-read sha256": (check.digest, second.digest)}
            raise WrongBytes(check, Judgement(Verdict.WRONG, None, "two reads differ", compared))

    def _check_for(self, attempt: _Attempt, facts: ObjectFacts) -> StreamCheck:
        counts = {said.parts for said in statements(facts) if said.parts}
        if not counts:
            return StreamCheck(facts)
        work = attempt.work

        def part_size(part: int) -> int | None:
            return self.source.part_size(work.key, version_id=work.version_id, part=part)

        layouts, certain = part_layouts(facts.size, max(counts), part_size, ask_every_part=attempt.ask_every_part)
        return StreamCheck(facts, layouts, layouts_certain=certain)

    def _quarantined(self, attempt: _Attempt, wrong: WrongBytes) -> Outcome:
        check, judgement = wrong.check, wrong.judgement
        evidence = {
            "what": judgement.reason,
            "compared": {
                name: {"expected": expected, "came": came} for name, (expected, came) in judgement.compared.items()
            },
            "came": {"bytes": check.received, "md5": check.md5, "sha256": check.digest},
            "response_headers": dict(check.facts.headers),
            "request": dict(check.facts.request),
            "attempts": attempt.number,
            "at": utc_now(),
        }
        return Outcome(
            attempt.work.id,
            Ending.QUARANTINED,
            attempt.number,
            spooled=attempt.spooled,
            size=check.received,
            transferred=attempt.transferred,
            reason=f"wrong bytes, {attempt.number} times: {judgement.reason}",
            evidence=evidence,
        )

    def _unread(self, attempt: _Attempt, problem: ObjectProblem) -> Outcome:
        ending = next(ending for kind, ending in ENDINGS if isinstance(problem, kind))
        evidence = {
            "what": type(problem).__name__,
            "said": problem.detail,
            "from": self.source.where,
            "attempts": attempt.number,
            "at": utc_now(),
        }
        return Outcome(
            attempt.work.id,
            ending,
            attempt.number,
            transferred=attempt.transferred,
            reason=problem.detail,
            evidence=None if ending is Ending.ARCHIVED else evidence,
        )

    def _drop(self, attempt: _Attempt) -> None:
        if attempt.spooled is not None:
            self.tree.discard(attempt.spooled)
            attempt.spooled = None


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
