"""The job queue: Redis lists from which nothing is lost when a worker dies.

A job moves atomically from `jobs:queue` to the worker's own processing list and is removed from there
when it is done. Jobs of a worker without a heartbeat go back to the queue. A job may therefore run
twice; every kind of job is safe to repeat.
"""

import contextlib
import json
import time
import uuid
from dataclasses import dataclass, replace

from redis import Redis

QUEUE = "jobs:queue"
DELAYED = "jobs:delayed"
DEAD = "jobs:dead"
PROCESSING = "jobs:processing:"
HEARTBEAT = "worker:heartbeat:"
HEARTBEAT_SECONDS = 15
ATTEMPTS = 6

MAKE_THUMBNAIL = "make-thumbnail"
FAN_OUT = "fan-out"
REMOVE_MEDIA = "remove-media"
WELCOME = "welcome"


@dataclass(frozen=True)
class Job:
    """What to do with which thing, and how often it was tried."""

    kind: str
    subject: str
    id: str
    attempts: int = 0

    def encode(self) -> str:
        """The text that stands in Redis."""
        return json.dumps({"kind": self.kind, "subject": self.subject, "id": self.id, "attempts": self.attempts})

    @classmethod
    def decode(cls, text: str) -> "Job":
        """Read what `encode` wrote; raise ValueError, KeyError or TypeError on anything else."""
        fields = json.loads(text)
        return cls(str(fields["kind"]), str(fields["subject"]), str(fields["id"]), int(fields["attempts"]))


def enqueue(cache: Redis, kind: str, subject: int | str) -> None:
    """Ask the worker to do something."""
    cache.lpush(QUEUE, Job(kind, str(subject), uuid.uuid4().hex).encode())


def take(cache: Redis, worker: str, wait_seconds: float) -> str | None:
    """Move the oldest job to the worker's list and return its text; None if none came in time."""
    taken = cache.blmove(QUEUE, PROCESSING + worker, wait_seconds, "RIGHT", "LEFT")  # type: ignore[arg-type]
    return str(taken) if taken is not None else None


def finish(cache: Redis, worker: str, text: str) -> None:
    """The job is done."""
    cache.lrem(PROCESSING + worker, 1, text)


def bury(cache: Redis, worker: str, text: str) -> None:
    """The job can never be done; keep it where a person can look at it."""
    with cache.pipeline() as pipe:
        pipe.lrem(PROCESSING + worker, 1, text)
        pipe.lpush(DEAD, text)
        pipe.ltrim(DEAD, 0, 999)
        pipe.execute()


def try_later(cache: Redis, worker: str, text: str) -> None:
    """The job failed for now: run it again after 1, 2, 4… seconds, and bury it after ATTEMPTS."""
    job = Job.decode(text)
    again = replace(job, attempts=job.attempts + 1)
    if again.attempts >= ATTEMPTS:
        bury(cache, worker, text)
        return
    with cache.pipeline() as pipe:
        pipe.lrem(PROCESSING + worker, 1, text)
        pipe.zadd(DELAYED, {again.encode(): time.time() + 2**job.attempts})
        pipe.execute()


def release_due(cache: Redis) -> None:
    """Put delayed jobs whose time has come back into the queue."""
    for text in map(str, cache.zrangebyscore(DELAYED, 0, time.time())):
        with cache.pipeline() as pipe:
            pipe.zrem(DELAYED, text)
            pipe.lpush(QUEUE, text)
            pipe.execute()


def beat(cache: Redis, worker: str) -> None:
    """Say that this worker lives; `/healthz` reads it."""
    cache.set(HEARTBEAT + worker, f"{time.time():.3f}", ex=HEARTBEAT_SECONDS)


def sign_off(cache: Redis, worker: str) -> None:
    """The worker ends on purpose; what it left undone goes to the next one at once."""
    cache.delete(HEARTBEAT + worker)


def youngest_beat_age(cache: Redis) -> float | None:
    """Seconds since any worker was last heard of, or None if there is none."""
    keys = list(cache.scan_iter(HEARTBEAT + "*"))
    beats = [float(beat) for beat in cache.mget(keys) if beat is not None] if keys else []
    return max(0.0, time.time() - max(beats)) if beats else None


def recover_orphans(cache: Redis) -> int:
    """Give the jobs of silent workers back to the queue; return how many."""
    recovered = 0
    for key in cache.scan_iter(PROCESSING + "*"):
        if cache.exists(HEARTBEAT + str(key).removeprefix(PROCESSING)):
            continue
        while cache.lmove(key, QUEUE, "RIGHT", "RIGHT") is not None:
            recovered += 1
    return recovered


def queued(cache: Redis) -> set[tuple[str, str]]:
    """Kind and subject of every job that waits or is delayed."""
    texts = [*cache.lrange(QUEUE, 0, -1), *cache.zrange(DELAYED, 0, -1)]
    found = set()
    for text in map(str, texts):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            job = Job.decode(text)
            found.add((job.kind, job.subject))
    return found


def backlog(cache: Redis) -> dict[str, int]:
    """How many jobs wait, run, are delayed and are dead."""
    processing = list(cache.scan_iter(PROCESSING + "*"))
    with cache.pipeline(transaction=False) as pipe:
        pipe.llen(QUEUE)
        pipe.zcard(DELAYED)
        pipe.llen(DEAD)
        for key in processing:
            pipe.llen(key)
        waiting, delayed, dead, *running = pipe.execute()
    return {"waiting": waiting, "running": sum(running), "delayed": delayed, "dead": dead}
