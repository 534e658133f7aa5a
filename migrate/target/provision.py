"""Provision: the playbooks make the hosts ready, and a second run proves that nothing was left to change."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import CloudexitError, GateHeld, Unreachable
from migrate.inventory import Host, Inventory
from migrate.plan import Step, digest_of
from migrate.ports import Hosts, Playbooks, PlayResult
from migrate.secret import Secrets
from migrate.stack import ServiceKind, Stack
from migrate.target.checks import ServiceChecks
from migrate.target.cloning import seconds_for_copies
from migrate.target.duerestarts import DueRestarts, processes_of, services_due
from migrate.target.leadership import hold_leads
from migrate.target.livesecrets import differing, fingerprints, hold_backups, hold_others
from migrate.target.playbooks import playbooks_digest, playbooks_folder
from migrate.target.restarting import DUE
from migrate.target.sidebyside import answers_and_faults, answers_and_faults_of, on_every_host
from migrate.target.variables import ProvisionVariables, provision_variables

MARKER = "/etc/cloudexit/provisioned"
UNFINISHED = "/etc/cloudexit/unfinished"
"""There from the beginning of a run on a host until all that it changed there was taken up."""
BOOT_ID = "/proc/sys/kernel/random/boot_id"
LOOK = f"""
cat {BOOT_ID}; cat {MARKER} 2>/dev/null || echo; ls {UNFINISHED} 2>/dev/null
cd {DUE} 2>/dev/null || exit 0
for unit in *; do
  [ ! -e "$unit" ] || case $(systemctl is-active "$unit") in inactive | failed) ;; *) echo "due $unit" ;; esac
