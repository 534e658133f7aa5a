"""What the repository of backups holds, asked where it is; and what of the newest changes has not come to it yet.

Nothing here is guessed: who cannot be asked raises Unreachable or Refused, and what makes no sense OutsideProblem.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from migrate.errors import OutsideProblem, UsageProblem
from migrate.inventory import Host, Inventory
from migrate.ports import Completed, Hosts
from migrate.stack import Service, ServiceKind, Stack

KEEPER = "postgres"
"""System user that PostgreSQL and pgBackRest run as."""
ASK_SECONDS = 60.0
POSTGRESQL_PORT = 5432
SWITCH_SLACK = 5.0
"""The server looks after `archive_timeout` between other work, not to the second."""
SEGMENT = re.compile("[0-9A-F]{24}")

ARCHIVE_STATE = """
SELECT json_build_object(
  'now', extract(epoch FROM now()),
  'archives', current_setting('archive_mode') <> 'off',
  'in_recovery', pg_is_in_recovery(),
  'began', (SELECT extract(epoch FROM backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer'),
  'timeout', (SELECT setting::int FROM pg_settings WHERE name = 'archive_timeout'),
  'last', s.last_archived_wal,
  'last_ended_at', (SELECT extract(epoch FROM max(modification)) FROM pg_ls_archive_statusdir()
                    WHERE name ~ '^[0-9A-F]{24}[.]done$'),
  'waiting', (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  'waiting_since', (SELECT extract(epoch FROM min(modification)) FROM pg_ls_archive_statusdir()
                    WHERE name LIKE '%.ready')
) FROM pg_stat_archiver s
"""


@dataclass(frozen=True)
class Backup:
    """One backup of the repository."""

    label: str
    kind: str
    """`full`, `diff` or `incr`."""
    stopped_at: datetime
    """From this moment on it can be restored to any moment."""
    bytes: int
    """Size of the cluster that it restores to."""
    version: str
    """Major version of the server whose cluster it is of."""
    is_current: bool = True
    """Whether it is of the cluster that is kept now, and not of one before an upgrade."""


@dataclass(frozen=True)
class Holdings:
    """What the repository holds of one stanza."""

    stanza: str
    backups: tuple[Backup, ...]
    newest_wal: str
    """Name of the newest segment of WAL of the cluster that is kept now; empty where there is none."""
    fault: str = ""
    """What pgBackRest says is wrong with it."""

    @property
    def newest_full(self) -> Backup | None:
        return next((one for one in reversed(self.backups) if one.kind == "full" and one.is_current), None)


@dataclass(frozen=True)
class NewestMoment:
    """Up to when everything that was committed has come to the repository, by the server that takes writes."""

    moment: datetime | None
    asked_at: datetime
    waiting: int
    segment: str

    @property
    def behind(self) -> timedelta | None:
        return self.asked_at - self.moment if self.moment else None


@dataclass(frozen=True)
class Repository:
    """The repository of a service of kind `backup`."""

    hosts: Hosts
    host: Host

    def holdings(self, stanza: str) -> Holdings:
        return read_holdings(self.pgbackrest(stanza, "info", "--output=json").stdout, stanza)

    def pgbackrest(self, stanza: str, command: str, *options: str, timeout: float = ASK_SECONDS) -> Completed:
        """Runs pgBackRest there. Raises OutsideProblem with its own words where it fails."""
        argv = ["pgbackrest", f"--stanza={stanza}", "--log-level-console=warn", *options, command]
        return succeeded(as_keeper(self.hosts, self.host, argv, timeout=timeout))


def as_keeper(
    hosts: Hosts, host: Host, command: Sequence[str], *, stdin: str = "", timeout: float = ASK_SECONDS
) -> Completed:
    """A command as PostgreSQL's own user, in a folder that it may be in."""
    argv = ["env", "--chdir=/", *command]
    return hosts.run(host, argv, stdin=stdin.encode(), timeout=timeout, as_user=KEEPER)


def succeeded(done: Completed) -> Completed:
    if not done:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.exit_status}").splitlines()
        raise OutsideProblem("; ".join(said[:4]), where=done.host)
    return done


def asked_of_server(hosts: Hosts, host: Host, port: int, query: str, *, timeout: float = ASK_SECONDS) -> str:
    """The first value of a query, as the superuser of the server on a host. Raises OutsideProblem."""
    argv = ["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-p", str(port), "-d", "postgres", "-f", "-"]
    return succeeded(as_keeper(hosts, host, argv, stdin=query, timeout=timeout)).stdout.strip()


def read_holdings(info: str, stanza: str) -> Holdings:
    """From the JSON of `pgbackrest info`."""
    try:
        [found] = [entry for entry in json.loads(info) if entry["name"] == stanza]
        code = found["status"]["code"]
        versions = {cluster["id"]: str(cluster["version"]) for cluster in found["db"]}
        backups = tuple(_backup(entry, versions) for entry in found["backup"] if not entry.get("error"))
        newest_wal = (found["archive"][-1]["max"] or "") if found["archive"] else ""
    except (ValueError, LookupError, TypeError) as fault:
        raise OutsideProblem(f"pgbackrest info makes no sense: {fault}: {info[:200]}") from fault
    return Holdings(stanza, backups, newest_wal, "" if code == 0 else str(found["status"]["message"]))


def _backup(entry: Mapping[str, Any], versions: Mapping[int, str]) -> Backup:
    """`versions`: major version by the number of a cluster, of which the highest is the one that is kept now."""
    cluster = entry["database"]["id"]
    stopped = datetime.fromtimestamp(entry["timestamp"]["stop"], UTC)
    return Backup(
        entry["label"], entry["type"], stopped, entry["info"]["size"], versions[cluster], cluster == max(versions)
    )


def newest_moment(hosts: Hosts, host: Host, port: int) -> NewestMoment:
    """Asks the server that takes writes."""
    return read_newest_moment(asked_of_server(hosts, host, port, ARCHIVE_STATE), host.name)


def read_newest_moment(answer: str, where: str = "") -> NewestMoment:
    """Everything committed before this moment is archived: what stood in the last archived segment, and what is older
    than anything that waits can be. A segment goes when it is full, and after `archive_timeout` where something is in
    it: what it holds is at most so much older than its end, or than now where it has not ended yet. A server that has
    just begun, after a stop or a crash, does not count what it wrote before: that is sure from the next segment on."""
    state = json.loads(answer)
    if state["in_recovery"] or not state["archives"]:
        why = "it is a standby" if state["in_recovery"] else "archive_mode is off"
        raise OutsideProblem(f"this server archives nothing: {why}", where=where)
    segment = SEGMENT.match(state["last"] or "")
    last_ended = state["last_ended_at"] or 0.0
    certain = [last_ended] if last_ended else []
    if state["timeout"] and last_ended >= state["began"]:
        first_end = state["waiting_since"] if state["waiting"] else state["now"]
        certain.append(first_end - state["timeout"] - SWITCH_SLACK)
    return NewestMoment(
        datetime.fromtimestamp(max(certain), UTC) if certain else None,
        datetime.fromtimestamp(state["now"], UTC),
        state["waiting"],
        segment.group() if segment else "",
    )


def repository_of(service: str, stack: Stack, inventory: Inventory, hosts: Hosts) -> Repository:
    """The repository of a service of kind `backup`."""
    return Repository(hosts, inventory.lead(stack.services[service].group))


def backup_service(stack: Stack) -> str:
    """Name of the service that keeps backups; raises UsageProblem where the home has none."""
    found = [name for name, service in stack.services.items() if service.kind is ServiceKind.BACKUP]
    if not found:
        raise UsageProblem(
            "nothing keeps backups",
            expected="a service of kind backup in the manifest, and a host of the inventory in its group",
        )
    return found[0]


def kept_services(stack: Stack) -> dict[str, Service]:
    """The services whose clusters are kept; each is a stanza of its name."""
    return {name: s for name, s in stack.services.items() if s.kind is ServiceKind.POSTGRESQL}
