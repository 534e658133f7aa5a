"""A home that a dump comes to: a real PostgreSQL, this machine as its host, and an archive."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from migrate.inventory import Inventory
from migrate.restore.artifacts import Archive
from migrate.restore.database import DatabaseLoaded
from migrate.restore.dump import DumpPlaced
from migrate.restore.proof import DatabaseProved
from migrate.restore.rewrite import UrlsRewritten
from migrate.stack import Stack
from tests.local_hosts import CONTEXT, LocalHosts, PrivatePostgresql, inventory_of_one, stack_with, step_for

STEP = step_for("plaza")
PLACED = PurePosixPath("/var/lib/cloudexit/restore/plaza.dump")
OLD = "https://old.example/pictures/"
TABLES = {"public.users": 3, "public.posts": 200}

SCHEMA = """
CREATE EXTENSION pg_trgm;
CREATE TABLE users (id bigserial PRIMARY KEY, name text NOT NULL, avatar_url varchar(60), profile jsonb);
CREATE TABLE posts (id bigserial PRIMARY KEY, author_id bigint NOT NULL REFERENCES users, body text NOT NULL,
    links text[], created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz);
CREATE INDEX ON posts USING gin (body gin_trgm_ops);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at = now(); RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO users (name, avatar_url, profile) SELECT n, 'https://old.example/pictures/' || n || '.jpg',
    jsonb_build_object('card', 'https://old.example/pictures/c/' || n, 'n', 1) FROM unnest('{ann,böb,世界}'::text[]) n;
INSERT INTO posts (author_id, body, links) SELECT 1 + i % 3, 'post ' || i || ' 🎈', '{}' FROM generate_series(1, 199) i;
INSERT INTO posts (author_id, body, links) VALUES (1,
    'see https://old.example/pictures/a.jpg and http://old.example/pictures/b.jpg',
    '{https://old.example/pictures/x,"a b"}');
"""


@dataclass
class Home:
    postgresql: PrivatePostgresql
    hosts: LocalHosts
    archive: Archive
    stack: Stack
    inventory: Inventory

    def place(self) -> None:
        DumpPlaced(self.stack, self.inventory, self.hosts, self.archive).apply(STEP, CONTEXT)

    @property
    def loading(self) -> DatabaseLoaded:
        return DatabaseLoaded(self.stack, self.inventory, self.hosts, self.archive)

    @property
    def rewriting(self) -> UrlsRewritten:
        return UrlsRewritten(self.stack, self.inventory, self.hosts)

    @property
    def proving(self) -> DatabaseProved:
        return DatabaseProved(self.stack, self.inventory, self.hosts, self.archive)

    def bring(self) -> None:
        self.place()
        self.loading.apply(STEP, CONTEXT)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        return self.postgresql.execute("plaza", sql)


@pytest.fixture
def home(postgresql: PrivatePostgresql, local_hosts: LocalHosts, archive: Archive) -> Home:
    return Home(
        postgresql, local_hosts, archive, stack_with(postgresql_port=postgresql.port), inventory_of_one("10.0.0.9")
    )


@pytest.fixture(scope="session")
def good_dump(cluster: PrivatePostgresql) -> bytes:
    cluster.clear()
    cluster.execute("postgres", "CREATE DATABASE plaza TEMPLATE template0 OWNER postgres")
    cluster.execute("plaza", *[part + ";" for part in SCHEMA.split(";\n") if part.strip()])
    content = cluster.dump("plaza")
    cluster.clear()
    return content
