"""Posts, replies and likes."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow, class_row
from psycopg.types.json import Jsonb

from plaza import jobs, pictures, timelines
from plaza.backends import Backends, Database
from plaza.errors import Forbidden, InvalidInput, NotFound
from plaza.people import Person, notify

LONGEST_BODY = 2000
LONGEST_ALT_TEXT = 500
# Not \w: vowel signs of Indic scripts and combining accents are no word characters to Python.
TAG = re.compile(r"(?<![\w&/#])#([^\s#@.,;:!?…\"'()\[\]{}<>&/\\|،؟。、！？「」]{2,50})")
MENTION = re.compile(r"(?<![\w/@])@([a-z][a-z0-9_]{1,29})")
LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]]")


@dataclass(frozen=True)
class Post:
    """One post as the viewer sees it. `images` are dicts as the API shows them."""

    id: int
    body: str
    language: str
    card: dict[str, Any] | None
    reply_to_id: int | None
    created_at: datetime
    username: str
    display_name: str
    avatar_url: str | None
    likes: int
    replies: int
    liked: bool
    images: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """What the API says about a post."""
        return {
            "id": self.id,
            "body": self.body,
            "language": self.language,
            "card": self.card,
            "reply_to": self.reply_to_id,
            "created_at": self.created_at.isoformat(),
            "author": {
                "username": self.username,
                "display_name": self.display_name,
                "avatar_url": self.avatar_url,
            },
            "likes": self.likes,
            "replies": self.replies,
            "liked": self.liked,
            "images": self.images,
        }


@dataclass(frozen=True)
class Draft:
    """What somebody wants to post."""

    body: str
    reply_to_id: int | None = None
    image: bytes | None = None
    alt_text: str = ""
    language: str = "und"


@dataclass(frozen=True)
class StoredPicture:
    """A picture that lies in the media store, and what the author says about it."""

    picture: pictures.Picture
    key: str
    alt_text: str


SELECT_POSTS = """
    SELECT p.id, p.body, p.language, p.card, p.reply_to_id, p.created_at,
           u.username, u.display_name, u.avatar_url,
           (SELECT count(*) FROM likes l WHERE l.post_id = p.id) AS likes,
           (SELECT count(*) FROM posts r WHERE r.reply_to_id = p.id) AS replies,
           EXISTS (SELECT FROM likes l WHERE l.post_id = p.id AND l.user_id = %(viewer)s) AS liked,
           coalesce((SELECT json_agg(json_build_object(
                         'id', i.id, 'key', i.media_key, 'url', i.url, 'thumbnail_url', i.thumbnail_url,
                         'sha256', i.sha256, 'width', i.width, 'height', i.height, 'bytes', i.bytes,
                         'alt_text', i.alt_text) ORDER BY i.id)
                     FROM images i WHERE i.post_id = p.id), '[]') AS images
    FROM posts p JOIN users u ON u.id = p.author_id
