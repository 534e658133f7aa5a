"""A database is rebuilt beside the live name, and takes that name in one transaction when it is whole."""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, Severity, Verdict
from migrate.errors import GateHeld, Missing
from migrate.inventory import Inventory
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.restore.artifacts import Archive
from migrate.restore.contents import Contents, read_contents
from migrate.restore.dump import Dump, newest_dump
from migrate.restore.server import (
    RESTORE_FOLDER,
    SUPERUSER,
    Server,
    SqlFailed,
    first_error,
    held_by_sql,
    identifier,
    literal,
)
from migrate.stack import ServiceKind, Stack

LOAD_SECONDS = 24 * 3600.0
SCRATCH = "_cloudexit_"
SCRATCH_PATTERN = "^{name}_cloudexit_[0-9a-f]{{8}}$"
SET_ASIDE = "{name}_replaced_{stamp}"
FAST_LOAD = {"PGOPTIONS": "-c synchronous_commit=off -c maintenance_work_mem=256MB"}
"""What a crash of the host could lose by the first is a scratch database, which is made anew."""
BOOKKEEPING = "cloudexit"
"""Schema of our own bookkeeping in a restored database; its tables belong to the database's owner."""

USER_RELATIONS = f"""
SELECT count(*) AS relations FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', '{BOOKKEEPING}') AND n.nspname !~ '^pg_(toast|temp)'
AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
"""


@dataclass(frozen=True)
class Marker:
    """What a restored database says about itself: the comment on it."""

    sha256: str
    dump: str
    loaded_at: str

    def as_comment(self) -> str:
        return json.dumps({"cloudexit": {"sha256": self.sha256, "dump": self.dump, "loaded_at": self.loaded_at}})


def read_marker(comment: str) -> Marker | None:
    """None where the comment is none of ours."""
    try:
        return Marker(**json.loads(comment)["cloudexit"])
    except (ValueError, KeyError, TypeError):
        return None


def restored_from(server: Server, database: str) -> str:
    """SHA-256 of the dump that the live database was restored from; empty where there is none."""
    marker = read_marker(server.databases().get(database, ""))
    return marker.sha256 if marker else ""


