"""A cluster is rebuilt from the repository as it was at a moment, beside whatever runs, under a name of its own."""

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from migrate.errors import GateHeld, Incomplete, OutsideProblem, Unreachable, UsageProblem
from migrate.inventory import Host, Inventory
from migrate.ports import Completed, Hosts
from migrate.stack import Stack
from migrate.target.repository import (
    KEEPER,
    POSTGRESQL_PORT,
    Backup,
    Holdings,
    as_keeper,
    asked_of_server,
    backup_service,
    kept_services,
    newest_moment,
    repository_of,
    succeeded,
)

CLUSTER = "recovered"
"""Name of the cluster on the scratch host. Nothing else has it, so nothing else can be overwritten."""
DEFAULT_PORT = 5439
CONFIG = "/etc/pgbackrest-recovered.conf"
UNFINISHED = "/var/lib/postgresql/recovered.unfinished"
"""Lies there while a cluster is rebuilt: what an interrupted recovery left is nobody's."""
RESTORE_UNIT = "cloudexit-recovery"
"""The restore has a name, so that one which nobody waits for any more can be seen and stopped."""
LISTENERS = """
own=$(head -n 1 "$2/postmaster.pid" 2>/dev/null || true)
{ ss -Hltnp "sport = :$1"; ss -Hlxp | grep -F ".s.PGSQL.$1 "; } | grep -vF "pid=${own:-none}," || true
"""
"""Who listens on a port, by TCP or by the socket of a PostgreSQL server, but for the server of a folder."""
RESTORE_SECONDS = 24 * 3600.0
REPLAY_SECONDS = 24 * 3600.0
START_SECONDS = 120.0
POLL_SECONDS = 0.5
STEP_BACK = timedelta(seconds=1)
"""pgBackRest tells the end of a backup in whole seconds."""
SPARE = 1.1
ENDED_EARLY = "recovery ended before configured recovery target was reached"
SETTINGS = ("listen_addresses=localhost", "archive_mode=off", "hot_standby=off")
"""Nobody but its host can reach it, and it archives nothing: it is a copy of another cluster's past."""
STATE = """
SELECT json_build_object(
  'newest', extract(epoch FROM pg_last_xact_replay_timestamp()),
  'databases', (SELECT json_object_agg(datname, pg_database_size(oid)) FROM pg_database WHERE NOT datistemplate)
)
"""


@dataclass(frozen=True)
class Recovered:
    """The rebuilt cluster, and what it holds."""

    service: str
    host: str
    port: int
    cluster: str
    backup: str
    asked_for: datetime | None
    newest_commit: datetime | None
    """None where nothing was committed between the backup and the moment."""
    databases: Mapping[str, int] = field(default_factory=dict)
    """Database -> bytes."""
    seconds: float = 0.0

    def as_document(self) -> dict[str, Any]:
        moments = {"asked_for": self.asked_for, "newest_commit": self.newest_commit}
        return {
            **{name: value for name, value in vars(self).items() if name not in moments},
            "seconds": round(self.seconds, 1),
            **{name: moment.isoformat() if moment else None for name, moment in moments.items()},
        }


