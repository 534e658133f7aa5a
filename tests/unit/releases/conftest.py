"""What all tests of releases that roll in memory share."""

import pytest

from migrate.stack import Stack
from migrate.target import duerestarts, restarting
from tests.rolled_home import impatient_stack


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarting, "STEADY_SECONDS", 0.0)
    monkeypatch.setattr(restarting, "REJOIN_SECONDS", 0.0)
    monkeypatch.setattr(duerestarts, "LOOK_AGAIN_SECONDS", 0.0)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return impatient_stack()
