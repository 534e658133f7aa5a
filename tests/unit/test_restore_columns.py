"""Which columns are rewritten, in which forms, and what is left alone: on a real PostgreSQL where types matter."""

import pytest

from migrate.errors import GateHeld, UsageProblem
from migrate.restore.columns import Form, Reach, forms_of, old_hosts
from migrate.restore.rewrite import UrlsRewritten, read_columns
from migrate.restore.server import Server
from tests.local_hosts import CONTEXT, LocalHosts, PrivatePostgresql, inventory_of_one, stack_with, step_for

OLD = "https://old.example/pictures/"
NEW = "http://10.0.0.9/media/"
MARK = """COMMENT ON DATABASE plaza IS '{"cloudexit": {"sha256": "abc", "dump": "d", "loaded_at": "t"}}'"""


@pytest.fixture
def server(postgresql: PrivatePostgresql, local_hosts: LocalHosts) -> Server:
    postgresql.execute("postgres", "CREATE DATABASE plaza TEMPLATE template0 OWNER plaza", MARK)
    return Server(local_hosts, inventory_of_one().hosts["here"], postgresql.port)


def rewrite(postgresql: PrivatePostgresql, hosts: LocalHosts) -> dict[str, int]:
    action = UrlsRewritten(stack_with(postgresql_port=postgresql.port), inventory_of_one("10.0.0.9"), hosts)
    return dict(action.apply(step_for("plaza"), CONTEXT).detail["rewritten"])


TYPES = [
    ("text", f"'x {OLD}a'", f"x {NEW}a"),
    ("varchar(80)", f"'{OLD}a'", f"{NEW}a"),
    ("char(60)", f"'{OLD}a'", f"{NEW}a".ljust(60)),
    ("citext", f"'{OLD}A'", f"{NEW}A"),
    ("address", f"'{OLD}a'", f"{NEW}a"),
    ("json", f"""'{{"u":  "{OLD}a"}}'""", {"u": f"{NEW}a"}),
    ("json", """'{"u": "https:\\/\\/old.example\\/pictures\\/a"}'""", {"u": f"{NEW}a"}),
    ("jsonb", """'{"u": ["https:\\/\\/old.example\\/pictures\\/a"], "n": 1.50}'""", {"u": [f"{NEW}a"], "n": 1.5}),
    ("card", f"""'{{"u": "{OLD}a"}}'""", {"u": f"{NEW}a"}),
    ("text", """'{"php":"https:\\/\\/old.example\\/pictures\\/a"}'""", '{"php":"http:\\/\\/10.0.0.9\\/media\\/a"}'),
    ("text[]", f"""ARRAY['{OLD}a', NULL, 'b "c", d']""", [f"{NEW}a", None, 'b "c", d']),
    ("varchar(80)[]", f"ARRAY[ARRAY['{OLD}a'], ARRAY['b']]", [[f"{NEW}a"], ["b"]]),
    ("jsonb[]", f"""ARRAY['{{"u": "{OLD}a"}}'::jsonb]""", [{"u": f"{NEW}a"}]),
    ("address[]", f"ARRAY['{OLD}a']::address[]", f"{{{NEW}a}}"),
    ("addresses", f"ARRAY['{OLD}a', 'b']", [f"{NEW}a", "b"]),
    ("hstore", f"""'k=>"{OLD}a"'""", f'"k"=>"{NEW}a"'),
    ("xml", f"'<a href=\"{OLD}a\"/>'", f'<a href="{NEW}a"/>'),
    ("text", "'http://old.example/pictures/a'", f"{NEW}a"),
    ("text", "'/go?to=https%3A%2F%2Fold.example%2Fpictures%2Fa'", "/go?to=http%3A%2F%2F10.0.0.9%2Fmedia%2Fa"),
]


def test_every_type_that_can_hold_an_address(
    server: Server, postgresql: PrivatePostgresql, local_hosts: LocalHosts
) -> None:
    postgresql.execute("plaza", "CREATE EXTENSION citext", "CREATE EXTENSION hstore",
                       "CREATE DOMAIN address AS text CHECK (value LIKE 'http%')", "CREATE DOMAIN card AS jsonb",
                       "CREATE DOMAIN addresses AS varchar(90)[]")  # fmt: skip
    columns = ", ".join(f"c{index} {kind}" for index, (kind, _, _) in enumerate(TYPES))
    values = ", ".join(value for _, value, _ in TYPES)
    postgresql.execute("plaza", f"CREATE TABLE t ({columns})", f"INSERT INTO t VALUES ({values})")
    counts = rewrite(postgresql, local_hosts)
    assert counts == {f"public.t.c{index}": 1 for index in range(len(TYPES))}
    [row] = postgresql.execute("plaza", "SELECT * FROM t")
    for (kind, value, expected), found in zip(TYPES, row, strict=True):
        assert found == expected, (kind, value)


