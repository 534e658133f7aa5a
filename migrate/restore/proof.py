"""A restored database is proved against the record of its dump, and by its own indexes, sequences and keys."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, ChecksHeld, Verdict
from migrate.errors import GateHeld
from migrate.inventory import Inventory
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.restore.artifacts import Archive, ArtifactRecord
from migrate.restore.database import restored_from
from migrate.restore.dump import newest_dump
from migrate.restore.rewrite import prepare_bookkeeping
from migrate.restore.server import Server, SqlFailed, identifier, literal
from migrate.restore.watermark import Watermark, watermarks_query
from migrate.stack import Stack

PROOF_SECONDS = 6 * 3600.0
NAMED = 20

TABLES_QUERY = """
SELECT n.nspname AS schema, c.relname AS table FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'cloudexit')
AND n.nspname !~ '^pg_(toast|temp)'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
ORDER BY 1, 2
"""
SEQUENCES_QUERY = """
SELECT s.oid::regclass::text AS sequence, t.oid::regclass::text AS table, quote_ident(a.attname) AS column,
    quote_ident(t.relname) || '.' || quote_ident(a.attname) AS name, q.seqincrement AS increment
FROM pg_class s JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
JOIN pg_class t ON t.oid = d.refobjid
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE s.relkind = 'S' ORDER BY 1
"""
NOT_VALIDATED_QUERY = """
SELECT conrelid::regclass || '.' || conname AS name FROM pg_constraint WHERE NOT convalidated AND contype IN ('f', 'c')
AND conrelid <> 0 ORDER BY 1
"""
INVALID_INDEXES_QUERY = """
SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT (indisvalid AND indisready) ORDER BY 1
"""


@dataclass(frozen=True)
class DatabaseProved:
    """Proves the database `step.subject` before its service starts; the proof stays in `cloudexit.proofs`, for the app
    changes the data from then on. The watermarks of that moment are kept with it."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts
    archive: Archive

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """`pass` when the live database carries the proof of the dump that it was restored from."""
        server = self._server(step)
        server.ensure_running()
        dump = restored_from(server, step.subject)
        return Verdict.PASS if dump and kept_proof(server, step.subject, dump) else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises ChecksHeld, with every result, where one check fails."""
        name = step.subject
        dump = newest_dump(self.archive, self.stack, name)
        server = self._server(step)
        server.ensure_running()
        if restored_from(server, name) != dump.record.sha256:
            raise GateHeld(
                f"the database {name!r} was not restored from {dump.artifact.where}",
                where=server.host.name,
                expected="a database that carries the mark of this dump",
                hint="restore it first: cloudexit restore",
            )
        prepare_bookkeeping(server, name, self.stack.databases[name].owner)
        counts = count_rows(server, name)
        checks = [
            *compare_counts(name, dump.record.tables, counts),
            check_extensions(server, name, self.stack.databases[name].extensions),
            check_sequences(server, name),
            check_named_faults(server, name, "foreign keys and checks are validated", NOT_VALIDATED_QUERY),
            check_named_faults(server, name, "indexes are valid", INVALID_INDEXES_QUERY),
            check_pages(server, name),
        ]
        if any(check.holds for check in checks):
            raise ChecksHeld(f"the restored database {name!r} is not proved", checks)
        watermarks = read_watermarks(server, name, self.stack.databases[name].watermarks)
        keep_proof(server, name, dump.record, checks, watermarks)
        detail = {
            "tables": len(counts),
            "rows": sum(counts.values()),
            "watermarks": {table: asdict(mark) for table, mark in watermarks.items()},
        }
        return Outcome(detail, tuple(checks))

    def recall(self, step: Step) -> Outcome:
        """The checks and watermarks of the proof stand in the database."""
        server = self._server(step)
        proof = kept_proof(server, step.subject, restored_from(server, step.subject))
        return Outcome({"watermarks": proof["watermarks"], "checks": proof["checks"]})

    def _server(self, step: Step) -> Server:
        return Server.of(self.stack.databases[step.subject].service, self.stack, self.inventory, self.hosts)


def count_rows(server: Server, database: str) -> dict[str, int]:
    """Exact rows of every table, `schema.table`; a partitioned table counts its partitions' rows too."""
    tables = [(row["schema"], row["table"]) for row in server.rows(database, TABLES_QUERY)]
    if not tables:
        return {}
    counted = "\nUNION ALL\n".join(
        f"SELECT {literal(f'{schema}.{table}')} AS name, count(*) AS n FROM {identifier(schema)}.{identifier(table)}"
        for schema, table in tables
    )
    return {row["name"]: row["n"] for row in server.rows(database, counted, timeout=PROOF_SECONDS)}


def compare_counts(database: str, recorded: Mapping[str, int], found: Mapping[str, int]) -> list[CheckResult]:
    """Pure: one check for the set of tables, one for the rows in them."""
    missing = sorted(set(recorded) - set(found))
    extra = sorted(set(found) - set(recorded))
    strange = [f"missing: {_listed(missing)}"] if missing else []
    strange += [f"not in the record: {_listed(extra)}"] if extra else []
    differing = [
        f"{table} {found[table]:,} rows, recorded {recorded[table]:,}"
        for table in sorted(set(recorded) & set(found))
        if found[table] != recorded[table]
    ]
    hint = "the dump is not the one that was recorded, or something has written since: restore again with --replace"
    return [
        _result(f"{database}: tables as recorded", strange, f"{len(found)} tables", hint),
        _result(f"{database}: rows as recorded", differing, f"{sum(found.values()):,} rows, each table equal", hint),
    ]