"""


def publish(backends: Backends, author: Person, draft: Draft) -> int:
    """Store a post and ask the worker for the rest; return its id. Raise InvalidInput or NotFound."""
    body = draft.body.replace("\r\n", "\n").strip()
    if not body and draft.image is None:
        raise InvalidInput("Write something, or add a picture.")
    if len(body) > LONGEST_BODY:
        raise InvalidInput(f"A post has at most {LONGEST_BODY} characters.")
    # First the object, then the row: a row never points to nothing.
    stored = _store_picture(backends, draft)
    with backends.database.connection() as connection:
        post_id = _insert_post(connection, author, draft, body)
        image_id = _insert_image(connection, post_id, backends.media_url, stored) if stored else None
    if image_id is not None:
        jobs.enqueue(backends.cache, jobs.MAKE_THUMBNAIL, image_id)
    if draft.reply_to_id is None:
        _show_to_author(backends, author, post_id)
        jobs.enqueue(backends.cache, jobs.FAN_OUT, post_id)
    return post_id


def _store_picture(backends: Backends, draft: Draft) -> StoredPicture | None:
    if draft.image is None:
        return None
    picture = pictures.accept_upload(draft.image)
    stored = StoredPicture(picture, picture.key(datetime.now(UTC).year), draft.alt_text.strip()[:LONGEST_ALT_TEXT])
    backends.media.put(stored.key, picture.data, pictures.CONTENT_TYPE)
    return stored


def _insert_post(connection: Connection[DictRow], author: Person, draft: Draft, body: str) -> int:
    if draft.reply_to_id is not None:
        parent = connection.execute(
            "SELECT author_id FROM posts WHERE id = %s FOR KEY SHARE", [draft.reply_to_id]
        ).fetchone()
        if parent is None:
            raise NotFound("The post to reply to is gone.")
    links = LINK.findall(body)
    card = Jsonb({"kind": "links", "sources": links}) if links else None
    row = connection.execute(
        "INSERT INTO posts (author_id, reply_to_id, body, language, card) VALUES (%s, %s, %s, %s, %s) RETURNING id",
        [author.id, draft.reply_to_id, body, draft.language, card],
    ).fetchone()
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives a row or raises
    post_id: int = row["id"]
    for name in tags_in(body):
        connection.execute("INSERT INTO tags (name) VALUES (%s) ON CONFLICT DO NOTHING", [name])
        connection.execute(
            "INSERT INTO post_tags (post_id, tag_id) SELECT %s, id FROM tags WHERE name = %s", [post_id, name]
        )
    if draft.reply_to_id is not None and parent is not None:
        notify(connection, parent["author_id"], author.id, "reply", post_id)
    return post_id


def _insert_image(connection: Connection[DictRow], post_id: int, media_url: str, stored: StoredPicture) -> int:
    row = connection.execute(
        """
        INSERT INTO images (post_id, media_key, url, sha256, width, height, bytes, alt_text)
        VALUES (%(post)s, %(key)s, %(url)s, %(sha256)s, %(width)s, %(height)s, %(bytes)s, %(alt)s)
        RETURNING id
        """,
        {
            "post": post_id,
            "key": stored.key,
            "url": media_url + stored.key,
            "sha256": stored.picture.sha256,
            "width": stored.picture.width,
            "height": stored.picture.height,
            "bytes": len(stored.picture.data),
            "alt": stored.alt_text,
        },
    ).fetchone()
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives a row or raises
    image_id: int = row["id"]
    return image_id


def _show_to_author(backends: Backends, author: Person, post_id: int) -> None:
    """People expect to see at once what they wrote; everybody else can wait for the worker."""
    key = timelines.timeline_key(author.id)
    if backends.cache.exists(key):
        backends.cache.zadd(key, {str(post_id): post_id})


def tags_in(body: str) -> list[str]:
    """The hashtags in a text, composed (NFC) and in lower case, each once."""
    found = (unicodedata.normalize("NFC", name).lower() for name in TAG.findall(body))
    return sorted({name for name in found if not name.isdigit()})


def posts_by_id(database: Database, ids: list[int], viewer_id: int) -> list[Post]:
    """Return those of the posts that still exist, newest first."""
    return _posts(database, "WHERE p.id = ANY(%(ids)s) ORDER BY p.id DESC", {"ids": ids, "viewer": viewer_id})


def post_by_id(database: Database, post_id: int, viewer_id: int) -> Post:
    """Return the post; raise NotFound."""
    found = posts_by_id(database, [post_id], viewer_id)
    if not found:
        raise NotFound("There is no such post.")
    return found[0]


def replies_to(database: Database, post_id: int, viewer_id: int, limit: int = 200) -> list[Post]:
    """Return the replies, oldest first."""
    return _posts(
        database,
        "WHERE p.reply_to_id = %(post)s ORDER BY p.id LIMIT %(limit)s",
        {"post": post_id, "viewer": viewer_id, "limit": limit},
    )


def home_posts(backends: Backends, viewer_id: int, before: int | None, limit: int) -> list[Post]:
    """The viewer's home timeline."""
    ids = timelines.read_timeline(backends, viewer_id, before, limit)
    return posts_by_id(backends.database, ids, viewer_id)


def everyones_posts(database: Database, viewer_id: int, before: int | None, limit: int) -> list[Post]:
    """The newest posts of everybody."""
    return _page(database, "p.reply_to_id IS NULL", {"viewer": viewer_id}, before, limit)


def posts_of(database: Database, person: Person, viewer_id: int, before: int | None, limit: int) -> list[Post]:
    """The newest posts and replies of one person."""
    values = {"viewer": viewer_id, "author": person.id}
    return _page(database, "p.author_id = %(author)s", values, before, limit)


def posts_tagged(database: Database, tag: str, viewer_id: int, before: int | None, limit: int) -> list[Post]:
    """The newest posts with a hashtag."""
    condition = "p.id IN (SELECT pt.post_id FROM post_tags pt JOIN tags t ON t.id = pt.tag_id WHERE t.name = %(tag)s)"
    values = {"viewer": viewer_id, "tag": unicodedata.normalize("NFC", tag).lower()}
    return _page(database, condition, values, before, limit)


