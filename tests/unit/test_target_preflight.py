"""Verdicts from facts, and facts from a host's answer."""

import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.check import CheckResult, Severity, Verdict
from migrate.inventory import Host
from migrate.manifest import read_stack
from migrate.ports import Completed
from migrate.stack import Stack
from migrate.target.hostfacts import HostFacts, Listener, observe, read_answer
from migrate.target.preflight import judge

PLAZA = Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml"
DATA = Host("data", "10.0.0.1", ("database", "cache"))
EDGE = Host("edge", "10.0.0.3", ("edge", "media"))
GOOD = HostFacts(
    os_id="debian",
    os_version="12",
    os_name="Debian GNU/Linux 12 (bookworm)",
    is_root=True,
    clock_ahead=0.0,
    clock_doubt=0.1,
    memory_free=2 * 1024**3,
    disk_free={"/": 20 * 1024**3, "/srv": 20 * 1024**3},
    has_python_apt=True,
    missing_packages=(),
    listeners=(),
)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return read_stack(PLAZA)


def judged(stack: Stack, facts: HostFacts, host: Host = DATA) -> dict[str, CheckResult]:
    return {check.name: check for check in judge(stack, host, facts)}


def test_a_good_host_passes_everything(stack: Stack) -> None:
    assert [check for check in judge(stack, DATA, GOOD) if not check] == []


@pytest.mark.parametrize(
    ("change", "name", "detail"),
    [
        ({"os_id": "ubuntu", "os_version": "24.04", "os_name": "Ubuntu 24.04"}, "operating-system", "Ubuntu 24.04"),
        ({"os_version": "11", "os_name": "Debian 11"}, "operating-system", "Debian 11"),
        ({"os_id": "", "os_name": ""}, "operating-system", "unknown"),
        ({"is_root": False}, "root", "root"),
        ({"clock_ahead": -2.5}, "clock", "2.5 s behind"),
        ({"clock_ahead": 86400.0}, "clock", "86400.0 s ahead"),
        ({"disk_free": {"/": 1024**3, "/srv": 20 * 1024**3}}, "disk /", "1.0 GiB free"),
        ({"disk_free": {"/": 20 * 1024**3}}, "disk /srv", "0.0 GiB free"),
        ({"memory_free": 100 * 1024**2}, "memory", "0.1 GiB available"),
        ({"listeners": (Listener(5432, "mysql.service"),)}, "ports", "5432 is taken by mysql.service"),
        ({"listeners": (Listener(6379, ""),)}, "ports", "6379 is taken by a process outside systemd"),
    ],
)
def test_a_fault_holds_its_own_check_and_says_what_to_do(
    stack: Stack, change: dict[str, object], name: str, detail: str
) -> None:
    results = judged(stack, replace(GOOD, **change))  # type: ignore[arg-type]
    assert results[name].holds and results[name].detail == detail and results[name].hint
    assert [other.name for other in results.values() if not other and other.name != name] == []


@pytest.mark.parametrize(
    ("ahead", "verdict", "holds"), [(0.4, "pass", False), (1.0, "fail", False), (2.1, "fail", True)]
)
def test_a_clock_that_is_a_little_off_is_only_a_warning(stack: Stack, ahead: float, verdict: str, holds: bool) -> None:
    clock = judged(stack, replace(GOOD, clock_ahead=ahead))["clock"]
    assert (clock.verdict, clock.holds) == (Verdict(verdict), holds)


def test_a_clock_that_could_not_be_read_is_unknown_and_holds(stack: Stack) -> None:
    clock = judged(stack, replace(GOOD, clock_ahead=float("nan")))["clock"]
    assert clock.verdict is Verdict.UNKNOWN and clock.holds


