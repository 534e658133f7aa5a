"""Who ships lines where, what is asked of the log host, and what the looks at mail and logs are worth."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from migrate.check import Verdict
from migrate.errors import ExitCode, Missing, OutsideProblem, Unreachable, UsageProblem
from migrate.inventory import Host, Inventory, on_hosts_of
from migrate.mailing import LogsCheck, SmtpCheck
from migrate.manifest import read_stack
from migrate.ports import Completed
from migrate.secret import Secret, Secrets
from migrate.stack import Stack
from migrate.target.checks import ServiceChecks
from migrate.target.firewall import Opening
from migrate.target.hostview import HostView
from migrate.target.logsearch import BAD_QUESTION, NEVER_HEARD, PROGRAM, Question, lines_of
from migrate.target.looks import mail_finding, marks_finding
from migrate.target.parts import logs

PLAZA = Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml"
SECRETS = Secrets({"session_key": Secret("a very secret word")})
HOSTS = {
    "ops": Host("ops", "10.0.0.9", ("logs", "mail")),
    "app": Host("app", "10.0.0.2", ("app", "worker")),
    "data": Host("data", "10.0.0.1", ("database", "cache", "media", "edge")),
}
HOME = Inventory(Path("hosts.yml"), HOSTS)
WITHOUT = Inventory(Path("hosts.yml"), {"app": HOSTS["app"], "data": HOSTS["data"]})


@dataclass
class Answering:
    """ports.Hosts that gives one answer, and keeps what it was asked."""

    answer: Completed | Exception
    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    def run(self, host: Host, command: list[str], **_: Any) -> Completed:
        self.asked.append((host.name, command))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def said(stdout: str, exit_status: int = 0, stderr: str = "") -> Completed:
    return Completed("ops", "python3", exit_status, stdout, stderr)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return read_stack(PLAZA)


def view(stack: Stack, name: str, inventory: Inventory = HOME) -> HostView:
    return HostView(on_hosts_of(stack, inventory), inventory, inventory.hosts[name], SECRETS)


def test_every_host_ships_its_lines_to_the_log_host_itself_among_them(stack: Stack) -> None:
    told = {name: logs.variables(view(stack, name)) for name in HOSTS}
    assert {name: (one or {})["server"] for name, one in told.items()} == dict.fromkeys(HOSTS, "10.0.0.9")
    assert {name for name, one in told.items() if one and one["keeps"]} == {"ops"}
    assert {name: "stunnel4" in logs.packages(view(stack, name)) for name in HOSTS} == {
        "ops": True, "app": False, "data": False,
    }  # fmt: skip


def test_only_the_log_host_opens_the_port_and_to_hosts_of_the_home_only(stack: Stack) -> None:
    assert logs.openings(view(stack, "ops")) == [Opening(19532, ("10.0.0.1", "10.0.0.2", "10.0.0.9"))]
    assert logs.openings(view(stack, "app")) == []


def test_without_a_log_host_nobody_ships_anything(stack: Stack) -> None:
    assert logs.variables(view(stack, "app", WITHOUT)) is None


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        ({"code": 250, "said": "ops", "queued": 2}, Verdict.PASS, "2 messages wait"),
        ({"code": 250, "said": "ops", "queued": 3}, Verdict.FAIL, "3 messages wait, at most 2"),
        ({"code": 421, "said": "busy", "queued": 0}, Verdict.FAIL, "421: busy"),
        ({"problem": "ConnectionRefusedError: no"}, Verdict.FAIL, "ConnectionRefusedError"),
    ],
)
def test_what_the_mail_host_answers(answer: dict[str, Any], verdict: Verdict, words: str) -> None:
    found = mail_finding(json.dumps(answer), SmtpCheck(queue_at_most=2))
    assert found.verdict is verdict and words in found.detail


@pytest.mark.parametrize(
    ("ages", "verdict", "words"),
    [
        ({"a": 3.0, "b": 299.0}, Verdict.PASS, "2 hosts, the longest silent for 299 s"),
        ({"a": 3.0, "b": 301.0}, Verdict.FAIL, "b (301 s ago)"),
        ({"a": None, "b": 1.0}, Verdict.FAIL, "a (never)"),
        ({"a": -0.2}, Verdict.PASS, "1 hosts, the longest silent for 0 s"),
    ],
)
def test_hosts_that_are_silent_are_named(ages: dict[str, float | None], verdict: Verdict, words: str) -> None:
    found = marks_finding(json.dumps(ages), LogsCheck())
    assert found.verdict is verdict and words in found.detail


@pytest.mark.parametrize("service", ["mail", "logs"])
@pytest.mark.parametrize(
    "answer", [Unreachable("no SSH"), said("", 1, "Traceback\nFileNotFoundError: postqueue")], ids=["away", "broken"]
)
def test_where_nobody_could_look_nothing_is_claimed(stack: Stack, service: str, answer: Any) -> None:
    nobody: Any = None
    hosts: Any = Answering(answer)
    checks = ServiceChecks(stack, HOME, SECRETS, hosts, nobody, nobody, nobody, lambda seconds: None)
    [result] = checks.of_service(service, patient=False)
    assert result.verdict is Verdict.UNKNOWN and result.detail
    assert [host for host, _ in hosts.asked] == ["ops"]


def test_the_look_at_the_logs_asks_for_every_host_of_the_home(stack: Stack) -> None:
    hosts: Any = Answering(said(json.dumps(dict.fromkeys(HOSTS, 1.0))))
    nobody: Any = None
    [result] = ServiceChecks(stack, HOME, SECRETS, hosts, nobody, nobody, nobody).of_service("logs")
    assert result and hosts.asked[0][1][-3:] == list(HOSTS)


def test_lines_come_in_order_of_time_whole_and_without_secrets(stack: Stack) -> None:
    hosts: Any = Answering(said("10:02 app two\n      more of two\n10:01 app one a very secret word\n"))
    found = lines_of(stack, HOME, hosts, SECRETS, Question(host="app", unit="x.service", since="5m", text="o"))
    assert found == ["10:01 app one •••", "10:02 app two", "      more of two"]
    [(host, command)] = hosts.asked
    assert host == "ops" and command[-5:] == ["app", "--since=-5min", "--lines=1000", "--unit=x.service", "--grep=o"]


@pytest.mark.parametrize("since", ["yesterday", "5", "", "-5m", "5m --output=cat"])
def test_a_length_of_time_that_is_none_is_refused_before_anything_is_asked(stack: Stack, since: str) -> None:
    hosts: Any = Answering(said(""))
    with pytest.raises(UsageProblem, match="no length of time"):
        lines_of(stack, HOME, hosts, SECRETS, Question(since=since))
    assert hosts.asked == []


def test_unknown_hosts_silent_hosts_bad_patterns_and_no_log_host_are_told_apart(stack: Stack) -> None:
    hosts: Any = Answering(said("", NEVER_HEARD))
    with pytest.raises(UsageProblem, match="no host is called 'nowhere'"):
        lines_of(stack, HOME, hosts, SECRETS, Question(host="nowhere"))
    with pytest.raises(Missing, match="ops never heard of app"):
        lines_of(stack, HOME, hosts, SECRETS, Question(host="app"))
    hosts = Answering(said("", BAD_QUESTION, "Bad pattern"))
    with pytest.raises(UsageProblem, match="Bad pattern"):
        lines_of(stack, HOME, hosts, SECRETS, Question(text="("))
    with pytest.raises(UsageProblem, match="no host keeps the lines"):
        lines_of(on_hosts_of(stack, WITHOUT), WITHOUT, hosts, SECRETS, Question())


@pytest.mark.parametrize(
    "answer", [said("", 1, "Traceback\nKeyError: 1"), said("", 127, "python3: not found"), said("", 2)]
)
def test_a_fault_of_the_log_host_is_not_the_operators(stack: Stack, answer: Completed) -> None:
    hosts: Any = Answering(answer)
    with pytest.raises(OutsideProblem, match="its lines cannot be read: ") as caught:
        lines_of(stack, HOME, hosts, SECRETS, Question(text="x"))
    assert caught.value.exit_code == ExitCode.UNREACHABLE and caught.value.where == "ops"


JOURNALCTL = """#!/bin/sh
case "$*" in
  *MESSAGE=silent*) exit 1;;
  *MESSAGE=*) echo '{"_HOSTNAME": "app-1"}';;
  *--grep=\\(*) echo "Bad pattern" >&2; exit 1;;
  *--grep=nothing*) exit 1;;
  *--grep=many*) echo half a line; kill -9 $$;;
  *) [ -e "$(dirname "$0")/whole" ] || { echo "Failed to open: Input/output error" >&2; exit 1; }; echo a line;;