def _page(database: Database, condition: str, values: dict[str, Any], before: int | None, limit: int) -> list[Post]:
    return _posts(
        database,
        f"WHERE {condition} AND (%(before)s::bigint IS NULL OR p.id < %(before)s) ORDER BY p.id DESC LIMIT %(limit)s",
        {**values, "before": before, "limit": limit},
    )


def _posts(database: Database, rest: str, values: dict[str, Any]) -> list[Post]:
    with database.connection() as connection, connection.cursor(row_factory=class_row(Post)) as cursor:
        return cursor.execute(SELECT_POSTS + rest, values).fetchall()


def trending_tags(database: Database, limit: int) -> list[dict[str, Any]]:
    """The most used hashtags of the newest 2,000 posts, with how often."""
    with database.connection() as connection:
        return connection.execute(
            """
            SELECT t.name, count(*) AS posts FROM post_tags pt JOIN tags t ON t.id = pt.tag_id
            WHERE pt.post_id > (SELECT coalesce(max(id), 0) - 2000 FROM posts)
            GROUP BY t.name ORDER BY posts DESC, t.name LIMIT %s
            """,
            [limit],
        ).fetchall()


def like(database: Database, viewer_id: int, post_id: int) -> None:
    """Like; doing it twice is fine. Raise NotFound."""
    with database.connection() as connection:
        post = connection.execute("SELECT author_id FROM posts WHERE id = %s FOR KEY SHARE", [post_id]).fetchone()
        if post is None:
            raise NotFound("There is no such post.")
        created = connection.execute(
            "INSERT INTO likes (user_id, post_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [viewer_id, post_id],
        ).rowcount
        if created:
            notify(connection, post["author_id"], viewer_id, "like", post_id)


def unlike(database: Database, viewer_id: int, post_id: int) -> None:
    """Take the like back; doing it twice is fine."""
    with database.connection() as connection:
        connection.execute("DELETE FROM likes WHERE user_id = %s AND post_id = %s", [viewer_id, post_id])


def remove_post(backends: Backends, viewer_id: int, post_id: int) -> None:
    """Really delete a post, its replies and its pictures; raise NotFound or Forbidden."""
    with backends.database.connection() as connection:
        post = connection.execute("SELECT author_id FROM posts WHERE id = %s", [post_id]).fetchone()
        if post is None:
            raise NotFound("There is no such post.")
        if post["author_id"] != viewer_id:
            raise Forbidden("Only its author may delete a post.")
        keys = connection.execute(
            """
            WITH RECURSIVE thread AS (SELECT %s::bigint AS id
                UNION SELECT p.id FROM posts p JOIN thread t ON p.reply_to_id = t.id)
            SELECT DISTINCT i.media_key FROM images i JOIN thread t ON t.id = i.post_id
            """,
            [post_id],
        ).fetchall()
        connection.execute("DELETE FROM posts WHERE id = %s", [post_id])
    for row in keys:
        jobs.enqueue(backends.cache, jobs.REMOVE_MEDIA, row["media_key"])


def notifications_of(database: Database, viewer_id: int, limit: int = 60) -> list[dict[str, Any]]:
    """What happened to the viewer's posts, newest first; marks it as read."""
    with database.connection() as connection:
        rows = connection.execute(
            """
            SELECT n.kind, n.post_id, n.created_at, n.read_at, a.username, a.display_name, a.avatar_url,
                   left(p.body, 140) AS excerpt
            FROM notifications n JOIN users a ON a.id = n.actor_id LEFT JOIN posts p ON p.id = n.post_id
            WHERE n.user_id = %s ORDER BY n.id DESC LIMIT %s
            """,
            [viewer_id, limit],
        ).fetchall()
        connection.execute(
            "UPDATE notifications SET read_at = now() WHERE user_id = %s AND read_at IS NULL", [viewer_id]
        )
    return rows


def unread_notifications(database: Database, viewer_id: int) -> int:
    """How many notifications wait, 99 at most."""
    with database.connection() as connection:
        row = connection.execute(
            "SELECT count(*) AS unread FROM (SELECT FROM notifications"
            " WHERE user_id = %s AND read_at IS NULL LIMIT 99) n",
            [viewer_id],
        ).fetchone()
    return row["unread"] if row else 0
