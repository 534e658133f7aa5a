"""Deleted rows, their media, and the provider's names in a live database; read-only, each question bounded."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from migrate.assess.findings import Leak
from migrate.assess.observed import Blindness, Unseen
from migrate.assess.rows import (
    ENDINGS,
    MARKED_BY_FLAG,
    MARKED_BY_TIME,
    MARKED_BY_WORD,
    NO,
    WORDS,
    hosts_in_column,
    media_of_deleted,
    soft_deleted,
)
from migrate.errors import Refused, Unreachable, UsageProblem
from migrate.restore.columns import COLUMNS_QUERY, Column, count_query
from migrate.restore.server import identifier, literal
from migrate.secret import Secret

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 120
READ_ONLY = "-c default_transaction_read_only=on -c statement_timeout={milliseconds}"
"""Settings of the session from its first moment; psycopg's own `read_only` says nothing outside a transaction."""
FLAGS = "BDENS"
"""Categories of types that a mark may have: boolean, date, enumeration, number, text."""
HOSTS = ("amazonaws.com", "cloudfront.net", "amazoncognito.com", "elasticbeanstalk.com")
MARKS_QUERY = """
SELECT n.nspname AS schema, c.relname AS table, a.attname AS column, t.typcategory AS category
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 3
"""
KEYS_QUERY = """
SELECT k.conrelid::regclass::text AS source, a.attname AS column, k.confrelid::regclass::text AS target,
    b.attname AS target_column, n.nspname AS schema, c.relname AS table
FROM pg_constraint k
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND cardinality(k.conkey) = 1 ORDER BY 1, 2
"""
URL = re.compile(r"postgres(?:ql)?://(?P<rest>.*)", re.DOTALL)
HOST = re.compile(r"[A-Za-z0-9._:%-]*|[/@].*", re.DOTALL)
"""A name, an address, or the folder of a socket."""
PASSWORDS = ("password", "sslpassword")
BLANK = "•••"
Row = Mapping[str, Any]


def leaks_of_database(url: Secret, where: str = "--database") -> tuple[list[Leak], list[Unseen]]:
    """What a database would carry over. Raises UsageProblem where the URL is none, Unreachable or Refused where it
    cannot be entered.

    A question that takes longer than two minutes is given up, and stands among what was not seen."""
    parameters = require_connection(url, where)
    settings: dict[str, Any] = {
        **parameters, "connect_timeout": CONNECT_SECONDS, "application_name": "cloudexit assess",
        "options": READ_ONLY.format(milliseconds=STATEMENT_SECONDS * 1000),
    }  # fmt: skip
    try:
        with psycopg.connect(**settings, row_factory=dict_row, autocommit=True) as connection:
            return _Looker(connection).look()
    except psycopg.OperationalError as fault:
        said = password_free(str(fault), parameters)
        kind = Refused if fault.sqlstate or "FATAL" in said else Unreachable
        raise kind(f"the database cannot be entered: {said}", where=where, hint="check the URL") from None
    except psycopg.Error as fault:
        raise Refused(f"the database refuses: {password_free(str(fault), parameters)}", where=where) from None


def require_connection(url: Secret, where: str) -> dict[str, str]:
    """The parameters of a URL, or of the driver's `name=value` form. Raises UsageProblem, which quotes none of it.

    A password whose signs are not encoded makes another URL of it: parts of the password become host, port or name, and
    the driver would say them. Such a URL is refused before the driver sees it."""
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(url.reveal()).items() if value is not None}
    except (psycopg.Error, ValueError):
        raise _no_url(where) from None
    written = URL.fullmatch(url.reveal())
    at_signs = written["rest"].count("@") if written else 0
    before_path = written["rest"].partition("/")[0].count("@") if written else 0
    hosts = [*parameters.get("host", "").split(","), *parameters.get("hostaddr", "").split(",")]
    if at_signs > 1 or at_signs != before_path or not all(map(HOST.fullmatch, hosts)):
        raise _no_url(where)
    if not all(_is_port(port) for port in parameters.get("port", "").split(",")):
        raise _no_url(where)
    return parameters


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdecimal() and 0 < int(text[:6]) < 65536)


def _no_url(where: str) -> UsageProblem:
    return UsageProblem(
        "what it holds is no URL of a PostgreSQL database; it is not shown, for it may hold a password",
        where=where,
        expected="postgresql://USER:PASSWORD@HOST:PORT/NAME",
        hint="write @ : / ? # % and spaces of a password as %40 %3A %2F %3F %23 %25 %20",
    )