esac
"""


@pytest.mark.parametrize(
    ("asked", "whole", "status", "stderr"),
    [
        (("", "--lines=5"), True, 0, ""),
        (("app", "--lines=5"), True, 0, ""),
        (("", "--grep=nothing"), True, 0, ""),
        (("silent", "--lines=5"), True, NEVER_HEARD, ""),
        (("", "--grep=("), True, BAD_QUESTION, "Bad pattern"),
        (("", "--grep=("), False, 1, "Failed to open: Input/output error"),
        (("", "--lines=5"), False, 1, "Failed to open: Input/output error"),
        (("silent", "--lines=5"), False, 1, "Failed to open: Input/output error"),
        (("", "--grep=many"), True, 1, "journalctl was ended by signal 9"),
    ],
)  # fmt: skip
def test_the_program_on_the_log_host_tells_a_bad_question_from_a_bad_journal(
    tmp_path: Path, asked: tuple[str, str], whole: bool, status: int, stderr: str
) -> None:
    (tmp_path / "journalctl").write_text(JOURNALCTL)
    (tmp_path / "journalctl").chmod(0o755)
    if whole:
        (tmp_path / "whole").touch()
    command = [sys.executable, "-I", "-c", PROGRAM, "/var/log/x", "mark", *asked]
    paths = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=paths)
    assert (done.returncode, done.stderr.strip()) == (status, stderr)
