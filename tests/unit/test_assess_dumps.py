"""Dumps: those that are read, those that are refused, and the rows in them that nobody understood."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from migrate.adapters.dumps import dump_lines
from migrate.assess.rows import Tally
from migrate.cli.leaks import Sought, leaks_of_dump
from migrate.errors import UsageProblem
from tests.unit.test_assess_leaks import DUMP

INSERTS = """\
--
-- PostgreSQL database dump
--
SET statement_timeout = 0;
CREATE TABLE public.posts (id bigint, deleted_at timestamp with time zone);
INSERT INTO public.posts VALUES (1, '2026-01-01');
INSERT INTO public.posts VALUES (2, NULL);
"""
MYSQL = """\
/*!999999\\- enable the sandbox mode */
-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
CREATE TABLE `posts` (`id` bigint, `deleted_at` datetime);
INSERT INTO `posts` VALUES (1,'2026-01-01');
"""


def archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("posts.sql")
        member.size = len(DUMP)
        tar.addfile(member, io.BytesIO(DUMP.encode()))
    return packed.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n\n", bytes(range(256)) * 40, b"\x93\x12\xfa\x07garbage\xff", DUMP.encode("utf-16"), MYSQL.encode(),
        archive(),
        gzip.compress(bytes(range(256)) * 40), gzip.compress(DUMP.encode())[:-20], gzip.compress(b"PGDMP\x01\x0e\x00"),
        b"SQLite format 3\0", b"BZh91AY&SY", b"dear diary,\nnothing to see here\n", b"PGDMP\x01\x0e\x00",
        gzip.compress(DUMP.encode())[:5],
    ],
    ids=range(15),
)  # fmt: skip
def test_what_is_no_readable_dump_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "app.dump"
    path.write_bytes(content)
    with pytest.raises(UsageProblem) as refused:
        leaks_of_dump(path)
    assert str(path) in refused.value.where
    assert "dump" in refused.value.expected


@pytest.mark.parametrize("form", ["plain", "gzip", "windows", "latin-1"])
def test_a_plain_dump_is_read_however_it_is_kept(tmp_path: Path, form: str) -> None:
    path = tmp_path / "app.dump"
    text = DUMP.replace("\n", "\r\n") if form == "windows" else DUMP.replace("hello", "héllo")
    content = text.encode("latin-1" if form == "latin-1" else "utf-8")
    path.write_bytes(gzip.compress(content) if form == "gzip" else content)
    leaks, left_out = leaks_of_dump(path)
    assert (sum(leak.found for leak in leaks), left_out) == (8, [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (INSERTS, "no rows understood"),
        ("SET client_encoding = 'UTF8';\nCREATE TABLE t (id bigint);\n", "no rows understood"),
        (DUMP + "INSERT INTO public.posts VALUES (13, '', '', NULL);\n", "1 row of it is not understood"),
        (DUMP.replace("\thello\t", "\thello\tthere\t"), "1 row of it is not understood"),
        (DUMP.replace("12\tsee", "COPY"), "1 row of it is not understood"),
        (DUMP.replace("stdin;", "stdin WITH (FORMAT csv);"), "no rows understood"),
        (DUMP + "COPY public.empty  FROM stdin;\n\\.\n", ""),
        (DUMP, ""),
    ],
)
def test_rows_that_are_not_understood_are_not_called_clean(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "app.sql"
    path.write_text(text)
    _, left_out = leaks_of_dump(path)
    assert [says in line and str(path) in line for line in left_out] == ([True] if says else [])


def test_a_plain_dump_that_breaks_off_within_a_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "app.sql"
    path.write_text(DUMP[: DUMP.index("12\tsee")])
    with pytest.raises(UsageProblem, match="breaks off") as refused:
        leaks_of_dump(path)
    assert "public.posts" in str(refused.value)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_only_a_regular_file_is_opened(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(UsageProblem, match="no regular file"), dump_lines(path) as lines:
        list(lines)
    with pytest.raises(UsageProblem, match="no regular file"):
        Sought(0, path, None, ()).require_there()


def test_a_file_whose_reading_fails_is_refused() -> None:
    with pytest.raises(UsageProblem, match="cannot be read"), dump_lines(Path("/proc/self/mem")) as lines:
        list(lines)


def test_a_whole_dump_is_understood_whole() -> None:
    tally = Tally().read(iter(DUMP.splitlines(keepends=True)))
    assert (tally.rows.total(), tally.not_understood) == (5, 0)
