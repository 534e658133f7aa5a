"""Reads a manifest, and holds its names against each other."""

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError
from pathlib import Path
from urllib.parse import urlsplit

from migrate.documents import Document, FieldPath, read_yaml, validate
from migrate.errors import DocumentProblems, UsageProblem
from migrate.stack import PLACEHOLDER, Service, ServiceKind, Stack

UNIT = re.compile(r"[A-Za-z0-9@_.:-]+\.service")
DNS_NAME = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
JOURNEY_PLACEHOLDERS = ("python", "site")
SSH_PORT = 22
HOME_PREFIX = "cloudexit_"
"""Secrets that the new home makes for itself begin so."""


def read_stack(path: Path) -> Stack:
    """Reads and validates a manifest; raises UsageProblem or DocumentProblems with file, line and field."""
    document = read_yaml(path)
    stack = validate(document, Stack)
    problems = [*_broken_references(document, stack), *_broken_values(document, stack)]
    if problems:
        raise DocumentProblems(problems)
    return stack


Reference = tuple[FieldPath, str, str]


def _broken_references(document: Document, stack: Stack) -> Iterator[UsageProblem]:
    known: dict[str, set[str]] = {
        "bucket": set(stack.buckets),
        "service": set(stack.services),
        "database": set(stack.databases),
        "cache": set(stack.caches),
        "release": set(stack.releases),
        "secret": set(stack.secrets),
        "journey": set(stack.journeys),
        "group": set(stack.groups()),
        "audience": set(stack.groups()) | {"anyone"},
    }
    kinds = {"audience": "group"} | {kind: kind for kind in known if kind != "audience"}
    for service_kind in ServiceKind:
        known[service_kind] = {name for name, service in stack.services.items() if service.kind is service_kind}
        kinds[service_kind] = f"service of kind {service_kind}"
    known["upstream"] = {
        name for name, service in stack.services.items() if service.kind is ServiceKind.PROCESS and service.port
    }
    kinds["upstream"] = "service of kind process with a port"
    for field, kind, name in _references(stack):
        if name not in known[kind]:
            yield document.problem(
                field,
                f"no {kinds[kind]} is called {name!r}",
                expected=", ".join(sorted(known[kind])) or f"a {kinds[kind]}",
            )
    try:
        stack.services_in_order()
    except CycleError as cycle:
        names = cycle.args[1]
        yield document.problem(
            ("services", names[0], "after"),
            f"a cycle: {' -> '.join(reversed(names))}",
            expected="services that wait for each other in one direction only",
        )


def _references(stack: Stack) -> Iterator[Reference]:
    for name, database in stack.databases.items():
        yield ("databases", name, "service"), ServiceKind.POSTGRESQL, database.service
        yield ("databases", name, "password"), "secret", database.password
        yield ("databases", name, "dump", "bucket"), "bucket", database.dump.bucket
    for name, cache in stack.caches.items():
        yield ("caches", name, "service"), ServiceKind.REDIS, cache.service
        yield ("caches", name, "password"), "secret", cache.password
        yield ("caches", name, "snapshot", "bucket"), "bucket", cache.snapshot.bucket
    for name, media in stack.media.items():
        yield ("media", name, "service"), ServiceKind.MEDIA, media.service
        yield ("media", name, "password"), "secret", media.password
        yield ("media", name, "bucket"), "bucket", media.bucket
    for name, release in stack.releases.items():
        yield ("releases", name, "artifact", "bucket"), "bucket", release.artifact.bucket
    for key, secret in (("webhook", stack.alerts.webhook), ("heartbeat", stack.alerts.heartbeat)):
        if secret:
            yield ("alerts", key), "secret", secret
    for name, vendor in stack.vendors.items():
        for key, kind in (("services", "service"), ("journeys", "journey")):
            for index, target in enumerate(getattr(vendor, key)):
                yield ("vendors", name, key, index), kind, target
    for name, service in stack.services.items():
        yield from _references_of_service(("services", name), service)
    yield from _placeholders(("site",), stack.site)
    for name, media in stack.media.items():
        yield from _placeholders(("media", name, "url"), media.url)
    if stack.rehearsal:
        if stack.rehearsal.old_home:
            field = ("rehearsal", "old_home", "secret_key")
            yield field, "secret", stack.rehearsal.old_home.secret_key
        for host, groups in stack.rehearsal.hosts.items():
            for index, group in enumerate(groups):
                yield ("rehearsal", "hosts", host, index), "group", group


def _placeholders(field: FieldPath, text: str) -> Iterator[Reference]:
    """`{group}` and `{secret:NAME}` in a text."""
    for name in PLACEHOLDER.findall(text):
        kind, _, secret = name.partition(":")
        yield (field, "secret", secret) if kind == "secret" and secret else (field, "group", name)


def _references_of_service(field: FieldPath, service: Service) -> Iterator[Reference]:
    for index, name in enumerate(service.after):
        yield (*field, "after", index), "service", name
    for key in ("open_to", "writers"):
        for index, group in enumerate(getattr(service, key)):
            yield (*field, key, index), "audience", group
    if service.release:
        yield (*field, "release"), "release", service.release
    if service.upstream:
        yield (*field, "upstream"), "upstream", service.upstream
    if service.mail and service.mail.relay:
        yield (*field, "mail", "relay", "password"), "secret", service.mail.relay.password
    for variable, value in service.environment.items():
        yield from _placeholders((*field, "environment", variable), value)
    for index, check in enumerate(service.checks):
        if check.postgresql:
            yield (*field, "checks", index, "postgresql", "database"), "database", check.postgresql.database
        if check.redis:
            yield (*field, "checks", index, "redis", "cache"), "cache", check.redis.cache