def test_partitions_children_and_strange_names(
    server: Server, postgresql: PrivatePostgresql, local_hosts: LocalHosts
) -> None:
    postgresql.execute(
        "plaza",
        "CREATE TABLE log (day int, u text) PARTITION BY RANGE (day)",
        "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM (10) TO (20)",
        f"INSERT INTO log VALUES (1, '{OLD}a'), (11, '{OLD}b'), (12, 'c')",
        "CREATE TABLE parent (u text)",
        "CREATE TABLE child () INHERITS (parent)",
        f"INSERT INTO parent VALUES ('{OLD}p')",
        f"INSERT INTO child VALUES ('{OLD}c')",
        """CREATE SCHEMA "Odd ""one" """,
        """CREATE TABLE "Odd ""one"."tä'ble" ("select" text, "a.b" int)""",
        f"""INSERT INTO "Odd ""one"."tä'ble" VALUES ('{OLD}z')""",
    )
    assert rewrite(postgresql, local_hosts) == {
        "public.log.u": 2,
        "public.parent.u": 1,
        "public.child.u": 1,
        "Odd \"one.tä'ble.select": 1,
    }
    assert postgresql.execute("plaza", "SELECT u FROM log ORDER BY day") == [(f"{NEW}a",), (f"{NEW}b",), ("c",)]


def test_generated_columns_and_views_follow(
    server: Server, postgresql: PrivatePostgresql, local_hosts: LocalHosts
) -> None:
    postgresql.execute(
        "plaza",
        "CREATE TABLE t (u text, big text GENERATED ALWAYS AS (upper(u) || u) STORED)",
        f"INSERT INTO t VALUES ('{OLD}a')",
        "CREATE MATERIALIZED VIEW v AS SELECT u AS seen FROM t",
    )
    reaches = {column.name: column.reach for column in read_columns(server, "plaza")}
    assert reaches == {
        "public.t.u": Reach.REWRITTEN,
        "public.t.big": Reach.DERIVED,
        "public.v.seen": Reach.DERIVED,
    }
    assert rewrite(postgresql, local_hosts) == {"public.t.u": 1}
    assert postgresql.execute("plaza", "SELECT big, seen FROM t, v") == [(f"{NEW.upper()}A{NEW}a", f"{NEW}a")]


def test_foreign_keys_on_addresses_hold(server: Server, postgresql: PrivatePostgresql, local_hosts: LocalHosts) -> None:
    postgresql.execute(
        "plaza",
        "CREATE TABLE image (u text PRIMARY KEY)",
        "CREATE TABLE used (u text REFERENCES image)",
        f"INSERT INTO image VALUES ('{OLD}a')",
        f"INSERT INTO used VALUES ('{OLD}a')",
    )
    rewrite(postgresql, local_hosts)
    assert postgresql.execute("plaza", "SELECT u FROM image JOIN used USING (u)") == [(f"{NEW}a",)]


def test_a_type_that_cannot_be_rewritten_holds_the_gate(
    server: Server, postgresql: PrivatePostgresql, local_hosts: LocalHosts
) -> None:
    postgresql.execute(
        "plaza", "CREATE TYPE link AS (title text, u text)", "CREATE TABLE t (l link)",
        f"INSERT INTO t VALUES (ROW('t', '{OLD}a'))",
    )  # fmt: skip
    with pytest.raises(GateHeld, match=r"left: public\.t\.l 1"):
        rewrite(postgresql, local_hosts)


def test_a_neighbouring_address_is_left_alone(
    server: Server, postgresql: PrivatePostgresql, local_hosts: LocalHosts
) -> None:
    others = ["https://old.example/pictures-2/a", "https://not-old.example/pictures/a", "old.example/pictures/"]
    postgresql.execute("plaza", "CREATE TABLE t (u text)", *[f"INSERT INTO t VALUES ('{other}')" for other in others])
    assert rewrite(postgresql, local_hosts) == {}
    assert [row[0] for row in postgresql.execute("plaza", "SELECT u FROM t")] == others


def test_forms_cover_schemes_escapes_and_encoding_longest_first() -> None:
    forms = forms_of(["https://b.old/"], "http://new/m/")
    assert Form("https://b.old/", "http://new/m/") in forms
    assert Form("http://b.old/", "http://new/m/") in forms
    assert Form("https:\\/\\/b.old\\/", "http:\\/\\/new\\/m\\/") in forms
    assert Form("http%3A%2F%2Fb.old%2F", "http%3A%2F%2Fnew%2Fm%2F") in forms
    assert [len(form.old) for form in forms] == sorted((len(form.old) for form in forms), reverse=True)


def test_an_address_without_its_slash_never_matches_a_longer_host() -> None:
    assert all(
        form.old.endswith(("b.old/", "b.old\\/", "b.old%2F")) for form in forms_of(["https://b.old"], "http://n/")
    )


def test_an_address_that_would_be_rewritten_again_and_again_is_refused() -> None:
    with pytest.raises(UsageProblem, match="contains the old one"):
        forms_of(["https://b.old/"], "https://b.old/media/")


@pytest.mark.parametrize(
    "bad", ["b.old/x/", "https://b.old/a b/", "https://b.old/'", 'https://b.old/"', "https://b{x}/"]
)
def test_what_is_no_plain_address_is_refused(bad: str) -> None:
    with pytest.raises(UsageProblem, match="no address"):
        forms_of([bad], "http://n/")
    with pytest.raises(UsageProblem, match="no address"):
        forms_of(["https://b.old/"], bad)


def test_old_hosts_keep_their_ports() -> None:
    assert old_hosts(["https://b.old:9000/x/", "http://a.old/", "https://a.old/y/"]) == ["a.old", "b.old:9000"]
