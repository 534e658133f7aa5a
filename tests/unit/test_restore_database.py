"""From a dump in the archive to a database under its live name, on a real PostgreSQL."""

import json
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import pytest

from migrate.check import ChecksHeld, Verdict
from migrate.errors import ExitCode, GateHeld
from migrate.inventory import Inventory
from migrate.restore.artifacts import Archive
from migrate.restore.database import DatabaseLoaded
from migrate.restore.dump import DumpPlaced
from migrate.restore.proof import DatabaseProved
from migrate.restore.rewrite import UrlsRewritten
from migrate.stack import Stack
from tests.local_hosts import (
    CONTEXT,
    SOCKETS,
    LocalHosts,
    PrivatePostgresql,
    archive_dump,
    archive_object,
    inventory_of_one,
    stack_with,
    step_for,
)

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


def test_a_dump_is_placed_for_postgres_alone(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    action = DumpPlaced(home.stack, home.inventory, home.hosts, home.archive)
    assert action.verify(STEP, CONTEXT) is Verdict.FAIL
    outcome = action.apply(STEP, CONTEXT)
    placed = home.hosts.on_disk(PLACED)
    assert placed.read_bytes() == good_dump
    assert (placed.stat().st_mode & 0o777, placed.owner()) == (0o600, "postgres")
    assert outcome.detail["rows"] == 203
    assert action.verify(STEP, CONTEXT) is Verdict.PASS


def test_nothing_is_known_before_the_export(home: Home) -> None:
    action = DumpPlaced(home.stack, home.inventory, home.hosts, home.archive)
    assert action.verify(STEP, CONTEXT) is Verdict.UNKNOWN


def refusal(home: Home) -> GateHeld:
    """What refuses the newest dump; no database may have been made, and nothing lie under the vetted name."""
    with pytest.raises(GateHeld) as held:
        home.place()
    assert home.postgresql.databases() == set()
    assert not home.hosts.on_disk(PLACED).exists()
    assert held.value.exit_code is ExitCode.GATE
    assert held.value.expected and held.value.hint
    return held.value


def test_a_dump_cut_short_after_its_record_is_refused(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump[:-500], TABLES, bytes=len(good_dump))
    assert "not what its record describes" in refusal(home).what


def test_a_dump_spoilt_after_its_record_is_refused(home: Home, good_dump: bytes) -> None:
    spoilt = good_dump[:-500] + bytes([good_dump[-500] ^ 1]) + good_dump[-499:]
    archive_dump(home.archive, spoilt, TABLES, sha256="0" * 64)
    assert "SHA-256" in refusal(home).what


@pytest.mark.parametrize("left", [0.3, 0.9, 0.999])
def test_a_dump_that_was_truncated_before_its_record_is_refused(home: Home, good_dump: bytes, left: float) -> None:
    archive_dump(home.archive, good_dump[: int(len(good_dump) * left)], TABLES)
    assert "truncated or damaged" in refusal(home).what
    assert not any("incoming" in path.name for path in home.hosts.on_disk(PLACED.parent).iterdir())


def test_a_plain_dump_is_refused(home: Home) -> None:
    archive_dump(home.archive, b"--\n-- PostgreSQL database dump\n--\nCREATE TABLE users ();\n", {})
    assert "a plain SQL dump" in refusal(home).what


def test_a_dump_of_another_database_is_refused(home: Home) -> None:
    home.postgresql.execute("postgres", "CREATE DATABASE billing")
    other = home.postgresql.dump("billing")
    home.postgresql.clear()
    archive_dump(home.archive, other, {})
    assert "another database: the dump says 'billing'" in refusal(home).what


def test_a_record_of_another_database_is_refused(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES, database="billing")
    assert "another database: its record says 'billing'" in refusal(home).what


def test_a_dump_of_a_newer_server_is_refused_by_its_own_head(home: Home, good_dump: bytes) -> None:
    version = good_dump.index(b"15.")
    newer = good_dump[:version] + b"99" + good_dump[version + 2 :]
    archive_dump(home.archive, newer, TABLES)
    assert "newer PostgreSQL: its server was 99, the target server is 15" in refusal(home).what


def test_a_dump_of_a_newer_server_is_refused_by_its_record(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES, server_version_num=170002)
    assert "its record says 17" in refusal(home).what


def test_an_unverified_newest_dump_is_not_replaced_by_an_older_one(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    archive_object(home.archive, "backups", "postgresql/plaza-20261120T130000Z.dump", b"?", state="quarantined")
    refused = refusal(home)
    assert "quarantined, not verified" in refused.what and "T130000Z" in refused.where


def test_a_dump_is_loaded_for_its_owner_and_marked(home: Home, good_dump: bytes) -> None:
    sha256 = archive_dump(home.archive, good_dump, TABLES)
    home.place()
    assert home.loading.verify(STEP, CONTEXT) is Verdict.FAIL
    home.loading.apply(STEP, CONTEXT)
    assert home.postgresql.databases() == {"plaza"}
    owners = home.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [("plaza",)]
    assert home.query("SELECT count(*) FROM posts WHERE body LIKE '%🎈'") == [(199,)]
    assert home.query("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'posts'") == [(True,)]
    [(comment,)] = home.query("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'plaza'")
    assert json.loads(str(comment))["cloudexit"]["sha256"] == sha256
    assert home.loading.verify(STEP, CONTEXT) is Verdict.PASS


def test_a_database_that_is_not_empty_is_refused(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.place()
    home.postgresql.execute("postgres", "CREATE DATABASE plaza")
    home.postgresql.execute("plaza", "CREATE TABLE precious (n int)", "INSERT INTO precious VALUES (7)")
    with pytest.raises(GateHeld, match="not empty: 1 tables") as held:
        home.loading.apply(STEP, CONTEXT)
    assert "--replace" in held.value.hint
    assert home.query("SELECT n FROM precious") == [(7,)]


def test_replace_sets_the_old_database_aside(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.place()
    home.postgresql.execute("postgres", "CREATE DATABASE plaza")
    home.postgresql.execute("plaza", "CREATE TABLE precious (n int)", "INSERT INTO precious VALUES (7)")
    outcome = replace(home.loading, replace=True).apply(STEP, CONTEXT)
    aside = str(outcome.detail["set_aside"])
    assert home.postgresql.databases() == {"plaza", aside}
    assert home.postgresql.execute(aside, "SELECT n FROM precious") == [(7,)]
    assert home.query("SELECT count(*) FROM posts") == [(200,)]


def test_a_newer_dump_does_not_replace_a_restored_database_in_silence(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.bring()
    archive_dump(home.archive, good_dump + b"", TABLES, stamp="20261121T120000Z", sha256="f" * 64)
    assert home.loading.verify(STEP, CONTEXT) is Verdict.FAIL
    with pytest.raises(GateHeld, match="restored from another dump"):
        home.loading.apply(STEP, CONTEXT)


def test_an_empty_database_gives_way(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.place()
    home.postgresql.execute("postgres", "CREATE DATABASE plaza OWNER plaza")
    home.loading.apply(STEP, CONTEXT)
    assert home.query("SELECT count(*) FROM users") == [(3,)]


def test_what_a_killed_attempt_left_is_dropped_and_its_connections_ended(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.place()
    home.postgresql.execute("postgres", "CREATE DATABASE plaza_cloudexit_0123abcd")
    orphan = subprocess.Popen(
        ["psql", "-h", str(SOCKETS), "-p", str(home.postgresql.port), "-U", "postgres", "-c", "SELECT pg_sleep(60)",
         "plaza_cloudexit_0123abcd"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'plaza_cloudexit_0123abcd'"
    deadline = time.monotonic() + 10
    while home.postgresql.execute("postgres", connected) == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    home.loading.apply(STEP, CONTEXT)
    assert home.postgresql.databases() == {"plaza"}
    _, said = orphan.communicate(timeout=10)
    assert b"terminating connection" in said


def test_a_database_named_like_a_scratch_one_but_not_ours_stays(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.place()
    home.postgresql.execute("postgres", "CREATE DATABASE plaza_cloudexit_mine")
    home.loading.apply(STEP, CONTEXT)
    assert home.postgresql.databases() == {"plaza", "plaza_cloudexit_mine"}


def test_a_dump_that_does_not_load_leaves_nothing(home: Home) -> None:
    home.postgresql.execute("postgres", "CREATE DATABASE plaza")
    home.postgresql.execute("plaza", "CREATE TABLE t (n int)", "CREATE ROLE other", "CREATE TABLE u (n int)",
                            "ALTER TABLE u ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON u TO other")  # fmt: skip
    content = home.postgresql.dump("plaza")
    home.postgresql.clear()
    home.postgresql.execute("postgres", "DROP ROLE other")
    archive_dump(home.archive, content, {"public.t": 0, "public.u": 0})
    home.place()
    with pytest.raises(GateHeld, match='role "other" does not exist'):
        home.loading.apply(STEP, CONTEXT)
    assert home.postgresql.databases() == set()


def test_grants_to_roles_of_the_old_home_are_left_out_and_named(home: Home) -> None:
    home.postgresql.execute("postgres", "CREATE DATABASE plaza", "CREATE ROLE analyst")
    home.postgresql.execute("plaza", "CREATE TABLE t (n int)", "GRANT SELECT ON t TO analyst")
    content = home.postgresql.dump("plaza")
    home.postgresql.clear()
    home.postgresql.execute("postgres", "DROP ROLE analyst")
    archive_dump(home.archive, content, {"public.t": 0})
    home.place()
    [check] = home.loading.apply(STEP, CONTEXT).checks
    assert check.verdict is Verdict.FAIL and not check.holds
    assert check.facts["left_out"] == ["ACL public TABLE t postgres"]


def test_addresses_are_rewritten_counted_and_gone(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.bring()
    assert home.rewriting.verify(STEP, CONTEXT) is Verdict.FAIL
    outcome = home.rewriting.apply(STEP, CONTEXT)
    assert outcome.detail["rewritten"] == {
        "public.posts.body": 1,
        "public.posts.links": 1,
        "public.users.avatar_url": 3,
        "public.users.profile": 3,
    }
    assert outcome.detail["values"] == 8
    assert home.query("SELECT body, links, updated_at FROM posts WHERE id = 200") == [
        (
            "see http://10.0.0.9/media/a.jpg and http://10.0.0.9/media/b.jpg",
            ["http://10.0.0.9/media/x", "a b"],
            None,
        )
    ]
    assert home.query("SELECT profile FROM users WHERE id = 2") == [({"card": "http://10.0.0.9/media/c/böb", "n": 1},)]
    assert all(outcome.checks)
    assert home.rewriting.verify(STEP, CONTEXT) is Verdict.PASS


def test_the_count_survives_a_second_run(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.bring()
    first = home.rewriting.apply(STEP, CONTEXT)
    assert home.rewriting.apply(STEP, CONTEXT).detail == first.detail
    recalled = home.rewriting.recall(STEP).detail
    assert recalled == {name: first.detail[name] for name in ("rewritten", "values")}


def test_an_address_that_would_be_cut_off_stops_the_rewriting(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    stack = stack_with(
        postgresql_port=home.postgresql.port,
        media__plaza__url="http://media.a-very-long-name.example/and/a/long/path/x/",
    )
    home.bring()
    with pytest.raises(GateHeld, match=r"value too long for type character varying\(60\)"):
        UrlsRewritten(stack, home.inventory, home.hosts).apply(STEP, CONTEXT)
    assert home.query(f"SELECT count(*) FROM users WHERE avatar_url LIKE '{OLD}%'") == [(3,)]


def test_other_traces_of_the_old_host_are_reported(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.bring()
    home.query(
        "CREATE VIEW v AS SELECT 'https://old.example/else' AS a; INSERT INTO users (name) VALUES ('old.example')"
    )
    [check] = home.rewriting.apply(STEP, CONTEXT).checks
    assert check.verdict is Verdict.FAIL and not check.holds
    assert check.facts["values"] == {"public.users.name": 1, "view v": 1}


def test_a_whole_database_is_proved(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.bring()
    home.rewriting.apply(STEP, CONTEXT)
    assert home.proving.verify(STEP, CONTEXT) is Verdict.FAIL
    outcome = home.proving.apply(STEP, CONTEXT)
    assert all(outcome.checks) and len(outcome.checks) == 7
    assert outcome.detail["rows"] == 203 and outcome.detail["watermarks"]["posts"]["rows"] == 200
    assert home.proving.recall(STEP).detail["watermarks"] == outcome.detail["watermarks"]
    home.query("INSERT INTO users (name) VALUES ('new here')")
    assert home.proving.verify(STEP, CONTEXT) is Verdict.PASS
    owner_may_dump = ["pg_dump", "-h", "127.0.0.1", "-p", str(home.postgresql.port), "-U", "plaza", "plaza"]
    subprocess.run(owner_may_dump, check=True, capture_output=True, env={"PGPASSWORD": "right-horse"}, timeout=60)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM posts WHERE id = 5", "public.posts 199 rows, recorded 200"),
        ("DROP TABLE posts", "missing: public.posts"),
        ("CREATE TABLE intruder ()", "not in the record: public.intruder"),
        ("SELECT setval('posts_id_seq', 7)", "posts.id: the sequence stands at 7, the column at 200"),
        (
            "ALTER TABLE posts ADD CONSTRAINT late FOREIGN KEY (author_id) REFERENCES users NOT VALID",
            "posts.late",
        ),
        ("DROP EXTENSION pg_trgm CASCADE", "pg_trgm is missing"),
    ],
)
def test_a_damaged_database_is_not_proved(home: Home, good_dump: bytes, damage: str, said: str) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.stack = stack_with(postgresql_port=home.postgresql.port, databases__plaza__extensions=["pg_trgm"],
                            databases__plaza__watermarks={})  # fmt: skip
    home.bring()
    home.query(damage)
    with pytest.raises(ChecksHeld) as held:
        home.proving.apply(STEP, CONTEXT)
    assert said in held.value.what
    assert home.proving.verify(STEP, CONTEXT) is Verdict.FAIL


def test_an_index_that_lacks_a_row_is_found(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    home.bring()
    home.query("CREATE TABLE spare (n int); CREATE INDEX ON spare (n)")
    home.query("UPDATE pg_index SET indisready = false, indisvalid = true WHERE indexrelid = 'spare_n_idx'::regclass")
    home.query("INSERT INTO spare SELECT generate_series(1, 50)")
    home.query("UPDATE pg_index SET indisready = true WHERE indexrelid = 'spare_n_idx'::regclass")
    with pytest.raises(ChecksHeld) as held:
        home.proving.apply(STEP, CONTEXT)
    assert "lacks matching index tuple" in held.value.what
