"""The lag between the old home and the new one: what is lost if the old home ends now (RPO)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, Severity, Verdict
from migrate.errors import GateHeld, OutsideProblem
from migrate.inventory import Host, Inventory
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.restore.database import restored_from
from migrate.restore.proof import kept_proof
from migrate.restore.server import Server, SqlFailed
from migrate.restore.watermark import Watermark, watermarks_query
from migrate.stack import Stack

SOURCE_SECONDS = 60.0


class SourceDatabase(Protocol):
    """The live database of the old home."""

    def watermarks(self, database: str) -> dict[str, Watermark]:
        """Watermarks of the manifest's tables, at this moment. Raises OutsideProblem where it cannot be asked."""


@dataclass(frozen=True)
class PsqlSource:
    """A source database on a host that we may sign in to: asked through psql there, as postgres."""

    stack: Stack
    hosts: Hosts
    host: Host
    port: int = 5432

    def watermarks(self, database: str) -> dict[str, Watermark]:
        columns = self.stack.databases[database].watermarks
        server = Server(self.hosts, self.host, self.port)
        try:
            rows = server.rows(database, watermarks_query(columns), timeout=SOURCE_SECONDS) if columns else []
        except SqlFailed as failure:
            raise OutsideProblem(failure.what, where=failure.where) from failure
        return {row["name"]: Watermark(row["n"], row["newest"]) for row in rows}


@dataclass(frozen=True)
class TableLag:
    """Writes of one table that the new home lacks; `newest_missing` is the newest of them, None where there is none."""

    table: str
    rows_missing: int
    newest_at_source: str | None
    newest_at_target: str | None
    newest_missing: str | None


@dataclass(frozen=True)
class Lag:
    """`seconds` runs from `whole_until`, up to when every write came along, to the newest write that did not; None
    where no time is known."""

    tables: tuple[TableLag, ...]
    rows_missing: int
    newest_missing: str | None
    whole_until: str | None
    seconds: float | None

    def as_document(self) -> dict[str, Any]:
        return asdict(self)


def measure(source: Mapping[str, Watermark], target: Mapping[str, Watermark], taken_at: datetime | None = None) -> Lag:
    """Pure. Counts are of rows: a row that was deleted at the source since hides one that was added.

    Every write came along up to `taken_at`, the moment of the dump; without it, or where a write from before it is
    missing all the same, up to the newest write that is there."""
    tables = tuple(_table_lag(table, mark, target.get(table, Watermark(0, None))) for table, mark in source.items())
    missing_times = [_time(lag.newest_missing) for lag in tables]
    newest = max((moment for moment in missing_times if moment), default=None)
    restored = [mark.newest_time for mark in target.values()]
    until = max((moment for moment in restored if moment), default=None)
    if taken_at and (newest is None or taken_at <= newest):
        until = taken_at
    rows_missing = sum(lag.rows_missing for lag in tables)
    if newest is None:
        seconds = 0.0 if rows_missing == 0 and not any(lag.newest_missing for lag in tables) else None
    else:
        seconds = (newest - until).total_seconds() if until else None
    return Lag(
        tables, rows_missing, newest.isoformat() if newest else None, until.isoformat() if until else None, seconds
    )


def _table_lag(table: str, source: Watermark, target: Watermark) -> TableLag:
    is_behind = source.newest is not None and source.newest != target.newest and _is_newer(source, target)
    return TableLag(
        table,
        max(0, source.rows - target.rows),
        source.newest,
        target.newest,
        source.newest if is_behind else None,
    )


def _is_newer(source: Watermark, target: Watermark) -> bool:
    if source.newest_time and target.newest_time:
        return source.newest_time > target.newest_time
    return True


def _time(newest: str | None) -> datetime | None:
    return Watermark(0, newest).newest_time


@dataclass(frozen=True)
class LagMeasured:
    """Measures what the database `step.subject` lacks of the old home's. The target's side is what was proved at the
    restore, so that writes at the new home since do not hide a loss."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts
    source: SourceDatabase | None

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """A measurement of a moment that is gone stands; without one it is taken."""
        return Verdict.PASS if (context.previous or {}).get("lag") else Verdict.UNKNOWN

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Never raises for a source that cannot be asked: the loss is then unknown, and said to be."""
        name = step.subject
        proof = self._proof(name)
        target = {table: Watermark(**mark) for table, mark in proof["watermarks"].items()}
        if self.source is None:
            return _unknown(name, "the old home's database cannot be asked from here")
        try:
            lag = measure(self.source.watermarks(name), target, datetime.fromisoformat(proof["taken_at"]))
        except OutsideProblem as problem:
            return _unknown(name, problem.what)
        window = "of unknown length" if lag.seconds is None else f"over {lag.seconds:.1f} s"
        detail = (
            f"{lag.rows_missing:,} rows {window}" if lag.rows_missing or lag.newest_missing else "nothing is missing"
        )
        check = CheckResult(f"{name}: data loss is measured", Verdict.PASS, detail, severity=Severity.WARNING)
        return Outcome({"lag": lag.as_document()}, (check,))

    def _proof(self, name: str) -> Mapping[str, Any]:
        server = Server.of(self.stack.databases[name].service, self.stack, self.inventory, self.hosts)
        proof = kept_proof(server, name, restored_from(server, name))
        if not proof:
            raise GateHeld(
                f"the database {name!r} carries no proof of its restore",
                where=server.host.name,
                expected="the watermarks that are kept when it is proved",
                hint="restore and prove it first: cloudexit restore",
            )
        return proof


def _unknown(name: str, why: str) -> Outcome:
    return Outcome(
        {"lag": None},
        (
            CheckResult(
                f"{name}: data loss is measured",
                Verdict.UNKNOWN,
                why,
                "compare by hand the newest writes of the old home, if it can still be read",
                severity=Severity.WARNING,
            ),
        ),
    )
