"""Who may read and list a bucket, by its policy, its ACL and its public access block. Pure; documents in, words out."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, ip_network
from typing import Any

EVERYONE = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
"""Groups that anybody belongs to; the second one needs any account at all."""
KEEPS_OUT = frozenset(
    {
        "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
        "aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "aws:sourcevpc",
        "aws:sourcevpce", "aws:userid", "aws:username", "aws:vpcsourceip", "s3:accesspointnetworkorigin",
        "s3:dataaccesspointaccount", "s3:dataaccesspointarn",
    }
)  # fmt: skip
"""Keys of conditions that the asker cannot fulfil by himself; a referrer, a browser or TLS anybody can have.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html, 'public'"""
OPEN_OPERATORS = ("forallvalues:", "null")
"""Tests that hold where the key is missing."""
WIDEST = {4: 8, 6: 32}
"""A network with a shorter prefix than this is as good as the whole Internet, by the same source."""
ANYTHING = frozenset({"", "arn", "arnaws"})
"""What is left of a pattern that fits everything, without stars and colons."""
STARS = str.maketrans("", "", "*?:")

READ, LIST, WRITE = "s3:GetObject", "s3:ListBucket", "s3:PutObject"
ALIKE = {
    READ: READ, "s3:GetObjectVersion": READ, LIST: LIST, "s3:ListBucketVersions": LIST, WRITE: WRITE,
    "s3:DeleteObject": WRITE, "s3:DeleteObjectVersion": WRITE, "s3:PutObjectAcl": WRITE, "s3:PutBucketPolicy": WRITE,
}  # fmt: skip
"""Actions -> the one whose name they go by here."""
GRANTED = {"READ": {LIST}, "WRITE": {WRITE}, "WRITE_ACP": {WRITE}, "FULL_CONTROL": {LIST, WRITE}}
"""What a grant of a bucket's ACL allows. Objects have ACLs of their own, which only asking each would show."""

Statement = Mapping[str, Any]


class UnreadablePolicy(ValueError):
    """A policy of another shape: who may look in is not known."""


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
    """By the policy's text, the ACL's grants, and the public access blocks of bucket and account.

    Raises UnreadablePolicy."""

    def blocked(setting: str) -> bool:
        return bool(block.get(setting) or account_block.get(setting))

    allowed: set[str] = set()
    if policy and not blocked("RestrictPublicBuckets"):
        allowed |= _by_policy(policy)
    if not blocked("IgnorePublicAcls"):
        allowed |= _by_grants(grants)
    return Exposure(READ in allowed, LIST in allowed, WRITE in allowed)


def _by_policy(policy: str) -> set[str]:
    try:
        statements = _listed(json.loads(policy)["Statement"])
        denials = [each for each in statements if each.get("Effect") == "Deny" and _denies_everyone(each)]
        return {
            ALIKE[action]
            for statement in statements
            if statement.get("Effect") == "Allow" and _for_everyone(statement)
            for action in _actions(statement)
            if not any(action in _actions(denial) and _covers(denial, statement) for denial in denials)
        }
    except (ValueError, TypeError, AttributeError, KeyError) as odd:
        raise UnreadablePolicy(f"a policy that cannot be read: {odd!r}") from odd


def _actions(statement: Statement) -> Iterator[str]:
    negated = "NotAction" in statement
    patterns = [str(pattern).lower() for pattern in _listed(statement["NotAction" if negated else "Action"])]
    for action in ALIKE:
        if any(fnmatchcase(action.lower(), pattern) for pattern in patterns) is not negated:
            yield action


def _covers(denial: Statement, allowed: Statement) -> bool:
    """Whether everything that `allowed` speaks of is denied; a prefix that is kept back closes no bucket."""
    denied = [str(pattern) for pattern in _listed(denial.get("Resource"))]
    spoken_of = [str(resource) for resource in _listed(allowed.get("Resource"))]
    return bool(spoken_of) and all(any(fnmatchcase(each, pattern) for pattern in denied) for each in spoken_of)


def _for_everyone(statement: Statement) -> bool:
    anybody = "NotPrincipal" in statement or _names_everyone(statement)
    return anybody and not any(
        _keeps_out(operator.lower(), key.lower(), _listed(values))
        for operator, test in (statement.get("Condition") or {}).items()
        for key, values in test.items()
    )


def _denies_everyone(statement: Statement) -> bool:
    return _names_everyone(statement) and not statement.get("Condition")


def _names_everyone(statement: Statement) -> bool:
    principal = statement.get("Principal")
    names = (
        [each for part in principal.values() for each in _listed(part)] if isinstance(principal, dict) else principal
    )
    return "*" in _listed(names)


def _keeps_out(operator: str, key: str, values: Sequence[Any]) -> bool:
    """Whether a condition lets in only some, whom its values name."""
    if key not in KEEPS_OUT or operator.startswith(OPEN_OPERATORS) or operator.endswith("ifexists"):
        return False
    if "not" in operator.rpartition(":")[2]:
        return False
    return not any(_fits_anybody(str(value)) for value in values)


def _fits_anybody(value: str) -> bool:
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        return value.translate(STARS) in ANYTHING
    return network.prefixlen < WIDEST[4 if isinstance(network, IPv4Network) else 6]


def _by_grants(grants: Iterable[Mapping[str, Any]]) -> set[str]:
    return {
        action
        for grant in grants
        if grant.get("Grantee", {}).get("URI") in EVERYONE
        for action in GRANTED.get(str(grant.get("Permission")), set())
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
