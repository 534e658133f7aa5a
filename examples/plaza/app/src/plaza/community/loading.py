"""Putting a made-up community where the app keeps a real one: media store, PostgreSQL, Redis."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from argon2 import PasswordHasher
from psycopg import Connection, sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from redis import Redis

from plaza import pictures, sessions, timelines
from plaza.community import art
from plaza.community.writing import Community, StoredImage
from plaza.media import MediaStore

# Real Argon2id, but cheap: the app hashes anew, at full cost, when somebody signs in.
CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=4 * 1024, parallelism=1)
Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = max(4, 2 * (os.cpu_count() or 1))
REDIS_BATCH = 100
SESSION_SHARE = 2

COLUMNS = {
    "users": "id username display_name bio avatar_url password_hash profile created_at",
    "posts": "id author_id reply_to_id body language card created_at",
    "images": "id post_id media_key url thumbnail_url sha256 width height bytes alt_text created_at",
    "likes": "user_id post_id created_at",
    "follows": "follower_id followed_id created_at",
    "tags": "id name",
    "post_tags": "post_id tag_id",
    "notifications": "id user_id actor_id post_id kind read_at created_at",
}


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do it for every item, several at a time, and keep the order. Pillow and Argon2 release the lock."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def store_images(media: MediaStore, seed: int, count: int, year: int) -> list[StoredImage]:
    """Draw and store `count` pictures and their thumbnails; raise MediaUnavailable."""

    def draw_and_store(number: int) -> StoredImage:
        image = art.draw_picture(f"{seed}:picture:{number}")
        data = art.as_jpeg(image)
        picture = pictures.Picture(data, hashlib.sha256(data).hexdigest(), image.width, image.height)
        key = picture.key(year - number % 2)
        media.put(key, data, pictures.CONTENT_TYPE)
        media.put(pictures.thumbnail_key(key), pictures.shrink(image), pictures.CONTENT_TYPE)
        return StoredImage(key, picture.sha256, picture.width, picture.height, len(data))

    return in_threads(draw_and_store, range(count))


def store_avatars(media: MediaStore, seed: int, count: int) -> list[str]:
    """Draw and store `count` avatars; return their keys. Raise MediaUnavailable."""

    def draw_and_store(number: int) -> str:
        data = art.as_jpeg(art.draw_avatar(f"{seed}:avatar:{number}"))
        digest = hashlib.sha256(data).hexdigest()
        key = f"avatars/{digest[:2]}/{digest}.jpg"
        media.put(key, data, pictures.CONTENT_TYPE)
        return key

    return in_threads(draw_and_store, range(count))


def hash_passwords(seed: int, password: str, count: int) -> list[str]:
    """Hash the same password `count` times, each with its own salt."""

    def hash_one(number: int) -> str:
        salt = hashlib.sha256(f"{seed}:salt:{number}".encode()).digest()[:16]
        return CHEAP_HASHER.hash(password, salt=salt)

    return in_threads(hash_one, range(count))


def copy_rows(connection: Connection[DictRow], community: Community) -> None:
    """COPY every table and set the sequences behind it."""
    for table, columns in COLUMNS.items():
        names = columns.split()
        command = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names))
        )
        with connection.cursor() as cursor, cursor.copy(command) as copy:
            for row in getattr(community, table):
                copy.write_row([Jsonb(value, _dump) if isinstance(value, dict) else value for value in row])
        if names[0] == "id":
            connection.execute(
                sql.SQL(
                    "SELECT setval(pg_get_serial_sequence({}, 'id'), coalesce(max(id), 0) + 1, false) FROM {}"
                ).format(sql.Literal(table), sql.Identifier(table))
            )
    connection.execute("ANALYZE")


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def fill_cache(cache: Redis, community: Community, seed: int) -> None:
    """Write home timelines, and sessions of every SESSION_SHARE-th person."""
    posts_of: defaultdict[int, list[int]] = defaultdict(list)
    for post in community.posts:
        if post[2] is None:
            posts_of[post[1]].append(post[0])
    followed_by: defaultdict[int, list[int]] = defaultdict(list)
    for follower, followed, _ in community.follows:
        followed_by[follower].append(followed)
    for batch in _batches([user[0] for user in community.users], REDIS_BATCH):
        with cache.pipeline(transaction=False) as pipe:
            for user_id in batch:
                seen = [post for author in (user_id, *followed_by[user_id]) for post in posts_of[author]]
                newest = sorted(seen)[-timelines.LENGTH :]
                marked = {"built": timelines.FOREVER, **{str(post): post for post in newest}}
                pipe.zadd(timelines.timeline_key(user_id), marked)
                if user_id % SESSION_SHARE == 0:
                    key = sessions.session_key(session_token(seed, user_id))
                    pipe.set(key, user_id, ex=sessions.LIFETIME_SECONDS)
            pipe.execute()
    if community.posts:
        cache.zadd(timelines.NEWEST_FANNED_OUT, {"post": community.posts[-1][0]})


def session_token(seed: int, user_id: int) -> str:
    """The token of a made-up person who is signed in."""
    return hashlib.sha256(f"{seed}:session:{user_id}".encode()).hexdigest()


def _batches(items: Sequence[int], length: int) -> Iterable[Sequence[int]]:
    return (items[start : start + length] for start in range(0, len(items), length))


def is_empty(connection: Connection[DictRow]) -> bool:
    """Whether nobody has an account yet."""
    return connection.execute("SELECT FROM users LIMIT 1").fetchone() is None


def summary(community: Community, seconds: float, until: datetime) -> dict[str, Any]:
    """What was written, for the log."""
    counts = {table: len(getattr(community, table)) for table in COLUMNS}
    return {"event": "community", "until": until.isoformat(), "seconds": round(seconds, 1), "rows": counts}
