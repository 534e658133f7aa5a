"""Disposable hosts for tests; where a machine cannot hold them, the tests are skipped, and say why."""

import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrate.lab import Lab, doctor
from migrate.lab.lab import DEFAULT_ROOT


@pytest.fixture(scope="session")
def lab_machine() -> None:
    """Skips with the first thing that this machine lacks."""
    lacking = [result for result in doctor(DEFAULT_ROOT) if result.holds]
    if lacking:
        reasons = "; ".join(f"{result.name}: {result.detail} ({result.hint})" for result in lacking)
        pytest.skip(f"this machine cannot hold disposable hosts: {reasons}")


@pytest.fixture(scope="session")
def base_image(lab_machine: None) -> Path:
    """The base image, built if it is not there."""
    return Lab("base").prepare()


@pytest.fixture
def lab(base_image: Path) -> Iterator[Lab]:
    """A lab of its own for one test; gone afterwards, whatever the test did."""
    made = Lab(f"t{secrets.token_hex(3)}")
    yield made
    made.down()


@pytest.fixture(scope="module")
def module_lab(base_image: Path) -> Iterator[Lab]:
    """A lab that the tests of one module share."""
    made = Lab(f"m{secrets.token_hex(3)}")
    yield made
    made.down()


Ssh = Callable[[Lab, str, str], str]


@pytest.fixture(scope="session")
def ssh() -> Ssh:
    """Runs a command on a host with strict host key checking; returns what it printed."""

    def run(lab: Lab, host: str, command: str) -> str:
        argv = [*lab.ssh_argv(host)[:-1], "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
        done = subprocess.run(
            [*argv, lab.ssh_argv(host)[-1], command], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command!r} on {host}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    return run
