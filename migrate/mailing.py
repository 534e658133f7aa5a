"""What the manifest says of mail and of logs."""

from typing import Annotated

from pydantic import Field

from migrate.fields import Name, Part, Port, Seconds

LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
Domain = Annotated[str, Field(pattern=rf"^({LABEL}\.)+{LABEL}$", max_length=253)]
Selector = Annotated[str, Field(pattern=rf"^{LABEL}$")]
Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+$", max_length=254)]


class Relay(Part):
    """A mail server of somebody else that takes all mail: for hosters that close port 25 towards the world."""

    host: Domain
    """Its name; its certificate must be for it."""
    port: Port = 587
    """Port for submission."""
    user: str = Field(pattern=r"^[^\s:]+$")
    """Account there."""
    password: Name
    """Name of the secret that is the account's password."""
    spf: str = Field(default="", pattern=r"^[A-Za-z0-9:./_ -]*$")
    """What it wants to stand in the SPF record, `include:spf.relay.example`, say."""


class Mail(Part):
    """Mail that the app sends: signed with the home's own key, handed on by Postfix. Nothing is received."""

    domain: Domain
    """Domain of the senders' addresses. `cloudexit records` prints what its zone must hold."""
    selector: Selector = "home1"
    """Name of the signing key in the zone (DKIM). A new key gets a new name."""
    postmaster: Address
    """Who gets what is meant for root and postmaster on these hosts, and the reports of other servers."""
    relay: Relay | None = None
    """Without one, mail goes straight to the servers of its recipients."""


class SmtpCheck(Part):
    """A greeting by SMTP, and a bound on what waits to be sent."""

    queue_at_most: int = Field(default=1000, ge=0)
    """Most messages in the queue."""


class LogsCheck(Part):
    """The newest line of each host of the home on the log host."""

    newest_within: Seconds = 300.0
    """Oldest that it may be; each host writes a line every two minutes whatever happens."""
