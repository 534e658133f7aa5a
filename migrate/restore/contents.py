"""A dump's table of contents, and in which order and by whom each part of it is loaded."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from migrate.errors import GateHeld
from migrate.restore.server import Server, first_error

LIST_SECONDS = 600.0
ENTRY = re.compile(r"^\d+; \d+ \d+ (?P<rest>.+)$")
"""`215; 1259 16386 TABLE public users plaza`: id; catalog and object; kind, schema, name, owner."""
CREATE_DATABASE = re.compile(
    r"CREATE DATABASE .*?ENCODING = '(?P<encoding>[^']+)'"
    r"(?:.*?\bLOCALE = '(?P<locale>[^']+)'|.*?LC_COLLATE = '(?P<collate>[^']+)')?"
)
BY_SUPERUSER = ("EXTENSION ", "COMMENT - EXTENSION ")
ALREADY_THERE = ("SCHEMA - public ",)
LEFT_OUT = (
    "ACL ", "DEFAULT ACL ", "PUBLICATION ", "PUBLICATION TABLE ", "PUBLICATION TABLES IN SCHEMA ", "SUBSCRIPTION ",
    "DATABASE PROPERTIES ",
)  # fmt: skip
NOT_LOADED = ("DATABASE ", "ENCODING ", "STDSTRINGS ", "SEARCHPATH ")
FALLBACK_LOCALE = "C.UTF-8"


@dataclass(frozen=True)
class Contents:
    """Lines of `pg_restore --list`, by who loads them. `locale` is empty where the server's own is taken."""

    schemas: tuple[str, ...]
    extensions: tuple[str, ...]
    rest: tuple[str, ...]
    left_out: tuple[str, ...]
    encoding: str = "UTF8"
    locale: str = ""


def sort_contents(lines: Iterable[str]) -> Contents:
    """Pure: the lines of a listing, sorted into parts. Grants name roles of the old home, a subscription would connect
    to it: such entries are left out, and named."""
    parts: dict[str, list[str]] = {"schemas": [], "extensions": [], "rest": [], "left_out": []}
    for line in lines:
        match = ENTRY.match(line)
        if match and (part := _part_of(match.group("rest"))):
            parts[part].append(match.group("rest") if part == "left_out" else line)
    return Contents(tuple(parts["schemas"]), tuple(parts["extensions"]), tuple(parts["rest"]), tuple(parts["left_out"]))


def _part_of(entry: str) -> str:
    if entry.startswith(LEFT_OUT):
        return "left_out"
    if entry.startswith(ALREADY_THERE + NOT_LOADED) and not entry.startswith("DATABASE PROPERTIES"):
        return ""
    if entry.startswith(BY_SUPERUSER):
        return "extensions"
    return "schemas" if entry.startswith("SCHEMA ") else "rest"


def read_contents(server: Server, dump: PurePosixPath) -> Contents:
    """Reads a dump on its host. Raises GateHeld where pg_restore cannot read it."""
    listing = server.tool("pg_restore", ["--list", str(dump)], timeout=LIST_SECONDS)
    heading = server.tool(
        "pg_restore", ["--create", "--schema-only", "--section=pre-data", "--file=-", str(dump)], timeout=LIST_SECONDS
    )
    for done in (listing, heading):
        if not done:
            raise GateHeld(
                f"pg_restore cannot read the dump: {first_error(done.stderr)}",
                where=f"{server.host.name}:{dump}",
                expected="the dump that was vetted",
                hint="run again: it is brought over anew",
            )
    contents = sort_contents(listing.stdout.splitlines())
    match = CREATE_DATABASE.search(heading.stdout)
    if not match:
        return contents
    wanted = match.group("locale") or match.group("collate") or ""
    return replace(contents, encoding=match.group("encoding"), locale=_locale(server, wanted, match.group("encoding")))


def _locale(server: Server, wanted: str, encoding: str) -> str:
    """The dump's locale where the host has it; else one that any host has and that fits the encoding."""
    there = server.hosts.run(server.host, ["locale", "-a"]).stdout.split()
    if _plain(wanted) in {_plain(name) for name in [*there, "C", "POSIX"]}:
        return wanted
    return FALLBACK_LOCALE if encoding == "UTF8" else "C"


def _plain(locale: str) -> str:
    return locale.lower().replace("-", "")
