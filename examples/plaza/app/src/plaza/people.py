"""Accounts and follows."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import DictRow, class_row
from redis import Redis

from plaza import jobs, mail, passwords, sessions, welcome
from plaza.backends import Backends, Database
from plaza.errors import InvalidInput, NotFound, NotSignedIn

USERNAME = re.compile(r"[a-z][a-z0-9_]{1,29}")
RESERVED = frozenset({"admin", "api", "healthz", "media", "plaza", "static"})


@dataclass(frozen=True)
class Person:
    """One account, without its password hash."""

    id: int
    username: str
    display_name: str
    bio: str
    avatar_url: str | None
    profile: dict[str, Any]
    created_at: datetime

    def as_json(self) -> dict[str, Any]:
        """What the API says about a person."""
        return {
            "id": self.id,
            "username": self.username,
            "display_name": self.display_name,
            "bio": self.bio,
            "avatar_url": self.avatar_url,
            "profile": self.profile,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True)
class Standing:
    """How a person stands in the community, and to the viewer."""

    posts: int
    followers: int
    following: int
    followed_by_viewer: bool


COLUMNS = "u.id, u.username, u.display_name, u.bio, u.avatar_url, u.profile, u.created_at"


def sign_in(backends: Backends, username: str, password: str) -> tuple[Person, str]:
    """Return the person and a session token; raise NotSignedIn or TooManyAttempts."""
    username = username.strip().lower()
    sessions.refuse_guessing(backends.cache, username)
    with backends.database.connection() as connection:
        row = connection.execute("SELECT id, password_hash FROM users WHERE username = %s", [username]).fetchone()
        if not passwords.verify_password(row["password_hash"] if row else None, password) or row is None:
            sessions.count_failure(backends.cache, username)
            raise NotSignedIn("That name and password do not belong together.")
        if passwords.is_outdated(row["password_hash"]):
            connection.execute(
                "UPDATE users SET password_hash = %s WHERE id = %s",
                [passwords.hash_password(password), row["id"]],
            )
    person = person_by_id(backends.database, row["id"])
    return person, sessions.start_session(backends.cache, person.id)


def sign_up(backends: Backends, username: str, display_name: str, password: str, email: str = "") -> tuple[Person, str]:
    """Create an account and sign it in; raise InvalidInput if that cannot be. An address is for one welcome."""
    username, display_name = username.strip().lower(), display_name.strip()
    if not USERNAME.fullmatch(username) or username in RESERVED:
        raise InvalidInput("A name has 2 to 30 letters, digits or underscores, and starts with a letter.")
    if not 1 <= len(display_name) <= 60:
        raise InvalidInput("The display name has 1 to 60 characters.")
    if len(password) < passwords.MINIMUM_LENGTH:
        raise InvalidInput(f"The password has at least {passwords.MINIMUM_LENGTH} characters.")
    address = mail.checked_address(email) if email.strip() else ""
    try:
        with backends.database.connection() as connection:
            row = connection.execute(
                "INSERT INTO users (username, display_name, password_hash) VALUES (%s, %s, %s) RETURNING id",
                [username, display_name, passwords.hash_password(password)],
            ).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise InvalidInput("That name is taken.") from error
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives a row or raises
    if address and backends.mailer is not None:
        welcome.keep_address(backends.cache, row["id"], address)
        jobs.enqueue(backends.cache, jobs.WELCOME, row["id"])
    return person_by_id(backends.database, row["id"]), sessions.start_session(backends.cache, row["id"])


def person_by_id(database: Database, user_id: int) -> Person:
    """Return the account; raise NotFound."""
    return _one_person(database, "u.id = %s", user_id)


def person_by_name(database: Database, username: str) -> Person:
    """Return the account; raise NotFound."""
    return _one_person(database, "u.username = %s", username.lower())


def _one_person(database: Database, condition: str, value: int | str) -> Person:
    with database.connection() as connection, connection.cursor(row_factory=class_row(Person)) as cursor:
        person = cursor.execute(f"SELECT {COLUMNS} FROM users u WHERE {condition}", [value]).fetchone()  # noqa: S608
    if person is None:
        raise NotFound("There is nobody of that name.")
    return person


def standing(database: Database, person: Person, viewer_id: int) -> Standing:
    """Count the person's posts and follows."""
    with database.connection() as connection, connection.cursor(row_factory=class_row(Standing)) as cursor:
        found = cursor.execute(
            """
            SELECT (SELECT count(*) FROM posts WHERE author_id = %(person)s) AS posts,
                   (SELECT count(*) FROM follows WHERE followed_id = %(person)s) AS followers,
                   (SELECT count(*) FROM follows WHERE follower_id = %(person)s) AS following,
                   EXISTS (SELECT FROM follows
                           WHERE follower_id = %(viewer)s AND followed_id = %(person)s) AS followed_by_viewer
            """,
            {"person": person.id, "viewer": viewer_id},
        ).fetchone()
    assert found is not None  # noqa: S101 -- a SELECT without FROM gives one row
    return found


