"""A PostgreSQL server on a host, spoken to as its superuser through psql there: SQL goes in by standard input."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from migrate.errors import CloudexitError, GateHeld, Unreachable
from migrate.inventory import Host, Inventory
from migrate.ports import Completed, Hosts
from migrate.restore.artifacts import MAJOR_VERSION
from migrate.stack import Stack

SUPERUSER = "postgres"
DEFAULT_PORT = 5432
BINARIES = "/usr/lib/postgresql/{major}/bin"
"""Where Debian's packages keep the binaries of a major version."""
RESTORE_FOLDER = PurePosixPath("/var/lib/cloudexit/restore")
START_SECONDS = 60.0
POLL_SECONDS = 0.3
QUERY_SECONDS = 120.0
CONNECTION_FAILED = 2
"""psql's exit status when the connection to the server went bad."""
FIRST_ERROR = re.compile(r"^.*?ERROR:\s*(?P<error>.+?)$", re.MULTILINE)


class SqlFailed(CloudexitError):
    """The server refused a statement; `what` is its own words. Not retriable as it stands."""


@dataclass(frozen=True)
class Server:
    """One server; everything runs on its host as the system user postgres."""

    hosts: Hosts
    host: Host
    port: int = DEFAULT_PORT
    unit: str = "postgresql.service"

    @classmethod
    def of(cls, service: str, stack: Stack, inventory: Inventory, hosts: Hosts) -> "Server":
        """The server of a service of kind `postgresql`: it runs on the first host of the service's group."""
        found = stack.services[service]
        return cls(hosts, inventory.group(found.group)[0], found.port or DEFAULT_PORT, found.unit)

    def ensure_running(self) -> None:
        """Starts the server's unit where it does not answer; raises Unreachable when it does not answer in time."""
        deadline = time.monotonic() + START_SECONDS
        answer = self._ready()
        if not answer:
            self.hosts.run(self.host, ["systemctl", "start", self.unit], timeout=START_SECONDS)
        while not answer:
            answer = self._ready()
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"PostgreSQL does not answer: {answer.stdout.strip() or answer.stderr.strip()}",
                    where=f"{self.host.name}:{self.port}",
                    expected=f"pg_isready to pass within {START_SECONDS:.0f} s",
                    hint=f"look at: journalctl -u {self.unit} -n 50",
                )
            if not answer:
                time.sleep(POLL_SECONDS)

    def _ready(self) -> Completed:
        return self.hosts.run(self.host, ["pg_isready", "-p", str(self.port)], as_user=SUPERUSER, timeout=START_SECONDS)

    def rows(self, database: str, query: str, *, timeout: float = QUERY_SECONDS) -> list[dict[str, Any]]:
        """Rows of one SELECT, by column. Raises SqlFailed or Unreachable."""
        script = f"SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM (\n{query}\n) q;"
        output = self.execute(database, script, timeout=timeout)
        found: list[dict[str, Any]] = json.loads(output)
        return found

    def execute(self, database: str, script: str, *, timeout: float = QUERY_SECONDS) -> str:
        """Runs a script that stops at its first error, and returns what it printed. Raises SqlFailed or Unreachable."""
        done = self.hosts.run(
            self.host,
            ["env", "--chdir=/", "PGCLIENTENCODING=UTF8", "PGAPPNAME=cloudexit",
             "psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-p", str(self.port), "-d", database, "-f", "-"],
            stdin=script.encode(),
            as_user=SUPERUSER,
            timeout=timeout,
        )  # fmt: skip
        if done:
            return done.stdout
        where = f"{self.host.name}: database {database}"
        if done.exit_status == CONNECTION_FAILED:
            raise Unreachable(f"no connection: {done.stderr.strip()}", where=where)
        raise SqlFailed(first_error(done.stderr), where=where)

    def tool(
        self, name: str, arguments: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None
    ) -> Completed:
        """Runs one of the server's own programs, of the server's own version, as postgres."""
        assignments = [f"{key}={value}" for key, value in {"PGAPPNAME": "cloudexit", **(environment or {})}.items()]
        program = f"{BINARIES.format(major=self.major)}/{name}"
        return self.hosts.run(
            self.host, ["env", "--chdir=/", *assignments, program, *arguments], as_user=SUPERUSER, timeout=timeout
        )

    @cached_property
    def major(self) -> int:
        """Major version of the server that runs, asked once."""
        return int(self.execute("postgres", "SHOW server_version_num").strip()) // MAJOR_VERSION

    @cached_property
    def cores(self) -> int:
        """Processors of the host, asked once; one where it does not say."""
        done = self.hosts.run(self.host, ["nproc"])
        return int(done.stdout) if done else 1

    def databases(self) -> dict[str, str]:
        """Database -> its comment; templates are left out."""
        rows = self.rows(
            "postgres",
            "SELECT datname AS name, coalesce(shobj_description(oid, 'pg_database'), '') AS comment"
            " FROM pg_database WHERE NOT datistemplate",
        )
        return {row["name"]: row["comment"] for row in rows}

    def sha256(self, path: PurePosixPath, *, timeout: float) -> str:
        """Digest of a file on the host; empty where there is none."""
        done = self.hosts.run(self.host, ["sha256sum", "--", str(path)], timeout=timeout)
        return done.stdout.split(" ")[0].removeprefix("\\") if done else ""


def identifier(name: str) -> str:
    """A name as SQL, quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL, quoted; safe whatever `standard_conforming_strings` says."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def first_error(stderr: str) -> str:
    """The first error of PostgreSQL's programs, with its detail and context; all of it where none is marked."""
    match = FIRST_ERROR.search(stderr)
    if not match:
        return stderr.strip() or "it failed without a word"
    return "\n".join([match.group("error"), *_context(stderr[match.end() :])])


def _context(rest: str) -> Iterator[str]:
    for line in rest.splitlines():
        if line.lstrip().startswith(("DETAIL:", "CONTEXT:", "HINT:")) or "DETAIL:" in line:
            yield line.strip()


def held_by_sql(failure: SqlFailed, what: str, hint: str) -> GateHeld:
    """A refused statement as a gate that held."""
    return GateHeld(f"{what}: {failure.what}", where=failure.where, expected="the statement to succeed", hint=hint)
