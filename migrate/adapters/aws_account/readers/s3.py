"""S3: buckets and their settings; sizes and counts from CloudWatch's daily metrics, never from listing everything."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.reader import HOME, ODD, Look, Reader, Sheet, another_shape
from migrate.adapters.aws_account.readers.s3_metrics import METRIC_ACTIONS, Sizes, bucket_sizes
from migrate.assess.exposure import UnreadablePolicy, exposure
from migrate.assess.observed import Blindness, Resource
from migrate.facts import ARCHIVED_CLASSES

WORKERS = 8
KMS_ALGORITHMS = ("aws:kms", "aws:kms:dsse")
PROVIDERS_KEY = "alias/aws/s3"
BLOCKS = "readable listable writable"
BYTES = ("bytes", "bytes_by_class", "archived")
SIZES = "bytes objects bytes_by_class archived"
BUCKETS_A_PAGE = 1000
"""The store tells a bucket's region, and lists more than 10,000 of them, only where it is asked by pages."""
OLD_NAMES = {"EU": "eu-west-1", "": HOME}
"""Locations of buckets that were made before regions had their names of today."""

SETTINGS: Mapping[str, tuple[str, str, str]] = {
    "replication": ("s3.get_bucket_replication", "ReplicationConfigurationNotFoundError", "ReplicationConfiguration"),
    "lifecycle": ("s3.get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration", "Rules"),
    "object_lock": (
        "s3.get_object_lock_configuration", "ObjectLockConfigurationNotFoundError", "ObjectLockConfiguration",
    ),
    "inventory": ("s3.list_bucket_inventory_configurations", "NoSuchConfiguration", "InventoryConfigurationList"),
}  # fmt: skip
"""Fact -> call, the error that means `there is none`, and the part of the answer that says that there is one."""


def _s3(look: Look) -> Iterator[Resource]:
    found = list(look.pages("s3.list_buckets", "Buckets", token="ContinuationToken", MaxBuckets=BUCKETS_A_PAGE))
    if not found:
        return
    account_block = _account_block(look)
    located = sorted(
        ((bucket.get("BucketRegion") or _region(look, bucket["Name"]), bucket["Name"]) for bucket in found),
    )
    sizes: dict[str, Sizes] = {}
    for region, _ in groupby(located, key=lambda pair: pair[0]):
        sizes |= bucket_sizes(look, region)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="assess-s3") as pool:
        yield from pool.map(lambda at: _bucket(look, at[0], at[1], sizes.get(at[1]), account_block), located)


def _region(look: Look, bucket: str) -> str:
    """Where a bucket is, of a store that does not say so in its list; where it does not tell at all, our own region."""
    try:
        location = look.ask("s3.get_bucket_location", Bucket=bucket).get("LocationConstraint") or ""
    except NotSeen as blind:
        look.note(blind, bucket)
        return HOME
    return OLD_NAMES.get(location, location)


def _account_block(look: Look) -> Mapping[str, bool]:
    try:
        account = look.ask("sts.get_caller_identity")["Account"]
        answer = look.ask("s3control.get_public_access_block", AccountId=account)
        block: Mapping[str, bool] = answer["PublicAccessBlockConfiguration"]
    except NotSeen as blind:
        if blind.code != "NoSuchPublicAccessBlockConfiguration":
            look.note(blind, "the whole account")
        return {}
    return block


def _bucket(look: Look, region: str, name: str, sizes: Sizes | None, account_block: Mapping[str, bool]) -> Resource:
    sheet = Sheet(look, "bucket", name, region=region)
    try:
        _settings(sheet, sizes, account_block)
    except ODD as odd:
        look.note(another_shape(odd, look.last_action), name, region=region)
    return sheet.resource()


def _settings(sheet: Sheet, sizes: Sizes | None, account_block: Mapping[str, bool]) -> None:
    _sizes(sheet, sizes)
    if answer := sheet.ask("versioning", "s3.get_bucket_versioning", Bucket=sheet.name):
        sheet.facts["versioning"] = str(answer.get("Status", "off")).lower()
    _encryption(sheet)
    _exposure(sheet, account_block)
    for fact, (call, none, part) in SETTINGS.items():
        answer = sheet.ask(fact, call, {none: {}}, Bucket=sheet.name)
        if answer is not None:
            sheet.facts[fact] = bool(answer.get(part))


