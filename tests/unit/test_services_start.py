"""Services start behind gates; a service that is not healthy stops the run with its own last words."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from migrate.adapters.http import HttpxClient
from migrate.adapters.journey import CommandJourneys
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.check import CheckResult, ChecksHeld, Verdict
from migrate.errors import ExitCode
from migrate.stack import Stack
from migrate.target.checks import ServiceChecks
from migrate.target.services import AllChecked, Drained, JourneyWalked, ServiceStarted
from tests.local_hosts import CONTEXT, PASSWORD, LocalHosts, inventory_of_one, secrets_of_tests, stack_with, step_for

SYSTEMCTL = """#!/bin/sh
echo "$@" >>{log}
case "$1" in
start) {enable} ;;
is-enabled) [ -e {state}.enabled ] ;;
enable) touch {state}.enabled ;;
is-active) [ -e {state} ] && echo active || {{ echo inactive; exit 3; }} ;;
esac
"""
JOURNALCTL = f"#!/bin/sh\nfor i in $(seq 1 30); do echo line $i; done | tail -n 20\necho password={PASSWORD}\n"


@dataclass
class Units:
    """systemctl and journalctl that keep to files; `enable` is what starting a unit does."""

    hosts: LocalHosts
    folder: Path

    def write(self, enable: str) -> None:
        script = SYSTEMCTL.format(log=self.folder / "log", state=self.folder / "active", enable=enable)
        for name, text in (("systemctl", script), ("journalctl", JOURNALCTL)):
            (self.hosts.programs / name).write_text(text)
            (self.hosts.programs / name).chmod(0o755)

    def starts_well(self) -> None:
        self.write(f"touch {self.folder / 'active'}")

    @property
    def asked(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()


@pytest.fixture
def units(local_hosts: LocalHosts, tmp_path: Path) -> Units:
    units = Units(local_hosts, tmp_path)
    units.starts_well()
    return units


def starting(units: Units, *checks: dict[str, Any]) -> ServiceStarted:
    stack = stack_with(services__media__checks=list(checks))
    return ServiceStarted(stack, inventory_of_one(), units.hosts, checks_for(stack, units))


def checks_for(stack: Stack, units: Units) -> ServiceChecks:
    return ServiceChecks(
        stack, inventory_of_one(), secrets_of_tests(), units.hosts, HttpxClient(), PsycopgClient(), RedisClient()
    )


RUNS = {"name": "runs", "unit": "active", "within": "600ms"}
MEDIA = step_for("media")


def test_a_service_is_started_now_and_at_every_boot(units: Units) -> None:
    action = starting(units, RUNS)
    assert action.verify(MEDIA, CONTEXT) is Verdict.FAIL
    outcome = action.apply(MEDIA, CONTEXT)
    assert outcome.detail["hosts"] == ["here"] and all(outcome.checks)
    assert action.verify(MEDIA, CONTEXT) is Verdict.PASS


def test_a_boot_starts_a_service_only_once_its_gate_has_passed(units: Units) -> None:
    """A host that boots in the middle of a move must not start what was never found healthy."""
    units.write("true")
    with pytest.raises(ChecksHeld):
        starting(units, RUNS).apply(MEDIA, CONTEXT)
    assert not [line for line in units.asked if line.startswith("enable")]
    units.starts_well()
    starting(units, RUNS).apply(MEDIA, CONTEXT)
    order = [line for line in units.asked if not line.startswith("is-enabled")]
    assert order[-3:] == [
        "start nginx-media.service", "is-active nginx-media.service", "enable --quiet --no-reload nginx-media.service",
    ]  # fmt: skip


def test_a_unit_that_does_not_start_stops_the_run(units: Units) -> None:
    units.write("echo 'Job for nginx-media.service failed.' >&2; exit 1")
    with pytest.raises(ChecksHeld) as held:
        starting(units, RUNS).apply(MEDIA, CONTEXT)
    assert "Job for nginx-media.service failed." in held.value.what
    assert held.value.exit_code is ExitCode.GATE


def test_an_unhealthy_service_stops_the_run_with_its_last_lines(units: Units) -> None:
    units.write("true")
    with pytest.raises(ChecksHeld) as held:
        starting(units, RUNS).apply(MEDIA, CONTEXT)
    assert "nothing that depends on it was started" in held.value.what
    assert "nginx-media.service is inactive" in held.value.what
    assert "line 11\n" in held.value.hint and "line 30\n" in held.value.hint and "line 10\n" not in held.value.hint
    assert held.value.checks[0].attempts > 1


def test_a_log_shows_no_secret(units: Units) -> None:
    units.write("true")
    with pytest.raises(ChecksHeld) as held:
        starting(units, RUNS).apply(MEDIA, CONTEXT)
    assert PASSWORD not in str(held.value) and "password=•••" in held.value.hint


def test_a_warning_does_not_stop_the_run(units: Units) -> None:
    warning = {**RUNS, "name": "nice", "severity": "warning"}
    units.write("true")
    outcome = starting(units, warning).apply(MEDIA, CONTEXT)
    assert [check.verdict for check in outcome.checks] == [Verdict.FAIL]


def test_a_queue_is_waited_for_later(units: Units) -> None:
    drained = {**RUNS, "name": "drained", "proves": "drained"}
    units.write("true")
    action = starting(units, drained)
    assert action.apply(MEDIA, CONTEXT).checks == ()
    drain = Drained(action.checks)
    with pytest.raises(ChecksHeld, match="queues have not caught up"):
        drain.apply(step_for(""), CONTEXT)
    (units.folder / "active").touch()
    assert drain.apply(step_for("media"), CONTEXT).detail == {"passed": 1, "of": 1}
    assert drain.verify(MEDIA, CONTEXT) is Verdict.UNKNOWN


def test_everything_is_looked_at_again(units: Units) -> None:
    (units.folder / "active").touch()
    once = {**RUNS, "proves": "drained"}
    stack = stack_with(services__media__checks=[RUNS], services__cache__checks=[once])
    outcome = AllChecked(checks_for(stack, units)).apply(step_for(""), CONTEXT)
    assert outcome.detail == {"passed": 4, "of": 4}
    (units.folder / "active").unlink()
    quick = [{**RUNS, "within": "1ms"}]
    stack = stack_with(**{f"services__{name}__checks": quick for name in ("database", "cache", "media", "edge")})
    with pytest.raises(ChecksHeld, match="not everything is healthy") as held:
        AllChecked(checks_for(stack, units)).apply(step_for(""), CONTEXT)
    assert len(held.value.checks) == 4


def test_the_command_looks_once(units: Units) -> None:
    slow = [{**RUNS, "within": "1h"}]
    stack = stack_with(**{f"services__{name}__checks": slow for name in ("database", "cache", "media", "edge")})
    with pytest.raises(ChecksHeld) as held:
        AllChecked(checks_for(stack, units), patient=False).apply(step_for(""), CONTEXT)
    assert [check.attempts for check in held.value.checks] == [1, 1, 1, 1]


@dataclass
class Recorded:
    """ports.JourneyRunner that keeps what it was asked."""

    results: list[CheckResult]
    asked: list[Any] = field(default_factory=list)

    def walk(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, timeout: float
    ) -> list[CheckResult]:
        self.asked.append((list(command), folder, dict(environment), timeout))
        return self.results


def journey(tmp_path: Path, runner: Any, *command: str) -> JourneyWalked:
    stack = stack_with(journeys={"member": {"command": list(command), "timeout": "9s"}})
    return JourneyWalked(stack, inventory_of_one("192.0.2.7"), runner, tmp_path, tmp_path / "archive")


def test_a_journey_gets_the_site_and_the_archive(tmp_path: Path) -> None:
    runner = Recorded([CheckResult("signs in", Verdict.PASS)])
    action = journey(tmp_path, runner, "{python}", "journey.py", "--site={site}")
    assert action.apply(step_for("member"), CONTEXT).detail == {"passed": 1, "of": 1}
    expected = [sys.executable, "journey.py", "--site=http://192.0.2.7/"]
    assert runner.asked == [(expected, tmp_path, {"CLOUDEXIT_ARCHIVE": str(tmp_path / "archive")}, 9.0)]


def test_a_journey_that_fails_holds_the_gate(tmp_path: Path) -> None:
    runner = Recorded([CheckResult("signs in", Verdict.PASS), CheckResult("posts", Verdict.FAIL, "500")])
    with pytest.raises(ChecksHeld, match="posts: fail 500"):
        journey(tmp_path, runner, "x").apply(step_for("member"), CONTEXT)


def test_a_journey_is_really_run(tmp_path: Path) -> None:
    script = "import json, os; print(json.dumps({'step': os.environ['CLOUDEXIT_ARCHIVE'][-7:], 'verdict': 'pass'}))"
    (tmp_path / "journey.py").write_text(script)
    outcome = journey(tmp_path, CommandJourneys(), "{python}", "journey.py").apply(step_for("member"), CONTEXT)
    assert [check.name for check in outcome.checks] == ["archive"]


def test_checks_are_not_skipped_by_a_service_that_runs_unhealthily(units: Units) -> None:
    (units.folder / "active").touch()
    refused = {"name": "answers", "http": {"path": "/"}, "within": "600ms"}
    action = starting(units, refused)
    closed = replace(action, stack=action.stack)
    assert closed.verify(MEDIA, CONTEXT) is Verdict.FAIL