done
"""
"""What does not run starts with the files that are there, whoever starts it."""
PROVISION_SECONDS = 1800.0
"""Without the copies of databases, whose bound hangs on their size."""
ANSWER_SECONDS = 20.0
ROTATE = (
    "use the state folder of that provision (--state); where they were changed on purpose: cloudexit provision "
    "--rotate-secrets"
)


@dataclass(frozen=True)
class Marks:
    """What shows on a host whether it is the one that was provisioned, and with what."""

    marker: str
    boot_id: str
    secrets: str = ""
    """`name=fingerprint` of each secret that the host was given, joined by commas."""
    unfinished: bool = False
    """Whether a run was broken off: services may live with what stood in their files before it."""
    due: str = ""
    """Units that live with other files than they started with, with spaces between."""


def marks(hosts: Hosts, host: Host) -> Marks:
    """Marker and boot id of a host; the marker is empty where it was never provisioned to the end."""
    lines = hosts.run(host, ["sh", "-c", LOOK], timeout=20.0).stdout.splitlines()
    boot_id, marker, *more = *lines, "", ""
    digest, secrets = (*marker.split(), "", "")[:2]
    due = [line.removeprefix("due ") for line in more if line.startswith("due ")]
    return Marks(digest, boot_id, secrets, UNFINISHED in more, " ".join(due))


def told_to_playbook(stack: Stack, inventory: Inventory, secrets: Secrets) -> tuple[ProvisionVariables, str]:
    """What provision.yml is told, and the digest over it and the playbooks. Raises UsageProblem."""
    told = provision_variables(stack, inventory, secrets)
    return told, digest_of({"playbooks": playbooks_digest(playbooks_folder()), "told": told.digest})


def mark_of(digest: str, stack: Stack, secrets: Secrets) -> str:
    """What a provisioned host bears as its mark."""
    return f"{digest} {fingerprints(stack, secrets)}"


@dataclass(frozen=True)
class Narrowed:
    """A run of the playbooks on some hosts only, and with something more that they are told."""

    hosts: tuple[str, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)


class _Provisioning:
    def __init__(
        self, hosts: Hosts, playbooks: Playbooks, stack: Stack, inventory: Inventory, secrets: Secrets,
        narrowed: Narrowed | None = None,
    ) -> None:  # fmt: skip
        self.narrowed = narrowed or Narrowed(tuple(inventory.hosts))
        """What the others are told of these hosts is the same as ever: only the run is narrower."""
        self.reached = replace(
            inventory, hosts={name: host for name, host in inventory.hosts.items() if name in self.narrowed.hosts}
        )
        self.hosts = hosts
        self.playbooks = playbooks
        self.stack = stack
        self.inventory = inventory
        self.secrets = secrets

    def variables(self) -> tuple[ProvisionVariables, str]:
        return told_to_playbook(self.stack, self.inventory, self.secrets)

    def play(self, context: StepContext, **more: Any) -> tuple[PlayResult, str]:
        told, marker = self.variables()
        anyway = self.narrowed.variables.get("cloudexit_clone", ())
        copying = seconds_for_copies(self.hosts, self.stack, self.inventory, self.narrowed.hosts, anyway)
        result = self.playbooks.run(
            playbooks_folder() / "provision.yml",
            self.inventory,
            variables={
                **told.variables,
                "cloudexit_marker": mark_of(marker, self.stack, self.secrets),
                **self.narrowed.variables,
                **({"cloudexit_clone_seconds": copying} if copying else {}),
                **more,
            },
            secrets=told.secrets,
            limit=list(self.reached.hosts),
            cancelled=context.cancelled,
            on_task=lambda task: context.progress({"task": task}),
            timeout=PROVISION_SECONDS + copying,
        )
        return result, marker

    def observe(self) -> dict[str, Marks]:
        return on_every_host(self.reached, lambda host: marks(self.hosts, host))


class Provision(_Provisioning):
    """Makes every host ready. It is there when the mark on every host names these playbooks and these variables, and
    every process that runs has taken them up."""

    def __init__(
        self, hosts: Hosts, playbooks: Playbooks, stack: Stack, inventory: Inventory, secrets: Secrets,
        checks: ServiceChecks, who: str,
        *, rotate_secrets: bool = False, play_anyway: bool = False, narrowed: Narrowed | None = None,
    ) -> None:  # fmt: skip
        """`checks` are the gates of what is restarted, `who` tells one operator's state folder from another's.
        `rotate_secrets`: hosts that live with other secrets are given these. `play_anyway`: marks are no reason to
        leave it out; what was done to a host by hand does not show in them."""
        super().__init__(hosts, playbooks, stack, inventory, secrets, narrowed)
        self.restarts = DueRestarts(hosts, stack, inventory, checks, who)
        self.rotate_secrets = rotate_secrets
        self._is_due = play_anyway

    def verify(self, step: Step, context: StepContext) -> Verdict:
        if self._is_due:
            return Verdict.UNKNOWN
        _, marker = self.variables()
        found = self.observe()
        there = all(one.marker == marker and not one.unfinished for one in found.values()) and not self._due(found)
        return Verdict.PASS if there else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where a task failed, Unreachable where a host did not answer, both with the other hosts'
        names, and what DueRestarts raises. What runs takes up what was written for it even where the play failed."""
        rotating = self.hold_secrets(ROTATE)
        hold_leads(self.stack, self.inventory, self.hosts, self.narrowed.variables.get("cloudexit_clone", ()))
        result, marker = self.play(context, **({"cloudexit_rotating": self._stores()} if rotating else {}))
        result = with_lost_hosts(result, self.hosts, self.reached)
        fault = fault_of(result)
        try:
            restarted = self._take_up(result, context)
        except CloudexitError as held:
            if fault:  # is not hidden by what came after it
                held.what = f"{held.what}; before that, {fault.what}"
            raise
        if fault:
            raise fault
        self._is_due = False
        return Outcome({"marker": marker, **restarted, **play_document(result)})

    def _take_up(self, result: PlayResult, context: StepContext) -> dict[str, Any]:
        """Restarts what is due on the hosts that answer. Where nothing is, each is asked for that and no more."""
        lost = {name for name, play in result.hosts.items() if play.unreachable}
        asked = [h for name, h in self.reached.hosts.items() if name not in lost and processes_of(self.stack, h)]
        found, faults = answers_and_faults_of(asked, lambda host: marks(self.hosts, host))
        due = self._due(found)
        seconds = self.restarts.restart(due, context) if due else {}
        for fault in faults.values():
            raise fault
        return restarts_document(seconds)

    def _due(self, found: Mapping[str, Marks]) -> dict[str, list[str]]:
        """Host -> services that are due there."""
        units = {name: one.due.split() for name, one in found.items() if one.due}
        due = {name: services_due(self.stack, self.reached.hosts[name], those) for name, those in units.items()}
        return {name: services for name, services in due.items() if services}

    def hold_secrets(self, hint: str) -> bool:
        """Raises GateHeld, with `hint`, where hosts live with other secrets and are not to get these. Says whether any
        host is to get another one than it lives with. Hosts that do not answer are left to the play."""
        found, _ = answers_and_faults(self.reached, lambda host: marks(self.hosts, host))
        theirs = {host: there.secrets for host, there in found.items()}
        differences = differing(fingerprints(self.stack, self.secrets), theirs)
        hold_backups(self.stack, self.inventory, differences)
        if not self.rotate_secrets:
            hold_others(differences, hint)
        return bool(differences)

    def _stores(self) -> list[str]:
        """Hosts whose accounts the app signs in with: while they have the old secrets, so must the app."""
        kinds = (ServiceKind.POSTGRESQL, ServiceKind.REDIS, ServiceKind.MEDIA)
        return sorted({self.inventory.lead(s.group).name for s in self.stack.services.values() if s.kind in kinds})