def _broken_values(document: Document, stack: Stack) -> Iterator[UsageProblem]:
    """Values that are well-formed for themselves, but could not be carried out."""
    yield from _broken_addresses(document, stack)
    for name in stack.secrets:
        if name.startswith(HOME_PREFIX):
            yield document.problem(
                ("secrets", name),
                f"names with {HOME_PREFIX} in front are the new home's",
                expected="another name",
            )
    for name, database in stack.databases.items():
        if database.owner == "postgres" or database.owner.startswith("pg_"):
            yield document.problem(
                ("databases", name, "owner"),
                f"{database.owner!r} belongs to PostgreSQL itself",
                expected="a role of the app's own: not postgres, and not pg_...",
            )
    for name, service in stack.services.items():
        yield from _broken_environment(document, ("services", name, "environment"), service.environment)
    yield from _clashes(document, stack)
    yield from _nameless(document, stack)
    for name, journey in stack.journeys.items():
        for index, word in enumerate(journey.command):
            field = ("journeys", name, "command", index)
            yield from _unbalanced(document, field, word)
            for placeholder in PLACEHOLDER.findall(word):
                if placeholder not in JOURNEY_PLACEHOLDERS:
                    yield document.problem(field, f"nothing stands for {{{placeholder}}}", expected="{python}, {site}")


def _broken_addresses(document: Document, stack: Stack) -> Iterator[UsageProblem]:
    tree_urls = [(("media", name, "url"), media.url) for name, media in stack.media.items()]
    old_urls: list[tuple[FieldPath, str]] = [
        (("media", name, "old_urls", index), url)
        for name, media in stack.media.items()
        for index, url in enumerate(media.old_urls)
    ]
    for field, url in (*tree_urls, *old_urls):
        if not url.endswith("/"):
            yield document.problem(field, f"no slash at its end: {url!r}", expected="an address that ends in a slash")
    for field, url in ((("site",), stack.site), *tree_urls, *old_urls):
        if not _is_web_address(url):
            yield document.problem(field, f"no web address: {url!r}", expected="http:// or https://, and a host")
    for field, url in ((("site",), stack.site), *tree_urls):
        yield from _unbalanced(document, field, url)
        if "{secret:" in url:
            yield document.problem(field, "a secret in a public address", expected="placeholders of groups only")


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(PLACEHOLDER.sub("placeholder", url))
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", url)


def _unbalanced(document: Document, field: FieldPath, text: str) -> Iterator[UsageProblem]:
    if re.search(r"[{}]", PLACEHOLDER.sub("", text)):
        yield document.problem(field, "a brace without its counterpart", expected="{name}, in one pair of braces")


def _broken_environment(document: Document, field: FieldPath, environment: Mapping[str, str]) -> Iterator[UsageProblem]:
    for variable, value in environment.items():
        inner = (*field, variable)
        if not VARIABLE.fullmatch(variable):
            yield document.problem(
                inner, f"no name of a variable: {variable!r}", expected="letters, digits, _; no digit first"
            )
        if re.search(r"[\r\n\0]", value):
            yield document.problem(inner, "a line break in the value", expected="one line")
        yield from _unbalanced(document, inner, value)


def _clashes(document: Document, stack: Stack) -> Iterator[UsageProblem]:
    """Units and ports that cannot be, or that two services of one group would share."""
    taken: dict[tuple[str, str | int], str] = {}
    for name, service in stack.services.items():
        if not UNIT.fullmatch(service.unit):
            yield document.problem(
                ("services", name, "unit"), f"no unit: {service.unit!r}", expected="a name that ends in .service"
            )
        for key, value in _held_alone(service):
            field = ("services", name, *key.split("."))
            if value == SSH_PORT:
                yield document.problem(field, "port 22 is that of ssh", expected="another port")
            first = taken.setdefault((service.group, value), f"services.{name}.{key}")
            if first != f"services.{name}.{key}":
                yield document.problem(
                    field, f"{value} is taken by {first} in the same group", expected="one of its own"
                )


def _held_alone(service: Service) -> Iterator[tuple[str, str | int]]:
    """Field -> what no other service of a host may have."""
    yield "unit", service.unit
    for key, port in (("port", service.port), ("write_port", service.write_port)):
        if port is not None:
            yield key, port
    if service.tls:
        yield "tls.port", service.tls.port


def _nameless(document: Document, stack: Stack) -> Iterator[UsageProblem]:
    """An authority certifies names, no addresses."""
    for name, service in stack.services.items():
        host = "" if PLACEHOLDER.search(stack.site) else urlsplit(stack.site).hostname or ""
        if service.tls and not service.tls.names and not DNS_NAME.fullmatch(host):
            yield document.problem(
                ("services", name, "tls"),
                f"no name for a certificate in `site`: {stack.site}",
                expected="a name as the world knows it, in `site` or in `names` here",
            )


def require_old_home(path: Path, stack: Stack) -> None:
    """Raises UsageProblem where the playbook that a rehearsal needs does not stand beside the manifest `path`."""
    if stack.rehearsal and stack.rehearsal.old_home:
        playbook = path.parent / stack.rehearsal.old_home.playbook
        if not playbook.is_file():
            raise read_yaml(path).problem(
                ("rehearsal", "old_home", "playbook"), "no such file", expected=f"a playbook at {playbook}"
            )
