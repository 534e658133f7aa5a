"""Logs on the shared fleet: what is written on one host is found on the log host, and who may write there."""

import json
import secrets
import time
from collections.abc import Callable, Iterator

import pytest

from migrate.check import Verdict
from migrate.errors import Missing, OutsideProblem, UsageProblem
from migrate.inventory import Host
from migrate.mailing import LogsCheck
from migrate.ports import Completed
from migrate.secret import Secret
from migrate.target import logsearch
from migrate.target.authority import Authority, new_authority
from migrate.target.logsearch import Question, lines_of
from migrate.target.looks import marks_command, marks_finding
from migrate.target.parts.logs import FOLDER
from tests.homes import Home
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
ARRIVES_SECONDS = 30.0
RECEIVER = "cloudexit-logs.service cloudexit-logs-receiver.socket cloudexit-logs-receiver.service"
COUNT = """
import json, subprocess, sys
texts = json.load(sys.stdin)
found = dict.fromkeys(texts, 0)
journal = ["journalctl", "-q", "-m", "-a", "-D", sys.argv[1], "-o", "export"]
with subprocess.Popen(journal, stdout=subprocess.PIPE) as shown:
    for line in shown.stdout:
        for name, text in texts.items():
            found[name] += text.encode() in line
print(json.dumps(found))
"""
"""How many lines hold each text. The texts come on standard input: an argument would be in the journal."""


@pytest.fixture(scope="module")
def home(fleet: Fleet) -> Home:
    return fleet.home


@pytest.fixture(scope="module")
def keeper(home: Home) -> Host:
    """The log host."""
    return home.inventory.lead("logs")


@pytest.fixture
def receiver_away(home: Home, keeper: Host) -> Iterator[Callable[[], None]]:
    """Nobody takes lines until the fixture's function is called."""
    back = f"systemctl start {RECEIVER.split()[0]}"
    home.says(keeper.name, f"systemctl stop {RECEIVER}")

    def come_back() -> None:
        home.says(keeper.name, back)

    yield come_back
    home.says(keeper.name, back)


def write(home: Home, host: str, word: str) -> None:
    assert home.run(host, "logger", "--tag", "trial", f"a line with {word}")


def found(home: Home, word: str, host: str | None = None) -> list[str]:
    question = Question(host=host, since="10m", text=f"a line with {word}")
    return [
        line for line in lines_of(home.stack, home.inventory, home.hosts, home.secrets, question) if "trial" in line
    ]


def arrived(home: Home, word: str, at_least: int) -> list[str]:
    end = time.monotonic() + ARRIVES_SECONDS
    while len(lines := found(home, word)) < at_least and time.monotonic() < end:
        time.sleep(0.3)
    return lines


def new_word() -> str:
    return f"word-{secrets.token_hex(6)}"


def test_a_line_of_every_host_is_found_on_the_log_host_under_its_name(home: Home) -> None:
    word = new_word()
    for name in home.inventory.hosts:
        write(home, name, f"{word}-of-{name}")
    lines = arrived(home, word, len(home.inventory.hosts))
    assert sorted(line.split()[1] for line in lines) == sorted(home.inventory.hosts)
    for line in lines:
        assert line.endswith(f"{word}-of-{line.split()[1]}"), line
    name = list(home.inventory.hosts)[-1]
    assert [line.split()[1] for line in found(home, word, host=name)] == [name]


def test_lines_that_were_written_while_the_log_host_was_away_arrive(
    home: Home, keeper: Host, receiver_away: Callable[[], None]
) -> None:
    word = new_word()
    others = [name for name in home.inventory.hosts if name != keeper.name]
    for name in others:
        write(home, name, word)
    time.sleep(2)
    assert found(home, word) == []
    receiver_away()
    assert sorted({line.split()[1] for line in arrived(home, word, len(others))}) == sorted(others)


def upload(home: Home, host: Host, port: int, keeper: Host, certificate: str) -> Completed:
    command = [
        "curl",
        "-sS",
        "-m",
        "5",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--cacert",
        "/etc/cloudexit/tls/authority.crt",
    ]
    command += ["--data-binary", "", "-H", "Content-Type: application/vnd.fdo.journal"]
    shown = ["--cert", f"{certificate}.crt", "--key", f"{certificate}.key"] if certificate else []
    return home.hosts.run(host, [*command, *shown, f"https://{keeper.address}:{port}/upload"])


