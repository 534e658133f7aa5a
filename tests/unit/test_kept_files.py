"""Files that `init`, `plan --out` and `plan --html` leave: whole or not at all, and exit 2 where there can be none."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from migrate.cli.keeping import folder_for, keep, keep_new, require_keepable
from migrate.errors import UsageProblem
from tests.drill import CLOUDEXIT, cloudexit

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
FLEET_PLAN = ["plan", FLEET / "stack.yaml", "-i", FLEET / "inventory", "--facts", FLEET / "facts.yaml"]
FULL_DISK = """
import resource, sys
from pathlib import Path
from migrate.cli.keeping import keep
from migrate.errors import UsageProblem
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    keep(Path(sys.argv[1]), "x" * 100_000)
except UsageProblem as problem:
    print(problem)
"""
"""A file that may not grow stands for a disk that is full: the write fails in its middle."""


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/xx"])
def test_init_where_no_folder_can_be_is_exit_2(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    done = cloudexit("init", tmp_path / place)
    assert done.returncode == 2, done.stderr
    assert place in done.stderr
    assert "it cannot be written" in done.stderr
    assert "do:" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_init_leaves_nothing_where_only_the_inventory_stands(tmp_path: Path) -> None:
    (tmp_path / "mine" / "inventory").mkdir(parents=True)
    (tmp_path / "mine" / "inventory" / "hosts.yml").write_text("mine")
    assert cloudexit("init", tmp_path / "mine").returncode == 2
    assert not (tmp_path / "mine" / "stack.yaml").exists()


def test_init_quiet_says_nothing(tmp_path: Path) -> None:
    done = cloudexit("init", tmp_path / "mine", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "mine" / "stack.yaml").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageProblem, match="Permission denied"), folder_for(tmp_path / "mine"):
        pytest.fail("it was made")


def test_folders_made_for_what_failed_are_gone_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), folder_for(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_of_several_new_files_all_are_written_or_none(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem):
        keep_new({tmp_path / "one": "1", tmp_path / "nowhere" / "two": "2"})
    assert list(tmp_path.iterdir()) == []
    keep_new({tmp_path / "one": "1", tmp_path / "two": "2"})
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.parametrize("option", ["--out", "--html"])
@pytest.mark.parametrize(("place", "says"), [("nowhere/x", "there is no such folder"), (".", "this is a folder")])
def test_a_plan_that_cannot_be_kept_is_refused_before_anything_else(
    tmp_path: Path, option: str, place: str, says: str
) -> None:
    done = cloudexit(*FLEET_PLAN, option, tmp_path / place)
    assert done.returncode == 2
    assert says in done.stderr
    assert str(tmp_path) in done.stderr
    assert done.stdout == ""
    with pytest.raises(UsageProblem, match=says):
        require_keepable(tmp_path / place)


def test_a_plan_kept_on_a_full_disk_is_exit_2(tmp_path: Path) -> None:
    done = cloudexit(*FLEET_PLAN, "--out", "/dev/full")
    assert done.returncode == 2
    assert "/dev/full: it cannot be written: No space left on device" in done.stderr
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_disk_that_fills_leaves_the_old_file_and_no_half_one(tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    kept.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n{FULL_DISK}", kept],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "it cannot be written: File too large" in done.stdout
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [kept]


def test_a_kept_file_replaces_the_old_one_and_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    keep(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


def test_a_plan_can_be_kept_on_standard_output(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(CLOUDEXIT), *map(str, FLEET_PLAN), "--out", "/dev/stdout", "--json"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.count('"stack_digest"') == 2
