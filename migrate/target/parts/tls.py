"""What every host proves itself with to the others: a key and a certificate of the home's own authority."""

from typing import Any

from migrate.target.authority import Authority
from migrate.target.hostview import HostView
from migrate.target.ownsecrets import AUTHORITY
from migrate.target.parts.part import Part


def variables(view: HostView) -> dict[str, Any]:
    identity = Authority(view.secrets[AUTHORITY]).identity(view.host)
    return {"authority": identity.authority, "certificate": identity.certificate}


def secrets(view: HostView) -> dict[str, Any]:
    return {"key": Authority(view.secrets[AUTHORITY]).identity(view.host).key.reveal()}


PART = Part("tls", variables, secrets, packages=lambda view: ("ssl-cert",))
