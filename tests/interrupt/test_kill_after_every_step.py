"""kill -9 after every single step, and amid the long ones; the same command each time; the same end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drill import PLAZA, Drill, end_state, last_report

DRIVER = Path(__file__).parent / "dying_rehearsal.py"
ATTEMPT_SECONDS = 600
AMID = (
    "provision.hosts", "export.plaza-media", "restore.release.plaza", "restore.database.plaza.load",
    "restore.media.plaza", "start.worker", "prove.drift",
)  # fmt: skip

pytestmark = [pytest.mark.lab, pytest.mark.timeout(2400)]


def run_to_the_end(state: Path, *options: str) -> list[str]:
    """The same command until it is not killed any more; the steps at which it died."""
    deaths, words = state.parent / "deaths", state.parent / "words"
    command = [sys.executable, str(DRIVER), str(PLAZA), str(state), str(deaths), *options]
    for _ in range(80):
        with words.open("ab") as stream:
            code = subprocess.run(
                command, stdout=stream, stderr=stream, timeout=ATTEMPT_SECONDS, check=False, cwd=PLAZA.parents[2]
            ).returncode
        if code != -signal.SIGKILL:
            assert code == 0, words.read_text()[-6000:]
            return deaths.read_text().split()
    raise AssertionError(f"still dying: {deaths.read_text()}")


def test_killed_after_every_step_it_ends_in_the_same_state(state: Path, undisturbed: Drill) -> None:
    died = run_to_the_end(state, "done")
    report = last_report(state)
    assert sorted(died) == sorted(row["id"] for row in report["steps"])
    assert end_state(report) == end_state(undisturbed.report)


def test_killed_amid_the_long_steps_it_ends_in_the_same_state(state: Path, undisturbed: Drill) -> None:
    died = run_to_the_end(state, "amid", ",".join(AMID))
    assert sorted(died) == sorted(AMID)
    assert end_state(last_report(state)) == end_state(undisturbed.report)
