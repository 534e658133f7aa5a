"""Who may read and list a bucket, by its policy, its ACL and its public access block. Pure; documents in, words out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

EVERYONE = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
"""Groups that anybody belongs to; the second one needs any account at all."""
FORGEABLE = frozenset({"aws:referer", "aws:useragent"})
"""Conditions that the asker can fulfil by himself: they keep nobody out."""
READ, LIST, WRITE = "s3:GetObject", "s3:ListBucket", "s3:PutObject"
GRANTED = {"READ": {LIST}, "WRITE": {WRITE}, "FULL_CONTROL": {LIST, WRITE}}
"""What a grant of a bucket's ACL allows. Objects have ACLs of their own, which only asking each would show."""


@dataclass(frozen=True)
class Exposure:
    """What anybody may do with a bucket."""

    readable: bool = False
    listable: bool = False
    writable: bool = False


def exposure(
    policy: str | None,
    grants: Sequence[Mapping[str, Any]],
    block: Mapping[str, bool],
    account_block: Mapping[str, bool],
) -> Exposure:
    """By the policy's text, the ACL's grants, and the public access blocks of bucket and account."""

    def blocked(setting: str) -> bool:
        return bool(block.get(setting) or account_block.get(setting))

    allowed: set[str] = set()
    if policy and not blocked("RestrictPublicBuckets"):
        allowed |= _by_policy(policy)
    if not blocked("IgnorePublicAcls"):
        allowed |= _by_grants(grants)
    return Exposure(READ in allowed, LIST in allowed, WRITE in allowed)


def _by_policy(policy: str) -> set[str]:
    """A policy that cannot be read allows nothing: whoever wants the store's own word asks GetBucketPolicyStatus."""
    try:
        statements = _listed(json.loads(policy).get("Statement", []))
    except (ValueError, AttributeError):
        return set()
    allowed = {
        action
        for statement in statements
        if statement.get("Effect") == "Allow" and _for_everyone(statement)
        for pattern in _listed(statement.get("Action", []))
        for action in (READ, LIST, WRITE)
        if fnmatchcase(action.lower(), str(pattern).lower())
    }
    denied = {
        action
        for statement in statements
        if statement.get("Effect") == "Deny" and _for_everyone(statement) and not statement.get("Condition")
        for pattern in _listed(statement.get("Action", []))
        for action in (READ, LIST, WRITE)
        if fnmatchcase(action.lower(), str(pattern).lower())
    }
    return allowed - denied


def _for_everyone(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    names = _listed(principal.get("AWS", []) if isinstance(principal, dict) else principal)
    if "*" not in names:
        return False
    keys = {key.lower() for test in (statement.get("Condition") or {}).values() for key in test}
    return keys <= FORGEABLE


def _by_grants(grants: Iterable[Mapping[str, Any]]) -> set[str]:
    return {
        action
        for grant in grants
        if grant.get("Grantee", {}).get("URI") in EVERYONE
        for action in GRANTED.get(str(grant.get("Permission")), set())
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
