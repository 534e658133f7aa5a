"""Mail to people. Without PLAZA_SMTP_URL none is sent, and nobody is asked for an address."""

import re
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

from plaza.errors import InvalidInput, MailRefused, MailUnavailable, SettingsError

ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")
SMTP_SECONDS = 10.0


@dataclass(frozen=True)
class Mailer:
    """A mail server, and who Plaza's mail is from. Where `ca` names a file, the server must prove itself by it."""

    host: str
    port: int
    sender: str
    ca: str | None = None
    user: str = ""
    password: str = field(default="", repr=False)

    def send(self, to: str, subject: str, text: str, message_id: str) -> None:
        """Hand one message over; raise MailUnavailable if later may be better, MailRefused if not."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, to, subject
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{message_id}@{parseaddr(self.sender)[1].rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            self._hand_over(message)
        except smtplib.SMTPRecipientsRefused as error:
            raise _answered({code for code, _ in error.recipients.values()}) from None
        except smtplib.SMTPResponseException as error:
            raise _answered({error.smtp_code}) from None
        except (OSError, smtplib.SMTPException) as error:
            raise MailUnavailable(f"the mail server cannot be spoken to: {type(error).__name__}") from error

    def _hand_over(self, message: EmailMessage) -> None:
        with smtplib.SMTP(self.host, self.port, timeout=SMTP_SECONDS) as server:
            if self.ca is not None:
                server.starttls(context=ssl.create_default_context(cafile=self.ca))
            if self.user:
                server.login(self.user, self.password)
            server.send_message(message)


def _answered(codes: set[int]) -> MailUnavailable | MailRefused:
    """What a refusal means. Its text may name the address, so it is not told."""
    if all(code >= 500 for code in codes):
        return MailRefused(f"the mail server refuses the message: {sorted(codes)}")
    return MailUnavailable(f"the mail server puts the message off: {sorted(codes)}")


def open_mailer(url: str, sender: str) -> Mailer:
    """Read `smtp://[USER:PASSWORD@]HOST[:PORT][?ca=FILE]`; raise SettingsError."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    if parts.scheme != "smtp" or not parts.hostname or set(asked) - {"ca"}:
        raise SettingsError("PLAZA_SMTP_URL is no smtp://[USER:PASSWORD@]HOST[:PORT][?ca=FILE]")
    if parts.username and "ca" not in asked:
        raise SettingsError("PLAZA_SMTP_URL has a password and no ca: it would travel in the open")
    if not ADDRESS.fullmatch(parseaddr(sender)[1]):
        raise SettingsError("PLAZA_MAIL_FROM must be an address, as in 'Plaza <welcome@example.org>'")
    login = unquote(parts.username or ""), unquote(parts.password or "")
    return Mailer(parts.hostname, parts.port or 25, sender, asked.get("ca", [None])[0], *login)


def checked_address(text: str) -> str:
    """The address without spaces around it; raise InvalidInput for what is none."""
    address = text.strip()
    if not ADDRESS.fullmatch(address):
        raise InvalidInput("That is no mail address.")
    return address
