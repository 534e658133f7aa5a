"""What all workers share: pauses that grow, come to an end, and are not asked for twice; patience."""

import threading
import time

import pytest

from migrate.export import pace
from migrate.export.pace import Pace


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(pace, "LONGEST_PAUSE_SECONDS", 0.4)
    monkeypatch.setattr(pace, "CALM_SECONDS", 0.3)
    monkeypatch.setattr(pace, "PATIENCE_SECONDS", 0.5)


def waited(shared: Pace) -> float:
    started = time.monotonic()
    shared.wait(threading.Event())
    return time.monotonic() - started


def test_pauses_grow_to_a_bound_and_begin_anew_after_a_calm_time() -> None:
    shared = Pace()
    assert waited(shared) < 0.05
    pauses = []
    for _ in range(4):
        shared.slow_down()
        shared.slow_down()  # of many workers at once, one counts
        pauses.append(waited(shared))
    assert pauses == [pytest.approx(expected, abs=0.08) for expected in (0.1, 0.2, 0.4, 0.4)]
    time.sleep(0.35)
    shared.slow_down()
    assert waited(shared) == pytest.approx(0.1, abs=0.08)


def test_what_was_said_before_the_last_pause_ended_is_no_news() -> None:
    shared = Pace()
    said_at = time.monotonic()
    shared.slow_down(said_at)
    waited(shared)
    shared.slow_down(said_at)
    assert waited(shared) < 0.05
    shared.slow_down(time.monotonic())
    assert waited(shared) > 0.1


def test_patience_is_lost_when_nobody_is_answered_for_long_and_comes_back_with_an_answer() -> None:
    shared = Pace()
    shared.slow_down()
    assert not shared.patience_is_lost
    time.sleep(0.6)
    assert shared.patience_is_lost
    shared.answered("key", "")
    assert not shared.patience_is_lost
    assert shared.witness == ("key", "")


def test_a_pause_ends_with_the_run() -> None:
    shared, cancel = Pace(), threading.Event()
    cancel.set()
    shared.slow_down()
    started = time.monotonic()
    shared.wait(cancel)
    assert time.monotonic() - started < 0.05
