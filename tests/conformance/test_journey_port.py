"""ports.JourneyRunner against real processes."""

import sys
import time
from pathlib import Path

import pytest

from migrate.adapters.journey import CommandJourneys
from migrate.check import CheckResult, Verdict
from migrate.ports import JourneyRunner


@pytest.fixture
def runner() -> JourneyRunner:
    return CommandJourneys()


def walk(
    runner: JourneyRunner, folder: Path, script: str, timeout: float = 20.0, **environment: str
) -> list[CheckResult]:
    (folder / "journey.py").write_text("import json, os, sys, time\n" + script)
    return runner.walk([sys.executable, "journey.py"], folder, environment, timeout=timeout)


PASSES = "print(json.dumps({'step': 'signs in', 'verdict': 'pass', 'detail': 'as ann', 'seconds': 0.25}), flush=True)\n"


def test_one_result_a_step(runner: JourneyRunner, tmp_path: Path) -> None:
    fails = "print(json.dumps({'step': 'posts', 'verdict': 'fail'})); sys.exit(1)\n"
    results = walk(runner, tmp_path, PASSES + fails)
    assert results == [
        CheckResult("signs in", Verdict.PASS, "as ann", seconds=0.25),
        CheckResult("posts", Verdict.FAIL),
    ]


def test_a_journey_that_dies_fails_with_its_last_words(runner: JourneyRunner, tmp_path: Path) -> None:
    results = walk(runner, tmp_path, PASSES + "raise RuntimeError('no timeline')\n")
    assert [result.verdict for result in results] == [Verdict.PASS, Verdict.FAIL]
    assert "exit status 1" in results[1].detail and "no timeline" in results[1].detail


def test_a_silent_journey_fails(runner: JourneyRunner, tmp_path: Path) -> None:
    [result] = walk(runner, tmp_path, "")
    assert result.verdict is Verdict.FAIL and "0 steps" in result.detail


@pytest.mark.parametrize("line", ["hello", "[]", "7", '{"step": "x"}', '{"step": "x", "verdict": "perhaps"}'])
def test_what_is_no_step_fails(runner: JourneyRunner, tmp_path: Path, line: str) -> None:
    results = walk(runner, tmp_path, PASSES + f"print({line!r})\n")
    assert [result.verdict for result in results] == [Verdict.PASS, Verdict.FAIL]
    assert line in results[1].detail


def test_a_journey_that_overruns_is_ended_with_all_it_started(runner: JourneyRunner, tmp_path: Path) -> None:
    began = time.monotonic()
    script = PASSES + "import subprocess; subprocess.Popen(['sleep', '60']); time.sleep(60)\n"
    results = walk(runner, tmp_path, script, timeout=1.0)
    assert time.monotonic() - began < 10
    assert [result.name for result in results] == ["signs in", "the journey ends in time"]
    assert not results[-1] and "not within 1 s" in results[-1].detail


def test_a_command_that_is_not_there_fails(runner: JourneyRunner, tmp_path: Path) -> None:
    [result] = runner.walk(["/no/such/program"], tmp_path, {}, timeout=5)
    assert result.verdict is Verdict.FAIL and "/no/such/program" in result.detail


def test_the_environment_is_ours_to_choose(
    runner: JourneyRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for a journey")
    shows = "print(json.dumps({'step': repr(sorted(os.environ)), 'verdict': 'pass', 'detail': os.environ['GIVEN']}))\n"
    [result] = walk(runner, tmp_path, shows, GIVEN="yes")
    assert result.detail == "yes" and "AWS_SECRET_ACCESS_KEY" not in result.name and "PATH" in result.name
