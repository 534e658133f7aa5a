"""What an S3 bucket and its objects are allowed and set to: policy, ACLs, and the rest that a new home must know."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import botocore.exceptions as bad

from migrate.export.source import NOT_ALLOWED

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# Name in the archive -> the client's method.
QUESTIONS: Mapping[str, str] = {
    "policy": "get_bucket_policy",
    "acl": "get_bucket_acl",
    "public_access_block": "get_public_access_block",
    "ownership_controls": "get_bucket_ownership_controls",
    "cors": "get_bucket_cors",
    "lifecycle": "get_bucket_lifecycle_configuration",
    "versioning": "get_bucket_versioning",
    "website": "get_bucket_website",
    "encryption": "get_bucket_encryption",
    "tagging": "get_bucket_tagging",
}
DENIED = frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled"})
TIER_NAMES = {"expedited": "Expedited", "standard": "Standard", "bulk": "Bulk"}
UNDER_WAY = frozenset({"RestoreAlreadyInProgress", "ObjectAlreadyInActiveTierError"})


def bucket_settings(client: "S3Client", bucket: str) -> dict[str, object]:
    """Every setting that can be read; of the others a text that says why not. Never raises for a refusal."""
    return {name: _setting(client, method, bucket) for name, method in QUESTIONS.items()}


def _setting(client: "S3Client", method: str, bucket: str) -> object:
    try:
        return without_envelope(getattr(client, method)(Bucket=bucket))
    except bad.ClientError as refusal:
        code = str(refusal.response.get("Error", {}).get("Code", "unknown"))
        status = refusal.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in DENIED or status == 403:
            return f"{NOT_ALLOWED} ({code})"
        return "none" if status == 404 else f"the store does not say ({code}, HTTP {status})"
    except bad.BotoCoreError as problem:
        return f"the store does not say ({problem})"


def without_envelope(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer without what belongs to the request."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def ask_for_restore(client: "S3Client", address: Mapping[str, Any], tier: str, days: int, *, dated: bool) -> None:
    """Raises ClientError or BotoCoreError, but not for what is under way or restored already."""
    wanted: dict[str, Any] = {"GlacierJobParameters": {"Tier": TIER_NAMES[tier]}}
    if dated:
        wanted["Days"] = days
    try:
        client.restore_object(**address, RestoreRequest=wanted)  # type: ignore[arg-type]
    except bad.ClientError as refusal:
        if refusal.response.get("Error", {}).get("Code") not in UNDER_WAY:
            raise
