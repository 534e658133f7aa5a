"""What `/healthz` says: each part by itself, so that the broken one has a name."""

import time
from collections.abc import Callable
from typing import Any

import psycopg
import psycopg_pool
import redis

from plaza import jobs
from plaza.backends import Backends
from plaza.errors import MediaUnavailable

PROBE_SECONDS = 2.0
# Without these Plaza cannot serve; without a worker it can, and thumbnails and timelines wait.
ESSENTIAL = ("database", "cache", "media")
FAILURES = (psycopg.Error, psycopg_pool.PoolTimeout, redis.RedisError, MediaUnavailable)


def examine(backends: Backends) -> dict[str, Any]:
    """Return `{"status": ok|degraded|down, "parts": {name: {"status": ok|down, …}}}`."""
    parts = {name: examine_part(backends, name) for name in PROBES}
    if any(parts[name]["status"] != "ok" for name in ESSENTIAL):
        status = "down"
    else:
        status = "ok" if all(part["status"] == "ok" for part in parts.values()) else "degraded"
    return {"status": status, "parts": parts}


def examine_part(backends: Backends, name: str) -> dict[str, Any]:
    """Probe one part; never raises for a part that is down."""
    started = time.monotonic()
    try:
        details = PROBES[name](backends)
    except FAILURES as error:
        details = {"status": "down", "detail": f"{type(error).__name__}: {first_line(error)}"}
    return {"status": "ok", **details, "seconds": round(time.monotonic() - started, 4)}


def first_line(error: Exception) -> str:
    """The first line of a message; drivers add pages."""
    return (str(error).splitlines() or [""])[0]


def probe_database(backends: Backends) -> dict[str, Any]:
    """One query against a table that Plaza needs."""
    with backends.database.connection(timeout=PROBE_SECONDS) as connection:
        connection.execute("SELECT FROM users LIMIT 1")
    return {}


def probe_cache(backends: Backends) -> dict[str, Any]:
    """PING; a Redis that is still loading its snapshot answers with an error."""
    backends.cache.ping()
    return {}


def probe_media(backends: Backends) -> dict[str, Any]:
    """Ask the store without writing."""
    backends.media.probe()
    return {}


def probe_worker(backends: Backends) -> dict[str, Any]:
    """How long ago a worker was heard of, and what waits for it."""
    age = jobs.youngest_beat_age(backends.cache)
    details: dict[str, Any] = {"age_seconds": round(age, 1) if age is not None else None}
    details["jobs"] = jobs.backlog(backends.cache)
    if age is None:
        details |= {"status": "down", "detail": f"no worker heard of for {jobs.HEARTBEAT_SECONDS} s"}
    return details


PROBES: dict[str, Callable[[Backends], dict[str, Any]]] = {
    "database": probe_database,
    "cache": probe_cache,
    "media": probe_media,
    "worker": probe_worker,
}
