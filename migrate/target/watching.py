"""What the monitor watches: which checks of the manifest, on which hosts, by which exporter. Pure, no I/O."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from migrate.inventory import Host, Inventory
from migrate.servicechecks import HttpCheck, ServiceCheck
from migrate.stack import Service, ServiceKind, Stack
from migrate.target.certificates import names_of
from migrate.target.hostview import bracketed

NODE, NGINX_EDGE, NGINX_MEDIA, BLACKBOX, REDIS = 9100, 9113, 9114, 9115, 9121
POSTGRESQL, POSTGRESQL_CHECKS = 9187, 9188
"""Ports of the exporters; the databases whose checks are asked take theirs from POSTGRESQL_CHECKS on."""
ALERTMANAGER = 9093
PAGE, TICKET = "page", "ticket"
SEVERITIES = {"gate": PAGE, "warning": TICKET}


@dataclass(frozen=True)
class Watched:
    """One check of the manifest, and the hosts on which it must hold."""

    service: str
    check: ServiceCheck
    hosts: tuple[Host, ...]
    asked: Service
    """The service that is spoken to: a worker's check may ask the cache about the worker's queue."""
    others: tuple[Host, ...] = ()
    """Hosts of the group that are not asked themselves, where one answers for all."""

    @property
    def name(self) -> str:
        """As it is called in every report."""
        return f"{self.service}: {self.check.name}"

    @property
    def severity(self) -> str:
        return SEVERITIES[self.check.severity]

    @property
    def module(self) -> str:
        """Blackbox module that carries an HTTP check out."""
        return f"{self.service}.{self.check.name}"


def watched(stack: Stack, inventory: Inventory) -> list[Watched]:
    """Every check of the manifest, once, in its order."""
    return [
        _watched(stack, inventory, name, service, check)
        for name, service in stack.services.items()
        for check in service.checks
    ]


def _watched(stack: Stack, inventory: Inventory, name: str, service: Service, check: ServiceCheck) -> Watched:
    asked = _asked(stack, service, check)
    group, hosts = inventory.group(asked.group), _hosts_of(inventory, check, asked)
    return Watched(name, check, hosts, asked, tuple(host for host in group if host not in hosts))


def _asked(stack: Stack, service: Service, check: ServiceCheck) -> Service:
    if check.postgresql:
        return stack.services[stack.databases[check.postgresql.database].service]
    if check.redis:
        return stack.services[stack.caches[check.redis.cache].service]
    return service


def _hosts_of(inventory: Inventory, check: ServiceCheck, asked: Service) -> tuple[Host, ...]:
    """A query is asked where the data is, the host that takes writes; everything else on every host."""
    group = inventory.group(asked.group)
    if check.redis and (check.redis.saved_within or check.redis.in_step_within):
        return tuple(group)
    one_answers = check.postgresql or check.redis or check.logs or check.backup or check.replication
    return tuple(group[:1] if one_answers else group)


def url_of(one: Watched, check: HttpCheck, host: Host, monitor: Host) -> str:
    """What the monitor asks for; of itself over loopback, where its own page is."""
    address = "127.0.0.1" if host.name == monitor.name else bracketed(host.address)
    if one.asked.tls:
        return f"https://{address}:{one.asked.tls.port}{check.path}"
    return f"http://{address}:{one.asked.port}{check.path}"


def databases_asked(stack: Stack, service: str) -> dict[str, list[tuple[str, ServiceCheck]]]:
    """Database of a service -> the checks that ask it, each with the service that it belongs to."""
    found: dict[str, list[tuple[str, ServiceCheck]]] = {}
    for name, other in stack.services.items():
        for check in other.checks:
            if check.postgresql and stack.databases[check.postgresql.database].service == service:
                found.setdefault(check.postgresql.database, []).append((name, check))
    return found


def lists_asked(stack: Stack, service: str) -> list[str]:
    """Keys of lists of a Redis service whose length a check bounds."""
    checks = [c.redis for s in stack.services.values() for c in s.checks if c.redis]
    return sorted({c.list for c in checks if c.list and stack.caches[c.cache].service == service})


def exporter_ports(stack: Stack, inventory: Inventory, host: Host) -> Iterator[tuple[str, int]]:
    """Job and port of each exporter that listens on a host for the monitor."""
    yield "node", NODE
    for name, service in stack.services.items():
        if host.name not in {member.name for member in inventory.group(service.group)}:
            continue
        if service.kind is ServiceKind.EDGE:
            yield "nginx_edge", NGINX_EDGE
        elif service.kind is ServiceKind.MEDIA:
            yield "nginx_media", NGINX_MEDIA
        elif service.kind is ServiceKind.REDIS:
            yield "redis", REDIS
        elif service.kind is ServiceKind.POSTGRESQL:
            yield "postgresql", POSTGRESQL
            for index, _ in enumerate(databases_asked(stack, name)):
                yield "postgresql_checks", POSTGRESQL_CHECKS + index


def http_modules(stack: Stack, inventory: Inventory) -> dict[str, object]:
    """Blackbox modules, one for each HTTP check: the same status, the same text, no redirect followed."""
    return {
        one.module: _http_module(one.check, one.check.http, names_of(stack, one.asked)[0] if one.asked.tls else "")
        for one in watched(stack, inventory)
        if one.check.http
    }


def _http_module(check: ServiceCheck, http: HttpCheck, name: str) -> dict[str, object]:
    """`name`: under which an edge is asked by TLS. Who issued its certificate is the certificate check's question."""
    asked: dict[str, object] = {"valid_status_codes": [http.status], "follow_redirects": False}
    if name:
        asked |= {"headers": {"Host": name}, "tls_config": {"server_name": name, "insecure_skip_verify": True}}
    if http.contains is not None:
        asked["fail_if_body_not_matches_regexp"] = [re2_quoted(http.contains)]
    return {"prober": "http", "timeout": f"{check.timeout:g}s", "http": asked}


def re2_quoted(text: str) -> str:
    """A text as a regular expression of Go that matches it and nothing else."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)
