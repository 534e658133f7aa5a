"""`python -m plaza.worker`: makes thumbnails, fans out timelines, removes media, sends mail."""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from types import FrameType

import psycopg
import psycopg_pool
import redis

from plaza import jobs, people, pictures, timelines, welcome
from plaza.backends import Backends, open_backends
from plaza.errors import (
    InvalidInput,
    MailRefused,
    MailUnavailable,
    MediaMissing,
    MediaUnavailable,
    NotFound,
    SettingsError,
)
from plaza.settings import Settings

POLL_SECONDS = 1.0
TIDY_SECONDS = 15.0
CATCH_UP_AT_MOST = 10_000
RETRIABLE = (MailUnavailable, MediaUnavailable, psycopg.OperationalError, psycopg_pool.PoolTimeout, redis.RedisError)
HOPELESS = (InvalidInput, MailRefused, MediaMissing, NotFound, ValueError, KeyError, TypeError)


@dataclass
class Worker:
    """One worker process; `stopping` ends it after the job at hand."""

    backends: Backends
    name: str
    stopping: bool = False
    tidied_at: float = field(default=float("-inf"))

    def run(self) -> None:
        """Work until told to stop. While Redis is away, wait for it, and say so."""
        while not self.stopping:
            try:
                self.step(POLL_SECONDS)
            except RETRIABLE as error:
                report("waiting", reason=f"{type(error).__name__}: {error}")
                time.sleep(POLL_SECONDS)

    def step(self, wait_seconds: float) -> bool:
        """Beat, tidy when due, and do at most one job; return whether there was one."""
        jobs.beat(self.backends.cache, self.name)
        if time.monotonic() - self.tidied_at >= TIDY_SECONDS:
            self.tidy()
        jobs.release_due(self.backends.cache)
        text = jobs.take(self.backends.cache, self.name, wait_seconds)
        if text is not None:
            self.work_on(text)
        return text is not None

    def tidy(self) -> None:
        """Take over what dead workers left, and what never reached the queue."""
        recovered = jobs.recover_orphans(self.backends.cache)
        if recovered:
            report("recovered", jobs=recovered)
        if self.tidied_at == float("-inf"):
            caught_up = catch_up(self.backends)
            if caught_up:
                report("caught-up", jobs=caught_up)
        self.tidied_at = time.monotonic()

    def work_on(self, text: str) -> None:
        """Do one job: done, later, or buried."""
        cache = self.backends.cache
        started = time.monotonic()
        try:
            job = jobs.Job.decode(text)
            perform(self.backends, job)
        except RETRIABLE as error:
            report("later", job=text, reason=f"{type(error).__name__}: {error}")
            jobs.try_later(cache, self.name, text)
        except HOPELESS as error:
            report("buried", job=text, reason=f"{type(error).__name__}: {error}")
            jobs.bury(cache, self.name, text)
        else:
            jobs.finish(cache, self.name, text)
            report("done", kind=job.kind, subject=job.subject, seconds=round(time.monotonic() - started, 3))


def perform(backends: Backends, job: jobs.Job) -> None:
    """Do what the job says; raise ValueError for a kind that nobody knows."""
    if job.kind == jobs.MAKE_THUMBNAIL:
        make_thumbnail(backends, int(job.subject))
    elif job.kind == jobs.FAN_OUT:
        timelines.fan_out(backends, int(job.subject))
    elif job.kind == jobs.REMOVE_MEDIA:
        remove_media(backends, job.subject)
    elif job.kind == jobs.WELCOME:
        person = people.person_by_id(backends.database, int(job.subject))
        welcome.send_welcome(backends.mailer, backends.cache, person.id, person.username)
    else:
        raise ValueError(f"unknown kind of job: {job.kind!r}")


def make_thumbnail(backends: Backends, image_id: int) -> None:
    """Store the thumbnail of an image and note its URL; nothing to do if the post is gone."""
    with backends.database.connection() as connection:
        row = connection.execute("SELECT media_key FROM images WHERE id = %s", [image_id]).fetchone()
    if row is None:
        return
    key = pictures.thumbnail_key(row["media_key"])
    thumbnail = pictures.thumbnail_of(backends.media.get(row["media_key"]))
    backends.media.put(key, thumbnail, pictures.CONTENT_TYPE)
    with backends.database.connection() as connection:
        connection.execute("UPDATE images SET thumbnail_url = %s WHERE id = %s", [backends.media_url + key, image_id])


def remove_media(backends: Backends, key: str) -> None:
    """Remove an image and its thumbnail, unless another post shows the same picture."""
    with backends.database.connection() as connection:
        if connection.execute("SELECT FROM images WHERE media_key = %s LIMIT 1", [key]).fetchone() is not None:
            return
    backends.media.delete(key)
    backends.media.delete(pictures.thumbnail_key(key))


def catch_up(backends: Backends) -> int:
    """Queue what the database knows of and Redis does not, as after a restore; return how many jobs."""
    newest = timelines.newest_fanned_out(backends.cache)
    with backends.database.connection() as connection:
        images = connection.execute(
            "SELECT id FROM images WHERE thumbnail_url IS NULL ORDER BY id LIMIT %s", [CATCH_UP_AT_MOST]
        ).fetchall()
        posts = connection.execute(
            "SELECT id FROM posts WHERE id > %s AND reply_to_id IS NULL ORDER BY id LIMIT %s",
            [newest, CATCH_UP_AT_MOST],
        ).fetchall()
    wanted = [(jobs.FAN_OUT, str(row["id"])) for row in posts]
    wanted += [(jobs.MAKE_THUMBNAIL, str(row["id"])) for row in images]
    queued = jobs.queued(backends.cache)
    missing = [job for job in wanted if job not in queued]
    for kind, subject in missing:
        jobs.enqueue(backends.cache, kind, subject)
    return len(missing)


def report(event: str, **details: object) -> None:
    """One JSON line for the log."""
    print(json.dumps({"event": event, **details}, ensure_ascii=False), flush=True)


def main() -> int:
    """Run until SIGTERM or SIGINT; exit 2 on bad settings."""
    try:
        backends = open_backends(Settings.from_environment(), connections=2)
    except SettingsError as error:
        print(f"plaza.worker: {error}", file=sys.stderr)
        return 2
    worker = Worker(backends, os.environ.get("PLAZA_WORKER_NAME") or f"{socket.gethostname()}-{os.getpid()}")

    def stop(_signal: int, _frame: FrameType | None) -> None:
        worker.stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    report("started", worker=worker.name)
    worker.run()
    with contextlib.suppress(redis.RedisError):
        jobs.sign_off(backends.cache, worker.name)
    backends.close()
    report("stopped", worker=worker.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
