"""Services that no reader here looks at, found by the tags of what they hold: one resource for each kind of thing."""

import re
from collections import Counter
from collections.abc import Iterator

from migrate.adapters.aws_account.reader import Look, Reader
from migrate.assess.observed import Resource

READ_ELSEWHERE = frozenset(
    {
        "acm", "apigateway", "cloudfront", "cognito-identity", "cognito-idp", "dynamodb", "ec2", "ecr", "ecs", "eks",
        "elasticache", "elasticfilesystem", "elasticloadbalancing", "es", "execute-api", "iam", "kms", "lambda", "rds",
        "route53", "route53domains", "s3", "secretsmanager", "ses", "sns", "sqs", "ssm", "states",
    }
)  # fmt: skip
"""Services, as addresses of resources call them, that have a reader of their own."""
WATCH_ONLY = frozenset(
    {
        "access-analyzer", "application-autoscaling", "autoscaling", "ce", "chatbot", "cloudformation", "cloudtrail",
        "cloudwatch", "config", "guardduty", "inspector2", "logs", "notifications", "resource-explorer-2",
        "resource-groups", "securityhub", "servicecatalog", "signer", "synthetics", "tag", "xray",
    }
)  # fmt: skip
"""Services that watch, bill or arrange other ones, and hold nothing that an app stands on."""
UNTYPED = "resource"


def _tagged(look: Look) -> Iterator[Resource]:
    found: Counter[tuple[str, str]] = Counter()
    call, token = "resourcegroupstaggingapi.get_resources", "PaginationToken"
    for one in look.pages(call, "ResourceTagMappingList", token=token, ResourcesPerPage=100):
        service, kind = _service_and_kind(one["ResourceARN"])
        if service not in READ_ELSEWHERE | WATCH_ONLY:
            found[service, kind] += 1
    for (service, kind), count in sorted(found.items()):
        yield Resource(service=service, kind=kind, region=look.region, name=kind, facts={"resources": count})


def _service_and_kind(address: str) -> tuple[str, str]:
    """Of `arn:PARTITION:SERVICE:REGION:ACCOUNT:KIND/NAME`, where KIND may be missing."""
    _, _, service, _, _, rest = address.split(":", 5)
    kind, *names = re.split("[/:]", rest.lstrip("/"), maxsplit=1)
    return service, kind if names else UNTYPED


TAGGED = Reader("resourcegroupstaggingapi", {"resourcegroupstaggingapi.get_resources": "tag:GetResources"}, _tagged)
