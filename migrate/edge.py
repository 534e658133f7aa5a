"""The edge in the manifest: certificates, and what one client may ask for."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from migrate.fields import Part, Port, Seconds
from migrate.figures import parse_size

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DnsName = Annotated[str, StringConstraints(pattern=rf"^({LABEL}\.)+{LABEL}$", max_length=253)]
Contact = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$")]
Directory = Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9.:_~/\[\]-]+$")]
Pem = Annotated[
    str, StringConstraints(pattern=r"^(\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----)+\s*$")
]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._~/-]*$")]
Bytes = Annotated[int, BeforeValidator(parse_size), Field(ge=1024)]


class Tls(Part):
    """HTTPS. Each host of the edge has a certificate of its own from an authority that speaks ACME (RFC 8555), asked
    for by HTTP-01: `port` of the service is 80, or what the world sees as port 80."""

    names: tuple[DnsName, ...] = ()
    """Names that the certificates are for. Without any: the host in `site`."""
    contact: Contact | None = None
    """Where the authority writes to when a certificate is about to end."""
    port: Port = 443
    """Port for HTTPS, open to whom the service's `port` is open."""
    directory: Directory = LETS_ENCRYPT
    """Address of the authority's ACME directory. Who uses it accepts its terms of service."""
    authority: Pem | None = None
    """Certificates (PEM) of an authority that the world does not know, such as a company's own: its ACME server and
    what it issues are held against these."""
    hsts: Seconds | None = None
    """How long browsers shall refuse plain HTTP after a visit (`8760h` is a year). It cannot be taken back: without it
    nothing is promised."""


class StrictLimit(Part):
    """A tighter bound on requests that change something (not GET, HEAD, OPTIONS) under some paths: signing in, say."""

    paths: tuple[UrlPath, ...] = Field(min_length=1)
    """Beginnings of paths."""
    a_minute: int = Field(default=10, ge=1)
    """Requests a minute from one address, in the long run."""
    burst: int = Field(default=10, ge=0)
    """Requests beyond that at once."""


class Limits(Part):
    """What one client may ask for; a client is an address. Who asks for more gets 429 and is to try again."""

    a_second: int = Field(default=50, ge=1)
    """Requests a second, in the long run: many people may share an address."""
    burst: int = Field(default=200, ge=0)
    """Requests beyond that at once: a page with all its pictures."""
    connections: int = Field(default=256, ge=1)
    """Connections (with HTTP/2: requests) at the same time."""
    body: Bytes = 20 * 1024 * 1024
    """Largest request body, as `20MiB`."""
    answer_within: Seconds = 30.0
    """Longest silence of a host of the upstream. Then the request goes to another one where it may (GET), or ends."""
    strict: StrictLimit | None = None
    """Tighter bounds for some paths."""