def check_extensions(server: Server, database: str, wanted: Iterable[str]) -> CheckResult:
    there = {row["name"] for row in server.rows(database, "SELECT extname AS name FROM pg_extension")}
    missing = [f"{name} is missing" for name in wanted if name not in there]
    return _result(f"{database}: extensions", missing, ", ".join(sorted(there)), "install its package, restore again")


def check_sequences(server: Server, database: str) -> CheckResult:
    """No sequence that feeds a column may be about to give out a number that is there already."""
    behind: list[str] = []
    sequences = server.rows(database, SEQUENCES_QUERY)
    for found in sequences:
        extreme = "max" if found["increment"] > 0 else "min"
        query = (
            f"SELECT last_value, is_called, (SELECT {extreme}({found['column']}) FROM {found['table']}) AS extreme"
            f" FROM {found['sequence']}"
        )
        state = server.rows(database, query, timeout=PROOF_SECONDS)[0]
        if state["extreme"] is not None and _is_behind(state, found["increment"]):
            behind.append(
                f"{found['name']}: the sequence stands at {state['last_value']}, the column at {state['extreme']}"
            )
    return _result(
        f"{database}: sequences",
        behind,
        f"{len(sequences)}, none behind its column",
        "the dump was not made at one moment",
    )


def _is_behind(state: Mapping[str, Any], increment: int) -> bool:
    following = state["last_value"] + (increment if state["is_called"] else 0)
    return bool(following <= state["extreme"]) if increment > 0 else bool(following >= state["extreme"])


def check_named_faults(server: Server, database: str, what: str, query: str) -> CheckResult:
    """A check over a query that names each fault."""
    faults = [row["name"] for row in server.rows(database, query)]
    return _result(
        f"{database}: {what}", faults, "all", "restore again with --replace; if it stays, mend it at the source"
    )


def check_pages(server: Server, database: str) -> CheckResult:
    """pg_amcheck over heap and indexes: every row of every table must be found in its indexes."""
    name = f"{database}: pg_amcheck, every row in its indexes"
    try:
        was_there = bool(server.rows(database, "SELECT 1 AS n FROM pg_extension WHERE extname = 'amcheck'"))
        if not was_there:
            server.execute(database, "CREATE EXTENSION amcheck SCHEMA cloudexit;")
    except SqlFailed as failure:
        return CheckResult(name, Verdict.UNKNOWN, failure.what, "install postgresql-contrib on the database host")
    done = server.tool(
        "pg_amcheck",
        ["--heapallindexed", f"--jobs={server.cores}", f"--port={server.port}", database],
        timeout=PROOF_SECONDS,
    )
    if not was_there:
        server.execute(database, "DROP EXTENSION IF EXISTS amcheck;")
    said = (done.stdout + done.stderr).strip()
    if not done or done.stdout.strip():
        return CheckResult(
            name, Verdict.FAIL, said[:1000] or f"exit status {done.exit_status}",
            "the disk or the memory of the database host is suspect: restore on another host",
        )  # fmt: skip
    return CheckResult(name, Verdict.PASS, "no fault")


def read_watermarks(server: Server, database: str, columns: Mapping[str, str]) -> dict[str, Watermark]:
    """Rows and newest value of each watermark column, at this moment."""
    if not columns:
        return {}
    rows = server.rows(database, watermarks_query(columns), timeout=PROOF_SECONDS)
    return {row["name"]: Watermark(row["n"], row["newest"]) for row in rows}


def keep_proof(
    server: Server,
    database: str,
    dump: ArtifactRecord,
    checks: Iterable[CheckResult],
    watermarks: Mapping[str, Watermark],
) -> None:
    """Keeps the proof in the database that it speaks of."""
    results = literal(json.dumps([check.as_document() for check in checks]))
    marks = literal(json.dumps({table: asdict(mark) for table, mark in watermarks.items()}))
    server.execute(
        database,
        "INSERT INTO cloudexit.proofs (dump, taken_at, checks, watermarks)"
        f" VALUES ({literal(dump.sha256)}, {literal(dump.taken_at.isoformat())}, {results}, {marks})"
        " ON CONFLICT (dump) DO UPDATE SET checks = excluded.checks, watermarks = excluded.watermarks, at = now();",
    )


def kept_proof(server: Server, database: str, dump: str) -> Mapping[str, Any]:
    """The row of `cloudexit.proofs` for a dump; empty where there is none."""
    there = server.rows(database, "SELECT to_regclass('cloudexit.proofs') IS NOT NULL AS there")[0]["there"]
    if not there:
        return {}
    rows = server.rows(
        database, f"SELECT taken_at, checks, watermarks, at FROM cloudexit.proofs WHERE dump = {literal(dump)}"
    )
    return rows[0] if rows else {}


def _result(name: str, faults: list[str], good: str, hint: str) -> CheckResult:
    if faults:
        return CheckResult(name, Verdict.FAIL, _listed(faults), hint)
    return CheckResult(name, Verdict.PASS, good)


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return "; ".join(names[:NAMED]) + (f"; and {more} more" if more > 0 else "")
