"""Logs: every host ships its journal to the log host, where there is one."""

from typing import Any

from migrate.errors import UsageProblem
from migrate.inventory import Host
from migrate.stack import Service, ServiceKind
from migrate.target.firewall import Opening, addresses_of
from migrate.target.hostview import HostView
from migrate.target.parts.part import Part

FOLDER = "/var/log/journal/remote"
"""Where the log host keeps the lines of all hosts."""


def log_host(view: HostView) -> tuple[Service, Host] | None:
    """The host that takes the lines, and its service. Raises UsageProblem for two services of the kind."""
    found = view.everywhere(ServiceKind.LOGS)
    if len(found) > 1:
        raise UsageProblem(
            f"{' and '.join(name for name, _ in found)} are both of kind logs",
            expected="one service of this kind: each host ships its lines to one place",
        )
    return (found[0][1], view.inventory.lead(found[0][1].group)) if found and view.hosts_of(ServiceKind.LOGS) else None


def variables(view: HostView) -> dict[str, Any] | None:
    found = log_host(view)
    if found is None:
        return None
    service, host = found
    return {"server": host.address, "port": service.port, "keeps": host.name == view.host.name}


def packages(view: HostView) -> list[str]:
    return ["systemd-journal-remote", *(["stunnel4"] if _keeps(view) else [])]


def openings(view: HostView) -> list[Opening]:
    found = log_host(view)
    if found is None or not found[0].port or not _keeps(view):
        return []
    groups = dict.fromkeys(group for host in view.inventory.hosts.values() for group in host.groups)
    return [Opening(found[0].port, tuple(addresses_of(view.inventory, groups)))]


def _keeps(view: HostView) -> bool:
    found = log_host(view)
    return found is not None and found[1].name == view.host.name


PART = Part("logs", variables, packages=packages, openings=openings)
