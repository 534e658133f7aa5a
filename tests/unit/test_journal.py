"""What happened stays: on disk, in order, under one lock."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from migrate.errors import LockHeld
from migrate.journal import Event, Journal, exclusive


def test_records_come_back_in_order_with_their_details(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    run = journal.begin_or_resume("run", "digest", {"steps": []})
    journal.write(run, "a", Event.STARTED, {})
    journal.write(run, "a", Event.DONE, {"rows": 3, "name": "ü"}, 1.5)
    records = Journal(tmp_path / "j.sqlite", read_only=True).records(run)
    assert [(r.event, r.seconds) for r in records] == [(Event.STARTED, None), (Event.DONE, 1.5)]
    assert records[1].detail == {"rows": 3, "name": "ü"}


@pytest.mark.parametrize(
    ("command", "digest", "outcome", "same"),
    [
        ("run", "digest", None, True),
        ("run", "digest", "held", True),
        ("run", "digest", "interrupted", True),
        ("run", "digest", "done", False),
        ("run", "other", "held", False),
        ("rehearse", "digest", "held", False),
    ],
)
def test_only_an_unfinished_run_of_the_same_command_and_plan_goes_on(
    tmp_path: Path, command: str, digest: str, outcome: str | None, same: bool
) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    first = journal.begin_or_resume("run", "digest", {})
    if outcome:
        journal.end(first, outcome)
    assert (journal.begin_or_resume(command, digest, {}).id == first.id) is same


def test_a_step_that_failed_after_it_was_done_is_not_finished(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    run = journal.begin_or_resume("run", "digest", {})
    journal.write(run, "a", Event.DONE, {"n": 1}, 1.0)
    journal.write(run, "a", Event.FAILED, {}, 1.0)
    assert journal.finished(run, "a") is None
    last = journal.last_done(run, "a")
    assert last is not None
    assert last.detail == {"n": 1}


def _hold(lock: str, ready: "multiprocessing.synchronize.Event") -> None:
    with exclusive(Path(lock), "rehearse"):
        ready.set()
        signal.pause()


def test_the_second_run_is_told_who_holds_the_lock_and_gets_it_when_the_holder_dies(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path / "lock"), ready))
    holder.start()
    try:
        assert ready.wait(30)
        told = rf"process {holder.pid}, since 2\d{{3}}-.*rehearse"
        with pytest.raises(LockHeld, match=told) as held, exclusive(tmp_path / "lock", "run"):
            pass
        assert held.value.exit_code == 3
    finally:
        assert holder.pid
        os.kill(holder.pid, signal.SIGKILL)
        holder.join(10)
    with exclusive(tmp_path / "lock", "run"):
        pass
