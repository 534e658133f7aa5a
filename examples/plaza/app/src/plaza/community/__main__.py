"""`python -m plaza.community` fills an empty Plaza with a made-up community."""

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime

import psycopg
import redis

from plaza import schema
from plaza.backends import Backends, open_backends
from plaza.community import loading
from plaza.community.writing import Size, Writer
from plaza.errors import MediaUnavailable, SettingsError
from plaza.settings import Settings

DEMO_PASSWORD = "correct horse battery staple"  # noqa: S105 -- the documentation gives it away


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m plaza.community", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--reactions", type=int, default=30_000, help="likes and follows together")
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument(
        "--until",
        type=datetime.fromisoformat,
        default=datetime.now(UTC).replace(minute=0, second=0, microsecond=0),
        help="when the newest post was written, RFC 3339 with an offset (default: this hour)",
    )
    found = parser.parse_args(argv)
    if found.users < 2 or min(found.posts, found.reactions, found.images) < 0:
        parser.error("at least two users, and no negative counts")
    if found.until.tzinfo is None:
        parser.error("--until needs an offset, as in 2026-01-31T12:00:00+00:00")
    return found


def fill(backends: Backends, writer: Writer, password: str) -> dict[str, object]:
    """Write the whole community into the three parts; return what was written, with counts.

    The database comes last and in one transaction: a run that was killed leaves it empty and can be
    repeated, and the same pictures go to the same keys.
    """
    started = time.monotonic()
    size = writer.size
    images = loading.store_images(backends.media, writer.seed, size.images, writer.until.year)
    avatars = loading.store_avatars(backends.media, writer.seed, size.users)
    hashes = loading.hash_passwords(writer.seed, password, size.users)
    community = writer.write(hashes, avatars, images)
    loading.fill_cache(backends.cache, community, writer.seed)
    with backends.database.connection() as connection:
        loading.copy_rows(connection, community)
    return loading.summary(community, time.monotonic() - started, writer.until)


def main(argv: list[str] | None = None) -> int:
    """Exit 0 when filled, or already filled; 2 on bad settings; 1 when a part refuses."""
    wanted = arguments(argv)
    try:
        settings = Settings.from_environment()
        schema.create_schema(settings.database_url)
        backends = open_backends(settings)
        with backends.database.connection() as connection:
            if not loading.is_empty(connection):
                print(json.dumps({"event": "unchanged", "reason": "there are users already"}))
                return 0
        size = Size(wanted.users, wanted.posts, wanted.reactions, wanted.images)
        writer = Writer(wanted.seed, size, wanted.until, settings.media_url)
        print(json.dumps(fill(backends, writer, os.environ.get("PLAZA_DEMO_PASSWORD", DEMO_PASSWORD))))
    except SettingsError as error:
        print(f"plaza.community: {error}", file=sys.stderr)
        return 2
    except (psycopg.Error, redis.RedisError, MediaUnavailable) as error:
        print(f"plaza.community: {error}", file=sys.stderr)
        return 1
    backends.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
