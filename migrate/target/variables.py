"""What the playbooks are told: the manifest and the inventory as variables of each host. Pure, no I/O.

What holds a secret travels in `secrets` (as `secret_hosts`, JSON by host), never in `variables`.
"""

import base64
import hashlib
import ipaddress
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from migrate.errors import UsageProblem
from migrate.inventory import Host, Inventory, addresses
from migrate.logins import USERS, Login, logins_of
from migrate.plan import digest_of
from migrate.secret import Secret, Secrets
from migrate.stack import Media, Release, Service, ServiceKind, Stack
from migrate.target.firewall import addresses_of, openings

MEDIA_ROOT = "/srv/media"
MEDIA_WRITER = "media"
PLACEHOLDER = re.compile(r"\{(secret:)?([a-z][a-z0-9_-]*)\}")
BASE_PACKAGES = ("ca-certificates", "nftables", "rsync", "sudo", "unattended-upgrades")
PACKAGES: Mapping[ServiceKind, tuple[str, ...]] = {
    ServiceKind.POSTGRESQL: ("postgresql", "python3-psycopg2"),
    ServiceKind.REDIS: ("redis-server",),
    ServiceKind.MEDIA: ("nginx",),
    ServiceKind.EDGE: ("nginx",),
    ServiceKind.PROCESS: ("python3-venv", "python3-packaging"),
}
MASKED_UNITS: Mapping[ServiceKind, tuple[str, ...]] = {
    ServiceKind.MEDIA: ("nginx.service",),
    ServiceKind.EDGE: ("nginx.service",),
}


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
    hosts = {host.name: _Provisioned(stack, inventory, secrets, host) for host in inventory.hosts.values()}
    variables = {"cloudexit_hosts": {name: host.variables() for name, host in hosts.items()}}
    private = {name: host.secret_variables() for name, host in hosts.items()}
    text = json.dumps(private, sort_keys=True, ensure_ascii=False)
    return ProvisionVariables(variables, Secrets({**secrets, "hosts": Secret(text)}))


def services_of(stack: Stack, host: Host) -> dict[str, Service]:
    """The services that a host runs, by name."""
    return {name: service for name, service in stack.services.items() if service.group in host.groups}


def packages_of(stack: Stack, host: Host) -> list[str]:
    """Debian packages that a host needs, without what they depend on."""
    kinds = [service.kind for service in services_of(stack, host).values()]
    return sorted({*BASE_PACKAGES, *(package for kind in kinds for package in PACKAGES[kind])})


