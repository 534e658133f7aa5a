"""The manifest's checks: read-only assertions about services, and by what each of them looks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from migrate.fields import Name, Part, Seconds
from migrate.mailing import LogsCheck, SmtpCheck


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


class CertificateCheck(Part):
    """The certificate that an edge shows: by the public authority, for the first of its names, and for how long yet."""

    days_left: float = Field(default=20, ge=0)
    """It fails where less is left. Renewal begins when a third of a certificate's life is left: 30 days of 90."""


class ReplicationCheck(Part):
    """Every other host of the database's group follows the one that leads it. Passes where the group has one host."""

    at_most: Seconds = 30.0
    """Longest allowed time that a replica is behind."""


class BackupCheck(Part):
    """What must hold of the backups. What is not named is not asked."""

    newest_moment_within: Seconds | None = None
    """The newest moment that can be restored lies at most so far back."""
    full_within: Seconds | None = None
    """The newest full backup was made within this time, and the last verification found no fault."""
    apart: bool = False
    """The repository is on another host than every cluster that it keeps."""

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not (self.newest_moment_within or self.full_within or self.apart):
            raise ValueError("one of newest_moment_within, full_within, apart must be given")
        return self


CHECK_KINDS = ("http", "postgresql", "redis", "replication", "smtp", "logs", "backup", "unit", "certificate")


class ServiceCheck(Part):
    """A read-only assertion about a service, by exactly one of its kinds: `http`, `postgresql`, `redis`, and so on."""

    name: Name
    """Name in reports."""
    http: HttpCheck | None = None
    """HTTP through the service's own port, on every host of its group."""
    postgresql: PostgresqlCheck | None = None
    """SQL, over the service's own port."""
    redis: RedisCheck | None = None
    """Redis, over the service's own port."""
    smtp: SmtpCheck | None = None
    """Kind `mail`: SMTP on every host of its group, and what waits in the queue."""
    logs: LogsCheck | None = None
    """Kind `logs`: how new the newest line of each host of the home is."""
    backup: BackupCheck | None = None
    """Kind `backup`: what the repository holds, asked on its host and on the host that takes writes."""
    replication: ReplicationCheck | None = None
    """Kind `postgresql`: the replicas keep up."""
    unit: Literal["active"] | None = None
    """The systemd unit's state, on every host of its group."""
    certificate: CertificateCheck | None = None
    """Kind `edge` with `tls`: the certificate, on every host of its group. Before the cutover there is none yet, so its
    severity is `warning` unless said otherwise."""
    timeout: Seconds = 5.0
    """Bound on one attempt."""
    within: Seconds = 60.0
    """Bound on all attempts: the gate holds when the check has not passed by then."""
    severity: Literal["gate", "warning"] = "gate"
    """A gate stops the run; a warning is only shown."""
    proves: Literal["basic", "drained"] = "basic"
    """`basic`: users are served. `drained`: queues have caught up too. The report times both."""

    @model_validator(mode="before")
    @classmethod
    def _certificates_warn(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("certificate") is not None:
            return {"severity": "warning", **given}
        return given

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in CHECK_KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"exactly one of {', '.join(CHECK_KINDS)} must be given, not {len(kinds)}")
        return self
