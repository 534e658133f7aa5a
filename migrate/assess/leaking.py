"""What would leak, or be wrong, on the other side: buckets that are open, and names of the provider in texts."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from migrate.assess.findings import Leak, LeakKind
from migrate.assess.observed import Resource
from migrate.stack import Stack

PROVIDER_HOST = re.compile(
    r"(?:[a-z0-9-]{1,63}\.){0,6}(?:amazonaws\.com(?:\.cn)?|cloudfront\.net|awsapps\.com|amazoncognito\.com"
    r"|elasticbeanstalk\.com|awsglobalaccelerator\.com|awsapprunner\.com|amplifyapp\.com|on\.aws|api\.aws)\b"
    r"|\b169\.254\.169\.254\b",
    re.IGNORECASE,
)
"""Host names that end with the provider, and the address of its metadata service."""
NAMED = 5
MEANT_TO_BE_PUBLIC = "media"


def provider_hosts(text: str) -> Counter[str]:
    """Host names of the provider in a text, lower case, and how often each stands there."""
    return Counter(match.group(0).lower() for match in PROVIDER_HOST.finditer(text))


def named(hosts: Counter[str]) -> str:
    """The most frequent names of many."""
    shown = ", ".join(f"{host} ×{count}" if count > 1 else host for host, count in hosts.most_common(NAMED))
    more = len(hosts) - NAMED
    return f"{shown}, and {more} more names" if more > 0 else shown


def open_buckets(resources: Iterable[Resource], stack: Stack | None) -> list[Leak]:
    """Buckets that anybody may list, write to or read; media that are meant to be read are no leak."""
    leaks: list[Leak] = []
    for bucket in (resource for resource in resources if (resource.service, resource.kind) == ("s3", "bucket")):
        holds = stack.buckets[bucket.name].holds if stack and bucket.name in stack.buckets else ""
        objects = bucket.whole("objects")
        if bucket.facts.get("listable"):
            detail = "anybody may list every key, also of what no page links to"
            leaks.append(_open(LeakKind.LISTABLE_BUCKET, bucket, objects, detail, "take s3:ListBucket from everyone"))
        if bucket.facts.get("writable"):
            detail = "anybody may write into it: what comes along may not be yours"
            leaks.append(_open(LeakKind.PUBLIC_BUCKET, bucket, objects, detail, "close it; look what was put there"))
        elif bucket.facts.get("readable") and holds != MEANT_TO_BE_PUBLIC:
            detail = f"anybody may read it{f', and it holds {holds}' if holds else ''}"
            leaks.append(_open(LeakKind.PUBLIC_BUCKET, bucket, objects, detail, "close it, unless it should be read"))
    return leaks


def _open(kind: LeakKind, bucket: Resource, objects: int, detail: str, first: str) -> Leak:
    return Leak(kind=kind, where=f"s3://{bucket.name}", found=objects, detail=detail, first=first)


def hosts_in_settings(resources: Iterable[Resource]) -> list[Leak]:
    """Environment of functions and containers that names the provider; the names of variables, never their values."""
    return [
        Leak(
            kind=LeakKind.PROVIDER_HOST,
            where=f"{resource.address} ({resource.region}): {', '.join(variables)}",
            found=len(variables),
            detail="these variables hold a host name of the provider",
            first="give each the address of the new home, in `environment` of the service in stack.yaml",
        )
        for resource in resources
        if (variables := resource.texts("variables_naming_the_provider"))
    ]


def hosts_in_manifest(stack: Stack, where: str) -> list[Leak]:
    """Names of the provider in what the manifest would give the new hosts; `old_urls` are there to be replaced."""
    texts: list[tuple[str, str]] = [("site", stack.site)]
    texts += [(f"media.{name}.url", media.url) for name, media in stack.media.items()]
    for name, service in stack.services.items():
        texts += [(f"services.{name}.environment.{key}", value) for key, value in service.environment.items()]
        texts += [(f"services.{name}.command", service.command or "")]
    return [
        Leak(
            kind=LeakKind.PROVIDER_HOST, where=f"{where}: {field}", found=hosts.total(), detail=named(hosts),
            first="the new hosts would still call the provider: put the address of the new home there",
        )
        for field, text in texts
        if (hosts := provider_hosts(text))
    ]  # fmt: skip


def hosts_in_file(where: str, hosts: Counter[str]) -> Leak:
    return Leak(
        kind=LeakKind.PROVIDER_HOST, where=where, found=hosts.total(), detail=named(hosts),
        first="take the address from a setting, and build the release anew",
    )  # fmt: skip


def hosts_of_library(where: str) -> Leak:
    return Leak(
        kind=LeakKind.PROVIDER_HOST, where=where, found=1,
        detail="the provider's own library: code that imports it speaks to the provider",
        first="find who imports it, and give it the address of the new store, or take it out",
    )  # fmt: skip


def not_looked_at(where: str, missed: Mapping[str, str]) -> Iterator[str]:
    """Files that were not looked at, by reason: how many, and the first few names."""
    for reason in dict.fromkeys(missed.values()):
        names = [name for name, why in missed.items() if why == reason]
        more = len(names) - NAMED
        shown = ", ".join(names[:NAMED]) + (f", and {more:,} more" if more > 0 else "")
        yield f"provider hosts in {_counted(len(names), 'file')} of {where}: {reason}: {shown}"


def positions(bucket: str, with_position: Sequence[str], looked_at: int) -> Leak:
    """Images of a sample that say where they were taken; keys, never the position itself."""
    shown = ", ".join(with_position[:NAMED])
    return Leak(
        kind=LeakKind.POSITION, where=f"s3://{bucket}", found=len(with_position), looked_at=looked_at,
        detail=f"EXIF says where they were taken: {shown}",
        first="strip the metadata of all images before the new home serves them",
    )  # fmt: skip


def beyond_sample(bucket: str, looked_at: int, keys: int | None, goes_on: bool) -> str:
    """What of a bucket's images was not looked at: a clean sample is not the same as none."""
    images = f"positions in images of s3://{bucket}"
    if keys is None:
        return f"{images}: no key could be listed"
    listed = f"{_counted(keys, 'key')}{', which are not all' if goes_on else ''}"
    if not looked_at:
        return f"{images}: no image was looked at, of {listed}"
    return f"{images} beyond the {_counted(looked_at, 'image')} looked at, of {listed}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
