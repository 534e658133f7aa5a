"""What the playbooks are told: the manifest and the inventory as variables of each host. Pure, no I/O.

What holds a secret travels in `secrets` (as `secret_hosts`, JSON by host), never in `variables`. Each part of the home
(`parts/`) tells its own role; what all of them need together (packages, firewall, ports) is put together here.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from migrate.errors import UsageProblem
from migrate.inventory import Inventory
from migrate.logins import USERS, Login, logins_of
from migrate.plan import digest_of
from migrate.secret import Secret, Secrets
from migrate.stack import Stack
from migrate.target.firewall import merged, openings
from migrate.target.hostview import HostView
from migrate.target.parts import PARTS, parts_of

BASE_PACKAGES = ("ca-certificates", "nftables", "rsync", "sudo", "unattended-upgrades")


@dataclass(frozen=True)
class ProvisionVariables:
    """Variables and secrets for provision.yml; `digest` changes with either, and does not reveal a secret."""

    variables: Mapping[str, Any]
    secrets: Secrets

    @property
    def digest(self) -> str:
        given = {name: secret.reveal() for name, secret in self.secrets.items()}
        return digest_of({"variables": dict(self.variables), "secrets": digest_of(given)})


def provision_variables(stack: Stack, inventory: Inventory, secrets: Secrets) -> ProvisionVariables:
    """Variables of every host that runs a service of the stack.

    Raises UsageProblem where an address is a name (the firewall needs numbers) or two services of a kind that
    a host can hold only once share one."""
    views = {host.name: HostView(stack, inventory, host, secrets) for host in inventory.hosts.values()}
    variables = {"cloudexit_hosts": {name: variables_of(view) for name, view in views.items()}}
    private = {
        name: {part.name: dict(part.secrets(view)) for part in parts_of(view)} for name, view in views.items()
    }  # fmt: skip
    text = json.dumps(private, sort_keys=True, ensure_ascii=False)
    return ProvisionVariables(variables, Secrets({**secrets, "hosts": Secret(text)}))


def packages_of(view: HostView) -> list[str]:
    """Debian packages that a host needs, without what they depend on."""
    return sorted({*BASE_PACKAGES, *(package for part in parts_of(view) for package in part.packages(view))})


def variables_of(view: HostView) -> dict[str, Any]:
    """What one host is told that is no secret; the name of a part is null where the host does not get it."""
    told = {part.name: part.variables(view) for part in PARTS}
    _hold_ports(view)
    return {
        "packages": packages_of(view),
        "masked_units": sorted({unit for part in parts_of(view) for unit in part.masked_units(view)}),
        "users": [_as_variables(login) for login in logins_of(view.own_variables.get(USERS))],
        "firewall": {"ssh_port": view.host.port, "rules": firewall_rules(view)},
        **told,
    }


def firewall_rules(view: HostView) -> list[dict[str, Any]]:
    """What the host opens: by the manifest, and for what its parts say to each other."""
    by_manifest = openings(view.stack, view.inventory, view.host)
    by_parts = [opening for part in parts_of(view) for opening in part.openings(view)]
    return [{"port": one.port, "sources": list(one.sources)} for one in merged([*by_manifest, *by_parts])]


def _hold_ports(view: HostView) -> None:
    holders: dict[int, str] = {}
    for name, service in view.services.items():
        for port in service.ports:
            first = holders.setdefault(port, name)
            if first != name:
                raise UsageProblem(
                    f"{first} and {name} both listen on port {port}",
                    where=f"host {view.host.name}",
                    expected="a port of its own for each service of a host",
                    hint="give one of them another port, or a group, and so a host, of its own",
                )


def _as_variables(login: Login) -> dict[str, Any]:
    return {**asdict(login), "keys": list(login.keys)}
