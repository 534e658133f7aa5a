"""What the zone of the mail's domain must hold: from the manifest, the inventory and the home's signing key. Pure."""

import base64
import ipaddress
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from migrate.errors import UsageProblem
from migrate.inventory import Host, Inventory
from migrate.mailing import Mail
from migrate.secret import Secrets
from migrate.stack import ServiceKind, Stack
from migrate.target.ownsecrets import DKIM
from migrate.target.parts.mail import mail_host_name

STRING_LONGEST = 255
"""Longest string of a TXT record; a longer text is several of them, which readers put together again."""


@dataclass(frozen=True)
class Record:
    """One record. `value` of a TXT record is its whole text, `strings` how it is cut."""

    name: str
    type: str
    value: str
    why: str

    @property
    def strings(self) -> list[str]:
        return [self.value[at : at + STRING_LONGEST] for at in range(0, len(self.value), STRING_LONGEST)]

    @property
    def line(self) -> str:
        """As it stands in a zone file."""
        told = " ".join(f'"{part}"' for part in self.strings) if self.type == "TXT" else self.value
        return f"{self.name}. IN {self.type} {f'( {told} )' if len(self.strings) > 1 else told}"

    def as_document(self) -> dict[str, Any]:
        return {**asdict(self), "strings": self.strings, "line": self.line}


@dataclass(frozen=True)
class Records:
    """For the zone of the domain, for the zones of the addresses (whose hands are the hoster's), and what to mind."""

    zone: tuple[Record, ...]
    reverse: tuple[Record, ...]
    advice: tuple[str, ...]

    def as_document(self) -> dict[str, Any]:
        return {
            "zone": [record.as_document() for record in self.zone],
            "reverse": [record.as_document() for record in self.reverse],
            "advice": list(self.advice),
        }


def mail_records(stack: Stack, inventory: Inventory, secrets: Secrets) -> Records:
    """Records of every service of kind mail. Raises UsageProblem where there is none."""
    services = [service for service in stack.services.values() if service.kind is ServiceKind.MAIL and service.mail]
    if not services:
        raise UsageProblem(
            "the manifest has no service of kind mail",
            where="services",
            expected="a service with `kind: mail` and `mail`: its records are printed",
        )
    zone: list[Record] = []
    reverse: list[Record] = []
    advice: list[str] = []
    for service in services:
        assert service.mail
        hosts = inventory.group(service.group)
        zone += _of_domain(service.mail, hosts, secrets)
        if service.mail.relay is None:
            zone += _of_hosts(service.mail, hosts)
            reverse += _reverse(service.mail, hosts)
        advice += _advice(service.mail, hosts)
    return Records(tuple(zone), tuple(reverse), tuple(advice))


def _of_domain(mail: Mail, hosts: list[Host], secrets: Secrets) -> list[Record]:
    sources = [mail.relay.spf] if mail.relay else [_mechanism(host) for host in hosts]
    spf = " ".join(["v=spf1", *(source for source in sources if source), "~all"])
    return [
        Record(mail.domain, "TXT", spf, "SPF: who may send for the domain"),
        Record(
            f"{mail.selector}._domainkey.{mail.domain}", "TXT", f"v=DKIM1; k=rsa; p={public_key(secrets)}",
            "DKIM: the key that the mail is signed with",
        ),
        Record(
            f"_dmarc.{mail.domain}", "TXT", f"v=DMARC1; p=none; rua=mailto:{mail.postmaster}",
            "DMARC: reports only, to begin with",
        ),
    ]  # fmt: skip


def public_key(secrets: Secrets) -> str:
    """The public half of the signing key, as DKIM writes it. Raises UsageProblem where the secret is no key."""
    try:
        key = load_pem_private_key(secrets[DKIM].reveal().encode(), password=None)
    except ValueError:
        raise UsageProblem(f"the secret {DKIM!r} is no key", expected="an RSA key, PEM, without a password") from None
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def _of_hosts(mail: Mail, hosts: list[Host]) -> Iterator[Record]:
    for host in hosts:
        name = mail_host_name(host, mail)
        kind = "AAAA" if _number(host).version == 6 else "A"
        yield Record(name, kind, str(_number(host)), f"the name by which {host.name} greets other servers")
        yield Record(
            name, "TXT", f"v=spf1 {_mechanism(host)} -all", "SPF of that name: for bounces, which have no sender"
        )


def _reverse(mail: Mail, hosts: list[Host]) -> list[Record]:
    why = "set where the address was rented: it must lead back to the name"
    return [Record(_number(host).reverse_pointer, "PTR", f"{mail_host_name(host, mail)}.", why) for host in hosts]


def _mechanism(host: Host) -> str:
    return f"ip{_number(host).version}:{_number(host)}"


def _number(host: Host) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.address)


def _advice(mail: Mail, hosts: list[Host]) -> Iterator[str]:
    yield f"A name has one SPF record: where {mail.domain} has one, put what stands between v=spf1 and ~all into it."
    yield (
        f"Leave the MX records of {mail.domain} as they are, and have at least one: mail from a domain that takes "
        "none back is refused by many."
    )
    yield "When two weeks of reports have shown that all mail passes, go from p=none to p=quarantine, then to p=reject."
    if mail.relay:
        yield f"Mail goes out by {mail.relay.host}: ask it whether it wants records of its own."
        if not mail.relay.spf:
            yield "The relay's part of the SPF record is missing: say it in the manifest, mail.relay.spf."
        return
    yield "Many hosters close port 25 towards the world: ask for it to be opened, or name a relay in the manifest."
    for host in hosts:
        if not _number(host).is_global:
            yield f"{host.address} ({host.name}) is no address of the open internet: put in what the world sees."
