"""Absolute addresses of the old buckets, wherever they stand in a database, become those of the new media server."""

from collections.abc import Sequence
from dataclasses import dataclass

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, Severity, Verdict
from migrate.errors import GateHeld, UsageProblem
from migrate.inventory import Inventory, addresses
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.restore.columns import (
    COLUMNS_QUERY,
    Column,
    Form,
    count_query,
    definitions_query,
    forms_of,
    old_hosts,
    rewrite_script,
)
from migrate.restore.database import BOOKKEEPING, restored_from
from migrate.restore.server import Server, SqlFailed, held_by_sql, identifier, literal
from migrate.stack import Stack

REWRITE_SECONDS = 6 * 3600.0
NAMED_COLUMNS = 20

BOOKKEEPING_TABLES = """
SET client_min_messages = warning;
BEGIN;
CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner};
CREATE TABLE IF NOT EXISTS {schema}.rewrites (
    dump text NOT NULL, column_name text NOT NULL, values_rewritten bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS {schema}.proofs (
    dump text PRIMARY KEY, taken_at timestamptz NOT NULL, checks jsonb NOT NULL, watermarks jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE {schema}.rewrites OWNER TO {owner};
ALTER TABLE {schema}.proofs OWNER TO {owner};
COMMIT;
"""


def prepare_bookkeeping(server: Server, database: str, owner: str) -> None:
    """Our own schema in the database; it belongs to the owner, so that the owner's own dumps can read it."""
    server.execute(database, BOOKKEEPING_TABLES.format(schema=BOOKKEEPING, owner=identifier(owner)))


@dataclass(frozen=True)
class UrlsRewritten:
    """Rewrites the old media addresses in the database `step.subject`; the counts stay in `cloudexit.rewrites`."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """`pass` when nothing is left of the old addresses: every value is looked at."""
        server = self._server(step)
        server.ensure_running()
        if not restored_from(server, step.subject):
            return Verdict.FAIL
        columns = read_columns(server, step.subject)
        left = count_values(server, step.subject, columns, [form.old for form in self._forms()])
        return Verdict.FAIL if left else Verdict.PASS

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where a value cannot be rewritten (too long, a constraint), or where one is left."""
        name = step.subject
        server = self._server(step)
        server.ensure_running()
        dump = restored_from(server, name)
        if not dump:
            raise GateHeld(
                f"the database {name!r} was not restored by cloudexit",
                where=server.host.name,
                expected="a database that carries the mark of its dump",
                hint="restore it first: cloudexit restore",
            )
        columns = read_columns(server, name)
        forms = self._forms()
        prepare_bookkeeping(server, name, self.stack.databases[name].owner)
        try:
            server.execute(name, rewrite_script(columns, forms, dump), timeout=REWRITE_SECONDS)
        except SqlFailed as failure:
            raise held_by_sql(
                failure,
                f"the addresses in {name!r} cannot be rewritten, nothing was changed",
                "a shorter media address fits where a longer one does not; or widen the column",
            ) from failure
        self._require_none_left(server, name, columns, forms)
        counts = rewritten_counts(server, name, dump)
        return Outcome(
            {"rewritten": counts, "values": sum(counts.values()), "columns_looked_at": len(columns)},
            (self._traces_of_old_hosts(server, name, columns),),
        )

    def recall(self, step: Step) -> Outcome:
        """The counts stand in the database since the transaction that rewrote the addresses."""
        server = self._server(step)
        counts = rewritten_counts(server, step.subject, restored_from(server, step.subject))
        return Outcome({"rewritten": counts, "values": sum(counts.values())})

    def _server(self, step: Step) -> Server:
        return Server.of(self.stack.databases[step.subject].service, self.stack, self.inventory, self.hosts)

    def _forms(self) -> list[Form]:
        known = addresses(self.stack, self.inventory)
        forms: list[Form] = []
        for name, media in self.stack.media.items():
            try:
                new_url = media.url.format_map(known)
            except (KeyError, ValueError) as fault:
                raise UsageProblem(
                    f"no group is called {fault}: {media.url}",
                    where=f"stack.yaml: media.{name}.url",
                    expected=f"braces around one of: {', '.join(known)}",
                ) from fault
            forms += forms_of(media.old_urls, new_url)
        return sorted(forms, key=lambda form: (-len(form.old), form.old))

    def _require_none_left(self, server: Server, name: str, columns: Sequence[Column], forms: Sequence[Form]) -> None:
        left = count_values(server, name, columns, [form.old for form in forms])
        if left:
            raise GateHeld(
                f"old media addresses are left: {_listed(left)}",
                where=f"{server.host.name}: database {name}",
                expected="none, in any column",
                hint="these columns are of types that are not rewritten: see to them by hand, then run again",
            )

    def _traces_of_old_hosts(self, server: Server, name: str, columns: Sequence[Column]) -> CheckResult:
        names = old_hosts(url for media in self.stack.media.values() for url in media.old_urls)
        left = count_values(server, name, columns, names)
        if names:
            left |= {row["name"]: row["n"] for row in server.rows(name, definitions_query(names))}
        return CheckResult(
            f"{name}: the old media hosts are named nowhere",
            Verdict.FAIL if left else Verdict.PASS,
            _listed(left) if left else f"{', '.join(names)}: in none of {len(columns)} columns",
            hint="the old name stands there in another form than an address; read some of these values" if left else "",
            severity=Severity.WARNING,
            facts={"values": left},
        )


def read_columns(server: Server, database: str) -> list[Column]:
    """Every column of the database that could hold an address."""
    return [Column(**row) for row in server.rows(database, COLUMNS_QUERY)]


def count_values(server: Server, database: str, columns: Sequence[Column], texts: Sequence[str]) -> dict[str, int]:
    """Column -> values that contain one of the texts; columns without any are left out."""
    if not columns or not texts:
        return {}
    rows = server.rows(database, count_query(columns, texts), timeout=REWRITE_SECONDS)
    return {row["name"]: row["n"] for row in rows}


def rewritten_counts(server: Server, database: str, dump: str) -> dict[str, int]:
    """Column -> values rewritten since this dump was loaded, over all attempts."""
    rows = server.rows(
        database,
        "SELECT column_name AS name, sum(values_rewritten)::bigint AS n FROM cloudexit.rewrites"
        f" WHERE dump = {literal(dump)} GROUP BY 1 ORDER BY 1",
    )
    return {row["name"]: row["n"] for row in rows}


def _listed(counts: dict[str, int]) -> str:
    named = [f"{name} {count:,}" for name, count in list(counts.items())[:NAMED_COLUMNS]]
    more = len(counts) - len(named)
    return ", ".join(named) + (f", and {more} more columns" if more else "")
