"""Home timelines: post ids per reader in Redis, rebuilt from SQL when missing.

A timeline is a sorted set whose scores are the ids, so that a job delivered twice changes nothing. Two
marks with an infinite score say how complete it is: `building` while SQL is read, `built` afterwards.
"""

from redis import Redis

from plaza.backends import Backends, Database

LENGTH = 800
BUILDING_SECONDS = 30
FOREVER = float("inf")
NEWEST_FANNED_OUT = "timelines:newest"


def timeline_key(user_id: int) -> str:
    """The Redis key of somebody's home timeline."""
    return f"timeline:{user_id}"


def read_timeline(backends: Backends, user_id: int, before: int | None, limit: int) -> list[int]:
    """Return post ids, newest first, older than `before`."""
    key = timeline_key(user_id)
    if backends.cache.zscore(key, "built") is None:
        rebuild_timeline(backends, user_id)
    newest = f"({before if before is not None else '+inf'}"
    found = backends.cache.zrevrangebyscore(key, newest, 1, start=0, num=limit)
    return [int(str(post_id)) for post_id in found]


def rebuild_timeline(backends: Backends, user_id: int) -> None:
    """Fill the timeline from SQL. The mark goes first: from then on the worker adds new posts to it."""
    key = timeline_key(user_id)
    with backends.cache.pipeline() as pipe:
        pipe.zadd(key, {"building": FOREVER})
        pipe.expire(key, BUILDING_SECONDS)
        pipe.execute()
    ids = followed_posts(backends.database, user_id)
    with backends.cache.pipeline() as pipe:
        pipe.zadd(key, {"built": FOREVER, **{str(post_id): post_id for post_id in ids}})
        pipe.zrem(key, "building")
        pipe.persist(key)
        pipe.execute()


def followed_posts(database: Database, user_id: int) -> list[int]:
    """Return the newest posts of the person and of whom they follow."""
    with database.connection() as connection:
        rows = connection.execute(
            """
            SELECT p.id FROM posts p
            WHERE p.reply_to_id IS NULL AND (p.author_id = %(user)s OR p.author_id IN
                  (SELECT followed_id FROM follows WHERE follower_id = %(user)s))
            ORDER BY p.id DESC LIMIT %(limit)s
            """,
            {"user": user_id, "limit": LENGTH},
        ).fetchall()
    return [row["id"] for row in rows]


def fan_out(backends: Backends, post_id: int) -> int:
    """Add a post to every timeline that stands in Redis; return how many. Safe to repeat."""
    with backends.database.connection() as connection:
        readers = connection.execute(
            """
            SELECT f.follower_id AS id FROM posts p JOIN follows f ON f.followed_id = p.author_id
            WHERE p.id = %(post)s AND p.reply_to_id IS NULL
            UNION SELECT author_id FROM posts WHERE id = %(post)s AND reply_to_id IS NULL
            """,
            {"post": post_id},
        ).fetchall()
    keys = [timeline_key(row["id"]) for row in readers]
    with backends.cache.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.exists(key)
        standing = [key for key, exists in zip(keys, pipe.execute(), strict=True) if exists]
        for key in standing:
            pipe.zadd(key, {str(post_id): post_id})
            # The two highest ranks may be marks; what is cut is the oldest.
            pipe.zremrangebyrank(key, 0, -(LENGTH + 2))
        pipe.zadd(NEWEST_FANNED_OUT, {"post": post_id}, gt=True)
        pipe.execute()
    return len(standing)


def newest_fanned_out(cache: Redis) -> int | None:
    """The highest post id that has been fanned out, or None if this Redis knows nothing."""
    score = cache.zscore(NEWEST_FANNED_OUT, "post")
    return int(score) if score is not None else None
