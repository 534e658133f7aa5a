"""ports.Redis by redis-py."""

from collections.abc import Callable, Iterator, Mapping
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

    def ping(self, port: int, password: Secret, *, timeout: float, tls: bool = False) -> bool:
        """True once Redis has loaded its data and answers."""
        return self._ask(port, password, timeout, tls, lambda client: bool(client.ping()))

    def list_length(self, port: int, password: Secret, key: str, *, timeout: float, tls: bool = False) -> int:
        """0 where there is no such list."""
        return self._ask(port, password, timeout, tls, lambda client: int(client.llen(key)))

    def key_count(self, port: int, password: Secret, *, timeout: float, tls: bool = False) -> int:
        """Keys of all databases."""

        def count(client: Any) -> int:
            return sum(int(database["keys"]) for database in client.info("keyspace").values())

        return self._ask(port, password, timeout, tls, count)

    def info(self, port: int, password: Secret, *, timeout: float, tls: bool = False) -> Mapping[str, Any]:
        """INFO of the sections that Redis shows by default."""
        return self._ask(port, password, timeout, tls, lambda client: dict(client.info()))

    def _ask(self, port: int, password: Secret, timeout: float, tls: bool, question: Callable[[Any], Answer]) -> Answer:
        with _errors_told_apart(f"127.0.0.1:{port}"):
            client = redis.Redis(
                host="127.0.0.1",
                port=port,
                password=password.reveal() or None,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),
                ssl=tls,
                # The certificate is for the host's address, not for 127.0.0.1: whose port this is, the tunnel proved.
                ssl_cert_reqs="none",
                ssl_check_hostname=False,
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