class ProvisionDrift(_Provisioning):
    """Runs the playbooks once more: they must find nothing to change. Proved for as long as no host boots anew."""

    def verify(self, step: Step, context: StepContext) -> Verdict:
        if not context.previous:
            return Verdict.UNKNOWN
        found = {name: vars(host) for name, host in self.observe().items()}
        return Verdict.PASS if context.previous.get("hosts_proved") == found else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld with the tasks that changed something, and on what host."""
        result, _ = self.play(context)
        raise_unless_good(with_lost_hosts(result, self.hosts, self.reached))
        if result.changed:
            drifted = {play.host: play.changed_tasks for play in result.hosts.values() if play.changed}
            raise GateHeld(
                "a second provision still changed something: "
                + "; ".join(f"{host}: {', '.join(tasks)}" for host, tasks in drifted.items()),
                where=", ".join(drifted),
                expected="0 changed tasks",
                hint="something on the host undoes what the playbooks do, or a role is not idempotent",
            )
        proved = {name: vars(host) for name, host in self.observe().items()}
        return Outcome({"hosts_proved": proved, **play_document(result)})


def with_lost_hosts(result: PlayResult, hosts: Hosts, inventory: Inventory) -> PlayResult:
    """The result, where a host that failed and does not answer any more counts as unreachable. To Ansible, a module
    that ends because its host goes down has failed."""
    failed = {name: inventory.hosts[name] for name, play in result.hosts.items() if play.failed}
    if not failed:
        return result
    asked = replace(inventory, hosts=failed)
    _, silent = answers_and_faults(asked, lambda host: hosts.run(host, ["true"], timeout=ANSWER_SECONDS))
    lost = {
        name: replace(result.hosts[name], unreachable=True, failure=f"{fault.what}, after {result.hosts[name].failure}")
        for name, fault in silent.items()
        if isinstance(fault, Unreachable)
    }
    return replace(result, hosts={**result.hosts, **lost})


def raise_unless_good(result: PlayResult) -> None:
    """Raises Unreachable (a host did not answer) or GateHeld (a task failed), with how it went on the other hosts."""
    fault = fault_of(result)
    if fault:
        raise fault


def fault_of(result: PlayResult) -> CloudexitError | None:
    """What is to be raised for it, if anything."""
    if result:
        return None
    silent = [play for play in result.hosts.values() if play.unreachable]
    failed = [play for play in result.hosts.values() if play.failed and not play.unreachable]
    good = [play.host for play in result.hosts.values() if not play.failed and not play.unreachable]
    words = "; ".join(f"{play.host}: {play.failure}" for play in (*silent, *failed))
    rest = f" (went through on: {', '.join(good)})" if good else ""
    where = ", ".join(play.host for play in (*silent, *failed))
    if silent:
        return Unreachable(
            f"{words}{rest}", where=where, hint="mend the way to the host, then run the same command again"
        )
    return GateHeld(
        f"{words}{rest}",
        where=where,
        expected=f"every task of {result.playbook} to succeed",
        hint="mend what the task names, then run the same command again: it goes on from there",
    )


def restarts_document(seconds: Mapping[str, float]) -> dict[str, Any]:
    """Seconds of each host whose processes were restarted, and the same as words for the step's line."""
    if not seconds:
        return {}
    words = ", ".join(f"{name} {taken:.0f} s" for name, taken in seconds.items())
    return {"restarted": words, "restarts": {name: {"seconds": round(taken, 2)} for name, taken in seconds.items()}}


def play_document(result: PlayResult) -> dict[str, Any]:
    """What a report tells of a playbook run."""
    return {
        "seconds": result.seconds,
        "changed": result.changed,
        "role_seconds": dict(result.role_seconds),
        "hosts": {name: _host_document(vars(play)) for name, play in result.hosts.items()},
    }


def _host_document(play: Mapping[str, Any]) -> dict[str, Any]:
    return {key: play[key] for key in ("ok", "changed", "failed")}
