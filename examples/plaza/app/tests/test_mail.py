"""Mail: a welcome goes out by the worker, later where it must, and never holds up who signs up."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes
from email.message import Message

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from plaza import jobs, people, welcome
from plaza.backends import Backends
from plaza.errors import InvalidInput, MailRefused, MailUnavailable, SettingsError
from plaza.mail import Mailer, open_mailer
from plaza.settings import Settings
from plaza.worker import Worker

FROM = "Plaza <welcome@plaza.example>"
SIGN_UP = ("newcomer", "New Comer", "a long password")


class Postbox:
    """A mail server that keeps what it takes, and answers as it is told."""

    def __init__(self) -> None:
        self.answer = "250 OK"
        self.taken: list[Message] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.taken.append(message_from_bytes(envelope.content))
        return "250 OK"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def mailing(backends: Backends, postbox: Postbox) -> Iterator[Backends]:
    """Backends with a mail server."""
    controller = Controller(postbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield replace(backends, mailer=open_mailer(f"smtp://127.0.0.1:{controller.port}", FROM))
    controller.stop()


def worked(backends: Backends) -> None:
    worker = Worker(backends, "worker-under-test")
    while worker.step(0.01):
        pass


def test_who_signs_up_with_an_address_gets_one_welcome(mailing: Backends, postbox: Postbox) -> None:
    person, _ = people.sign_up(mailing, *SIGN_UP, "new@else.example")
    assert postbox.taken == []
    worked(mailing)
    jobs.enqueue(mailing.cache, jobs.WELCOME, person.id)
    worked(mailing)
    [message] = postbox.taken
    assert (message["To"], message["From"], message["Subject"]) == ("new@else.example", FROM, "Welcome to Plaza")
    assert message["Message-ID"] == f"<welcome-{person.id}@plaza.example>"
    assert "Hello newcomer" in str(message.get_payload())
    assert mailing.cache.keys(f"{welcome.WAITING}*") == []


def test_without_a_mail_server_nothing_is_kept_and_nothing_is_queued(backends: Backends) -> None:
    people.sign_up(backends, *SIGN_UP, "new@else.example")
    assert jobs.queued(backends.cache) == set()
    assert backends.cache.keys(f"{welcome.WAITING}*") == []


def test_nobody_has_to_give_an_address(mailing: Backends, postbox: Postbox) -> None:
    people.sign_up(mailing, *SIGN_UP)
    worked(mailing)
    assert postbox.taken == []
    assert jobs.backlog(mailing.cache)["dead"] == 0


@pytest.mark.parametrize("answer", ["450 later", "down"])
def test_a_mail_server_that_is_away_or_full_is_tried_again(mailing: Backends, postbox: Postbox, answer: str) -> None:
    assert mailing.mailer is not None
    postbox.answer = answer
    away = replace(mailing, mailer=replace(mailing.mailer, port=free_port())) if answer == "down" else mailing
    people.sign_up(away, *SIGN_UP, "new@else.example")
    Worker(away, "worker-under-test").step(0.01)
    assert jobs.backlog(mailing.cache)["delayed"] == 1
    postbox.answer = "250 OK"
    for text in mailing.cache.zrange(jobs.DELAYED, 0, -1):
        mailing.cache.zadd(jobs.DELAYED, {str(text): 0})
    worked(mailing)
    assert len(postbox.taken) == 1


def test_a_message_that_is_refused_for_good_is_buried_and_the_log_does_not_name_the_address(
    mailing: Backends, postbox: Postbox, capsys: pytest.CaptureFixture[str]
) -> None:
    postbox.answer = "550 nobody called new@else.example"
    people.sign_up(mailing, *SIGN_UP, "new@else.example")
    worked(mailing)
    assert jobs.backlog(mailing.cache)["dead"] == 1
    said = capsys.readouterr().out
    assert "550" in said
    assert "else.example" not in said


@pytest.mark.parametrize("address", ["nobody", "a@b", "a b@c.example", "a@c.example\nBcc: d@e.example", "@c.example"])
def test_what_is_no_address_is_said_before_an_account_is_made(mailing: Backends, address: str) -> None:
    with pytest.raises(InvalidInput, match="no mail address"):
        people.sign_up(mailing, *SIGN_UP, address)
    people.sign_up(mailing, *SIGN_UP)


def test_a_server_that_speaks_no_tls_gets_nothing_where_tls_is_asked_for(mailing: Backends, postbox: Postbox) -> None:
    assert mailing.mailer is not None
    with pytest.raises((MailUnavailable, MailRefused)):
        replace(mailing.mailer, ca="/etc/ssl/certs/ca-certificates.crt").send("a@b.example", "x", "y", "z")
    assert postbox.taken == []


def test_the_address_of_a_mail_server() -> None:
    mailer = open_mailer("smtp://ada:p%40ss@192.0.2.1:587?ca=/etc/authority.crt", FROM)
    assert mailer == Mailer("192.0.2.1", 587, FROM, "/etc/authority.crt", "ada", "p@ss")
    assert "p@ss" not in repr(mailer)


@pytest.mark.parametrize(
    ("url", "sender"),
    [
        ("http://x", FROM),
        ("smtp://", FROM),
        ("smtp://a:b@x", FROM),
        ("smtp://x?tls=1", FROM),
        ("smtp://x", ""),
    ],
)
def test_a_malformed_mail_server_is_refused(url: str, sender: str) -> None:
    with pytest.raises(SettingsError):
        open_mailer(url, sender)


def test_mail_is_a_setting_that_may_be_left_out(settings: Settings) -> None:
    assert settings.smtp_url is None
