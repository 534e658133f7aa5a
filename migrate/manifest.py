"""Reads a manifest, and holds its names against each other."""

from collections.abc import Iterator
from graphlib import CycleError
from pathlib import Path

from migrate.documents import Document, FieldPath, read_yaml, validate
from migrate.errors import DocumentProblems, UsageProblem
from migrate.stack import PLACEHOLDER, Service, Stack


def read_stack(path: Path) -> Stack:
    """Reads and validates a manifest; raises UsageProblem or DocumentProblems with file, line and field."""
    document = read_yaml(path)
    stack = validate(document, Stack)
    problems = list(_broken_references(document, stack))
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
        "group": set(stack.groups()) | {"anyone"},
    }
    for field, kind, name in _references(stack):
        if name not in known[kind]:
            yield document.problem(
                field, f"no {kind} is called {name!r}", expected=", ".join(sorted(known[kind])) or f"a {kind}"
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
        yield ("databases", name, "service"), "service", database.service
        yield ("databases", name, "password"), "secret", database.password
        yield ("databases", name, "dump", "bucket"), "bucket", database.dump.bucket
    for name, cache in stack.caches.items():
        yield ("caches", name, "service"), "service", cache.service
        yield ("caches", name, "password"), "secret", cache.password
        yield ("caches", name, "snapshot", "bucket"), "bucket", cache.snapshot.bucket
    for name, media in stack.media.items():
        yield ("media", name, "service"), "service", media.service
        yield ("media", name, "password"), "secret", media.password
        yield ("media", name, "bucket"), "bucket", media.bucket
    for name, release in stack.releases.items():
        yield ("releases", name, "artifact", "bucket"), "bucket", release.artifact.bucket
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
            yield (*field, key, index), "group", group
    if service.release:
        yield (*field, "release"), "release", service.release
    if service.upstream:
        yield (*field, "upstream"), "service", service.upstream
    for variable, value in service.environment.items():
        yield from _placeholders((*field, "environment", variable), value)
    for index, check in enumerate(service.checks):
        if check.postgresql:
            yield (*field, "checks", index, "postgresql", "database"), "database", check.postgresql.database
        if check.redis:
            yield (*field, "checks", index, "redis", "cache"), "cache", check.redis.cache