def test_a_certificate_of_another_authority_is_refused_and_so_is_none(home: Home, keeper: Host) -> None:
    host = next(host for host in home.inventory.hosts.values() if host.name != keeper.name)
    port = home.stack.services["logs"].port
    assert port
    foreign = Authority(Secret(new_authority())).identity(host)
    for end, text in (("crt", foreign.certificate), ("key", foreign.key.reveal())):
        assert home.hosts.run(host, ["sh", "-c", f"umask 077; cat > /run/foreign.{end}"], stdin=text.encode())
    try:
        own = upload(home, host, port, keeper, "/etc/cloudexit/tls/host")
        assert (own.exit_status, own.stdout) == (0, "202"), own
        for certificate in ("/run/foreign", ""):
            refused = upload(home, host, port, keeper, certificate)
            assert refused.exit_status and refused.stdout == "000", refused
    finally:
        home.says(host.name, "rm /run/foreign.crt /run/foreign.key")
    assert home.run(host.name, "curl", "-sS", "-m", "3", f"http://{keeper.address}:19533/upload").exit_status


def test_old_lines_go_when_there_are_too_many_and_new_ones_still_come(home: Home, keeper: Host) -> None:
    first, second = new_word(), new_word()
    write(home, keeper.name, first)
    assert arrived(home, first, 1)
    home.says(keeper.name, "FILE_SECONDS=0 cloudexit-keep-logs")
    write(home, keeper.name, second)
    assert arrived(home, first, 1) and arrived(home, second, 1)
    assert home.says(keeper.name, f"ls {FOLDER} | grep -c @") >= "1"
    assert "--vacuum-time=90d --vacuum-size=10G" in home.says(keeper.name, "cat /usr/local/sbin/cloudexit-keep-logs")
    home.says(keeper.name, "sed s/vacuum-size=10G/vacuum-size=1K/ /usr/local/sbin/cloudexit-keep-logs | sh")
    assert found(home, first) == [] and found(home, second)
    timer = home.says(keeper.name, "systemctl show -p ActiveState -p NextElapseUSecRealtime cloudexit-keep-logs.timer")
    assert "ActiveState=active" in timer and "NextElapseUSecRealtime=\n" not in f"{timer}\n"


def test_only_root_and_who_may_read_journals_reads_them(home: Home, keeper: Host) -> None:
    assert home.says(keeper.name, f"stat -c '%a %U %G' {FOLDER}") == "2750 systemd-journal-remote systemd-journal"
    assert home.run(keeper.name, "runuser", "-u", "nobody", "--", "ls", FOLDER).exit_status == 2


def test_a_host_that_is_not_heard_of_is_named(home: Home, keeper: Host) -> None:
    for name in home.inventory.hosts:
        home.says(name, "systemctl is-active cloudexit-mark.timer && systemctl start cloudexit-mark.service")
    names = list(home.inventory.hosts)
    end = time.monotonic() + ARRIVES_SECONDS
    while True:
        answer = home.run(keeper.name, *marks_command([*names, "nowhere9"])).stdout
        finding = marks_finding(answer, LogsCheck.model_validate({"newest_within": "60s"}))
        if finding.detail.endswith(": nowhere9 (never)") or time.monotonic() > end:
            break
        time.sleep(0.3)
    assert (finding.verdict, finding.detail) == (Verdict.FAIL, "not heard of within 60 s: nowhere9 (never)")
    ages = {name: age for name, age in json.loads(answer).items() if age is not None}
    assert marks_finding(json.dumps(ages), LogsCheck()).verdict is Verdict.PASS


def test_a_question_that_is_at_fault_is_told_from_lines_that_cannot_be_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(question: Question) -> list[str]:
        return lines_of(home.stack, home.inventory, home.hosts, home.secrets, question)

    assert ask(Question(text="no line says that")) == []
    with pytest.raises(UsageProblem, match=r"journalctl does not take the question: .*pattern"):
        ask(Question(text="("))
    monkeypatch.setattr(logsearch, "FOLDER", "/var/log/journal/nowhere")
    with pytest.raises(OutsideProblem, match=r"its lines cannot be read: .*No such file") as fault:
        ask(Question())
    assert not isinstance(fault.value, Missing) and "journalctl -D /var/log/journal/nowhere" in fault.value.hint


def test_no_secret_is_in_the_lines_of_all_hosts(home: Home, keeper: Host) -> None:
    word = new_word()
    write(home, keeper.name, word)
    assert arrived(home, word, 1)
    texts = {name: max(secret.reveal().splitlines(), key=len) for name, secret in home.secrets.items()}
    done = home.hosts.run(
        keeper, ["python3", "-c", COUNT, FOLDER], stdin=json.dumps({**texts, "word": word}).encode(), timeout=120
    )
    assert done, done
    counts = json.loads(done.stdout)
    assert counts.pop("word") >= 1
    assert counts == dict.fromkeys(texts, 0)
