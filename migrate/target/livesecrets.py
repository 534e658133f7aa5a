"""Secrets that hosts live with, held against those that they are to get: none is replaced in silence, and the one that
backups are encrypted with never."""

import hashlib
from collections.abc import Collection, Mapping

from migrate.errors import GateHeld
from migrate.inventory import Inventory
from migrate.secret import Secrets
from migrate.stack import ServiceKind, Stack
from migrate.target.ownsecrets import BACKUP

BACKUP_SETTINGS = "/etc/pgbackrest.conf"


def fingerprints(stack: Stack, secrets: Secrets) -> str:
    """`name=digest` of each secret, slow to guess (scrypt) and too short to be of use: enough to see a change."""
    salt = f"cloudexit {stack.name}".encode()
    digests = {
        name: hashlib.scrypt(secret.reveal().encode(), salt=salt, n=2**12, r=8, p=1, dklen=6).hex()
        for name, secret in secrets.items()
    }
    return ",".join(f"{name}={digest}" for name, digest in sorted(digests.items()))


def differing(ours: str, of_hosts: Mapping[str, str]) -> dict[str, list[str]]:
    """Host -> secrets of which it has another value, by fingerprints; without hosts that have none such."""
    known = _named(ours)
    found = {
        host: [name for name, digest in _named(theirs).items() if known.get(name, digest) != digest]
        for host, theirs in of_hosts.items()
    }
    return {host: names for host, names in found.items() if names}


def hold_backups(stack: Stack, inventory: Inventory, differences: Mapping[str, Collection[str]]) -> None:
    """Raises GateHeld where a repository would be given another pass than the one that its backups were made with."""
    keepers = [
        host.name
        for service in stack.services.values()
        if service.kind is ServiceKind.BACKUP
        for host in inventory.group(service.group)
    ]
    if not keepers or not any(BACKUP in names for names in differences.values()):
        return
    where = f"{BACKUP_SETTINGS} on {', '.join(keepers)}"
    raise GateHeld(
        f"the backups are encrypted with another {BACKUP} than this state folder holds",
        where=f"{keepers[0]}:{BACKUP_SETTINGS}",
        expected="the one that the repository was begun with: with any other, every backup in it is noise",
        hint=f"it stands behind repo1-cipher-pass in {where}: give it as {BACKUP.upper()} in the environment, or as "
        f"{BACKUP} in secrets.vault.yml or the state folder's secrets.json, then run the same command again",
    )


def hold_others(differences: Mapping[str, Collection[str]], hint: str) -> None:
    """Raises GateHeld for a host that lives with other secrets: its app would be locked out."""
    for host, names in differences.items():
        raise GateHeld(
            f"the host lives with other secrets than this state folder holds: {', '.join(names)}",
            where=host,
            expected="the secrets that it was provisioned with",
            hint=hint,
        )


def _named(fingerprints_of_secrets: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in fingerprints_of_secrets.split(",") if "=" in part)
