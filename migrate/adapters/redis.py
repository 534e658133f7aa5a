"""ports.Redis by redis-py."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from migrate.errors import Refused, Unreachable
from migrate.secret import Secret

Answer = TypeVar("Answer")


class RedisClient:
    """Redis through 127.0.0.1, one connection a call.

    Raises Unreachable (no connection, no answer within `timeout` seconds, still loading; retriable), Refused (sign-in,
    permission, a key of another kind)."""

    def ping(self, port: int, password: Secret, *, timeout: float) -> bool:
        """True once Redis has loaded its data and answers."""
        return self._ask(port, password, timeout, lambda client: bool(client.ping()))

    def list_length(self, port: int, password: Secret, key: str, *, timeout: float) -> int:
        """0 where there is no such list."""
        return self._ask(port, password, timeout, lambda client: int(client.llen(key)))

    def key_count(self, port: int, password: Secret, *, timeout: float) -> int:
        """Keys of all databases."""

        def count(client: Any) -> int:
            return sum(int(database["keys"]) for database in client.info("keyspace").values())

        return self._ask(port, password, timeout, count)

    def _ask(self, port: int, password: Secret, timeout: float, question: Callable[[Any], Answer]) -> Answer:
        with _errors_told_apart(f"127.0.0.1:{port}"):
            client = redis.Redis(
                host="127.0.0.1",
                port=port,
                password=password.reveal() or None,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),
            )
            with client:
                return question(client)


@contextmanager
def _errors_told_apart(where: str) -> Iterator[None]:
    try:
        yield
    except redis.BusyLoadingError as fault:
        raise Unreachable(f"still loading its data: {fault}", where=where) from fault
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as fault:
        raise Refused(f"sign-in refused: {fault}", where=where) from fault
    except (redis.ConnectionError, redis.TimeoutError) as fault:
        raise Unreachable(f"no connection: {fault}", where=where) from fault
    except redis.ResponseError as fault:
        raise Refused(str(fault), where=where) from fault
