"""Cognito and IAM: who signs in, and as what the code does."""

from collections.abc import Iterator

from migrate.adapters.aws_account.reader import Look, Reader
from migrate.assess.observed import Resource

OF_SERVICES = "/aws-service-role/"
"""Path of roles that belong to the provider's own services."""


def _cognito(look: Look) -> Iterator[Resource]:
    for found in look.pages("cognito-idp.list_user_pools", "UserPools", MaxResults=60):
        sheet = look.sheet("user-pool", found["Id"], called=found.get("Name", ""))
        if answer := sheet.ask("users second_factor", "cognito-idp.describe_user_pool", UserPoolId=found["Id"]):
            pool = answer["UserPool"]
            sheet.facts["users"] = pool.get("EstimatedNumberOfUsers", 0)
            sheet.facts["second_factor"] = pool.get("MfaConfiguration", "OFF")
        yield sheet.resource()


COGNITO = Reader(
    "cognito-idp",
    {
        "cognito-idp.list_user_pools": "cognito-idp:ListUserPools",
        "cognito-idp.describe_user_pool": "cognito-idp:DescribeUserPool",
    },
    _cognito,
)


def _cognito_identity(look: Look) -> Iterator[Resource]:
    for found in look.pages("cognito-identity.list_identity_pools", "IdentityPools", MaxResults=60):
        yield look.sheet("identity-pool", found["IdentityPoolId"], called=found.get("IdentityPoolName", "")).resource()


COGNITO_IDENTITY = Reader(
    "cognito-identity",
    {"cognito-identity.list_identity_pools": "cognito-identity:ListIdentityPools"},
    _cognito_identity,
)


def _iam(look: Look) -> Iterator[Resource]:
    for found in look.pages("iam.list_roles", "Roles", token="Marker"):
        if not found["Path"].startswith(OF_SERVICES):
            yield look.sheet("role", found["RoleName"]).resource()
    for found in look.pages("iam.list_users", "Users", token="Marker"):
        sheet = look.sheet("user", found["UserName"])
        if answer := sheet.ask("access_keys", "iam.list_access_keys", UserName=found["UserName"]):
            sheet.facts["access_keys"] = len(answer["AccessKeyMetadata"])
        yield sheet.resource()


IAM = Reader(
    "iam",
    {
        "iam.list_roles": "iam:ListRoles",
        "iam.list_users": "iam:ListUsers",
        "iam.list_access_keys": "iam:ListAccessKeys",
    },
    _iam,
    regional=False,
)