class _Provisioned:
    """One host in the light of the stack."""

    def __init__(self, stack: Stack, inventory: Inventory, secrets: Secrets, host: Host) -> None:
        self.stack = stack
        self.inventory = inventory
        self.secrets = secrets
        self.host = host
        self.services = services_of(stack, host)

    def variables(self) -> dict[str, Any]:
        kinds = [service.kind for service in self.services.values()]
        told = {
            "packages": packages_of(self.stack, self.host),
            "masked_units": sorted({unit for kind in kinds for unit in MASKED_UNITS.get(kind, ())}),
            "users": [_as_variables(login) for login in self._logins()],
            "firewall": {"ssh_port": self.host.port, "rules": self._firewall_rules()},
            "postgresql": self._postgresql(),
            "redis": self._redis(),
            "media": self._media(),
            "edge": self._edge(),
            "processes": [self._process(name, service) for name, service in self._of(ServiceKind.PROCESS)],
        }
        self._hold_ports()
        return told

    def secret_variables(self) -> dict[str, Any]:
        databases = [d for d in self.stack.databases.values() if d.service in self.services]
        caches = [c for c in self.stack.caches.values() if c.service in self.services]
        owners = {d.owner: self.secrets[d.password].reveal() for d in databases}
        return {
            "postgresql_roles": [{"name": name, "password": password} for name, password in owners.items()],
            "redis_password": self.secrets[caches[0].password].reveal() if caches else "",
            "media_accounts": "".join(
                f"{MEDIA_WRITER}:{salted_sha1(self.secrets[tree.password].reveal())}\n" for tree in self._trees()[:1]
            ),
            "environments": {
                name: environment_file(self._expanded(name, service)) for name, service in self._of(ServiceKind.PROCESS)
            },
        }

    def _of(self, kind: ServiceKind) -> list[tuple[str, Service]]:
        return [(name, service) for name, service in self.services.items() if service.kind is kind]

    def _only(self, kind: ServiceKind) -> Service | None:
        found = self._of(kind)
        if len(found) > 1:
            raise UsageProblem(
                f"{' and '.join(name for name, _ in found)} are both of kind {kind.value}",
                where=f"host {self.host.name}",
                expected="one service of this kind on a host",
                hint="give one of them a group, and so a host, of its own",
            )
        return found[0][1] if found else None

    def _hold_ports(self) -> None:
        holders: dict[int, str] = {}
        for name, service in self.services.items():
            for port in filter(None, (service.port, service.write_port)):
                first = holders.setdefault(port, name)
                if first != name:
                    raise UsageProblem(
                        f"{first} and {name} both listen on port {port}",
                        where=f"host {self.host.name}",
                        expected="a port of its own for each service of a host",
                        hint="give one of them another port, or a group, and so a host, of its own",
                    )

    def _logins(self) -> tuple[Login, ...]:
        return logins_of(self.inventory.merged.get(self.host.name, {}).get(USERS))

    def _firewall_rules(self) -> list[dict[str, Any]]:
        opened = openings(self.stack, self.inventory, self.host)
        return [{"port": opening.port, "sources": list(opening.sources)} for opening in opened]

    def _postgresql(self) -> dict[str, Any] | None:
        service = self._only(ServiceKind.POSTGRESQL)
        if service is None:
            return None
        clients = [str(ipaddress.ip_network(address)) for address in addresses_of(self.inventory, service.open_to)]
        return {"port": service.port, "clients": clients}

    def _redis(self) -> dict[str, Any] | None:
        service = self._only(ServiceKind.REDIS)
        return {"port": service.port} if service else None

    def _trees(self) -> list[Media]:
        return [tree for tree in self.stack.media.values() if tree.service in self.services]

    def _media(self) -> dict[str, Any] | None:
        service = self._only(ServiceKind.MEDIA)
        if service is None:
            return None
        trees = self._trees()
        if len({tree.password for tree in trees}) > 1:
            raise UsageProblem(
                "the media trees of one service have different passwords",
                where=f"host {self.host.name}",
                expected="one secret for all trees of a service",
            )
        return {
            "unit": service.unit,
            "port": service.port,
            "write_port": service.write_port,
            "trees": [{"bucket": tree.bucket, "path": url_path(tree.url)} for tree in trees],
        }

    def _edge(self) -> dict[str, Any] | None:
        service = self._only(ServiceKind.EDGE)
        if service is None or service.upstream is None:
            return None
        return {
            "unit": service.unit,
            "port": service.port,
            "upstream": self._endpoints(service.upstream),
            "media": [
                {"path": url_path(tree.url), "servers": self._endpoints(tree.service)}
                for tree in self.stack.media.values()
            ],
        }

    def _endpoints(self, service: str) -> list[str]:
        target = self.stack.services[service]
        hosts = self.inventory.group(target.group)
        return [f"{_bracketed(host.address)}:{target.port}" for host in hosts]

    def _process(self, name: str, service: Service) -> dict[str, Any]:
        release = self._release(service)
        return {
            "name": name,
            "unit": service.unit,
            "release": service.release,
            "user": release.user,
            "exec_start": exec_start(str(service.release), str(service.command)),
        }

    def _release(self, service: Service) -> Release:
        return self.stack.releases[str(service.release)]

    def _expanded(self, name: str, service: Service) -> dict[str, str]:
        known = addresses(self.stack, self.inventory)
        where = f"services.{name}.environment"
        return {
            variable: expand(value, known, self.secrets, f"{where}.{variable}")
            for variable, value in service.environment.items()
        }


def expand(text: str, known: Mapping[str, str], secrets: Secrets, where: str) -> str:
    """`{group}` as an address and `{secret:NAME}` as its value; raises UsageProblem for any other name."""

    def value(match: re.Match[str]) -> str:
        of_secret, name = match.groups()
        if of_secret and name in secrets:
            return secrets[name].reveal()
        if not of_secret and name in known:
            return known[name]
        choice = sorted(secrets) if of_secret else sorted(known)
        raise UsageProblem(f"nothing is called {match.group()}", where=where, expected=", ".join(choice))

    return PLACEHOLDER.sub(value, text)


def environment_file(environment: Mapping[str, str]) -> str:
    """The text of a systemd EnvironmentFile; raises UsageProblem where a value has a line break."""
    return "".join(_environment_lines(environment))


def _environment_lines(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if "\n" in value or "\r" in value:
            raise UsageProblem(f"the value of {name} has a line break", expected="one line")
        escaped = re.sub(r'([\\"`$])', r"\\\1", value)
        yield f'{name}="{escaped}"\n'


def exec_start(release: str, command: str) -> str:
    """A command line, relative to the release's venv/bin, as systemd takes it."""
    program, *arguments = shlex.split(command)
    return " ".join(_unit_word(word) for word in (f"/srv/{release}/current/venv/bin/{program}", *arguments))


def _unit_word(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[\w@%+=:,./$-]+", escaped) else f'"{escaped}"'


def salted_sha1(password: str) -> str:
    """A password as nginx checks it, `{SSHA}`. It is checked on every upload, and the password is a generated one
    with 192 bits: a slow hash would cost time and add nothing. The salt comes from the password, so that the same
    password gives the same file."""
    salt = hashlib.sha256(b"cloudexit media" + password.encode()).digest()[:8]
    digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()


def url_path(url: str) -> str:
    """The path of a public address, with a slash at both ends."""
    path = urlsplit(re.sub(r"\{[^}]*\}", "host", url)).path
    return "/" + path.strip("/") + "/" if path.strip("/") else "/"


def _as_variables(login: Login) -> dict[str, Any]:
    return {**asdict(login), "keys": list(login.keys)}


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
