"""Disposable hosts for tests; where a machine cannot hold them, the tests are skipped, and say why."""

import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from migrate.action import Outcome, StepContext
from migrate.adapters.ssh import SshHosts
from migrate.errors import CloudexitError
from migrate.lab import HostSpec, HostState, Lab, doctor
from migrate.lab.lab import DEFAULT_ROOT
from tests.exposure import ProcessWatch
from tests.homes import CONTEXT, STEP, Home, home_on, lab_inventory
from tests.release_archives import release


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


LOST = "edge2"


@dataclass(frozen=True)
class Fleet:
    """A home of several servers by inventories/fleet, provisioned in two runs: in the first one host was lost."""

    home: Home
    lab: Lab
    loss: CloudexitError
    """What the first run ended with."""
    second_run: Outcome
    watch: ProcessWatch
    """Every command line that was seen meanwhile."""


@pytest.fixture(scope="session")
def fleet(base_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet that all tests of several servers share: they leave it as they found it, or mend it."""
    folder = tmp_path_factory.mktemp("fleet")
    lab = Lab(f"f{secrets.token_hex(3)}")
    try:
        path = lab_inventory(lab, "fleet", folder)
        with SshHosts() as hosts:
            home = home_on(path, hosts, folder)
            with ProcessWatch().running() as watch:
                loss = _provisioned_but_for_one(home, lab)
                lab.up([HostSpec(LOST, home.inventory.hosts[LOST].groups)])
                second_run = home.provision().apply(STEP, CONTEXT)
                home.release_install(release(folder, "1.0.0")).apply(STEP, CONTEXT)
            yield Fleet(home, lab, loss, second_run, watch)
    finally:
        lab.down()


def _provisioned_but_for_one(home: Home, lab: Lab) -> CloudexitError:
    def lose_it(detail: Any) -> None:
        if "Foresee whether the ruleset" in str(detail["task"]) and lab.get(LOST).state is HostState.RUNNING:
            lab.stop(LOST)

    with pytest.raises(CloudexitError) as loss:
        home.provision().apply(STEP, StepContext(progress=lose_it))
    return loss.value


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
