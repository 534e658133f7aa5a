"""The manifest: what the app is. Frozen models; unknown keys are refused.

The text of each field stands here once: docs/reference/manifest.md is generated from it.
"""

import re
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from migrate.plan import digest_of

DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)$")
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(value: object) -> object:
    """`500ms`, `30s`, `5m`, `2h` as seconds; a bare number is seconds."""
    if isinstance(value, str):
        match = DURATION.match(value)
        if not match:
            raise ValueError(f"not a duration: {value!r}; write 500ms, 30s, 5m or 2h")
        return float(match.group(1)) * UNIT_SECONDS[match.group(2)]
    return value


Seconds = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Answer = Annotated[str, Field(min_length=8)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Source(Part):
    """The old provider's object storage. Credentials come from the environment, as for the AWS CLI."""

    region: str = "us-east-1"
    """Region of the buckets."""
    endpoint_url: str | None = None
    """Address of an S3-compatible server; empty for AWS itself. `AWS_ENDPOINT_URL` wins over it."""


class Bucket(Part):
    """One bucket that must come along."""

    holds: Literal["media", "backups", "releases", "other"]
    """What the bucket is for; it decides the order of the export (backups and releases first)."""
    prefix: str = ""
    """Only keys that begin with this."""
    order: Literal["listed", "newest", "oldest", "smallest", "largest"] = "listed"
    """Which of its objects come first. All but `listed` wait for the end of the listing."""
    versions: bool = False
    """All versions and delete markers, not only the current objects."""
    tags: bool = False
    """Object tags too: one more request an object."""
    restore_archived: Literal["expedited", "standard", "bulk"] | None = None
    """Have archived objects restored in this tier, wait for them, fetch them. Without it the run stays incomplete."""
    inventory_report: str | None = Field(default=None, pattern=r"^s3://[^/]+/.+$")
    """`s3://BUCKET/…/manifest.json` of an S3 Inventory report that the listing is held against."""


class Artifact(Part):
    """An artifact in a bucket: the newest object, by its key, that matches the pattern."""

    bucket: str
    """Name of a bucket of `buckets`."""
    pattern: str
    """Glob over keys, for example `postgresql/plaza-*.dump`. The record of a dump lies beside it, `<key>.json`."""


class Database(Part):
    """A PostgreSQL database and the dump that it is rebuilt from."""

    service: str
    """The service, of kind `postgresql`, that it lives in."""
    owner: Name
    """Role that owns the database; created on the new host."""
    password: Name
    """Name of the secret that the owner signs in with."""
    dump: Artifact
    """Where the dumps (`pg_dump --format=custom`) and their records are."""
    extensions: tuple[str, ...] = ()
    """Extensions that must be there after the restore, beside those that the dump brings."""
    watermarks: dict[str, str] = Field(default_factory=dict)
    """Table -> column that grows with each write; the loss of data (RPO) is measured by them."""


class Cache(Part):
    """A Redis instance and the snapshot that it is rebuilt from."""

    service: str
    """The service, of kind `redis`, that it lives in."""
    password: Name
    """Name of the secret that clients sign in with."""
    snapshot: Artifact
    """Where the RDB snapshots and their records are."""


class Media(Part):
    """A bucket whose objects a media server of the new home serves."""

    bucket: str
    """Name of a bucket of `buckets`; its objects come to /srv/media/<bucket>/ on the hosts of the service."""
    service: str
    """The service, of kind `media`, that serves it."""
    password: Name
    """Name of the secret that the app writes new objects with."""
    url: str
    """Public address of the tree, ending in a slash; `{edge}` stands for the address of the group `edge`."""
    old_urls: tuple[str, ...]
    """Address prefixes of the bucket as they stand in database columns; each is rewritten to `url`."""


class Release(Part):
    """The app's release: a tarball with release.json, requirements.txt and wheels/."""

    artifact: Artifact
    """Where the releases are."""
    user: Name
    """System user that the app runs as; created on the new hosts."""


class HttpCheck(Part):
    """An HTTP GET that must answer as expected."""

    path: str = "/"
    """Path and query."""
    status: int = 200
    """Expected status."""
    contains: str | None = None
    """Text that must stand in the body."""


class PostgresqlCheck(Part):
    """A query, signed in as the owner of the database over the network, whose first value must be true."""

    database: str
    """Name of a database of `databases`."""
    query: str
    """One SELECT; its first column of its first row is the verdict."""


class RedisCheck(Part):
    """PING, and whatever of the following is named. Without `list` and bounds, PING alone."""

    cache: str
    """Name of a cache of `caches`."""
    list: str | None = None
    """Key of a list (a job queue, say)."""
    at_most: int = 0
    """Longest allowed length of that list."""
    saved_within: Seconds | None = None
    """Every host of the service: no write may be older than this and not in a snapshot, and no save may have failed."""
    in_step_within: Seconds | None = None
    """Every host of the service: its replicas hear from the host that takes writes at least so often."""


class ServiceCheck(Part):
    """A read-only assertion about a service. Exactly one of `http`, `postgresql`, `redis`, `unit`."""

    name: Name
    """Name in reports."""
    http: HttpCheck | None = None
    """HTTP through the service's own port, on every host of its group."""
    postgresql: PostgresqlCheck | None = None
    """SQL, over the service's own port."""
    redis: RedisCheck | None = None
    """Redis, over the service's own port."""
    unit: Literal["active"] | None = None
    """The systemd unit's state, on every host of its group."""
    timeout: Seconds = 5.0
    """Bound on one attempt."""
    within: Seconds = 60.0
    """Bound on all attempts: the gate holds when the check has not passed by then."""
    severity: Literal["gate", "warning"] = "gate"
    """A gate stops the run; a warning is only shown."""
    proves: Literal["basic", "drained"] = "basic"
    """`basic`: users are served. `drained`: queues have caught up too. The report times both."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in ("http", "postgresql", "redis", "unit") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"exactly one of http, postgresql, redis, unit must be given, not {len(kinds)}")
        return self


class ServiceKind(StrEnum):
    POSTGRESQL = "postgresql"
    REDIS = "redis"
    MEDIA = "media"
    PROCESS = "process"
    EDGE = "edge"
    BACKUP = "backup"
    MAIL = "mail"
    MONITOR = "monitor"
    LOGS = "logs"


WATCHING_KINDS = frozenset({ServiceKind.BACKUP, ServiceKind.MONITOR, ServiceKind.LOGS})
"""Kinds that nothing of the app stands on: a home without a host for them is complete, and nobody watches it."""


class Service(Part):
    """Something that runs on the hosts of a group, is started at its turn and is checked."""

    kind: ServiceKind
    """Which role provisions it."""
    group: Name
    """Inventory group whose hosts run it."""
    unit: str
    """Its systemd unit."""
    after: tuple[str, ...] = ()
    """Services that must be healthy before it starts."""
    port: Port | None = None
    """TCP port that it listens on."""
    open_to: tuple[str, ...] = ()
    """Groups that may connect to the port; `anyone` for the whole world. Everything else is dropped by the firewall."""
    tls: bool = False
    """Kind `redis`: the port speaks TLS alone. Clients trust /etc/cloudexit/tls/authority.crt, a file of every host."""
    write_port: Port | None = None
    """Kind `media`: port on which the app writes new objects (WebDAV); open to `writers`."""
    writers: tuple[str, ...] = ()
    """Kind `media`: groups that may write."""
    release: str | None = None
    """Kind `process`: name of a release of `releases`."""
    command: str | None = None
    """Kind `process`: the command line, relative to the release's `venv/bin`."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Kind `process`: environment. `{group}` stands for the address of its first host, `{secret:NAME}` for a secret."""
    upstream: str | None = None
    """Kind `edge`: the service that answers all requests but those for media."""
    checks: tuple[ServiceCheck, ...]
    """At least one: a service without a check cannot be proved."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.checks:
            raise ValueError("a service needs at least one check: without one it cannot be proved")
        if self.kind is ServiceKind.PROCESS and not (self.release and self.command):
            raise ValueError("a service of kind process needs `release` and `command`")
        if self.kind is ServiceKind.MEDIA and not (self.port and self.write_port):
            raise ValueError("a service of kind media needs `port` and `write_port`")
        if self.kind is ServiceKind.EDGE and not (self.port and self.upstream):
            raise ValueError("a service of kind edge needs `port` and `upstream`")
        if any(check.http for check in self.checks) and not self.port:
            raise ValueError("an http check needs the service's `port`")
        return self


class Journey(Part):
    """A user's way through the app: a command that prints one JSON line a step and exits 0 if all passed."""

    command: tuple[str, ...]
    """Run in the manifest's folder; `{site}` stands for the site's address, `{python}` for this Python."""
    timeout: Seconds = 120.0
    """Bound on the whole journey."""


class Vendor(Part):
    """Somebody else whose no would stop a part of the app."""

    does: Literal[
        "email", "sms", "dns", "registrar", "payments", "push", "app-store", "cdn", "identity", "certificates", "other"
    ]
    """What the vendor is for."""
    provider: str
    """Who it is: a service of the cloud account (`ses`, `sns`, `route53`, `cognito-idp`, …), or a company's name."""
    services: tuple[str, ...] = ()
    """Services that stop when it says no."""
    journeys: tuple[str, ...] = ()
    """Journeys that end when it says no."""
    instead: str = ""
    """Who takes over then, and how. Empty: nobody is arranged."""


class OldHome(Part):
    """How a rehearsal makes its stand-in for the old provider, on a disposable host."""

    playbook: str
    """Playbook, relative to the manifest, that makes the host `old`."""
    inputs: tuple[str, ...] = ()
    """Files and folders, relative to the manifest, that the old home is made from; a change makes it anew."""
    prepare: tuple[str, ...] = ()
    """Command, run in the manifest's folder, that builds what the playbook needs. `{cache}` stands for a folder."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Variables for the playbook; `{cache}` and `{manifest}` stand for the folders, `{secret:NAME}` for a secret."""
    dump_unit: str
    """Unit that makes a dump and a snapshot and puts them into the backup bucket."""
    traffic_unit: str | None = None
    """Unit that plays the users who go on writing until the end."""
    s3_port: Port
    """Port of the S3 endpoint on the old host."""
    access_key: str
    """Access key of that endpoint."""
    secret_key: Name
    """Name of the secret that is its secret key."""


class Rehearsal(Part):
    """The disposable hosts of a drill."""

    hosts: dict[Name, tuple[Name, ...]]
    """Host -> its groups. `--hosts N` spreads the same groups over N hosts."""
    old_home: OldHome | None = None
    """The stand-in for the old provider; without it the drill exports from the real one."""


class Stack(Part):
    """The whole manifest."""

    name: Name
    """Name of the app."""
    site: str
    """Public address of the app; `{edge}` stands for the address of the group `edge`."""
    source: Source = Source()
    """The old provider's object storage."""
    buckets: dict[str, Bucket]
    """Every bucket that must come along."""
    databases: dict[Name, Database] = Field(default_factory=dict)
    """Databases by name."""
    caches: dict[Name, Cache] = Field(default_factory=dict)
    """Caches by name."""
    media: dict[Name, Media] = Field(default_factory=dict)
    """Media trees by name."""
    releases: dict[Name, Release] = Field(default_factory=dict)
    """Releases by name."""
    secrets: dict[Name, str | None] = Field(default_factory=dict)
    """Secret -> environment variable that gives it; without one it is generated and kept under the state folder."""
    services: dict[Name, Service]
    """Services by name."""
    journeys: dict[Name, Journey] = Field(default_factory=dict)
    """Users' ways through the app, walked when everything runs."""
    vendors: dict[Name, Vendor] = Field(default_factory=dict)
    """Vendors by name; `cloudexit assess --without NAME` shows what stops without them."""
    answers: dict[str, Answer] = Field(default_factory=dict)
    """What cannot leave -> what is done instead. The key is a glob over `service/name`, as `cloudexit assess` prints
    them: `kms/*`, `cognito-idp/us-east-1_Ab12`. A captive finding without an answer is exit 3."""
    rehearsal: Rehearsal | None = None
    """What `cloudexit rehearse` needs."""

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json"))

    def services_in_order(self) -> list[str]:
        """Services, each after those it waits for; among equals the manifest's order holds."""
        sorter: TopologicalSorter[str] = TopologicalSorter(
            {n: [b for b in s.after if b in self.services] for n, s in self.services.items()}
        )
        rank = {name: index for index, name in enumerate(self.services)}
        sorter.prepare()
        order: list[str] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=rank.__getitem__)
            order.extend(ready)
            sorter.done(*ready)
        return order

    def groups(self) -> list[str]:
        """Inventory groups that the services need, in the manifest's order."""
        return list(dict.fromkeys(service.group for service in self.services.values()))

    def hosts_of_release(self, release: str) -> list[str]:
        """Groups that run a release."""
        return list(dict.fromkeys(s.group for s in self.services.values() if s.release == release))
