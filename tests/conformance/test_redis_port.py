"""ports.Redis against a real server."""

import socket
import time
from collections.abc import Iterator

import pytest

from migrate.adapters.redis import RedisClient
from migrate.errors import Refused, Unreachable
from migrate.ports import Redis
from migrate.secret import Secret
from tests.local_hosts import PASSWORD, PrivateRedis, free_port, running_redis

GOOD = Secret(PASSWORD)


@pytest.fixture
def client() -> Redis:
    return RedisClient()


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateRedis]:
    with running_redis() as running:
        yield running


def test_ping(client: Redis, server: PrivateRedis) -> None:
    assert client.ping(server.port, GOOD, timeout=5) is True


def test_lengths_of_lists(client: Redis, server: PrivateRedis) -> None:
    server.cli("RPUSH", "jobs", "a", "b")
    assert client.list_length(server.port, GOOD, "jobs", timeout=5) == 2
    assert client.list_length(server.port, GOOD, "no such list", timeout=5) == 0


def test_keys_of_all_databases(client: Redis, server: PrivateRedis) -> None:
    server.cli("FLUSHALL")
    assert client.key_count(server.port, GOOD, timeout=5) == 0
    server.cli("SET", "a", "1")
    server.cli("-n", "5", "SET", "a", "1")
    assert client.key_count(server.port, GOOD, timeout=5) == 2


def test_a_key_of_another_kind_is_refused(client: Redis, server: PrivateRedis) -> None:
    server.cli("SET", "text", "1")
    with pytest.raises(Refused, match="wrong kind"):
        client.list_length(server.port, GOOD, "text", timeout=5)


@pytest.mark.parametrize("password", ["wrong-pony", ""])
def test_a_wrong_password_is_refused_without_being_shown(client: Redis, server: PrivateRedis, password: str) -> None:
    with pytest.raises(Refused) as refused:
        client.ping(server.port, Secret(password), timeout=5)
    assert "wrong-pony" not in str(refused.value)


def test_a_closed_port_is_unreachable(client: Redis) -> None:
    with pytest.raises(Unreachable):
        client.ping(free_port(), GOOD, timeout=5)


def test_a_server_that_says_nothing_is_unreachable_in_time(client: Redis) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(Unreachable):
            client.ping(silent.getsockname()[1], GOOD, timeout=0.5)
        assert time.monotonic() - began < 5
