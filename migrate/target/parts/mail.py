"""Mail: what Postfix sends for the app, from whom it takes it, and the key that signs it."""

import ipaddress
from typing import Any

from migrate.errors import UsageProblem
from migrate.inventory import Host
from migrate.mailing import Mail
from migrate.stack import Service, ServiceKind
from migrate.target.firewall import addresses_of, numbers_of
from migrate.target.hostview import HostView
from migrate.target.ownsecrets import DKIM
from migrate.target.parts.part import Part

LABEL_LONGEST = 63


def mail_host_name(host: Host, mail: Mail) -> str:
    """The name by which a host greets other mail servers: its own, below the domain of the mail. Raises UsageProblem
    where the host's name cannot stand in a domain."""
    label = host.name.lower().replace("_", "-")
    if not label.replace("-", "").isalnum() or label.startswith("-") or len(label) > LABEL_LONGEST:
        raise UsageProblem(
            f"no name for a mail server: {host.name!r}",
            where=f"host {host.name}",
            expected="letters, digits and dashes, so that it can stand below a domain",
        )
    return f"{label}.{mail.domain}"


def variables(view: HostView) -> dict[str, Any] | None:
    service = view.only(ServiceKind.MAIL)
    if service is None or service.mail is None:
        return None
    mail = service.mail
    return {
        "name": mail_host_name(view.host, mail),
        "domain": mail.domain,
        "selector": mail.selector,
        "postmaster": mail.postmaster,
        "port": service.port,
        "clients": _clients(view, service),
        "relay": {"host": mail.relay.host, "port": mail.relay.port} if mail.relay else {},
    }


def _clients(view: HostView, service: Service) -> list[str]:
    """Networks of one address each. The host itself is among them: it may speak to itself by its address. So is the
    monitor, where it mails its alerts."""
    monitors = view.hosts_of(ServiceKind.MONITOR) if view.stack.alerts.by_own_mail else []
    watching = numbers_of(view.inventory, monitors)
    addresses = [*addresses_of(view.inventory, service.open_to), *watching, view.host.address]
    return list(dict.fromkeys(str(ipaddress.ip_network(address)) for address in addresses))


def secrets(view: HostView) -> dict[str, Any]:
    service = view.only(ServiceKind.MAIL)
    relay = service.mail.relay if service and service.mail else None
    login = f"{relay.user}:{view.secrets[relay.password].reveal()}" if relay else ""
    return {"signing_key": view.secrets[DKIM].reveal(), "relay_login": login}


def packages(view: HostView) -> list[str]:
    service = view.only(ServiceKind.MAIL)
    relayed = service is not None and service.mail is not None and service.mail.relay is not None
    return ["opendkim", "postfix", *(["libsasl2-modules"] if relayed else [])]


PART = Part("mail", variables, secrets, packages)
