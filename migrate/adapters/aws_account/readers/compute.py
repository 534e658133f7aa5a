"""EC2, load balancers, ECS, EKS, Lambda."""

from collections.abc import Iterable, Iterator, Mapping

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.reader import Look, Reader, Sheet
from migrate.assess.leaking import provider_hosts
from migrate.assess.observed import Blindness, Fact, Resource

GONE = ("terminated", "shutting-down")


def naming_the_provider(variables: Iterable[tuple[str, str]]) -> Mapping[str, Fact]:
    """Names of the variables whose value holds a host of the provider; values are secrets and stay out."""
    names = sorted({name for name, value in variables if provider_hosts(value)})
    return {"variables_naming_the_provider": tuple(names)} if names else {}


def _ec2(look: Look) -> Iterator[Resource]:
    for reservation in look.pages("ec2.describe_instances", "Reservations"):
        for found in reservation.get("Instances", ()):
            if found["State"]["Name"] not in GONE:
                yield look.sheet(
                    "instance", found["InstanceId"], instance_type=found.get("InstanceType"),
                    state=found["State"]["Name"], called=_name(found), by_role=bool(found.get("IamInstanceProfile")),
                ).resource()  # fmt: skip
    for found in look.pages("ec2.describe_volumes", "Volumes"):
        yield look.sheet(
            "volume", found["VolumeId"], storage_gb=found["Size"], encrypted=bool(found.get("Encrypted")),
            attached=bool(found.get("Attachments")),
        ).resource()  # fmt: skip
    for found in look.pages("ec2.describe_images", "Images", Owners=["self"]):
        yield look.sheet("image", found["ImageId"], called=found.get("Name", "")).resource()
    for found in look.pages("ec2.describe_addresses", "Addresses"):
        yield look.sheet("address", found["PublicIp"], used=bool(found.get("AssociationId"))).resource()


def _name(found: Mapping[str, object]) -> str:
    tags = found.get("Tags") or ()
    return next((tag["Value"] for tag in tags if tag["Key"] == "Name"), "")  # type: ignore[attr-defined]


EC2 = Reader(
    "ec2",
    {
        "ec2.describe_instances": "ec2:DescribeInstances",
        "ec2.describe_volumes": "ec2:DescribeVolumes",
        "ec2.describe_images": "ec2:DescribeImages",
        "ec2.describe_addresses": "ec2:DescribeAddresses",
    },
    _ec2,
)


def _elbv2(look: Look) -> Iterator[Resource]:
    pages = look.pages("elbv2.describe_load_balancers", "LoadBalancers", token="NextMarker", asked="Marker")
    for found in pages:
        sheet = look.sheet("load-balancer", found["LoadBalancerName"], type=found["Type"], scheme=found.get("Scheme"))
        arn = found["LoadBalancerArn"]
        if answer := sheet.ask("listeners", "elbv2.describe_listeners", LoadBalancerArn=arn):
            sheet.facts["listeners"] = len(answer["Listeners"])
        yield sheet.resource()


ELBV2 = Reader(
    "elbv2",
    {
        "elbv2.describe_load_balancers": "elasticloadbalancing:DescribeLoadBalancers",
        "elbv2.describe_listeners": "elasticloadbalancing:DescribeListeners",
    },
    _elbv2,
)


def _elb(look: Look) -> Iterator[Resource]:
    pages = look.pages("elb.describe_load_balancers", "LoadBalancerDescriptions", token="NextMarker", asked="Marker")
    for found in pages:
        listeners = len(found.get("ListenerDescriptions", ()))
        yield look.sheet("load-balancer", found["LoadBalancerName"], type="classic", listeners=listeners).resource()


ELB = Reader("elb", {"elb.describe_load_balancers": "elasticloadbalancing:DescribeLoadBalancers"}, _elb)


def _ecs(look: Look) -> Iterator[Resource]:
    for cluster in look.pages("ecs.list_clusters", "clusterArns", token="nextToken"):
        for arn in look.pages("ecs.list_services", "serviceArns", token="nextToken", cluster=cluster, maxResults=100):
            name = "/".join(arn.partition(":service/")[2].split("/")[-2:])
            sheet = look.sheet("service", name)
            wanted = "tasks launch images"
            if answer := sheet.ask(wanted, "ecs.describe_services", cluster=cluster, services=[arn]):
                for service in answer.get("services", ()):
                    sheet.facts |= {"tasks": service.get("desiredCount", 0), "launch": service.get("launchType", "")}
                    _containers(sheet, service.get("taskDefinition", ""))
            yield sheet.resource()


def _containers(sheet: Sheet, definition: str) -> None:
    if not definition:
        return
    answer = sheet.ask("images", "ecs.describe_task_definition", taskDefinition=definition)
    if answer:
        containers = answer["taskDefinition"].get("containerDefinitions", [])
        sheet.facts["images"] = tuple(container.get("image", "") for container in containers)
        sheet.facts |= naming_the_provider(
            (pair["name"], pair["value"]) for container in containers for pair in container.get("environment", ())
        )


ECS = Reader(
    "ecs",
    {
        "ecs.list_clusters": "ecs:ListClusters",
        "ecs.list_services": "ecs:ListServices",
        "ecs.describe_services": "ecs:DescribeServices",
        "ecs.describe_task_definition": "ecs:DescribeTaskDefinition",
    },
    _ecs,
)


def _eks(look: Look) -> Iterator[Resource]:
    for name in look.pages("eks.list_clusters", "clusters", token="nextToken"):
        sheet = look.sheet("cluster", name)
        if answer := sheet.ask("version", "eks.describe_cluster", name=name):
            sheet.facts["version"] = answer["cluster"].get("version")
        yield sheet.resource()


EKS = Reader("eks", {"eks.list_clusters": "eks:ListClusters", "eks.describe_cluster": "eks:DescribeCluster"}, _eks)


def _lambda(look: Look) -> Iterator[Resource]:
    for found in look.pages("lambda.list_functions", "Functions", token="NextMarker", asked="Marker"):
        sheet = look.sheet(
            "function",
            found["FunctionName"],
            runtime=found.get("Runtime", "image"),
            code_bytes=found.get("CodeSize", 0),
        )
        environment = found.get("Environment", {})
        if sealed := environment.get("Error"):
            sheet.unseen.append("variables_naming_the_provider")
            said = f"{sealed.get('ErrorCode')}: {sealed.get('Message')}"
            look.note(NotSeen(Blindness.NOT_ALLOWED, said, action="kms:Decrypt"), sheet.name)
        sheet.facts |= naming_the_provider(environment.get("Variables", {}).items())
        yield sheet.resource()


LAMBDA = Reader("lambda", {"lambda.list_functions": "lambda:ListFunctions"}, _lambda)