def followers(database: Database, person: Person, limit: int) -> list[Person]:
    """Who follows this person, longest-standing first."""
    return _people(
        database,
        "JOIN follows f ON f.follower_id = u.id WHERE f.followed_id = %s ORDER BY f.created_at, u.id LIMIT %s",
        [person.id, limit],
    )


def following(database: Database, person: Person, limit: int) -> list[Person]:
    """Whom this person follows, longest-standing first."""
    return _people(
        database,
        "JOIN follows f ON f.followed_id = u.id WHERE f.follower_id = %s ORDER BY f.created_at, u.id LIMIT %s",
        [person.id, limit],
    )


def suggestions(database: Database, viewer_id: int, limit: int) -> list[Person]:
    """People with many followers whom the viewer does not follow yet."""
    return _people(
        database,
        """
        JOIN (SELECT followed_id, count(*) AS fans FROM follows GROUP BY followed_id) f
             ON f.followed_id = u.id
        WHERE u.id <> %s AND NOT EXISTS
              (SELECT FROM follows WHERE follower_id = %s AND followed_id = u.id)
        ORDER BY f.fans DESC, u.id LIMIT %s
        """,
        [viewer_id, viewer_id, limit],
    )


def _people(database: Database, rest: str, values: list[int]) -> list[Person]:
    with database.connection() as connection, connection.cursor(row_factory=class_row(Person)) as cursor:
        return cursor.execute(f"SELECT {COLUMNS} FROM users u {rest}", values).fetchall()  # noqa: S608


def follow(backends: Backends, viewer_id: int, person: Person) -> None:
    """Follow; doing it twice is fine. Raise InvalidInput for oneself."""
    if viewer_id == person.id:
        raise InvalidInput("Nobody follows themselves.")
    with backends.database.connection() as connection:
        created = connection.execute(
            "INSERT INTO follows (follower_id, followed_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [viewer_id, person.id],
        ).rowcount
        if created:
            notify(connection, person.id, viewer_id, "follow", None)
    forget_timeline(backends.cache, viewer_id)


def unfollow(backends: Backends, viewer_id: int, person: Person) -> None:
    """Stop following; doing it twice is fine."""
    with backends.database.connection() as connection:
        connection.execute("DELETE FROM follows WHERE follower_id = %s AND followed_id = %s", [viewer_id, person.id])
    forget_timeline(backends.cache, viewer_id)


def forget_timeline(cache: Redis, user_id: int) -> None:
    """Whom somebody follows has changed: the next look rebuilds their timeline from SQL."""
    cache.delete(f"timeline:{user_id}")


def notify(connection: Connection[DictRow], user_id: int, actor_id: int, kind: str, post_id: int | None) -> None:
    """Tell `user_id` what `actor_id` did, unless they are the same person."""
    if user_id != actor_id:
        connection.execute(
            "INSERT INTO notifications (user_id, actor_id, kind, post_id) VALUES (%s, %s, %s, %s)",
            [user_id, actor_id, kind, post_id],
        )
