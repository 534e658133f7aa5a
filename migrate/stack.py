"""The manifest: what the app is. Frozen models; unknown keys are refused.

The text of each field stands here once: docs/reference/manifest.md is generated from it.
"""

import re
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from migrate.edge import Limits, Tls
from migrate.fields import Answer, Name, Part, Port, Seconds
from migrate.mailing import Mail
from migrate.plan import digest_of
from migrate.servicechecks import ServiceCheck

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


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
    PACKAGES = "packages"


WATCHING_KINDS = frozenset({ServiceKind.BACKUP, ServiceKind.MONITOR, ServiceKind.LOGS, ServiceKind.PACKAGES})
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
    tls_only: bool = False
    """Kind `redis`: the port speaks TLS alone. Clients trust /etc/cloudexit/tls/authority.crt, a file of every host."""
    write_port: Port | None = None
    """Kind `media`: port on which the app writes new objects (WebDAV); open to `writers`."""
    writers: tuple[str, ...] = ()
    """Kind `media`: groups that may write."""
    pool_port: Port | None = None
    """Kind `postgresql`: port of a connection pool (pgbouncer) on 127.0.0.1 of each host of `open_to`. An app that
    connects there finds the database wherever a fail-over has put it."""
    release: str | None = None
    """Kind `process`: name of a release of `releases`."""
    command: str | None = None
    """Kind `process`: the command line, relative to the release's `venv/bin`."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Kind `process`: environment. `{group}` stands for the address of its first host, `{secret:NAME}` for a secret."""
    upstream: str | None = None
    """Kind `edge`: the service that answers all requests but those for media."""
    tls: Tls | None = None
    """Kind `edge`: HTTPS with certificates that renew themselves; `port` then only leads there. Without it: HTTP."""
    limits: Limits = Limits()
    """Kind `edge`: what one client may ask for."""
    mail: Mail | None = None
    """Kind `mail`: whose mail it sends, and how."""
    full_backups_kept: Annotated[int, Field(ge=1, le=100)] = 2
    """Kind `backup`: so many full backups are kept, each with everything since."""
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
        if self.tls and (self.kind is not ServiceKind.EDGE or self.tls.port == self.port):
            raise ValueError("`tls` is for a service of kind edge, with another port than its `port`")
        if any(check.certificate for check in self.checks) and not self.tls:
            raise ValueError("a certificate check needs `tls`")
        if self.kind is ServiceKind.MAIL and not (self.port and self.mail):
            raise ValueError("a service of kind mail needs `port` and `mail`")
        if self.kind is ServiceKind.MAIL and "anyone" in self.open_to:
            raise ValueError("a service of kind mail is open to the app's own groups, not to anyone")
        if self.kind in (ServiceKind.LOGS, ServiceKind.PACKAGES) and not self.port:
            raise ValueError(f"a service of kind {self.kind.value} needs `port`")
        for kind in (ServiceKind.MAIL, ServiceKind.LOGS):
            named = "smtp" if kind is ServiceKind.MAIL else "logs"
            if self.kind is not kind and any(getattr(check, named) for check in self.checks):
                raise ValueError(f"a check by `{named}` is for services of kind {kind.value}")
        if self.kind is not ServiceKind.BACKUP and any(check.backup for check in self.checks):
            raise ValueError("a backup check is for a service of kind backup")
        if self.kind is not ServiceKind.POSTGRESQL and any(check.replication for check in self.checks):
            raise ValueError("a replication check is for a service of kind postgresql")
        if any(check.http for check in self.checks) and not self.port:
            raise ValueError("an http check needs the service's `port`")
        return self

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that it listens on."""
        return tuple(filter(None, (self.port, self.write_port, self.tls.port if self.tls else None)))


class Journey(Part):
    """A user's way through the app: a command that prints one JSON line a step and exits 0 if all passed."""

    command: tuple[str, ...]
    """Run in the manifest's folder; `{site}` stands for the site's address, `{python}` for this Python."""
    timeout: Seconds = 120.0
    """Bound on the whole journey."""


class Alerts(Part):
    """Where the monitor sends what it finds. Without it alerts stand on the monitor's page only."""

    email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$")
    """Address that pages and tickets are mailed to."""
    sender: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$")
    """Address that they come from; empty: `alerts@` the domain of the home's mail, or of `email` with a `smarthost`."""
    smarthost: str | None = Field(default=None, pattern=r"^[^:\s]+:\d+$")
    """`host:port` of the server that takes the mail; empty: the home's own service of kind `mail`."""
    webhook: Name | None = None
    """Name of the secret that is the web address to which Alertmanager posts them."""
    heartbeat: Name | None = None
    """Name of the secret that is a web address outside the home, posted to every minute: when it falls silent, the
    monitor itself is gone."""

    @property
    def by_own_mail(self) -> bool:
        """Whether the home's own service of kind `mail` sends them."""
        return self.email is not None and self.smarthost is None


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
    alerts: Alerts = Alerts()
    """Where the monitor sends what it finds."""
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
