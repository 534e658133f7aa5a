"""ports.Postgresql by psycopg."""

from typing import Any

import psycopg
from psycopg import errors as refusals

from migrate.errors import OutsideProblem, Refused, Unreachable
from migrate.secret import Secret

SIGN_IN = ("28",)
"""SQLSTATE class: invalid authorization."""
NOT_THERE = ("3D",)
"""SQLSTATE class: no such database."""


class PsycopgClient:
    """SQL through 127.0.0.1, one connection a call, read-only."""

    def query(
        self, port: int, database: str, user: str, password: Secret, sql: str, *, timeout: float
    ) -> list[tuple[Any, ...]]:
        """Rows of one SELECT. `timeout` in seconds bounds the sign-in and, on the server, the statement.

        Raises Unreachable (no connection, no answer in time; retriable), Refused (sign-in, permission, a statement that
        the server does not take)."""
        where = f"127.0.0.1:{port}/{database}"
        try:
            with psycopg.connect(
                host="127.0.0.1", port=port, dbname=database, user=user, password=password.reveal(),
                connect_timeout=max(2, round(timeout)), application_name="cloudexit check",
                options=f"-c statement_timeout={round(timeout * 1000)} -c default_transaction_read_only=on",
            ) as connection:  # fmt: skip
                return connection.execute(sql.encode()).fetchall()
        except refusals.QueryCanceled as fault:
            raise Unreachable(f"no answer within {timeout:g} s", where=where) from fault
        except psycopg.OperationalError as fault:
            raise _not_connected(fault, where) from fault
        except psycopg.Error as fault:
            raise Refused(f"the query was refused: {_said(fault)}", where=where) from fault


def _not_connected(fault: psycopg.OperationalError, where: str) -> OutsideProblem:
    said = _said(fault)
    if fault.sqlstate and fault.sqlstate.startswith(SIGN_IN):
        return Refused(f"sign-in refused: {said}", where=where)
    if _is_refusal(fault):
        return Refused(said, where=where)
    return Unreachable(f"no connection: {said}", where=where)


def _is_refusal(fault: psycopg.OperationalError) -> bool:
    """Before the sign-in is over libpq gives no SQLSTATE, only the server's words, which begin with FATAL."""
    if fault.sqlstate:
        return fault.sqlstate.startswith(NOT_THERE)
    pgconn = fault.pgconn
    return pgconn is not None and b"FATAL:" in pgconn.error_message and not _is_starting(pgconn.error_message)


def _is_starting(message: bytes) -> bool:
    return any(words in message for words in (b"is starting up", b"is shutting down", b"in recovery mode"))


def _said(fault: psycopg.Error) -> str:
    return " ".join(str(fault).split())
