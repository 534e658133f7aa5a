"""Mail on the shared fleet: who may hand it in, how it is signed, what its zone must hold, and what outlives a restart.

A mail server of the test's own takes what the mail host sends on; nothing leaves the machine.
"""

import base64
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any, TypeVar

import dkim
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from migrate.check import Verdict
from migrate.inventory import Host
from migrate.mailing import SmtpCheck
from migrate.ports import Completed
from migrate.stack import Alerts
from migrate.target.hostview import HostView
from migrate.target.looks import mail_command, mail_finding
from migrate.target.parts import monitor
from tests.drill import PLAZA, cloudexit
from tests.homes import CHECKOUT, Home
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
ARRIVES_SECONDS = 20.0
Found = TypeVar("Found")
APP_SOURCES = CHECKOUT / "examples" / "plaza" / "app" / "src" / "plaza"
SEND = """
import os, sys
from plaza.mail import open_mailer
open_mailer(os.environ["PLAZA_SMTP_URL"], os.environ["PLAZA_MAIL_FROM"]).send(
    "somebody@else.example", "Welcome to Plaza", sys.argv[1], sys.argv[2])
"""
HAND_IN = """
import json, smtplib, ssl, sys
server, sender, recipient, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
said = []
try:
    with smtplib.SMTP(server, 25, timeout=4) as smtp:
        smtp.ehlo()
        if sys.argv[5] == "tls":
            smtp.starttls(context=ssl.create_default_context(cafile="/etc/cloudexit/tls/authority.crt"))
            smtp.ehlo()
        said.append(smtp.mail(sender, [f"SIZE={size}"])[0])
        said.append(smtp.rcpt(recipient)[0])
except smtplib.SMTPResponseException as problem:
    said.append(problem.smtp_code)
except OSError as problem:
    said.append(type(problem).__name__)
print(json.dumps(said))
"""


@dataclass
class Sink:
    """The mail server at the other end."""

    address: str
    port: int
    taken: list[tuple[str, list[str], bytes]] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.taken.append((str(envelope.mail_from), envelope.rcpt_tos, envelope.content))
        return "250 taken"

    @contextmanager
    def open(self) -> Iterator[None]:
        controller = Controller(self, hostname=self.address, port=self.port)
        controller.start()
        try:
            yield
        finally:
            controller.stop()

    def with_text(self, text: str) -> tuple[str, list[str], bytes]:
        """The message that has the text in it, when it has arrived."""
        return waited_for(lambda: next((m for m in self.taken if text.encode() in m[2]), None), text)


def waited_for(look: Callable[[], Found | None], what: str) -> Found:
    end = time.monotonic() + ARRIVES_SECONDS
    while time.monotonic() < end:
        found = look()
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {ARRIVES_SECONDS} s: {what}")


@pytest.fixture(scope="module")
def home(fleet: Fleet) -> Home:
    return fleet.home


@pytest.fixture(scope="module")
def keeper(home: Home) -> Host:
    """The mail host."""
    return home.inventory.group("mail")[0]


@pytest.fixture(scope="module")
def sink(home: Home, keeper: Host) -> Iterator[Sink]:
    """Stands behind the mail host, as a relay of the test's own; afterwards Postfix's settings are as they were."""
    gateway = home.says(keeper.name, "ip -4 route show default | cut -d' ' -f3")
    with socket.socket() as probe:
        probe.bind((gateway, 0))
        port = probe.getsockname()[1]
    home.says(keeper.name, "cp -p /etc/postfix/main.cf /root/main.cf.kept")
    relay = f"relayhost=[{gateway}]:{port}"
    home.says(
        keeper.name, f"postconf -e '{relay}' smtp_destination_rate_delay=0s minimal_backoff_time=1s && postfix reload"
    )
    try:
        yield Sink(gateway, port)
    finally:
        home.says(keeper.name, "postsuper -d ALL; mv /root/main.cf.kept /etc/postfix/main.cf && postfix reload")


