"""What is lost if the old home ends now: as counts, as a time, and honestly unknown."""

from dataclasses import dataclass, replace
from datetime import datetime

import pytest

from migrate.check import Verdict
from migrate.cutover.lag import LagMeasured, PsqlSource, measure
from migrate.errors import GateHeld, OutsideProblem, Unreachable
from migrate.restore.artifacts import ArtifactRecord
from migrate.restore.proof import keep_proof, read_watermarks
from migrate.restore.rewrite import prepare_bookkeeping
from migrate.restore.server import Server
from migrate.restore.watermark import Watermark
from tests.local_hosts import CONTEXT, LocalHosts, PrivatePostgresql, inventory_of_one, stack_with, step_for

T = "2026-11-20T12:00:%02d+00:00"


def test_missing_rows_and_the_window_of_loss() -> None:
    source = {"posts": Watermark(12, T % 30), "likes": Watermark(50, T % 45), "users": Watermark(3, T % 1)}
    target = {"posts": Watermark(10, T % 20), "likes": Watermark(45, T % 21), "users": Watermark(3, T % 1)}
    lag = measure(source, target)
    assert lag.rows_missing == 7
    assert lag.newest_missing == T % 45
    assert lag.seconds == 24.0
    assert [(t.table, t.rows_missing, t.newest_missing) for t in lag.tables] == [
        ("posts", 2, T % 30), ("likes", 5, T % 45), ("users", 0, None),
    ]  # fmt: skip


def test_the_window_begins_at_the_dump_where_nobody_wrote_before_it() -> None:
    source, target = {"posts": Watermark(12, T % 30)}, {"posts": Watermark(10, T % 1)}
    lag = measure(source, target, datetime.fromisoformat(T % 25))
    assert (lag.seconds, lag.whole_until) == (5.0, T % 25)


def test_a_missing_write_from_before_the_dump_is_not_argued_away() -> None:
    source, target = {"posts": Watermark(12, T % 30)}, {"posts": Watermark(10, T % 1)}
    assert measure(source, target, datetime.fromisoformat(T % 31)).seconds == 29.0


def test_nothing_missing_is_no_window() -> None:
    same = {"posts": Watermark(10, T % 20)}
    lag = measure(same, same)
    assert (lag.rows_missing, lag.newest_missing, lag.seconds) == (0, None, 0.0)


def test_a_newer_write_counts_even_where_deletions_hide_it() -> None:
    lag = measure({"posts": Watermark(9, T % 30)}, {"posts": Watermark(10, T % 20)})
    assert (lag.rows_missing, lag.seconds) == (0, 10.0)


def test_a_table_that_the_target_lacks_is_missing_whole() -> None:
    lag = measure({"posts": Watermark(9, T % 30)}, {})
    assert (lag.rows_missing, lag.newest_missing, lag.seconds) == (9, T % 30, None)


def test_times_in_other_zones_are_the_same_moment() -> None:
    lag = measure({"p": Watermark(1, "2026-11-20T14:00:20+02:00")}, {"p": Watermark(1, T % 20)})
    assert (lag.newest_missing, lag.seconds) == (None, 0.0)


def test_watermarks_that_are_no_times_give_counts_only() -> None:
    lag = measure({"p": Watermark(12, "112")}, {"p": Watermark(10, "110")})
    assert (lag.rows_missing, lag.newest_missing, lag.seconds) == (2, None, None)


@dataclass
class Source:
    """SourceDatabase that answers, or cannot be asked."""

    answer: dict[str, Watermark] | OutsideProblem

    def watermarks(self, database: str) -> dict[str, Watermark]:
        if isinstance(self.answer, OutsideProblem):
            raise self.answer
        return self.answer


STEP = step_for("plaza")
DUMP = "ab" * 32
MARK = f"""COMMENT ON DATABASE plaza IS '{{"cloudexit": {{"sha256": "{DUMP}", "dump": "d", "loaded_at": "t"}}}}'"""


@pytest.fixture
def server(postgresql: PrivatePostgresql, local_hosts: LocalHosts) -> Server:
    """A restored database, its proof kept, and one write since."""
    postgresql.execute("postgres", "CREATE DATABASE plaza OWNER plaza", MARK)
    postgresql.execute(
        "plaza", "CREATE TABLE posts (created_at timestamptz)", f"INSERT INTO posts VALUES ('{T % 20}'), ('{T % 10}')"
    )
    server = Server(local_hosts, inventory_of_one().hosts["here"], postgresql.port)
    prepare_bookkeeping(server, "plaza", "plaza")
    record = ArtifactRecord(taken_at=datetime.fromisoformat(T % 22), bytes=1, sha256=DUMP)
    keep_proof(server, "plaza", record, [], read_watermarks(server, "plaza", {"posts": "created_at"}))
    postgresql.execute("plaza", "INSERT INTO posts VALUES (now())")
    return server


def measuring(server: Server, source: Source | None) -> LagMeasured:
    return LagMeasured(stack_with(postgresql_port=server.port), inventory_of_one(), server.hosts, source)


def test_the_target_is_what_was_proved_not_what_the_app_wrote_since(server: Server) -> None:
    outcome = measuring(server, Source({"posts": Watermark(5, T % 32)})).apply(STEP, CONTEXT)
    lag = outcome.detail["lag"]
    assert (lag["rows_missing"], lag["seconds"]) == (3, 10.0)
    assert outcome.checks[0].verdict is Verdict.PASS and "3 rows over 10.0 s" in outcome.checks[0].detail


@pytest.mark.parametrize("source", [None, Source(Unreachable("switched off"))])
def test_a_source_that_cannot_be_asked_is_unknown(server: Server, source: Source | None) -> None:
    outcome = measuring(server, source).apply(STEP, CONTEXT)
    assert outcome.detail["lag"] is None
    [check] = outcome.checks
    assert check.verdict is Verdict.UNKNOWN and not check.holds


def test_the_old_home_is_asked_through_psql(server: Server, postgresql: PrivatePostgresql) -> None:
    stack = stack_with(postgresql_port=postgresql.port)
    source = PsqlSource(stack, server.hosts, server.host, postgresql.port)
    assert source.watermarks("plaza")["posts"].rows == 3
    postgresql.execute("plaza", "DROP TABLE posts")
    with pytest.raises(OutsideProblem, match="does not exist"):
        source.watermarks("plaza")
    postgresql.execute("postgres", "DROP DATABASE plaza")
    with pytest.raises(OutsideProblem):
        source.watermarks("plaza")


def test_without_a_proof_nothing_can_be_compared(server: Server, postgresql: PrivatePostgresql) -> None:
    postgresql.execute("plaza", "DELETE FROM cloudexit.proofs")
    with pytest.raises(GateHeld, match="no proof"):
        measuring(server, Source({})).apply(STEP, CONTEXT)


def test_a_measurement_of_a_moment_that_is_gone_stands(server: Server) -> None:
    action = measuring(server, None)
    assert action.verify(STEP, CONTEXT) is Verdict.UNKNOWN
    assert action.verify(STEP, replace(CONTEXT, previous={"lag": {"rows_missing": 1}})) is Verdict.PASS
    assert action.verify(STEP, replace(CONTEXT, previous={"lag": None})) is Verdict.UNKNOWN
