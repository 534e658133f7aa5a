"""Fetches one object through the careful lane: bounded retries, every byte hashed while it streams."""

import os
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from tenacity import Retrying, retry_if_exception_type, sleep_using_event, wait_random_exponential

from migrate.export import pace
from migrate.export.kept import claim, is_keepable
from migrate.export.lanes import Ending, Outcome, Work
from migrate.export.layouts import part_layouts
from migrate.export.ledger import utc_now
from migrate.export.pace import Pace
from migrate.export.source import (
    NOT_ALLOWED,
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
# Two equal reads: all the proof there can be where the source states nothing; none where it states what was not met.
SECOND_READ = "second-read"
UNMATCHED_READ = "second-read, unmatched"


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
    """What survives from one attempt at an object to the next.

    `failures` counts those in a row that are the object's own; what the whole store fails at is bounded by time.
    """

    work: Work
    number: int = 0
    failures: int = 0
    began: float = 0.0
    was_answered: bool = False
    troubled_since: float | None = None
    spooled: str | None = None
    keeping: bool = False
    transferred: int = 0
    transferred_before: int = 0
    ask_every_part: bool = False


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches objects of one source into one spool. Safe to call from many threads."""

    source: ObjectSource
    tree: Tree
    pace: Pace
    with_tags: bool = False
    with_acls: bool = False

    def __call__(self, work: Work, cancel: threading.Event) -> Outcome:
        attempt = _Attempt(work)
        retrying = Retrying(
            stop=lambda _: self._is_exhausted(attempt),
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
        attempt.began, attempt.was_answered = time.monotonic(), False
        attempt.transferred_before = attempt.transferred
        try:
            return self._read(attempt, cancel)
        except (SlowDown, TransferBroken) as problem:
            self._blame(attempt, problem)
            raise
        except ObjectChanged:
            attempt.failures += 1
            self._adopt_new_head(attempt)
            raise
        except WrongBytes:
            attempt.failures += 1
            raise

    def _blame(self, attempt: _Attempt, problem: ObjectProblem) -> None:
        """Decides whether the object failed or the store did: an outage must not cost an object its attempts."""
        if attempt.keeping and attempt.transferred > attempt.transferred_before:
            attempt.failures, attempt.troubled_since = 0, None  # it came forward, and goes on from there
        if not isinstance(problem, (SlowDown, SourceSilent)) and (attempt.was_answered or self._store_is_well(attempt)):
            attempt.failures += 1
            return
        attempt.troubled_since = attempt.troubled_since or time.monotonic()
        self.pace.slow_down()

    def _store_is_well(self, attempt: _Attempt) -> bool:
        """Whether the store gives others what they ask for; where nobody has asked since, it is asked now."""
        if self.pace.has_answered_since(attempt.began):
            return True
        if self.pace.witness is None:
            return False
        key, version_id = self.pace.witness
        try:
            self.source.head(key, version_id=version_id)
        except (SlowDown, TransferBroken):
            return False
        except ObjectProblem:
            return True
        return True

    def _is_exhausted(self, attempt: _Attempt) -> bool:
        since = attempt.troubled_since
        waited = since is not None and time.monotonic() - since > pace.PATIENCE_SECONDS
        return waited or attempt.failures >= MAX_ATTEMPTS or self.pace.patience_is_lost

    def _adopt_new_head(self, attempt: _Attempt) -> None:
        facts = self.source.head(attempt.work.key, version_id=attempt.work.version_id)
        attempt.work = attempt.work._replace(etag=facts.etag, size=facts.size)

    def _read(self, attempt: _Attempt, cancel: threading.Event) -> Outcome:
        with self._open_spool(attempt) as file:
            try:
                check, judgement = self._stream(attempt, cancel, file)
                if judgement.verdict is Verdict.WRONG:
                    # Parts may be uneven between an even first and last one: the next attempt asks for each.
                    attempt.ask_every_part = True
                    raise WrongBytes(check, judgement)
                if judgement.verdict is Verdict.UNKNOWN:
                    self._compare_second_read(attempt, cancel, check, judgement)
                    judgement = replace(judgement, proof=UNMATCHED_READ if check.statements else SECOND_READ)
            except WrongBytes:
                attempt.keeping = False
                raise
            os.fsync(file.fileno())
        self.pace.answered(attempt.work.key, attempt.work.version_id)
        return self._whole(attempt, check, judgement)

    def _open_spool(self, attempt: _Attempt) -> BinaryIO:
        """The file for the object's bytes: a new one, or the kept beginning of a large object."""
        attempt.keeping = is_keepable(attempt.work)
        if attempt.keeping:
            attempt.spooled = claim(self.tree, attempt.work)
            return self.tree.kept_file(attempt.spooled)
        attempt.spooled = f"{attempt.work.id}-{uuid.uuid4().hex}"
        return self.tree.spool_file(attempt.spooled)

    def _whole(self, attempt: _Attempt, check: StreamCheck, judgement: Judgement) -> Outcome:
        work, facts = attempt.work, check.facts
        reasons = []
        settled = judgement.proof != UNMATCHED_READ
        if judgement.verdict is not Verdict.PROVED:
            reasons.append(f"{judgement.reason}; two reads were equal")
        tags = None
        if self.with_tags:
            try:
                tags = self.source.tags(work.key, version_id=work.version_id)
            except (ObjectForbidden, ObjectRejected) as refusal:
                reasons.append(f"its tags could not be read: {refusal.detail}")
                settled = False
                judgement = replace(judgement, proof=None)  # so that the next run tries again
        return Outcome(
            work.id,
            Ending.VERIFIED if settled else Ending.FETCHED,
            attempt.number,
            spooled=attempt.spooled,
            size=check.received,
            transferred=attempt.transferred,
            etag=facts.etag,
            last_modified=facts.last_modified,
            headers=facts.headers,
            metadata=facts.metadata,
            tags=tags,
            acl=self._acl(work) if self.with_acls else None,
            digest=check.digest,
            md5=check.md5,
            proof=judgement.proof,
            part_sizes=judgement.part_sizes,
            reason="; ".join(reasons) or None,
        )

    def _acl(self, work: Work) -> Mapping[str, object]:
        """Who may do what with it. It is no part of the object's bytes: a refusal is recorded and costs nothing."""
        try:
            return self.source.acl(work.key, version_id=work.version_id)
        except (ObjectForbidden, ObjectRejected) as refusal:
            return {NOT_ALLOWED: refusal.detail}

    def _stream(
        self, attempt: _Attempt, cancel: threading.Event, file: BinaryIO | None
    ) -> tuple[StreamCheck, Judgement]:
        check = self._hash_kept(attempt, cancel, file) if file is not None and attempt.keeping else None
        if check is None or check.received < check.facts.size:
            check = self._stream_rest(attempt, cancel, file, check)
        return check, check.judge(file) if file is not None else Judgement(Verdict.UNKNOWN)

    def _hash_kept(self, attempt: _Attempt, cancel: threading.Event, file: BinaryIO) -> StreamCheck | None:
        """Takes in what an earlier attempt left in the file; None where there is nothing."""
        data = file.read(CHUNK_BYTES)
        if not data:
            return None
        work = attempt.work
        facts = self.source.head(work.key, version_id=work.version_id)
        _expect_same(work, facts)
        check = self._check_for(attempt, facts)
        while data:
            if cancel.is_set():
                raise Cancelled
            check.update(data)
            data = file.read(CHUNK_BYTES)
        return check

    def _stream_rest(
        self, attempt: _Attempt, cancel: threading.Event, file: BinaryIO | None, check: StreamCheck | None
    ) -> StreamCheck:
        work = attempt.work
        start = check.received if check is not None else 0
        with self.source.read(work.key, version_id=work.version_id, if_match=work.etag, start=start) as reading:
            attempt.was_answered = True
            _expect_same(work, reading.facts)
            check = check or self._check_for(attempt, reading.facts)
            while data := reading.read(CHUNK_BYTES):
                if cancel.is_set():
                    raise Cancelled
                self.pace.spend(len(data), cancel)
                attempt.transferred += len(data)
                check.update(data)
                if file is not None:
                    _write_all(file, data)
        return check

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
        if attempt.spooled is not None and not attempt.keeping:
            self.tree.discard(attempt.spooled)
        attempt.spooled = None


def _expect_same(work: Work, facts: ObjectFacts) -> None:
    if work.etag and facts.etag != work.etag:
        raise ObjectChanged(work.key, f"the ETag is {facts.etag}, the listing said {work.etag}")


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
