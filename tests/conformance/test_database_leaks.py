"""Deleted rows, their media and the provider's names, in a real database and in a real dump of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.adapters import database_leaks
from migrate.adapters.database_leaks import leaks_of_database
from migrate.adapters.dumps import dump_lines
from migrate.assess.findings import LeakKind
from migrate.assess.observed import Blindness
from migrate.assess.rows import MediaOfDeleted, Tally
from migrate.errors import Refused, Unreachable
from migrate.secret import Secret
from tests.local_hosts import PASSWORD, SOCKETS, PrivatePostgresql, free_port

TABLES = """
CREATE TABLE posts (id bigint PRIMARY KEY, body text, cover text, deleted_at timestamptz);
CREATE TABLE images (id bigint PRIMARY KEY, post_id bigint REFERENCES posts, url text, thumbnail_url text);
CREATE TYPE standing AS ENUM ('member', 'deleted');
CREATE TABLE members (id bigint PRIMARY KEY, status standing, avatar text, is_deleted text);
CREATE TABLE notes (id bigint PRIMARY KEY, deleted timestamptz, removed integer);
CREATE TABLE "Odd Name" (id bigint PRIMARY KEY, removed boolean, "Deleted At" date);
"""
ROWS = """
INSERT INTO posts VALUES (1, 'hello', NULL, NULL), (2, 'gone', 'c/2.png', now()),
    (3, 'see d1.cloudfront.net', NULL, now());
INSERT INTO images VALUES (1, 1, 'https://m.s3.amazonaws.com/1.jpg', NULL),
    (2, 2, 'https://m.s3.amazonaws.com/2.jpg', 't/2.webp'), (3, 3, 'none', NULL);
INSERT INTO members VALUES (1, 'member', 'a/1.jpg', 'no'), (2, 'deleted', 'a/2.jpg', 'no');
INSERT INTO notes VALUES (1, now(), NULL), (2, NULL, 0), (3, NULL, 2);
INSERT INTO "Odd Name" VALUES (1, true), (2, false), (3, NULL);
"""


@pytest.fixture
def url(postgresql: PrivatePostgresql) -> Iterator[Secret]:
    postgresql.execute("postgres", "CREATE DATABASE leaky")
    postgresql.execute("leaky", TABLES, ROWS)
    yield Secret(f"postgresql://postgres@/leaky?host={SOCKETS}&port={postgresql.port}")
    postgresql.execute("postgres", "DROP DATABASE leaky WITH (FORCE)")


def test_what_a_database_would_carry_over(url: Secret) -> None:
    leaks, unseen = leaks_of_database(url)
    assert unseen == []
    assert {
        (leak.kind, leak.where.removeprefix("database leaky: ").replace('"', "")): leak.found for leak in leaks
    } == {
        (LeakKind.SOFT_DELETED, "public.posts"): 2,
        (LeakKind.SOFT_DELETED, "public.members"): 1,
        (LeakKind.SOFT_DELETED, "public.Odd Name"): 1,
        (LeakKind.SOFT_DELETED, "public.notes"): 2,
        (LeakKind.MEDIA_OF_DELETED, "public.posts"): 1,
        (LeakKind.MEDIA_OF_DELETED, "images"): 2,
        (LeakKind.MEDIA_OF_DELETED, "public.members"): 1,
        (LeakKind.PROVIDER_HOST, "public.images.url"): 2,
        (LeakKind.PROVIDER_HOST, "public.posts.body"): 1,
    }


def test_a_dump_says_the_same_as_the_database(url: Secret, postgresql: PrivatePostgresql, tmp_path: Path) -> None:
    path = tmp_path / "leaky.dump"
    path.write_bytes(postgresql.dump("leaky"))
    with dump_lines(path) as lines:
        tally = Tally().read(lines)
    with dump_lines(path) as lines:
        media = MediaOfDeleted(tally).read(lines)
    dumped = sum(leak.found for leak in [*tally.leaks("d"), *media.leaks("d")])
    assert dumped == sum(leak.found for leak in leaks_of_database(url)[0])


def test_nothing_is_written_and_the_driver_is_held_to_it(url: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_leaks, "COLUMNS_QUERY", "CREATE TABLE t ()")
    with pytest.raises(Refused, match="read-only transaction"):
        leaks_of_database(url)


def test_a_question_that_takes_too_long_is_told_and_the_others_are_asked(
    url: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_leaks, "STATEMENT_SECONDS", 1)
    monkeypatch.setattr(database_leaks, "KEYS_QUERY", "SELECT pg_sleep(20)")
    leaks, (unseen,) = leaks_of_database(url)
    assert (unseen.reason, unseen.about) == (Blindness.NO_ANSWER, "foreign keys")
    assert any(leak.kind is LeakKind.SOFT_DELETED for leak in leaks)


def test_a_table_that_may_not_be_read_is_told(url: Secret, postgresql: PrivatePostgresql) -> None:
    postgresql.execute("leaky", "GRANT SELECT ON posts, members TO plaza")
    mine = Secret(f"postgresql://plaza:{PASSWORD}@127.0.0.1:{postgresql.port}/leaky")
    leaks, unseen = leaks_of_database(mine)
    assert {u.reason for u in unseen} == {Blindness.NOT_ALLOWED}
    assert any("images" in u.about for u in unseen)
    assert {leak.kind for leak in leaks} >= {LeakKind.SOFT_DELETED}
    postgresql.execute("leaky", "REVOKE ALL ON posts, members FROM plaza")


def test_a_wrong_password_is_refused_and_not_shown(postgresql: PrivatePostgresql) -> None:
    wrong = Secret(f"postgresql://plaza:wrong-pony@127.0.0.1:{postgresql.port}/postgres")
    with pytest.raises(Refused) as refused:
        leaks_of_database(wrong)
    assert "wrong-pony" not in str(refused.value)


def test_nobody_there_is_unreachable_and_the_url_stays_secret() -> None:
    with pytest.raises(Unreachable) as unreachable:
        leaks_of_database(Secret(f"postgresql://ana:pony@127.0.0.1:{free_port()}/x"))
    assert "pony" not in str(unreachable.value)
