"""A home that was restored, started and proved comes up again by itself, whichever of its hosts boots anew."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from migrate.lab import Lab
from tests.drill import PLAZA, Drill, cloudexit

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
COMES_BACK_SECONDS = 60
Ssh = Callable[[Lab, str, str], str]


Asked = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def asked(undisturbed: Drill, tmp_path: Path) -> Asked:
    """A command of `cloudexit` against the drill's hosts, with the drill's secrets."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "secrets.json").write_text((undisturbed.state / "rehearsal" / "secrets.json").read_text())
    (state / "archive").symlink_to(undisturbed.state / "rehearsal" / "archive")
    inventory = undisturbed.state / "rehearsal" / "hosts.yml"
    return lambda command: cloudexit(command, PLAZA, "-i", inventory, "--state", state, "--json")


@pytest.mark.parametrize("host", ["data", "app", "edge"])
def test_everything_is_healthy_again_after_a_host_has_booted_anew(
    undisturbed: Drill, asked: Asked, ssh: Ssh, host: str
) -> None:
    before = ssh(undisturbed.lab, host, "cat /proc/sys/kernel/random/boot_id")
    undisturbed.lab.reboot(host)
    end = time.monotonic() + COMES_BACK_SECONDS
    done = asked("check")
    while done.returncode and time.monotonic() < end:
        done = asked("check")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["proved"] is True
    assert [check["verdict"] for check in report["checks"]] == ["pass"] * len(report["checks"])
    assert "policy drop" in ssh(undisturbed.lab, host, "nft list table inet cloudexit")
    assert ssh(undisturbed.lab, host, "cat /proc/sys/kernel/random/boot_id") != before


def test_a_service_that_runs_nowhere_is_started_by_command_and_at_every_boot_from_then_on(
    undisturbed: Drill, asked: Asked, ssh: Ssh
) -> None:
    ssh(undisturbed.lab, "edge", "systemctl disable --quiet --now nginx-edge")
    done = asked("start")
    assert done.returncode == 0, done.stderr
    outcomes = {step["id"]: step["outcome"] for step in json.loads(done.stdout)["steps"]}
    assert outcomes["start.edge"] == "done" and outcomes["start.web"] == "skipped"
    assert ssh(undisturbed.lab, "edge", "systemctl is-active nginx-edge; systemctl is-enabled nginx-edge").split() == [
        "active", "enabled",
    ]  # fmt: skip
