"""Hosts that hand each other a database's files must be of one release of Debian. Pure, no I/O.

A cluster is read by its own version of PostgreSQL alone, pgBackRest speaks to its own version alone, and the order of
texts in an index follows the C library."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from migrate.check import CheckResult, Verdict
from migrate.inventory import Inventory
from migrate.stack import ServiceKind, Stack

OPERATING_SYSTEM = "operating-system"
RELEASE = "release"
"""Of a check OPERATING_SYSTEM: the fact that it rests on."""


def held_to_one_release(stack: Stack, inventory: Inventory, checks: Sequence[CheckResult]) -> Iterator[CheckResult]:
    """The same checks; OPERATING_SYSTEM fails on hosts of another release than the one that leads their database."""
    releases = {check.host: check.facts[RELEASE] for check in checks if check.name == OPERATING_SYSTEM}
    leads = _leads(stack, inventory)
    for check in checks:
        lead = leads.get(check.host, check.host)
        if check.name != OPERATING_SYSTEM or releases.get(lead, releases[check.host]) == releases[check.host]:
            yield check
        else:
            detail = f"{check.detail}; {lead}, which leads the database, has Debian {releases[lead]}"
            hint = "install the same release on all hosts of the database and of its backups"
            yield replace(check, verdict=Verdict.FAIL, detail=detail, hint=hint)


def _leads(stack: Stack, inventory: Inventory) -> dict[str, str]:
    """Host -> the one that it gets data of: with a repository of backups all of them meet there."""
    groups = [inventory.group(service.group) for service in stack.services.values()
              if service.kind is ServiceKind.POSTGRESQL]  # fmt: skip
    keepers = [host for service in stack.services.values() if service.kind is ServiceKind.BACKUP
               for host in inventory.group(service.group)]  # fmt: skip
    if keepers and groups:
        groups = [[host for group in [*groups, keepers] for host in group]]
    return {host.name: group[0].name for group in groups for host in group}
