"""The three parts behind Plaza, opened from its settings."""

from dataclasses import dataclass

import redis
from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from plaza.mail import Mailer, open_mailer
from plaza.media import MediaStore, open_media_store
from plaza.settings import Settings

Database = ConnectionPool[Connection[DictRow]]

POOL_WAIT_SECONDS = 5.0
SOCKET_SECONDS = 5.0


@dataclass(frozen=True)
class Backends:
    """PostgreSQL, Redis, the media store, and a mail server where there is one."""

    database: Database
    cache: redis.Redis
    media: MediaStore
    media_url: str
    mailer: Mailer | None = None

    def close(self) -> None:
        """Give every connection back."""
        self.database.close()
        self.cache.close()


def open_backends(settings: Settings, connections: int = 8) -> Backends:
    """Open lazily: nothing is connected before it is used, so that a part may come up later."""
    database: Database = ConnectionPool(
        settings.database_url,
        min_size=0,
        max_size=connections,
        open=False,
        timeout=POOL_WAIT_SECONDS,
        # A restarted server leaves dead connections in the pool; test one before handing it out.
        check=ConnectionPool.check_connection,
        kwargs={"row_factory": dict_row, "connect_timeout": 3, "application_name": "plaza"},
    )
    database.open()
    cache = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=2,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2),
    )
    mailer = open_mailer(settings.smtp_url, settings.mail_from) if settings.smtp_url else None
    return Backends(database, cache, open_media_store(settings.media_store), settings.media_url, mailer)