@pytest.fixture(scope="module")
def records(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `cloudexit records` prints for this home."""
    state = tmp_path_factory.mktemp("state")
    shutil.copy(home.folder / "secrets.json", state)
    done = cloudexit("records", PLAZA, "-i", home.inventory.path, "--state", state, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert "PRIVATE" not in done.stdout + done.stderr
    return found


def zone_of(records: dict[str, Any]) -> Callable[..., bytes | None]:
    """A resolver that knows these records and no others."""
    texts = {(record["name"], record["type"]): "".join(record["strings"]) for record in records["zone"]}

    def answer(name: bytes | str, timeout: int = 5) -> bytes | None:
        asked = name.decode() if isinstance(name, bytes) else name
        text = texts.get((asked.rstrip("."), "TXT"))
        return text.encode() if text is not None else None

    return answer


@pytest.fixture(scope="module")
def app_host(home: Home) -> Iterator[str]:
    """A host that runs the app, with the app's own code for mail beside the release of the tests."""
    name = home.inventory.group("app")[0].name
    for source in ("__init__.py", "errors.py", "mail.py"):
        text = (APP_SOURCES / source).read_bytes()
        script = f"install -d /opt/mailing/plaza && cat > /opt/mailing/plaza/{source}"
        assert home.hosts.run(home.inventory.hosts[name], ["sh", "-c", script], stdin=text)
    yield name
    home.says(name, "rm -r /opt/mailing")


def send(home: Home, host: str, text: str, message_id: str = "trial-1") -> Completed:
    """As the app sends: its user, its environment, its code."""
    unit = [
        "systemd-run",
        "--quiet",
        "--wait",
        "--pipe",
        "--collect",
        "-p",
        "User=plaza",
        "-p",
        "EnvironmentFile=/etc/plaza/web.env",
    ]
    return home.run(host, *unit, "-p", "Environment=PYTHONPATH=/opt/mailing", "python3", "-c", SEND, text, message_id)


def handed_in(
    home: Home, source: str, server: str, *, to: str = "a@else.example", size: int = 9, tls: str = "tls"
) -> list[Any]:
    """What Postfix answers to MAIL FROM and RCPT TO."""
    done = home.run(source, "python3", "-c", HAND_IN, server, "welcome@plaza.example", to, str(size), tls)
    assert done, done
    answers: list[Any] = json.loads(done.stdout)
    return answers


def queued(home: Home, host: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in home.says(host, "postqueue -j").splitlines()]


def test_a_message_of_the_app_arrives_signed_and_verifies_against_the_printed_record(
    home: Home, app_host: str, sink: Sink, records: dict[str, Any]
) -> None:
    with sink.open():
        done = send(home, app_host, "a first greeting")
        assert done, done
        sender, recipients, message = sink.with_text("a first greeting")
    assert (sender, recipients) == ("welcome@plaza.example", ["somebody@else.example"])
    assert dkim.verify(message, dnsfunc=zone_of(records)), message.decode()
    signature = str(message_from_bytes(message)["DKIM-Signature"])
    assert "d=plaza.example;" in signature and "s=home1;" in signature
    assert not dkim.verify(message.replace(b"a first greeting", b"a first forgery!"), dnsfunc=zone_of(records))
    other = message.replace(b"From: Plaza", b"From: Plazb")
    assert not dkim.verify(other, dnsfunc=zone_of(records))


def test_the_printed_records_name_the_mail_hosts_and_what_becomes_of_forgeries(
    home: Home, keeper: Host, records: dict[str, Any]
) -> None:
    texts = {(record["name"], record["type"]): record["value"] for record in records["zone"]}
    sources = " ".join(f"ip4:{host.address}" for host in home.inventory.group("mail"))
    assert texts["plaza.example", "TXT"] == f"v=spf1 {sources} ~all"
    assert texts["_dmarc.plaza.example", "TXT"].startswith("v=DMARC1; p=none; rua=mailto:")
    name = home.says(keeper.name, "postconf -h myhostname")
    assert texts[name, "A"] == keeper.address
    assert [record["value"] for record in records["reverse"]] == [f"{name}."]


def test_who_is_no_host_of_the_app_is_refused_by_the_firewall_and_by_postfix(home: Home, keeper: Host) -> None:
    stranger = next(host for host in home.inventory.hosts.values() if not {"app", "worker", "mail"} & set(host.groups))
    assert handed_in(home, stranger.name, keeper.address) == ["TimeoutError"]
    hole = f"nft insert rule inet cloudexit input ip saddr {stranger.address} tcp dport 25 accept"
    home.says(keeper.name, hole)
    try:
        assert handed_in(home, stranger.name, keeper.address)[-1] == 554
        assert handed_in(home, stranger.name, keeper.address, to=f"root@{keeper.name}.plaza.example")[-1] == 554
    finally:
        home.says(keeper.name, "nft -f /etc/nftables.conf")
    assert handed_in(home, stranger.name, keeper.address) == ["TimeoutError"]


def test_an_app_host_hands_in_by_tls_only_and_within_the_size(home: Home, keeper: Host, app_host: str) -> None:
    assert handed_in(home, app_host, keeper.address) == [250, 250]
    assert handed_in(home, app_host, keeper.address, tls="open")[0] == 530
    assert handed_in(home, app_host, keeper.address, size=21_000_000)[0] == 552


def test_what_waits_outlives_a_restart_is_counted_and_goes_out_when_the_way_is_open(
    home: Home, keeper: Host, app_host: str, sink: Sink
) -> None:
    assert send(home, app_host, "a patient greeting", "trial-2")
    home.says(keeper.name, "systemctl restart postfix")
    [waiting] = queued(home, keeper.name)
    assert waiting["recipients"][0]["address"] == "somebody@else.example"
    answer = home.run(keeper.name, *mail_command(25, 5.0)).stdout
    assert mail_finding(answer, SmtpCheck(queue_at_most=0)).verdict is Verdict.FAIL
    assert mail_finding(answer, SmtpCheck(queue_at_most=1)).verdict is Verdict.PASS
    with sink.open():
        home.says(keeper.name, "postqueue -f")
        sink.with_text("a patient greeting")
    waited_for(lambda: True if not queued(home, keeper.name) else None, "an empty queue")


def test_more_than_the_allowed_messages_a_minute_are_put_off(home: Home, keeper: Host, app_host: str) -> None:
    assert home.says(keeper.name, "postconf -h smtpd_client_message_rate_limit maximal_queue_lifetime").split() == [
        "600",
        "2d",
    ]
    home.says(keeper.name, "postconf -e smtpd_client_message_rate_limit=1 && systemctl restart postfix")
    try:
        first, second = (handed_in(home, app_host, keeper.address) for _ in range(2))
        assert (first, second[0]) == ([250, 250], 450)
    finally:
        home.says(keeper.name, "postconf -e smtpd_client_message_rate_limit=600 && systemctl restart postfix")


def test_mail_for_root_goes_to_the_postmaster_signed_too(
    home: Home, keeper: Host, sink: Sink, records: dict[str, Any]
) -> None:
    with sink.open():
        home.says(keeper.name, "printf 'Subject: disk\\n\\na disk is full\\n' | sendmail root")
        _, recipients, message = sink.with_text("a disk is full")
    assert recipients == ["ada@plaza.example"]
    assert dkim.verify(message, dnsfunc=zone_of(records)), message.decode()


def test_without_the_signer_nothing_goes_out_unsigned(home: Home, keeper: Host, app_host: str) -> None:
    home.says(keeper.name, "systemctl stop opendkim")
    try:
        done = send(home, app_host, "an unsigned greeting", "trial-3")
        assert not done and "MailUnavailable" in done.stderr
        assert queued(home, keeper.name) == []
    finally:
        home.says(keeper.name, "systemctl start opendkim")


def test_the_signing_key_is_readable_by_the_signer_alone(home: Home, keeper: Host) -> None:
    assert home.says(keeper.name, "stat -c '%a %U' /etc/dkimkeys/cloudexit.private") == "600 opendkim"
    key = home.secrets["cloudexit_dkim"].reveal().splitlines()[3]
    search = "cat > /run/wanted; grep -rlFf /run/wanted /etc /var/log /proc/[0-9]*/cmdline; rm /run/wanted"
    found = home.hosts.run(keeper, ["sh", "-c", search], stdin=key.encode())
    assert found.stdout.split() == ["/etc/dkimkeys/cloudexit.private"]


ALERTMANAGER = "/etc/prometheus/alertmanager.yml"
AMTOOL = "amtool --alertmanager.url=http://127.0.0.1:9093 alert add alertname=trial service=trialservice severity=page"


def test_an_alert_of_the_monitor_leaves_by_the_home_s_own_mail_encrypted_and_signed(
    home: Home, keeper: Host, sink: Sink, records: dict[str, Any]
) -> None:
    watcher = home.inventory.lead("monitor")
    told = home.stack.model_copy(update={"alerts": Alerts(email="ops@else.example")})
    settings = monitor.secrets(HostView(told, home.inventory, watcher, home.secrets))["alertmanager"]
    take_up = f"cp -p {ALERTMANAGER} /root/kept && cat > {ALERTMANAGER} && systemctl reload prometheus-alertmanager"
    assert home.hosts.run(watcher, ["sh", "-c", take_up], stdin=base64.b64decode(settings))
    try:
        with sink.open():
            home.says(watcher.name, AMTOOL)
            sender, recipients, message = sink.with_text("trialservice")
    finally:
        home.says(watcher.name, f"mv /root/kept {ALERTMANAGER} && systemctl reload prometheus-alertmanager")
        home.says(watcher.name, f"{AMTOOL} --end=$(date --utc +%FT%TZ)")
        home.says(keeper.name, "postsuper -d ALL")
    assert (sender, recipients) == ("alerts@plaza.example", ["ops@else.example"])
    assert "SMTPS id" in str(message_from_bytes(message)["Received"])  # the S is for TLS
    assert dkim.verify(message, dnsfunc=zone_of(records)), message.decode()
