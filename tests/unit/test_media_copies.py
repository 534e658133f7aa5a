"""Copies of the media trees: what is deleted where uploads arrive goes from the others, but not for good and not all at
once. The role's own program, and rsync's own server behind a tunnel that is none."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROLE = Path(__file__).parents[2] / "playbooks" / "roles" / "media"
pytestmark = pytest.mark.skipif(not shutil.which("rsync"), reason="no rsync here: apt-get install rsync")


@dataclass(frozen=True)
class Pair:
    """A host that leads and one that follows, each a folder."""

    folder: Path

    @property
    def lead(self) -> Path:
        return self.folder / "lead"

    @property
    def copy(self) -> Path:
        return self.folder / "copy"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def look(self, lead: str = "10.0.0.1", **settings: int) -> subprocess.CompletedProcess[str]:
        told = {"MEDIA_MOST_GONE": 3, "MEDIA_MOST_GONE_PERCENT": 10, "MEDIA_KEPT_DAYS": 14, **settings}
        environment = {
            **os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "MEDIA_LEAD": lead, "MEDIA_COPY_PORT": "8082",
            **{name: str(value) for name, value in told.items()},
        }  # fmt: skip
        return subprocess.run([self.folder / "program"], env=environment, capture_output=True, text=True, timeout=30)

    def has(self, where: Path) -> list[str]:
        found = (file.relative_to(where) for file in where.rglob("*") if file.is_file())
        return sorted(str(file) for file in found if file.parts[0] not in (".tree", ".left-over", ".uploads"))

    def left_over(self) -> dict[str, str]:
        """File -> the kind of folder that it was put into."""
        folders = sorted((self.copy / ".left-over").glob("*"))
        return {
            str(file.relative_to(folder)): folder.name.split("-")[0]
            for folder in folders for file in folder.rglob("*") if file.is_file()
        }  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    made = Pair(tmp_path)
    for folder in (made.lead / "plaza", made.copy / ".uploads", made.lead / ".uploads", made.state):
        folder.mkdir(parents=True)
    (made.lead / ".tree").write_text("one\n")
    for number in range(20):
        (made.lead / "plaza" / f"{number}.webp").write_text(f"picture {number}")
    settings = (ROLE / "templates" / "media-rsyncd.conf.j2").read_text().replace("# {{ ansible_managed }}\n", "")
    owner = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
    (tmp_path / "rsyncd.conf").write_text(settings.replace("/srv/media", str(made.lead)) + owner)
    (tmp_path / "openssl").write_text(f"#!/bin/sh\nexec rsync --server --daemon --config={tmp_path}/rsyncd.conf .\n")
    text = (ROLE / "files" / "cloudexit-media-copy").read_text()
    text = text.replace("/srv/media", str(made.copy)).replace("/var/lib/cloudexit-media", str(made.state))
    (tmp_path / "program").write_text(text)
    for program in ("openssl", "program"):
        (tmp_path / program).chmod(0o755)
    first = made.look()
    assert first.returncode == 0, first
    assert len(made.has(made.copy)) == 20 and not made.left_over()
    return made


def test_what_is_deleted_or_written_anew_goes_and_is_kept_for_some_days(pair: Pair) -> None:
    (pair.lead / "plaza" / "3.webp").unlink()
    (pair.lead / "plaza" / "4.webp").write_text("another picture")
    (pair.lead / "plaza" / "new.webp").write_text("new")
    looked = pair.look()
    assert looked.returncode == 0, looked
    assert pair.has(pair.copy) == pair.has(pair.lead)
    assert (pair.copy / "plaza" / "4.webp").read_text() == "another picture"
    assert pair.left_over() == {"plaza/3.webp": "gone", "plaza/4.webp": "gone"}
    assert pair.look().returncode == 0 and pair.has(pair.copy) == pair.has(pair.lead)


def test_what_was_kept_for_long_enough_goes_and_nothing_else_does(pair: Pair) -> None:
    def folder(kind: str, days: float) -> Path:
        stamp = time.strftime("%Y-%m-%d-%H%M%S", time.localtime(time.time() - days * 86400))
        made = pair.copy / ".left-over" / f"{kind}{stamp}" / "plaza"
        made.mkdir(parents=True)
        (made / "old.webp").write_text("old")
        return made.parent

    old, young, of_a_former_lead = folder("gone-", 15), folder("gone-", 13), folder("", 400)
    assert pair.look().returncode == 0
    assert (old.exists(), young.exists(), of_a_former_lead.exists()) == (False, True, True)


def emptied(folder: Path) -> None:
    shutil.rmtree(folder / "plaza")


def thinned(folder: Path) -> None:
    for number in range(4):
        (folder / "plaza" / f"{number}.webp").unlink()


@pytest.mark.parametrize("mishap", [emptied, thinned])
def test_more_than_a_share_is_not_deleted_unless_somebody_says_so(pair: Pair, mishap: Callable[[Path], None]) -> None:
    mishap(pair.lead)
    (pair.lead / "other").mkdir()
    (pair.lead / "other" / "new.webp").write_text("new")
    for _ in range(2):
        held = pair.look()
        assert held.returncode == 1 and f"touch {pair.state}/delete-them" in held.stderr
        assert len(pair.has(pair.copy)) == 21 and (pair.copy / "other" / "new.webp").exists()
    (pair.state / "delete-them").touch()
    assert pair.look().returncode == 0
    assert pair.has(pair.copy) == pair.has(pair.lead)
    assert set(pair.left_over().values()) == {"gone"} and len(pair.left_over()) == 21 - len(pair.has(pair.lead))
    assert not (pair.state / "delete-them").exists()


def test_a_word_that_was_given_for_nothing_does_not_hold_for_another_day(pair: Pair) -> None:
    (pair.state / "delete-them").touch()
    assert pair.look().returncode == 0
    emptied(pair.lead)
    assert pair.look().returncode == 1 and len(pair.has(pair.copy)) == 20


def test_an_object_gives_way_to_a_folder_of_its_name_and_a_folder_to_an_object(pair: Pair) -> None:
    (pair.lead / "plaza" / "3.webp").unlink()
    (pair.lead / "plaza" / "3.webp").mkdir()
    (pair.lead / "plaza" / "3.webp" / "below").write_text("below")
    looked = pair.look()
    assert looked.returncode == 0, looked
    assert (pair.copy / "plaza" / "3.webp" / "below").read_text() == "below"
    shutil.rmtree(pair.lead / "plaza" / "3.webp")
    (pair.lead / "plaza" / "3.webp").write_text("again")
    looked = pair.look()
    assert looked.returncode == 0, looked
    assert (pair.copy / "plaza" / "3.webp").read_text() == "again"


def test_as_many_as_may_be_gone_at_once_are_deleted(pair: Pair) -> None:
    for number in range(3):
        (pair.lead / "plaza" / f"{number}.webp").unlink()
    assert pair.look().returncode == 0 and pair.has(pair.copy) == pair.has(pair.lead)
    for number in range(3, 8):
        (pair.lead / "plaza" / f"{number}.webp").unlink()
    assert pair.look(MEDIA_MOST_GONE_PERCENT=50).returncode == 0 and pair.has(pair.copy) == pair.has(pair.lead)


def test_what_only_this_host_has_after_a_change_of_lead_is_kept_until_somebody_takes_it(pair: Pair) -> None:
    (pair.copy / "plaza" / "late.webp").write_text("not copied in time")
    assert pair.look("10.0.0.2").returncode == 0
    [(name, kind)] = pair.left_over().items()
    assert (name, kind.isdigit()) == ("plaza/late.webp", True)


def test_a_lead_that_does_not_answer_is_a_failure_and_nothing_goes(pair: Pair) -> None:
    (pair.folder / "openssl").write_text("#!/bin/sh\nexit 1\n")
    assert pair.look().returncode != 0 and len(pair.has(pair.copy)) == 20
