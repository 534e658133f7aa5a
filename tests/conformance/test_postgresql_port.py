"""ports.Postgresql against a real server."""

import time

import pytest

from migrate.adapters.postgresql import PsycopgClient
from migrate.errors import Refused, Unreachable
from migrate.ports import Postgresql
from migrate.secret import Secret
from tests.local_hosts import PASSWORD, PrivatePostgresql, free_port

GOOD = Secret(PASSWORD)


@pytest.fixture
def client() -> Postgresql:
    return PsycopgClient()


def test_rows_of_a_query(client: Postgresql, postgresql: PrivatePostgresql) -> None:
    sql = "SELECT true, 'böb', current_user::text"
    assert client.query(postgresql.port, "postgres", "plaza", GOOD, sql, timeout=5) == [(True, "böb", "plaza")]


def test_percent_signs_are_no_parameters(client: Postgresql, postgresql: PrivatePostgresql) -> None:
    assert client.query(postgresql.port, "postgres", "plaza", GOOD, "SELECT 'a%s' LIKE 'a%'", timeout=5) == [(True,)]


def test_nothing_can_be_written(client: Postgresql, postgresql: PrivatePostgresql) -> None:
    with pytest.raises(Refused, match="read-only"):
        client.query(postgresql.port, "postgres", "plaza", GOOD, "CREATE TABLE public.t ()", timeout=5)


def test_a_wrong_password_is_refused_without_being_shown(client: Postgresql, postgresql: PrivatePostgresql) -> None:
    with pytest.raises(Refused) as refused:
        client.query(postgresql.port, "postgres", "plaza", Secret("wrong-pony"), "SELECT 1", timeout=5)
    assert "password authentication failed" in refused.value.what and "wrong-pony" not in str(refused.value)


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT * FROM nowhere", "SELECT 1/0"])
def test_a_bad_query_is_refused(client: Postgresql, postgresql: PrivatePostgresql, sql: str) -> None:
    with pytest.raises(Refused, match="the query was refused"):
        client.query(postgresql.port, "postgres", "plaza", GOOD, sql, timeout=5)


def test_no_such_database_is_refused(client: Postgresql, postgresql: PrivatePostgresql) -> None:
    with pytest.raises(Refused, match="does not exist"):
        client.query(postgresql.port, "nowhere", "plaza", GOOD, "SELECT 1", timeout=5)


def test_a_closed_port_is_unreachable(client: Postgresql, postgresql: PrivatePostgresql) -> None:
    with pytest.raises(Unreachable):
        client.query(free_port(), "postgres", "plaza", GOOD, "SELECT 1", timeout=5)


def test_a_slow_query_is_ended(client: Postgresql, postgresql: PrivatePostgresql) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"within 0\.5 s"):
        client.query(postgresql.port, "postgres", "plaza", GOOD, "SELECT pg_sleep(30)", timeout=0.5)
    assert time.monotonic() - began < 10
