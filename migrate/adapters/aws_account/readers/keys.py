"""KMS, Secrets Manager, SSM parameters. Names only: no value is ever asked for."""

from collections.abc import Iterator

from migrate.adapters.aws_account.reader import Look, Reader
from migrate.assess.observed import Resource

ORIGINS = {"AWS_KMS": "kms", "EXTERNAL": "imported", "AWS_CLOUDHSM": "cloudhsm", "EXTERNAL_KEY_STORE": "own key store"}


def _kms(look: Look) -> Iterator[Resource]:
    going_on = {"token": "NextMarker", "asked": "Marker"}
    aliases = {
        found["TargetKeyId"]: found["AliasName"]
        for found in look.pages("kms.list_aliases", "Aliases", **going_on)
        if "TargetKeyId" in found
    }
    for found in look.pages("kms.list_keys", "Keys", **going_on):
        alias = aliases.get(found["KeyId"], "")
        sheet = look.sheet("key", alias or found["KeyId"], key_id=found["KeyId"])
        answer = sheet.ask("origin state usage", "kms.describe_key", KeyId=found["KeyId"])
        if answer:
            key = answer["KeyMetadata"]
            if key.get("KeyManager") == "AWS":
                continue  # opens only what the provider's services encrypted, which they decrypt while it is read
            sheet.facts |= {
                "origin": ORIGINS.get(key.get("Origin", ""), key.get("Origin", "")),
                "state": key.get("KeyState", ""),
                "usage": key.get("KeyUsage", ""),
            }
        yield sheet.resource()


KMS = Reader(
    "kms",
    {"kms.list_aliases": "kms:ListAliases", "kms.list_keys": "kms:ListKeys", "kms.describe_key": "kms:DescribeKey"},
    _kms,
)


def _secrets(look: Look) -> Iterator[Resource]:
    for found in look.pages("secretsmanager.list_secrets", "SecretList"):
        rotated = bool(found.get("RotationEnabled"))
        yield look.sheet("secret", found["Name"], rotated=rotated, key=found.get("KmsKeyId", "")).resource()


SECRETS = Reader("secretsmanager", {"secretsmanager.list_secrets": "secretsmanager:ListSecrets"}, _secrets)


def _ssm(look: Look) -> Iterator[Resource]:
    for found in look.pages("ssm.describe_parameters", "Parameters", MaxResults=50):
        yield look.sheet("parameter", found["Name"], secret=found["Type"] == "SecureString").resource()


SSM = Reader("ssm", {"ssm.describe_parameters": "ssm:DescribeParameters"}, _ssm)
