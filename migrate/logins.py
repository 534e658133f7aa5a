"""Who may sign in to a host, as an inventory says it in `cloudexit_users`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

USERS = "cloudexit_users"
NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
PUBLIC_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r" AAAA[A-Za-z0-9+/]+={0,3}( [^\r\n]*)?"
)
NOT_PEOPLE = frozenset({"root", "postgres", "redis", "media", "www-data", "sshd", "nobody", "daemon", "_chrony"})
"""Accounts that belong to the system or to a service of the new home."""
FIELDS = {"name", "keys", "sudo", "state"}
EXPECTED = "a list of {name: ada, keys: ['ssh-ed25519 AAAA… ada'], sudo: true}, or {name: ada, state: absent}"


@dataclass(frozen=True)
class Login:
    """An account of a person. One that is `absent` is taken away, its home is left."""

    name: str
    keys: tuple[str, ...] = ()
    sudo: bool = False
    absent: bool = False


def logins_of(value: object) -> tuple[Login, ...]:
    """The accounts that a value of `cloudexit_users` names; the value must be without faults."""
    entries: list[dict[str, Any]] = value if isinstance(value, list) else []
    return tuple(
        Login(
            str(entry["name"]), tuple(entry.get("keys") or ()), bool(entry.get("sudo")), entry.get("state") == "absent"
        )
        for entry in entries
    )


def login_faults(value: object, operator: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a value of `cloudexit_users`, and what was expected. `operator`: whom the inventory signs in
    as, whose own way in must stay."""
    if not isinstance(value, list):
        yield "not a list of users", EXPECTED
        return
    names: set[object] = set()
    for entry in value:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            yield f"not a user: {entry!r}", EXPECTED
            continue
        if entry["name"] in names:
            yield f"the user {entry['name']!r} is named twice", "each user once"
        names.add(entry["name"])
        yield from _faults_of_one(entry, operator)


def _faults_of_one(entry: dict[str, Any], operator: str) -> Iterator[tuple[str, str]]:
    name = entry["name"]
    if not NAME.fullmatch(name):
        yield f"no name for a user: {name!r}", "a-z, 0-9, _ and -, at most 32, not a digit first"
    if name in NOT_PEOPLE:
        yield f"{name!r} is an account of the system", "people under names of their own, with `sudo: true` for root"
    unknown = sorted(map(str, set(entry) - FIELDS))
    if unknown:
        yield f"unknown field of the user {name!r}: {', '.join(unknown)}", ", ".join(sorted(FIELDS))
    if not isinstance(entry.get("sudo", False), bool):
        yield f"`sudo` of {name!r} is {entry['sudo']!r}", "true or false"
    state = entry.get("state", "present")
    if state not in ("present", "absent"):
        yield f"`state` of {name!r} is {state!r}", "present or absent"
    if state == "absent" and name == operator:
        yield f"{name!r} is whom this inventory signs in as", "another ansible_user before this account goes"
    yield from _faults_of_keys(name, entry.get("keys"), state)


def _faults_of_keys(name: str, keys: object, state: object) -> Iterator[tuple[str, str]]:
    if state == "absent" and keys is None:
        return
    if not isinstance(keys, list) or not keys:
        yield f"the user {name!r} has no keys", "at least one public key: nobody signs in by password"
        return
    for key in keys:
        if not isinstance(key, str) or not PUBLIC_KEY.fullmatch(key):
            yield f"no public key of {name!r}: {_shown(key)}", "one line of a .pub file: ssh-ed25519 AAAA… comment"


def _shown(key: object) -> str:
    """Enough to find it; a private key that was put here by mistake must not be printed."""
    return repr(str(key)[:24] + "…")