def test_ports_of_the_stacks_own_services_are_no_conflict(stack: Stack) -> None:
    own = (
        Listener(5432, "postgresql@15-main.service"),
        Listener(6379, "redis-server.service"),
        Listener(22, "ssh.service"),
    )
    assert judged(stack, replace(GOOD, listeners=own))["ports"]
    foreign = (Listener(8081, "nginx-media.service"), Listener(80, "nginx.service"))
    ports = judged(stack, replace(GOOD, listeners=foreign), EDGE)["ports"]
    assert ports.detail == "80 is taken by nginx.service"


def test_missing_python_is_shown_and_does_not_hold(stack: Stack) -> None:
    python = judged(stack, replace(GOOD, has_python_apt=False))["python"]
    assert not python and python.severity is Severity.WARNING


def answer_of(text: str) -> HostFacts:
    return read_answer(Completed("data", "sh -s", 0, text, ""), ("nginx", "rsync"), sent=1000.0, received=1000.2)


def test_an_answer_is_read_section_by_section() -> None:
    facts = answer_of(
        "##cloudexit clock\n1003.1\n##cloudexit os\ndebian\n12\nDebian 12\n##cloudexit user\n0\n"
        "##cloudexit memory\n2048\n##cloudexit disks\n/dev/a 9 9 4 1% /\n/dev/b 9 9 8 1% /srv\n"
        "##cloudexit python\nthere\n##cloudexit provisioned\nthere\n"
        "##cloudexit listeners\n0100007F:1538 77\n00000000000000000000000000000000:0050 78\n"
        "##cloudexit sockets\nsocket:[77] /proc/12/fd/5\nsocket:[99] /proc/13/fd/5\n"
        "##cloudexit units\n/proc/12/cgroup:0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n"
        "##cloudexit packages\ninstall ok installed rsync\ndeinstall ok config-files nginx\n"
    )
    assert facts.clock_ahead == pytest.approx(2.9)
    assert (facts.os_id, facts.os_version, facts.is_root, facts.has_python_apt) == ("debian", "12", True, True)
    assert facts.provisioned and not answer_of("").provisioned
    assert facts.memory_free == 2048 * 1024 and facts.disk_free == {"/": 4096, "/srv": 8192}
    assert facts.listeners == (Listener(5432, "postgresql@15-main.service"), Listener(80, ""))
    assert facts.missing_packages == ("nginx",)


@pytest.mark.parametrize(("theirs", "ahead"), [(1000.1, 0.0), (999.0, -1.0), (1000.7, 0.5)])
def test_the_time_that_the_answer_took_is_no_difference_of_clocks(theirs: float, ahead: float) -> None:
    assert answer_of(f"##cloudexit clock\n{theirs}\n").clock_ahead == pytest.approx(ahead)


def test_an_answer_that_stopped_halfway_gives_no_invented_facts(stack: Stack) -> None:
    results = judged(stack, answer_of("##cloudexit clock\n"))
    assert {name for name, check in results.items() if check.holds} >= {"clock", "operating-system", "root", "memory"}


class ThisMachine:
    """Runs the question itself, for real."""

    def run(
        self, host: Host, command: Sequence[str], *, stdin: bytes = b"", timeout: float = 60, as_user: str | None = None
    ) -> Completed:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout)
        return Completed(host.name, " ".join(command), done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.skipif(
    not Path("/proc/net/tcp").exists() or not shutil.which("dpkg-query"), reason="no Debian with /proc here"
)
def test_the_question_is_one_that_a_debian_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = observe(ThisMachine(), DATA, ("dpkg", "no-such-package"))  # type: ignore[arg-type]
        assert server.getsockname()[1] in {listener.port for listener in facts.listeners}
    assert facts.os_id and facts.memory_free > 0 and facts.disk_free["/"] > 0
    assert abs(facts.clock_ahead) < 0.1
    assert facts.missing_packages == ("no-such-package",)
    assert facts.hardware.disks and all(disk.path.startswith("/dev/") for disk in facts.hardware.disks)
    cards = [card.parent.name for card in Path("/sys/class/net").glob("*/device")]
    assert sorted(card.name for card in facts.hardware.cards) == sorted(cards)
