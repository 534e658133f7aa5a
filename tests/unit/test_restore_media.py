"""The media tree on a host, held byte for byte against the ledger."""

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from migrate.check import Verdict
from migrate.errors import ExitCode, GateHeld
from migrate.export.keymap import odd_path
from migrate.export.ledger import Ledger, Mode
from migrate.restore.artifacts import Archive
from migrate.restore.media import MediaPlaced, parse_looks
from tests.local_hosts import CONTEXT, LocalHosts, archive_object, inventory_of_one, stack_with, step_for

STEP = step_for("plaza")
MOMENT = 1_795_132_800
"""The 20th of November 2026, as `archive_object` says."""
OBJECTS = {"images/2026/ab.jpg": b"\xff\xd8 picture", "avatars/世界 🎈.png": b"png", "a'b\\c/*": b"odd", "empty": b""}


@dataclass
class Home:
    hosts: LocalHosts
    archive: Archive

    @property
    def action(self) -> MediaPlaced:
        return MediaPlaced(stack_with(), inventory_of_one(), self.hosts, self.archive)

    def placed(self, key: str) -> Path:
        return self.hosts.on_disk(PurePosixPath("/srv/media/pictures")) / key


SERVER = """#!/bin/sh
[ -e "$0.refuses" ] && { echo "nginx: [emerg] unexpected end" >&2; exit 1; }
exit 0
"""
"""Stands in for the media server, which takes every list, or none."""


@pytest.fixture(autouse=True)
def server(local_hosts: LocalHosts) -> Path:
    program = local_hosts.programs / "cloudexit-media-headers"
    program.write_text(SERVER)
    program.chmod(0o755)
    return program


@pytest.fixture
def home(local_hosts: LocalHosts, archive: Archive) -> Home:
    for key, content in OBJECTS.items():
        archive_object(archive, "pictures", key, content)
    return Home(local_hosts, archive)


def test_every_object_is_placed_and_compared(home: Home) -> None:
    assert home.action.verify(STEP, CONTEXT) is Verdict.FAIL
    outcome = home.action.apply(STEP, CONTEXT)
    assert {key: home.placed(key).read_bytes() for key in OBJECTS} == OBJECTS
    assert outcome.detail["objects"] == 4 and all(outcome.checks)
    assert home.action.verify(STEP, CONTEXT) is Verdict.PASS


def test_what_the_app_wrote_since_is_left_alone(home: Home) -> None:
    home.action.apply(STEP, CONTEXT)
    home.placed("images/new.jpg").write_bytes(b"new")
    assert home.action.verify(STEP, CONTEXT) is Verdict.PASS
    home.action.apply(STEP, CONTEXT)
    assert home.placed("images/new.jpg").read_bytes() == b"new"