@dataclass(frozen=True)
class DatabaseLoaded:
    """Loads the placed dump of the database `step.subject`.

    A database that is there, not empty and not from this dump is refused; with `replace` it is set aside under another
    name and stays. Safe to be killed at any moment: what is not whole never has the live name.
    """

    stack: Stack
    inventory: Inventory
    hosts: Hosts
    archive: Archive
    replace: bool = False

    def verify(self, step: Step, context: StepContext) -> Verdict:
        try:
            dump = newest_dump(self.archive, self.stack, step.subject)
        except (Missing, GateHeld):
            return Verdict.UNKNOWN
        server = self._server(step)
        server.ensure_running()
        return Verdict.PASS if restored_from(server, step.subject) == dump.record.sha256 else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where the target is not empty, its owner is missing, or the load fails."""
        name = step.subject
        dump = newest_dump(self.archive, self.stack, name)
        server = self._server(step)
        server.ensure_running()
        live = self._live_state(server, name)
        drop_scratch_databases(server, name)
        self._require_owner(server, name)
        contents = read_contents(server, dump.remote)
        scratch = f"{name}{SCRATCH}{secrets.token_hex(4)}"
        self._create(server, name, scratch, contents)
        context.progress({"loading": dump.artifact.where, "into": scratch})
        self._load(server, name, scratch, dump, contents)
        aside = self._take_name(server, name, scratch, dump, live)
        return Outcome(
            {"dump": dump.artifact.where, "sha256": dump.record.sha256, "set_aside": aside,
             "jobs": server.cores, "locale": contents.locale},
            tuple(_left_out(name, contents)),
        )  # fmt: skip

    def _server(self, step: Step) -> Server:
        return Server.of(self.stack.databases[step.subject].service, self.stack, self.inventory, self.hosts)

    def _live_state(self, server: Server, name: str) -> str:
        """`absent`, `empty` or `replaced`; raises GateHeld where there is something that may not be overwritten."""
        if name not in server.databases():
            return "absent"
        relations = server.rows(name, USER_RELATIONS)[0]["relations"]
        if not relations:
            return "empty"
        if self.replace:
            return "replaced"
        marker = restored_from(server, name)
        raise GateHeld(
            f"the database {name!r} is not empty: {relations} tables, views and sequences"
            + (f", restored from another dump ({marker[:12]}…)" if marker else ""),
            where=server.host.name,
            expected="no such database, an empty one, or one that was restored from this dump",
            hint="with --replace it is set aside under another name, and the dump takes its place",
        )

    def _require_owner(self, server: Server, name: str) -> None:
        owner = self.stack.databases[name].owner
        if not server.rows("postgres", f"SELECT 1 AS found FROM pg_roles WHERE rolname = {literal(owner)}"):
            raise GateHeld(
                f"the role {owner!r} does not exist",
                where=server.host.name,
                expected=f"the owner of the database {name!r}",
                hint="provision first: cloudexit provision",
            )

    def _create(self, server: Server, name: str, scratch: str, contents: Contents) -> None:
        database = self.stack.databases[name]
        locale = f" LOCALE {literal(contents.locale)}" if contents.locale else ""
        try:
            server.execute(
                "postgres",
                f"CREATE DATABASE {identifier(scratch)} TEMPLATE template0 OWNER {identifier(database.owner)}"
                f" ENCODING {literal(contents.encoding)}{locale};",
            )
        except SqlFailed as failure:
            raise held_by_sql(
                failure, f"cannot make {scratch}", "mend what the server says, then run again"
            ) from failure

    def _load(self, server: Server, name: str, scratch: str, dump: Dump, contents: Contents) -> None:
        """Schemas as the owner; extensions, which may need it, as superuser; all else as the owner, side by side."""
        role = f"--role={self.stack.databases[name].owner}"
        for part, entries, options in (
            ("schemas", contents.schemas, [role]),
            ("extensions", contents.extensions, []),
            ("all", contents.rest, [role, f"--jobs={server.cores}"]),
        ):
            if entries:
                self._restore_part(server, scratch, dump, part, "\n".join(entries), options)
            if part == "extensions":
                self._add_extensions(server, name, scratch)
        server.execute(scratch, "ANALYZE;", timeout=LOAD_SECONDS)

    def _add_extensions(self, server: Server, name: str, scratch: str) -> None:
        for extension in self.stack.databases[name].extensions:
            try:
                server.execute(scratch, f"CREATE EXTENSION IF NOT EXISTS {identifier(extension)};")
            except SqlFailed as failure:
                raise held_by_sql(
                    failure, f"no extension {extension!r}", "install its package on the database host, then run again"
                ) from failure

    def _restore_part(
        self, server: Server, scratch: str, dump: Dump, part: str, entries: str, options: list[str]
    ) -> None:
        listing = RESTORE_FOLDER / f"{dump.database}.{part}.list"
        self.hosts.run(server.host, ["tee", str(listing)], stdin=entries.encode(), timeout=60.0)
        self.hosts.run(server.host, ["chown", f"{SUPERUSER}:{SUPERUSER}", str(listing)])
        done = server.tool(
            "pg_restore",
            ["--exit-on-error", "--no-owner", f"--use-list={listing}", f"--port={server.port}", *options,
             f"--dbname={scratch}", str(dump.remote)],
            timeout=LOAD_SECONDS,
            environment=FAST_LOAD,
        )  # fmt: skip
        if not done:
            drop_scratch_databases(server, dump.database)
            raise GateHeld(
                f"the dump does not load ({part}): {first_error(done.stderr)}",
                where=f"{server.host.name}: {dump.artifact.where}",
                expected="pg_restore to end without an error; the database under its live name was not touched",
                hint="install the extension or role that it names, or take another dump",
            )

    def _take_name(self, server: Server, name: str, scratch: str, dump: Dump, live: str) -> str:
        """Marks the scratch database and gives it the live name, in one transaction. The name of what was set aside."""
        now = datetime.now(UTC)
        marker = Marker(dump.record.sha256, dump.artifact.where, now.isoformat(timespec="seconds"))
        aside = SET_ASIDE.format(name=name, stamp=now.strftime("%Y%m%dt%H%M%Sz")) if live == "replaced" else ""
        move = [
            f"COMMENT ON DATABASE {identifier(scratch)} IS {literal(marker.as_comment())};",
            f"ALTER DATABASE {identifier(scratch)} RENAME TO {identifier(name)};",
        ]
        if aside:
            move.insert(0, f"ALTER DATABASE {identifier(name)} RENAME TO {identifier(aside)};")
        try:
            if live == "empty":
                server.execute("postgres", f"DROP DATABASE IF EXISTS {identifier(name)};")
            server.execute("postgres", "\n".join(["BEGIN;", *move, "COMMIT;"]))
        except SqlFailed as failure:
            drop_scratch_databases(server, name)
            units = [s.unit for s in self.stack.services.values() if s.kind is ServiceKind.PROCESS]
            raise held_by_sql(
                failure,
                f"the restored database cannot take the name {name}; the live one was not touched",
                f"stop what is signed in to it (systemctl stop {' '.join(units)}), then run again",
            ) from failure
        return aside


def drop_scratch_databases(server: Server, name: str) -> list[str]:
    """Drops what an earlier attempt left. A pg_restore that outlived its client loses its connections, and cannot
    reach the next attempt's database, which has another name."""
    pattern = SCRATCH_PATTERN.format(name=name)
    left = server.rows("postgres", f"SELECT datname AS name FROM pg_database WHERE datname ~ {literal(pattern)}")
    for row in left:
        scratch = identifier(row["name"])
        server.execute(
            "postgres",
            f"ALTER DATABASE {scratch} ALLOW_CONNECTIONS false;\nDROP DATABASE IF EXISTS {scratch} WITH (FORCE);",
        )
    return [row["name"] for row in left]


def _left_out(name: str, contents: Contents) -> list[CheckResult]:
    facts: dict[str, Any] = {"left_out": list(contents.left_out)}
    if not contents.left_out:
        return []
    return [
        CheckResult(
            f"{name}: everything of the dump is loaded",
            Verdict.FAIL,
            f"{len(contents.left_out)} entries are left out, the first: {contents.left_out[0]}",
            hint="grants, publications, subscriptions and database settings of the old home are not carried over: "
            "see what you need of them",
            severity=Severity.WARNING,
            facts=facts,
        )
    ]