def password_free(text: str, parameters: Mapping[str, str]) -> str:
    """What the driver said, on one line, without the passwords."""
    for name in PASSWORDS:
        if parameters.get(name):
            text = text.replace(parameters[name], BLANK)
    return " ".join(text.split())


class _Looker:
    def __init__(self, connection: "psycopg.Connection[dict[str, Any]]") -> None:
        self._connection = connection
        self._where = f"database {connection.info.dbname}"
        self._unseen: list[Unseen] = []

    def look(self) -> tuple[list[Leak], list[Unseen]]:
        columns = [Column(**row) for row in self._rows(COLUMNS_QUERY, "columns")]
        leaks = self._hosts(columns)
        marks = self._marks()
        keys = self._rows(KEYS_QUERY, "foreign keys")
        for table, condition in marks.items():
            counted = self._rows(f"SELECT count(*) AS n FROM {table} WHERE {condition}", table)
            if counted and counted[0]["n"]:
                leaks.append(soft_deleted(self._where, table, counted[0]["n"], None))
                leaks += self._media(table, condition, columns, keys)
        return leaks, self._unseen

    def _hosts(self, columns: Sequence[Column]) -> list[Leak]:
        """One question a table, so that one that is too large hides no other."""
        leaks = []
        for relation in dict.fromkeys(column.relation for column in columns):
            of_table = [column for column in columns if column.relation == relation]
            for row in self._rows(count_query(of_table, HOSTS), relation):
                detail = f"values that name {', '.join(HOSTS)}"
                leaks.append(hosts_in_column(self._where, row["name"], row["n"], detail))
        return leaks

    def _marks(self) -> dict[str, str]:
        """Table -> condition that its rows are deleted."""
        marks: dict[str, list[str]] = {}
        for row in self._rows(MARKS_QUERY, "tables"):
            condition = _condition(row)
            if condition:
                relation = f"{identifier(row['schema'])}.{identifier(row['table'])}"
                marks.setdefault(relation, []).append(condition)
        return {table: " OR ".join(conditions) for table, conditions in marks.items()}

    def _media(self, table: str, condition: str, columns: Sequence[Column], keys: Sequence[Row]) -> list[Leak]:
        """Media in the deleted rows, and in the rows of other tables that refer to them."""
        wanted = [(table, condition)]
        for key in keys:
            if f"{identifier(key['schema'])}.{identifier(key['table'])}" == table:
                inner = f"SELECT {identifier(key['target_column'])} FROM {table} WHERE {condition}"
                wanted.append((key["source"], f"{identifier(key['column'])} IN ({inner})"))
        leaks = []
        for source, rows in wanted:
            texts = [c for c in columns if source in (c.relation, f"{c.schema}.{c.table}", c.table)]
            if not texts:
                continue
            pattern = literal(rf"\.({ENDINGS})(\?|#|$)")
            total = " + ".join(f"count(*) FILTER (WHERE {column.as_text} ~* {pattern})" for column in texts)
            found = self._rows(f"SELECT {total} AS n FROM {source} WHERE {rows}", source)
            if found and found[0]["n"]:
                leaks.append(media_of_deleted(self._where, source, found[0]["n"]))
        return leaks

    def _rows(self, query: str, about: str) -> list[dict[str, Any]]:
        if not query:
            return []
        try:
            return self._connection.execute(query.encode()).fetchall()
        except psycopg.errors.QueryCanceled:
            reason, said = Blindness.NO_ANSWER, f"no answer within {STATEMENT_SECONDS} s"
        except psycopg.errors.InsufficientPrivilege as fault:
            reason, said = Blindness.NOT_ALLOWED, " ".join(str(fault).split())
        action = f"SELECT on {about}"
        self._unseen.append(
            Unseen(service="database", region=self._where, action=action, reason=reason, said=said, about=about)
        )
        return []


def _condition(row: Row) -> str:
    name, category = row["column"], row["category"]
    column = identifier(name)
    if MARKED_BY_TIME.match(name):
        return f"{column} IS NOT NULL"
    if MARKED_BY_FLAG.match(name) and category in FLAGS:
        return column if category == "B" else f"lower({column}::text) NOT IN ({', '.join(map(literal, ('', *NO)))})"
    if MARKED_BY_WORD.match(name) and category in ("S", "E"):
        return f"lower({column}::text) IN ({', '.join(literal(word) for word in WORDS)})"
    return ""
