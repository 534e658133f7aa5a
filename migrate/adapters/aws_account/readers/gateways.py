"""Registry, shared files, API Gateway, Step Functions: what ties code together."""

from collections.abc import Iterator

from migrate.adapters.aws_account.reader import Look, Reader
from migrate.assess.observed import Resource


def _ecr(look: Look) -> Iterator[Resource]:
    for found in look.pages("ecr.describe_repositories", "repositories", token="nextToken", maxResults=1000):
        sheet = look.sheet("repository", found["repositoryName"], address=found.get("repositoryUri", ""))
        yield sheet.resource()


ECR = Reader("ecr", {"ecr.describe_repositories": "ecr:DescribeRepositories"}, _ecr)


def _efs(look: Look) -> Iterator[Resource]:
    pages = look.pages("efs.describe_file_systems", "FileSystems", token="NextMarker", asked="Marker", MaxItems=100)
    for found in pages:
        yield look.sheet(
            "file-system", found["FileSystemId"], called=found.get("Name", ""),
            bytes=found.get("SizeInBytes", {}).get("Value", 0), encrypted=bool(found.get("Encrypted")),
        ).resource()  # fmt: skip


EFS = Reader("efs", {"efs.describe_file_systems": "elasticfilesystem:DescribeFileSystems"}, _efs)


def _apigateway(look: Look) -> Iterator[Resource]:
    for found in look.pages("apigateway.get_rest_apis", "items", token="position", limit=500):
        yield look.sheet("rest-api", found["id"], called=found.get("name", "")).resource()
    for found in look.pages("apigatewayv2.get_apis", "Items"):
        yield look.sheet(
            "http-api", found["ApiId"], called=found.get("Name", ""), protocol=found.get("ProtocolType", ""),
            address=found.get("ApiEndpoint", ""),
        ).resource()  # fmt: skip


APIGATEWAY = Reader(
    "apigateway",
    {"apigateway.get_rest_apis": "apigateway:GET", "apigatewayv2.get_apis": "apigateway:GET"},
    _apigateway,
)


def _stepfunctions(look: Look) -> Iterator[Resource]:
    for found in look.pages("stepfunctions.list_state_machines", "stateMachines", token="nextToken", maxResults=1000):
        yield look.sheet("state-machine", found["name"], type=found.get("type", "").lower()).resource()


STEPFUNCTIONS = Reader(
    "stepfunctions", {"stepfunctions.list_state_machines": "states:ListStateMachines"}, _stepfunctions
)