@dataclass(frozen=True)
class Recovery:
    """Rebuilds clusters on scratch hosts: those that have PostgreSQL and may read the repository."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts
    say: Callable[[str], None] = lambda text: None

    def recover(
        self, service: str, on: str, moment: datetime | None, *, port: int = DEFAULT_PORT, replace: bool = False
    ) -> Recovered:
        """The cluster of `service` as it was at `moment`, or as far as the archive goes, on the host `on`.

        Raises UsageProblem for names that do not fit; GateHeld where the moment cannot be restored, there is no room,
        or something stands in the way; Incomplete, with the cluster standing, where the archive ends before the moment
        and nobody can say that nothing was committed between the two."""
        began = time.monotonic()
        host = self._scratch_host(service, on)
        repository = repository_of(backup_service(self.stack), self.stack, self.inventory, self.hosts)
        holdings = repository.holdings(service)
        backup = backup_before(holdings, moment)
        self._make_room(host, backup, port, replace)
        self._make_cluster(host, backup.version, port)
        self.say(f"restoring {backup.label} on {on}, {backup.bytes:,} bytes")
        reached = self._restored(host, service, backup.version, port, backup, moment)
        state = json.loads(asked_of_server(self.hosts, host, port, STATE))
        newest = datetime.fromtimestamp(state["newest"], UTC) if state["newest"] else None
        found = Recovered(
            service, on, port, f"{backup.version}/{CLUSTER}", backup.label, moment, newest, state["databases"],
            time.monotonic() - began,
        )  # fmt: skip
        self._done(host, ["rm", "-f", UNFINISHED])
        if moment and not reached and not self._is_covered(service, moment):
            raise Incomplete(
                f"the archive ends before the moment: the newest commit in it is of {newest or backup.stopped_at}",
                where=f"{on}: cluster {found.cluster}, port {port}",
                expected=f"everything up to {moment}",
                hint="the cluster stands and holds all there is; what was committed later is not in the repository",
            )
        return found

    def _scratch_host(self, service: str, on: str) -> Host:
        kept = kept_services(self.stack)
        if service not in kept:
            raise UsageProblem(f"no service of kind postgresql is called {service!r}", expected=", ".join(kept))
        keeper = self.inventory.lead(self.stack.services[backup_service(self.stack)].group)
        able = {host.name: host for host in (keeper, *self.inventory.group(kept[service].group))}
        if on not in able:
            raise UsageProblem(
                f"{on!r} can rebuild no cluster", where="--on",
                expected=f"a host with PostgreSQL that may read the repository: {', '.join(able)}",
            )  # fmt: skip
        return able[on]

    def _make_room(self, host: Host, backup: Backup, port: int, replace: bool) -> None:
        version = backup.version
        stands = bool(self.hosts.run(host, ["test", "-e", f"/etc/postgresql/{version}/{CLUSTER}"]))
        if not replace:
            self._refuse_what_is_somebodys(host, version, stands)
        listeners = self.hosts.run(host, ["sh", "-c", LISTENERS, "sh", str(port), _data(version)]).stdout.strip()
        if listeners:
            raise GateHeld(
                f"port {port} is taken: {' '.join(listeners.split())[:300]}", where=host.name,
                expected="a port on which nobody listens", hint="name another one: --port",
            )  # fmt: skip
        self._stop_restore(host)
        self._done(host, ["touch", UNFINISHED])
        if stands:
            self._done(host, ["pg_dropcluster", "--stop", version, CLUSTER])
        there = self.hosts.run(host, ["df", "--output=avail", "--block-size=1", "/var/lib/postgresql"])
        free = int(succeeded(there).stdout.split()[-1])
        if free < backup.bytes * SPARE:
            raise GateHeld(
                f"{free:,} bytes are free under /var/lib/postgresql, and the cluster has {backup.bytes:,}",
                where=host.name, expected="room for a copy of the cluster", hint="name another host: --on",
            )  # fmt: skip

    def _refuse_what_is_somebodys(self, host: Host, version: str, stands: bool) -> None:
        if self._state(host, f"{RESTORE_UNIT}.service") == "active":
            raise GateHeld(
                f"a restore is under way: {RESTORE_UNIT}.service", where=host.name,
                expected="one recovery at a time on a host",
                hint="where nobody waits for it any more: --replace stops it, and begins anew",
            )  # fmt: skip
        if stands and not self.hosts.run(host, ["test", "-e", UNFINISHED]):
            raise GateHeld(
                f"there is a cluster {CLUSTER} already",
                where=host.name,
                expected="none: it is what an earlier recovery left, and may be needed",
                hint=f"with --replace it is dropped; by hand: pg_dropcluster --stop {version} {CLUSTER}",
            )

    def _stop_restore(self, host: Host) -> None:
        self.hosts.run(host, ["systemctl", "stop", f"{RESTORE_UNIT}.service"], timeout=START_SECONDS)

    def _state(self, host: Host, unit: str) -> str:
        return self.hosts.run(host, ["systemctl", "is-active", unit]).stdout.strip()

    def _make_cluster(self, host: Host, version: str, port: int) -> None:
        """Its settings are made anew, since Debian keeps them outside of what is backed up; its data are thrown out."""
        settings = [f"--pgoption={setting}" for setting in SETTINGS]
        name = [version, CLUSTER]
        self._done(host, ["pg_createcluster", "--start-conf=manual", f"--port={port}", *settings, *name])
        self._done(host, ["find", _data(version), "-mindepth", "1", "-delete"])

    def _restored(
        self, host: Host, service: str, version: str, port: int, backup: Backup, moment: datetime | None
    ) -> bool:
        """Restores and replays; whether the replay came to the moment, and not only to the end of the archive."""
        target = ["--type=default"]
        if moment:
            target = ["--type=time", f"--target={moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00"]
        self._restore(host, service, backup, [*target, "--target-action=promote"] if moment else target)
        if self._replayed(host, version, port):
            return True
        self.say("the archive ends before the moment: replaying all of it")
        self._restore(host, service, backup, ["--type=default", "--delta"])
        if not self._replayed(host, version, port):
            raise GateHeld(
                "the archive cannot be replayed to its end", where=host.name, expected="a cluster that starts",
                hint=f"tail /var/log/postgresql/postgresql-{version}-{CLUSTER}.log",
            )  # fmt: skip
        return False

    def _restore(self, host: Host, service: str, backup: Backup, options: list[str]) -> None:
        unit = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit={RESTORE_UNIT}", f"--uid={KEEPER}",
                f"--property=RuntimeMaxSec={RESTORE_SECONDS:.0f}", "--"]  # fmt: skip
        argv = ["pgbackrest", f"--config={CONFIG}", f"--stanza={service}", "--log-level-console=warn",
                f"--set={backup.label}", f"--pg1-path={_data(backup.version)}", "--archive-mode=off", *options,
                "restore"]  # fmt: skip
        try:
            done = self.hosts.run(host, [*unit, *argv], timeout=RESTORE_SECONDS)
        except BaseException:
            with suppress(OutsideProblem):
                self._stop_restore(host)
            raise
        if not done:
            raise _refused(done, "the backup cannot be restored")

    def _replayed(self, host: Host, version: str, port: int) -> bool:
        """Starts the cluster and waits until it is one of its own; False where the archive was too short for that."""
        unit = f"postgresql@{version}-{CLUSTER}.service"
        log = f"/var/log/postgresql/postgresql-{version}-{CLUSTER}.log"
        read = int(self.hosts.run(host, ["stat", "--format=%s", log]).stdout or 0)
        self._done(host, ["systemctl", "restart", "--no-block", unit])
        asked = ["psql", "-X", "-At", "-p", str(port), "-d", "postgres", "-c",
                 "SELECT current_setting('data_directory'), pg_is_in_recovery()"]  # fmt: skip
        began = time.monotonic()
        while time.monotonic() - began < REPLAY_SECONDS:
            state = self._state(host, unit)
            if state == "active" and as_keeper(self.hosts, host, asked).stdout.strip() == f"{_data(version)}|f":
                return True
            said = self.hosts.run(host, ["tail", f"--bytes=+{read + 1}", log]).stdout
            if ENDED_EARLY in said:
                self.hosts.run(host, ["systemctl", "stop", unit], timeout=START_SECONDS)
                return False
            if state in ("failed", "inactive") and time.monotonic() - began > POLL_SECONDS * 4:
                fatal = re.findall(r"(?:FATAL|PANIC|ERROR):\s+(.*)", said)
                raise GateHeld(
                    f"the restored cluster does not start: {fatal[-1] if fatal else said[-300:]}",
                    where=host.name, expected="WAL to be replayed", hint=f"look at: journalctl -u {unit}",
                )  # fmt: skip
            time.sleep(POLL_SECONDS)
        raise Unreachable(f"the replay took more than {REPLAY_SECONDS / 3600:.0f} h", where=host.name)

    def _is_covered(self, service: str, moment: datetime) -> bool:
        """Whether the server that takes writes says that all up to the moment is archived: then there was no more."""
        found = kept_services(self.stack)[service]
        try:
            newest = newest_moment(self.hosts, self.inventory.lead(found.group), found.port or POSTGRESQL_PORT)
        except OutsideProblem:
            return False
        return newest.moment is not None and newest.moment >= moment

    def _done(self, host: Host, command: list[str]) -> None:
        done = self.hosts.run(host, command, timeout=START_SECONDS)
        if not done:
            raise _refused(done, f"{command[0]} failed")


def backup_before(holdings: Holdings, moment: datetime | None) -> Backup:
    """The newest backup from which a moment can be reached; raises GateHeld where there is none."""
    if not holdings.backups:
        raise GateHeld("there is no backup", where=holdings.stanza, expected="one full backup at least")
    if moment is None:
        return holdings.backups[-1]
    before = [backup for backup in holdings.backups if backup.stopped_at + STEP_BACK <= moment]
    if not before:
        raise GateHeld(
            f"the oldest backup was made after that moment, at {holdings.backups[0].stopped_at}",
            where=holdings.stanza,
            expected="a moment after the end of a backup",
        )
    return before[-1]


def _data(version: str) -> str:
    return f"/var/lib/postgresql/{version}/{CLUSTER}"


def _refused(done: Completed, what: str) -> GateHeld:
    said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.exit_status}")[-600:]
    return GateHeld(f"{what}: {said}", where=done.host, expected="it to succeed", hint="mend what it says, run again")