def _sizes(sheet: Sheet, sizes: Sizes | None) -> None:
    """A bucket without metrics is empty or younger than a day: one version of a key is asked for to tell."""
    if sizes is None:
        answer = sheet.ask(SIZES, "s3.list_object_versions", Bucket=sheet.name, MaxKeys=1)
        if answer is None:
            return
        something = answer.get("Versions") or answer.get("DeleteMarkers")
        sizes = Sizes(None, None) if something else Sizes({}, 0)
    if sizes.bytes_by_class is None:
        sheet.unseen += BYTES
    else:
        sheet.facts |= {
            "bytes": sum(sizes.bytes_by_class.values()),
            "bytes_by_class": dict(sizes.bytes_by_class),
            "archived": any(sizes.bytes_by_class.get(name) for name in ARCHIVED_CLASSES),
        }
    if sizes.objects is None:
        sheet.unseen.append("objects")
    else:
        sheet.facts["objects"] = sizes.objects
    if sizes.at:
        sheet.facts["measured_at"] = sizes.at


def _encryption(sheet: Sheet) -> None:
    none: Mapping[str, Any] = {"ServerSideEncryptionConfigurationNotFoundError": {}}
    answer = sheet.ask("encryption", "s3.get_bucket_encryption", none, Bucket=sheet.name)
    if answer is None:
        return
    rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    default = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
    key = str(default.get("KMSMasterKeyID", ""))
    if default.get("SSEAlgorithm") not in KMS_ALGORITHMS:
        sheet.facts["encryption"] = "provider's key"
    elif not key or key.endswith(PROVIDERS_KEY):
        sheet.facts["encryption"] = "provider's key in KMS"
    else:
        sheet.facts |= {"encryption": "customer key", "key": key}


def _exposure(sheet: Sheet, account_block: Mapping[str, bool]) -> None:
    """Open or not is told only where policy, ACL and block were all seen."""
    policy = sheet.ask(BLOCKS, "s3.get_bucket_policy", {"NoSuchBucketPolicy": {}}, Bucket=sheet.name)
    acl = sheet.ask(BLOCKS, "s3.get_bucket_acl", Bucket=sheet.name)
    none: Mapping[str, Any] = {"NoSuchPublicAccessBlockConfiguration": {}}
    block = sheet.ask(BLOCKS, "s3.get_public_access_block", none, Bucket=sheet.name)
    if policy is not None:
        sheet.facts["policy"] = bool(policy.get("Policy"))
    sheet.unseen[:] = dict.fromkeys(sheet.unseen)
    if policy is None or acl is None or block is None:
        return
    configuration = block.get("PublicAccessBlockConfiguration", {})
    try:
        found = exposure(policy.get("Policy"), acl.get("Grants", []), configuration, account_block)
    except UnreadablePolicy as odd:
        sheet.unseen += BLOCKS.split()
        unread = NotSeen(Blindness.NOT_UNDERSTOOD, str(odd), action=sheet.look.reader.actions["s3.get_bucket_policy"])
        sheet.look.note(unread, sheet.name, region=sheet.region)
        return
    sheet.facts |= {"readable": found.readable, "listable": found.listable, "writable": found.writable}


S3 = Reader(
    "s3",
    {
        "s3.list_buckets": "s3:ListAllMyBuckets",
        "s3.get_bucket_location": "s3:GetBucketLocation",
        "s3.list_object_versions": "s3:ListBucketVersions",
        "s3.get_bucket_versioning": "s3:GetBucketVersioning",
        "s3.get_bucket_encryption": "s3:GetEncryptionConfiguration",
        "s3.get_bucket_policy": "s3:GetBucketPolicy",
        "s3.get_bucket_acl": "s3:GetBucketAcl",
        "s3.get_public_access_block": "s3:GetBucketPublicAccessBlock",
        "s3.get_bucket_replication": "s3:GetReplicationConfiguration",
        "s3.get_bucket_lifecycle_configuration": "s3:GetLifecycleConfiguration",
        "s3.get_object_lock_configuration": "s3:GetBucketObjectLockConfiguration",
        "s3.list_bucket_inventory_configurations": "s3:GetInventoryConfiguration",
        "s3control.get_public_access_block": "s3:GetAccountPublicAccessBlock",
        "sts.get_caller_identity": "sts:GetCallerIdentity",
        **METRIC_ACTIONS,
    },
    _s3,
    regional=False,
)
