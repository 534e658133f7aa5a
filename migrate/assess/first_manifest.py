"""A first manifest and inventory from what an account holds: parts of YAML, with comments for what only people know."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from migrate.assess.findings import Finding, Hold
from migrate.assess.judging import judge
from migrate.assess.observed import Resource
from migrate.assess.vendors import PROVIDES

EXAMPLE_BUCKETS = {"backups": "myapp-backups", "releases": "myapp-releases", "media": "myapp-media"}
"""What a bucket holds -> the name that the template has for it."""
SOUNDS_LIKE = {
    "backups": re.compile(r"backup|dump|snapshot", re.IGNORECASE),
    "releases": re.compile(r"release|artifact|deploy|build", re.IGNORECASE),
    "media": re.compile(r"media|upload|image|asset|static|avatar|photo|video", re.IGNORECASE),
}
GIGABYTE = 10**9


@dataclass(frozen=True)
class FirstManifest:
    """Texts that stand in the template: lines of YAML without a trailing newline."""

    buckets: str
    names: Mapping[str, str]
    """Name of the template -> name of the account's own bucket for the same."""
    old_urls: str
    databases: str
    caches: str
    vendors: str
    answers: str
    hosts: str


def first_manifest(resources: Sequence[Resource]) -> FirstManifest:
    """Parts of a manifest; without resources, those of the example."""
    buckets = [r for r in resources if (r.service, r.kind) == ("s3", "bucket")]
    holds = {bucket.name: sounds_like(bucket.name) for bucket in buckets}
    chosen = {
        kind: max((b for b in buckets if holds[b.name] == kind), key=lambda b: b.whole("bytes")).name
        for kind in EXAMPLE_BUCKETS
        if kind in holds.values()
    }
    names = {EXAMPLE_BUCKETS[kind]: name for kind, name in chosen.items()}
    return FirstManifest(
        buckets="\n".join(_bucket_lines(buckets, holds, chosen)),
        names=names,
        old_urls=json.dumps(_old_urls(resources, chosen.get("media", EXAMPLE_BUCKETS["media"]))),
        databases="\n".join(_found(resources, ("rds/instance", "rds/cluster"))),
        caches="\n".join(_found(resources, ("elasticache/cluster",))),
        vendors="\n".join(_vendor_lines(resources)),
        answers="\n".join(_answer_lines(judge(resources, {}, {}))),
        hosts="\n".join(_host_lines(resources)),
    )


def sounds_like(bucket: str) -> str:
    """What a bucket holds, by its name: a guess, which the comment beside it asks to look at."""
    return next((holds for holds, pattern in SOUNDS_LIKE.items() if pattern.search(bucket)), "other")


def _bucket_lines(buckets: Sequence[Resource], holds: Mapping[str, str], chosen: Mapping[str, str]) -> Iterator[str]:
    for kind, name in EXAMPLE_BUCKETS.items():
        if kind not in chosen:
            missing = f"   # an example: no bucket of the account sounds like {kind}" if buckets else ""
            yield f"  {name}: {{holds: {kind}}}{missing}"
    if buckets:
        yield "  # Found in the account; what each holds is a guess by its name. Take out what may stay behind."
    for bucket in buckets:
        size = f"   # {bucket.whole('objects'):,} objects, {_gigabytes(bucket)}" if "bytes" in bucket.facts else ""
        yield f"  {json.dumps(bucket.name)}: {{holds: {holds[bucket.name]}}}{size}"


def _gigabytes(bucket: Resource) -> str:
    return f"{bucket.whole('bytes') / GIGABYTE:,.1f} GB"


def _old_urls(resources: Sequence[Resource], bucket: str) -> list[str]:
    """Addresses under which a bucket's objects are known: its own, by region, and those of CDNs before it."""
    region = next((r.region for r in resources if (r.service, r.name) == ("s3", bucket)), "")
    urls = [f"https://{bucket}.s3.amazonaws.com/"]
    if region:
        urls.append(f"https://{bucket}.s3.{region}.amazonaws.com/")
    for distribution in (r for r in resources if r.service == "cloudfront"):
        if any(origin.startswith(f"{bucket}.s3") for origin in distribution.texts("origins")):
            names = (str(distribution.facts.get("address", "")), *distribution.texts("names"))
            urls += [f"https://{name}/" for name in names if name]
    return urls


def _found(resources: Sequence[Resource], kinds: Sequence[str]) -> Iterator[str]:
    for resource in resources:
        if f"{resource.service}/{resource.kind}" in kinds:
            facts = [str(resource.facts[f]) for f in ("engine", "version") if resource.facts.get(f)]
            if resource.whole("storage_gb"):
                facts.append(f"{resource.whole('storage_gb'):,} GB")
            yield f"# Found in the account: {resource.address}, {' '.join(facts)}, in {resource.region}."


def _vendor_lines(resources: Sequence[Resource]) -> Iterator[str]:
    """Services of the account that are vendors too; what stops without them only people know."""
    held = {resource.service for resource in resources}
    found = [(service, does) for service, does in PROVIDES.items() if service in held]
    if not found:
        return
    yield "# Whose no would stop what. Write the services and journeys that need each, and who takes over."
    yield "vendors:"
    for service, does in found:
        yield f'  {does}: {{does: {does}, provider: {service}, services: [], journeys: [], instead: ""}}'


def _answer_lines(findings: Sequence[Finding]) -> Iterator[str]:
    captive = [finding for finding in findings if finding.hold is Hold.CAPTIVE]
    if not captive:
        return
    yield "# What cannot leave. An answer says what you do instead; without one, `cloudexit assess` is exit 3."
    yield "# answers:"
    for finding in captive:
        yield f"#   {json.dumps(finding.resource.address)}: {json.dumps(finding.instead)}"


def _host_lines(resources: Sequence[Resource]) -> Iterator[str]:
    """What runs at the old home: the measure of the new one."""
    machines = Counter(
        str(r.facts.get("instance_type", "")) for r in resources if (r.service, r.kind) == ("ec2", "instance")
    )
    for kind, count in sorted(machines.items()):
        yield f"# At the old home: {count} × {kind or 'unknown type'}."
    for resource in resources:
        if (resource.service, resource.kind) == ("rds", "instance"):
            size = resource.whole("storage_gb")
            yield f"# At the old home: {resource.address}, {resource.facts.get('instance_class')}, {size:,} GB."
