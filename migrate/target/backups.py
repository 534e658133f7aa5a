"""Backups of the new home: the first of its own, and what must hold of them from then on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, ChecksHeld, Verdict
from migrate.errors import OutsideProblem
from migrate.inventory import Host, Inventory
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.servicechecks import BackupCheck
from migrate.stack import Service, Stack
from migrate.target.repository import (
    POSTGRESQL_PORT,
    Holdings,
    NewestMoment,
    Repository,
    backup_service,
    kept_services,
    newest_moment,
    repository_of,
)

BACKUP_SECONDS = 24 * 3600.0
VERIFIED = ["systemctl", "show", "pgbackrest-verify.service", "--property=Result", "--value"]
HINT = "journalctl -u pgbackrest-backup@full.service; on the database host: journalctl -u 'postgresql@*'"


@dataclass(frozen=True)
class FirstBackup:
    """Makes the first full backup of every cluster that the service `step.subject` keeps, once it is proved."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """`pass` when the repository has a full backup of each, made by this home."""
        repository = repository_of(step.subject, self.stack, self.inventory, self.hosts)
        there = all(repository.holdings(stanza).newest_full for stanza in kept_services(self.stack))
        return Verdict.PASS if there else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises ChecksHeld where a backup cannot be made, with what pgBackRest says."""
        repository = repository_of(step.subject, self.stack, self.inventory, self.hosts)
        made: dict[str, str] = {}
        for stanza in kept_services(self.stack):
            if repository.holdings(stanza).newest_full:
                continue
            context.progress({"backing up": stanza})
            try:
                repository.pgbackrest(stanza, "backup", "--type=full", timeout=BACKUP_SECONDS)
                made[stanza] = getattr(repository.holdings(stanza).newest_full, "label", "")
            except OutsideProblem as problem:
                failure = CheckResult(
                    f"{stanza}: first backup", Verdict.FAIL, problem.what, HINT, host=repository.host.name
                )
                raise ChecksHeld("no backup can be made", [failure]) from problem
        return Outcome({"backups": made})


@dataclass(frozen=True)
class BackupsAsked:
    """Evaluates a BackupCheck. `unknown` is said where somebody could not be asked."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts

    def verdict(self, check: BackupCheck) -> tuple[Verdict, str]:
        """The verdict, and what it rests on: every moment is said."""
        repository = repository_of(backup_service(self.stack), self.stack, self.inventory, self.hosts)
        faults: list[str] = []
        good: list[str] = []
        try:
            for stanza, service in kept_services(self.stack).items():
                for fault, words in self._looked(check, repository, stanza, service):
                    (faults if fault else good).append(f"{stanza}: {words}")
        except OutsideProblem as problem:
            if not faults:
                return Verdict.UNKNOWN, f"{problem.where}: {problem.what}" if problem.where else problem.what
        return (Verdict.FAIL, "; ".join(faults)) if faults else (Verdict.PASS, "; ".join(good))

    def _looked(
        self, check: BackupCheck, repository: Repository, stanza: str, service: Service
    ) -> Iterator[tuple[bool, str]]:
        if check.apart:
            yield stands_apart(repository.host, self.inventory.group(service.group))
        if not (check.full_within or check.newest_moment_within):
            return
        holdings = repository.holdings(stanza)
        if holdings.fault:
            yield True, f"the repository says: {holdings.fault}"
        if check.full_within:
            yield full_backup_is_young(holdings, timedelta(seconds=check.full_within), datetime.now(UTC))
            said = self.hosts.run(repository.host, VERIFIED).stdout.strip()
            yield said != "success", f"last verification: {said}"
        if check.newest_moment_within:
            lead = self.inventory.lead(service.group)
            moment = newest_moment(self.hosts, lead, service.port or POSTGRESQL_PORT)
            yield moment_is_young(moment, holdings, timedelta(seconds=check.newest_moment_within))


def stands_apart(repository: Host, kept: list[Host]) -> tuple[bool, str]:
    """Whether a fault is found, and the words for it."""
    if repository.name in [host.name for host in kept]:
        return True, f"the only backups lie on {repository.name}, the machine that they are copies of: they go with it"
    return False, f"kept on {repository.name}, apart from {', '.join(host.name for host in kept)}"


def full_backup_is_young(holdings: Holdings, within: timedelta, now: datetime) -> tuple[bool, str]:
    newest = holdings.newest_full
    if newest is None:
        return True, "no full backup"
    words = f"full backup of {_shown(newest.stopped_at)}"
    return (True, f"{words}, older than {within}") if now - newest.stopped_at > within else (False, words)


def moment_is_young(found: NewestMoment, holdings: Holdings, within: timedelta) -> tuple[bool, str]:
    """The server's word counts only as far as the repository bears it out."""
    if found.moment is None or found.behind is None or holdings.newest_full is None:
        return True, "no moment can be restored yet"
    if found.segment[-16:] > holdings.newest_wal[-16:]:
        there = holdings.newest_wal or "none"
        return True, f"{found.segment} is archived, says the server; the newest in the repository: {there}"
    words = f"restorable up to {_shown(found.moment)}"
    if found.behind > within:
        waiting = f", {found.waiting} segments of WAL wait" if found.waiting else ""
        return True, f"{words}, {found.behind.total_seconds():,.0f} s back{waiting}"
    return False, words


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="seconds")
