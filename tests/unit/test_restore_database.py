"""From a dump in the archive to a database under its live name, on a real PostgreSQL."""

import json
import subprocess
import time
from dataclasses import replace

import pytest

from migrate.check import ChecksHeld, Verdict
from migrate.errors import GateHeld
from migrate.restore.rewrite import UrlsRewritten
from tests.local_hosts import CONTEXT, SOCKETS, archive_dump, stack_with
from tests.restored_home import OLD, STEP, TABLES, Home


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
