"""Certificates of the edge: for which names, and what is shown until there is one. Pure."""

from urllib.parse import urlsplit

from migrate.secret import Secrets
from migrate.stack import Service, Stack
from migrate.target.authority import Authority
from migrate.target.ownsecrets import AUTHORITY

CERTIFICATE_UNIT = "edge-certificate.service"
"""Asks for the certificate where that is due; a timer starts it every hour."""


def names_of(stack: Stack, service: Service) -> tuple[str, ...]:
    """Names that the certificates of an edge are for, the site's own first."""
    given = service.tls.names if service.tls else ()
    return given or (urlsplit(stack.site).hostname or "",)


def authorities_of(service: Service) -> str:
    """Certificates of authorities that are good for the site beside those that the world trusts."""
    return service.tls.authority or "" if service.tls else ""


def placeholder(stack: Stack, service: Service, host: str, secrets: Secrets) -> str:
    """What a host of the edge shows until it has its first certificate: certificates and key, PEM in one text. By the
    home's own authority, so that checks can hold it against something from the first moment on."""
    identity = Authority(secrets[AUTHORITY]).of_site(host, names_of(stack, service))
    return f"{identity.certificate}{identity.key.reveal()}"