def test_a_spoilt_file_of_the_same_size_and_time_is_found_and_brought_again(home: Home) -> None:
    home.action.apply(STEP, CONTEXT)
    spoilt = home.placed("images/2026/ab.jpg")
    before = spoilt.stat()
    spoilt.write_bytes(spoilt.read_bytes()[:-1] + b"X")
    os.utime(spoilt, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert home.action.verify(STEP, CONTEXT) is Verdict.FAIL
    home.action.apply(STEP, CONTEXT)
    assert spoilt.read_bytes() == OBJECTS["images/2026/ab.jpg"]


def test_a_missing_file_is_seen(home: Home) -> None:
    home.action.apply(STEP, CONTEXT)
    home.placed("empty").unlink()
    assert home.action.verify(STEP, CONTEXT) is Verdict.FAIL


def test_an_archive_that_is_not_what_its_ledger_says_holds_the_gate(home: Home) -> None:
    (home.archive.folder / "pictures" / "objects" / "empty").write_bytes(b"not empty")
    (home.archive.folder / "pictures" / "objects" / "images/2026/ab.jpg").unlink()
    with pytest.raises(GateHeld) as held:
        home.action.apply(STEP, CONTEXT)
    assert held.value.what.startswith("2 of 4 objects")
    assert "images/2026/ab.jpg is missing" in held.value.what and "empty differs" in held.value.what
    assert held.value.exit_code is ExitCode.GATE and "cloudexit verify" in held.value.hint


def test_what_is_not_verified_is_not_asked_for(home: Home) -> None:
    archive_object(home.archive, "pictures", "half", b"", state="quarantined")
    assert home.action.apply(STEP, CONTEXT).detail["objects"] == 4


def change(archive: Archive, key: str, **columns: str) -> None:
    with Ledger.open(archive.folder / "pictures", Mode.WRITE) as ledger:
        for column, value in columns.items():
            ledger.connection.execute(f"UPDATE objects SET {column} = ? WHERE key = ?", (value, key.encode()))


def test_keys_that_no_path_can_hold_lie_at_their_digest(home: Home) -> None:
    path = odd_path("x/../y")
    archive_object(home.archive, "pictures", "x/../y", b"odd")
    kept = home.archive.folder / "pictures" / path
    kept.parent.mkdir()
    kept.write_bytes(b"odd")
    change(home.archive, "x/../y", path=path)
    outcome = home.action.apply(STEP, CONTEXT)
    digest = path.removeprefix("odd/")
    assert home.hosts.on_disk(PurePosixPath("/srv/media/.odd/pictures") / digest).read_bytes() == b"odd"
    assert outcome.detail["objects"] == 5 and all(outcome.checks)


def test_what_the_archive_had_to_put_elsewhere_lies_where_its_key_says(home: Home) -> None:
    archive_object(home.archive, "pictures", "blocked", b"stray")
    (home.archive.folder / "pictures" / "odd").mkdir()
    (home.archive.folder / "pictures" / "objects" / "blocked").rename(home.archive.folder / "pictures" / "odd" / "1")
    change(home.archive, "blocked", path="odd/1")
    assert home.action.apply(STEP, CONTEXT).detail["objects"] == 5
    placed = home.hosts.on_disk(PurePosixPath("/srv/media/.odd/pictures")) / odd_path("blocked").removeprefix("odd/")
    assert placed.read_bytes() == b"stray" and int(placed.stat().st_mtime) == MOMENT
    assert home.action.verify(STEP, CONTEXT) is Verdict.PASS


def test_files_have_the_times_that_the_source_gave_the_objects(home: Home) -> None:
    home.action.apply(STEP, CONTEXT)
    placed = home.placed("empty")
    assert int(placed.stat().st_mtime) == MOMENT
    os.utime(placed, (1, 1))
    assert home.action.verify(STEP, CONTEXT) is Verdict.FAIL
    home.action.apply(STEP, CONTEXT)
    assert int(placed.stat().st_mtime) == MOMENT


def test_lists_that_the_server_refuses_hold_the_gate_with_its_words(home: Home, server: Path) -> None:
    home.action.apply(STEP, CONTEXT)
    server.with_name(f"{server.name}.refuses").touch()
    assert home.action.verify(STEP, CONTEXT) is Verdict.FAIL
    with pytest.raises(GateHeld, match=r"refuses the headers of its objects: nginx: \[emerg\] unexpected end"):
        home.action.apply(STEP, CONTEXT)


def test_other_headers_in_the_ledger_are_other_lists(home: Home) -> None:
    home.action.apply(STEP, CONTEXT)
    change(home.archive, "empty", headers='{"content-disposition": "attachment"}')
    assert home.action.verify(STEP, CONTEXT) is Verdict.FAIL
    assert home.action.apply(STEP, CONTEXT).detail["exceptions"] == 1
    assert home.action.verify(STEP, CONTEXT) is Verdict.PASS


def test_a_header_that_no_list_can_hold_is_reported(home: Home) -> None:
    change(home.archive, "empty", headers=json.dumps({"content-disposition": "x" * 5000}))
    [warning] = [check for check in home.action.apply(STEP, CONTEXT).checks if not check]
    assert "'empty'" in warning.detail and not warning.holds


def test_an_empty_bucket_is_a_tree_without_files(local_hosts: LocalHosts, archive: Archive) -> None:
    archive_object(archive, "pictures", "gone", b"", state="gone")
    home = Home(local_hosts, archive)
    assert home.action.apply(STEP, CONTEXT).detail["objects"] == 0


def test_before_the_export_nothing_is_known(local_hosts: LocalHosts, archive: Archive) -> None:
    assert Home(local_hosts, archive).action.verify(STEP, CONTEXT) is Verdict.UNKNOWN


def test_digests_and_times_are_told_from_names_with_newlines() -> None:
    assert parse_looks("aa *x\ny\0bb * *z\0@7 *x\ny\0@8 * *z\0") == {"x\ny": ("aa", 7), " *z": ("bb", 8)}
