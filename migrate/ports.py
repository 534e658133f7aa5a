"""What steps may ask of the outside world. Adapters answer; tests bring fakes that pass the same suites."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from migrate.check import CheckResult
from migrate.inventory import Host, Inventory
from migrate.secret import Secret, Secrets


@dataclass(frozen=True)
class Completed:
    """How a command on a host ended."""

    host: str
    command: str
    exit_status: int
    stdout: str
    stderr: str

    def __bool__(self) -> bool:
        return self.exit_status == 0


class Hosts(Protocol):
    """Commands, files and tunnels on hosts, over SSH with pinned keys.

    Each method raises Unreachable (no answer in time), or Refused (host key, sign-in, no sudo).
    """

    def run(
        self,
        host: Host,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        as_user: str | None = None,
    ) -> Completed:
        """Runs a command as root (by sudo if the sign-in is not root), or as `as_user`. Any exit status is returned."""

    def put(self, host: Host, local: Path, remote: PurePosixPath, *, mode: int = 0o600) -> None:
        """Puts a file there whole: temporary name, SHA-256 compared on the host, rename. Skips if it is there."""

    def mirror_tree(self, host: Host, local: Path, remote: PurePosixPath, *, owner: str, timeout: float) -> None:
        """Brings a folder to the host, only what differs (rsync over SSH), files 0644, folders 0755, owned by `owner`.
        Nothing there is deleted."""

    def tunnel(self, host: Host, port: int) -> AbstractContextManager[int]:
        """A local port on 127.0.0.1 that leads to 127.0.0.1:`port` on the host."""


@dataclass(frozen=True)
class HostPlay:
    """What a playbook did on one host."""

    host: str
    ok: int = 0
    changed: int = 0
    failed: int = 0
    unreachable: bool = False
    changed_tasks: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class PlayResult:
    """What a playbook did, on every host that it was expected to reach."""

    playbook: str
    hosts: Mapping[str, HostPlay]
    seconds: float
    role_seconds: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return all(not play.failed and not play.unreachable for play in self.hosts.values())

    @property
    def changed(self) -> int:
        return sum(play.changed for play in self.hosts.values())


class Playbooks(Protocol):
    """Ansible, on hosts of an inventory."""

    def run(
        self,
        playbook: Path,
        inventory: Inventory,
        *,
        variables: Mapping[str, Any],
        secrets: Secrets,
        limit: Sequence[str] = (),
        check: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
        on_task: Callable[[str], None] = lambda task: None,
        timeout: float = 1800.0,
    ) -> PlayResult:
        """Secrets reach the playbook as variables `secret_NAME` (dashes as underscores). A failed host is in
        the result; raises Unreachable when no host answered, GateHeld when Ansible itself refused to start (its
        words quoted), Interrupted when cancelled."""


@dataclass(frozen=True)
class HttpReply:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Expected:
    """Who must be behind an address: a certificate for `name`, by an authority that this machine trusts or by one of
    `authorities` (PEM)."""

    name: str
    authorities: str = ""


@dataclass(frozen=True)
class Shown:
    """What a server showed: the end of a certificate that holds, or why it does not hold."""

    until: datetime | None
    fault: str = ""


class Http(Protocol):
    def get(self, url: str, *, timeout: float, expected: Expected | None = None) -> HttpReply:
        """Any status is returned; raises Unreachable when there was no reply, or none of who was expected."""

    def certificate(self, address: str, port: int, expected: Expected, *, timeout: float) -> Shown:
        """The certificate of a server; raises Unreachable when it did not show one."""


class Postgresql(Protocol):
    """SQL with one connection a call. Raises Unreachable or Refused."""

    def query(
        self, port: int, database: str, user: str, password: Secret, sql: str, *, timeout: float
    ) -> list[tuple[Any, ...]]:
        """Rows of a query through 127.0.0.1:`port`."""


class Redis(Protocol):
    """Redis through 127.0.0.1:`port`, in the clear or by TLS. Raises Unreachable or Refused."""

    def ping(self, port: int, password: Secret, *, timeout: float, tls: bool = False) -> bool: ...

    def list_length(self, port: int, password: Secret, key: str, *, timeout: float, tls: bool = False) -> int: ...

    def key_count(self, port: int, password: Secret, *, timeout: float, tls: bool = False) -> int: ...

    def info(self, port: int, password: Secret, *, timeout: float, tls: bool = False) -> Mapping[str, Any]:
        """What Redis says of itself (INFO), by name."""


class JourneyRunner(Protocol):
    def walk(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, timeout: float
    ) -> list[CheckResult]:
        """One result a step of the journey; a journey that died or overran its bound ends with a failing one."""
