"""A dump is vetted before anything is touched; hostile ones are refused, on a real PostgreSQL."""

import pytest

from migrate.check import Verdict
from migrate.errors import ExitCode, GateHeld
from migrate.restore.dump import DumpPlaced
from tests.local_hosts import CONTEXT, archive_dump, archive_object
from tests.restored_home import PLACED, STEP, TABLES, Home


def test_a_dump_is_placed_for_postgres_alone(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    action = DumpPlaced(home.stack, home.inventory, home.hosts, home.archive)
    assert action.verify(STEP, CONTEXT) is Verdict.FAIL
    outcome = action.apply(STEP, CONTEXT)
    placed = home.hosts.on_disk(PLACED)
    assert placed.read_bytes() == good_dump
    assert (placed.stat().st_mode & 0o777, placed.owner()) == (0o600, "postgres")
    assert outcome.detail["rows"] == 203
    assert action.verify(STEP, CONTEXT) is Verdict.PASS


def test_nothing_is_known_before_the_export(home: Home) -> None:
    action = DumpPlaced(home.stack, home.inventory, home.hosts, home.archive)
    assert action.verify(STEP, CONTEXT) is Verdict.UNKNOWN


def refusal(home: Home) -> GateHeld:
    """What refuses the newest dump; no database may have been made, and nothing lie under the vetted name."""
    with pytest.raises(GateHeld) as held:
        home.place()
    assert home.postgresql.databases() == set()
    assert not home.hosts.on_disk(PLACED).exists()
    assert held.value.exit_code is ExitCode.GATE
    assert held.value.expected and held.value.hint
    return held.value


def test_a_dump_cut_short_after_its_record_is_refused(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump[:-500], TABLES, bytes=len(good_dump))
    assert "not what its record describes" in refusal(home).what


def test_a_dump_spoilt_after_its_record_is_refused(home: Home, good_dump: bytes) -> None:
    spoilt = good_dump[:-500] + bytes([good_dump[-500] ^ 1]) + good_dump[-499:]
    archive_dump(home.archive, spoilt, TABLES, sha256="0" * 64)
    assert "SHA-256" in refusal(home).what


@pytest.mark.parametrize("left", [0.3, 0.9, 0.999])
def test_a_dump_that_was_truncated_before_its_record_is_refused(home: Home, good_dump: bytes, left: float) -> None:
    archive_dump(home.archive, good_dump[: int(len(good_dump) * left)], TABLES)
    assert "truncated or damaged" in refusal(home).what
    assert not any("incoming" in path.name for path in home.hosts.on_disk(PLACED.parent).iterdir())


def test_a_plain_dump_is_refused(home: Home) -> None:
    archive_dump(home.archive, b"--\n-- PostgreSQL database dump\n--\nCREATE TABLE users ();\n", {})
    assert "a plain SQL dump" in refusal(home).what


def test_a_dump_of_another_database_is_refused(home: Home) -> None:
    home.postgresql.execute("postgres", "CREATE DATABASE billing")
    other = home.postgresql.dump("billing")
    home.postgresql.clear()
    archive_dump(home.archive, other, {})
    assert "another database: the dump says 'billing'" in refusal(home).what


def test_a_record_of_another_database_is_refused(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES, database="billing")
    assert "another database: its record says 'billing'" in refusal(home).what


def test_a_dump_of_a_newer_server_is_refused_by_its_own_head(home: Home, good_dump: bytes) -> None:
    version = good_dump.index(b"15.")
    newer = good_dump[:version] + b"99" + good_dump[version + 2 :]
    archive_dump(home.archive, newer, TABLES)
    assert "newer PostgreSQL: its server was 99, the target server is 15" in refusal(home).what


def test_a_dump_of_a_newer_server_is_refused_by_its_record(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES, server_version_num=170002)
    assert "its record says 17" in refusal(home).what


def test_an_unverified_newest_dump_is_not_replaced_by_an_older_one(home: Home, good_dump: bytes) -> None:
    archive_dump(home.archive, good_dump, TABLES)
    archive_object(home.archive, "backups", "postgresql/plaza-20261120T130000Z.dump", b"?", state="quarantined")
    refused = refusal(home)
    assert "quarantined, not verified" in refused.what and "T130000Z" in refused.where
