"""Fixtures shared by all layers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from migrate.lab.lab import DEFAULT_ROOT
from migrate.lab.requirements import doctor
from tests.drill import PLAZA, Drill, cloudexit, lab_of

# How long an example takes on a busy machine says nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def can_hold_hosts() -> None:
    """Skips with everything that this machine lacks for disposable hosts."""
    lacking = [result for result in doctor(DEFAULT_ROOT) if result.holds]
    if lacking:
        pytest.skip("no disposable hosts here: " + "; ".join(f"{r.name}: {r.detail} ({r.hint})" for r in lacking))


@pytest.fixture(scope="session")
def undisturbed(can_hold_hosts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """One whole rehearsal by the command itself, hosts kept until the session ends."""
    state = tmp_path_factory.mktemp("undisturbed") / "state"
    lab = lab_of(state)
    try:
        done = cloudexit("rehearse", PLAZA, "--state", state, "--keep", "--json")
        assert done.returncode == 0, done.stderr[-6000:]
        page = cloudexit("report", "--stack", PLAZA, "--state", state)
        assert page.returncode == 0, page.stderr
        yield Drill(state, lab, json.loads(done.stdout), page.stdout)
    finally:
        lab.down()


@pytest.fixture
def state(can_hold_hosts: None, tmp_path: Path) -> Iterator[Path]:
    """A state folder for one rehearsal; its lab is gone afterwards."""
    folder = tmp_path / "state"
    yield folder
    lab_of(folder).down()
