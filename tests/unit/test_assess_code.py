"""Names of the provider in files, and every file that was not looked at: counted and named."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrate.adapters import texts
from migrate.adapters.texts import hosts_in
from migrate.cli.leaks import Sought, leaks_of_files
from migrate.errors import UsageProblem

HOST = b"https://app.s3.amazonaws.com/"
NOBODY = 65534


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name.replace("__", ".")), content)
    return packed.getvalue()


def tarred(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.txt.gz", gzip.compress(HOST, mtime=0), "a.txt.gz!a.txt"), ("a.bz2", bz2.compress(HOST), "a.bz2!a"),
        ("layer", gzip.compress(tarred(env=HOST), mtime=0), "layer!env"), ("a.xz", lzma.compress(HOST), "a.xz!a"),
        ("app.war", zipped(settings=HOST), "app.war!settings"),
        ("app", tarred(b__gz=gzip.compress(HOST, mtime=0)), "app!b.gz!b"),
        ("app.pyz", b"#!/usr/bin/env python3\n" + zipped(main=HOST), "app.pyz!main"),
    ],
)  # fmt: skip
def test_what_is_packed_is_opened_by_its_content(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(content)
    looked = hosts_in(tmp_path)
    assert (set(looked.hosts), looked.missed) == ({found}, {})


def test_what_lies_beyond_a_bound_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST_BYTES_OF_A_FILE", 4096)
    long = os.urandom(8192)
    deep = zipped(a__zip=zipped(b__zip=zipped(c__zip=zipped(d=HOST))))
    for name, content in (
        ("long.js", b"x" * 4096 + HOST), ("exact.js", b"x" * 4096), ("outer.zip", zipped(inner__zip=zipped(long=long))),
        ("long.gz", gzip.compress(b"x" * 4096 + HOST, mtime=0)), ("deep.zip", deep),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
    missed = hosts_in(tmp_path).missed
    assert {name: reason.split(",")[0] for name, reason in missed.items()} == {
        "long.js": "larger than 4 KiB",
        "outer.zip!inner.zip": "larger than 4 KiB",
        "long.gz!long": "larger than 4 KiB",
        "deep.zip!a.zip!b.zip!c.zip": "an archive more than 3 deep",
    }


@pytest.mark.parametrize(
    "content",
    [
        b"\x28\xb5\x2f\xfd packed", b"!<arch>\ndebian-binary   ", b"\xed\xab\xee\xdb rpm", b"7z\xbc\xaf\x27\x1c",
        b"Rar!\x1a\x07\x01\x00",
    ],
)  # fmt: skip
def test_what_is_packed_in_a_way_that_is_not_opened_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "app").write_bytes(content)
    (tmp_path / "outer.zip").write_bytes(zipped(app=content))
    assert set(hosts_in(tmp_path).missed) == {"app", "outer.zip!app"}
    assert all("not opened" in reason for reason in hosts_in(tmp_path).missed.values())


def test_a_damaged_archive_is_read_as_bytes_and_named(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"no zip, but s3.amazonaws.com")
    (tmp_path / "half.tar.gz").write_bytes(gzip.compress(tarred(a=os.urandom(90_000), b=HOST))[:50_000])
    looked = hosts_in(tmp_path)
    assert set(looked.hosts) == {"broken.zip"}
    assert set(looked.missed) == {"broken.zip", "half.tar.gz"}


def test_links_pipes_and_left_out_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "here.txt").write_bytes(HOST)
    (tmp_path / "app" / "within.txt").symlink_to("here.txt")
    (tmp_path / "app" / "outside.txt").symlink_to("/etc/hostname")
    (tmp_path / "app" / "folder").symlink_to("/etc")
    (tmp_path / "app" / ".git").mkdir()
    os.mkfifo(tmp_path / "app" / "pipe")
    looked = hosts_in(tmp_path / "app")
    assert set(looked.hosts) == {"here.txt"}
    assert set(looked.missed) == {"outside.txt", "folder", "pipe", ".git"}


def test_the_providers_own_library_is_not_listed_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "botocore").mkdir()
    (tmp_path / "botocore" / "data.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    (tmp_path / "botocore" / "s3.json.gz").write_bytes(gzip.compress(HOST, mtime=0))
    looked = hosts_in(tmp_path)
    assert (looked.hosts, looked.libraries, looked.missed) == ({}, {"botocore"}, {})


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anybody may enter; those of pytest are its user's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    (folder / "closed").chmod(0o700)
    shutil.rmtree(folder)


def test_what_may_not_be_read_is_named_and_a_whole_path_refused(open_folder: Path) -> None:
    (open_folder / "key.pem").write_bytes(HOST)
    (open_folder / "key.pem").chmod(0)
    (open_folder / "open.txt").write_bytes(HOST)
    (open_folder / "closed").mkdir()
    (open_folder / "closed" / "a.txt").write_bytes(HOST)
    (open_folder / "closed").chmod(0)
    with as_nobody():
        looked = hosts_in(open_folder)
        for path in (open_folder / "key.pem", open_folder / "closed"):
            with pytest.raises(UsageProblem, match="cannot be read: Permission denied"):
                leaks_of_files(path)
        with pytest.raises(UsageProblem, match="Permission denied"):
            Sought(0, None, None, (open_folder / "closed" / "a.txt",)).require_there()
    assert (set(looked.hosts), set(looked.missed)) == ({"open.txt"}, {"key.pem", "closed"})


def test_a_file_whose_reading_fails_is_refused() -> None:
    with pytest.raises(UsageProblem, match="cannot be read"):
        leaks_of_files(Path("/proc/self/mem"))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for look in (lambda path: Sought(0, None, None, (path,)).require_there(), leaks_of_files):
        with pytest.raises(UsageProblem, match="neither a folder nor a regular file"):
            look(tmp_path / "pipe")


def test_what_was_not_looked_at_is_counted_and_named(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    _, (left_out,) = leaks_of_files(tmp_path)
    assert left_out == (
        f"provider hosts in 12 files of {tmp_path}: packed in a way that is not opened: "
        "00.zst, 01.zst, 02.zst, 03.zst, 04.zst, and 7 more"
    )
