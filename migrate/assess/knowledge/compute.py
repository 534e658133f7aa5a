"""Where the code runs, and how requests get there."""

from migrate.assess.findings import Hold
from migrate.assess.knowledge.rule import AWS, Rule

COMPUTE = (
    Rule(
        "ec2", "instance", Hold.REPLACEABLE,
        why="a machine does not leave; what runs on it does, if it can be built again",
        instead="own hosts, provisioned by playbooks; an image export is the last resort",
        lead_hours=8, first="write down what it runs, from a checkout that builds without this account",
        source=f"{AWS}/vm-import/latest/userguide/vmexport.html",
    ),
    Rule(
        "ec2", "volume", Hold.REPLACEABLE,
        why="a block volume leaves only as files, through a host that it is attached to",
        instead="files on own disks; copy with rsync from the host",
        lead_hours=4, first="say which volumes hold what stands nowhere else",
        source=f"{AWS}/ebs/latest/userguide/ebs-volumes.html",
    ),
    Rule(
        "ec2", "snapshot", Hold.REPLACEABLE,
        why="a snapshot leaves as a volume again, attached to a host, or block by block through the EBS direct APIs",
        instead="files on own disks; make a volume of it, attach it to a host, copy with rsync",
        lead_hours=4, first="say which snapshots hold what no volume holds any more",
        source=f"{AWS}/ebs/latest/userguide/ebs-snapshots.html",
    ),
    Rule(
        "ec2", "image", Hold.REPLACEABLE,
        why="a machine image can be exported as a disk file to S3, not all of them, and it takes hours",
        instead="hosts built by playbooks from a plain distribution",
        lead_hours=8, first="export only what nobody can build any more",
        source=f"{AWS}/vm-import/latest/userguide/vmexport_image.html",
    ),
    Rule(
        "ec2", "address", Hold.CAPTIVE,
        why="the address is the provider's: whoever allows it in a firewall, or has it in a record, must be told",
        instead="announce the new addresses to partners, allow-lists and reverse DNS before the cutover",
        lead_hours=24, first="list who has this address in an allow-list or in a pinned configuration",
        source=f"{AWS}/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html",
    ),
    Rule(
        "elbv2", "load-balancer", Hold.REPLACEABLE,
        why="listeners, rules and health checks are settings of the provider's",
        instead="nginx or HAProxy on the edge hosts",
        lead_hours=4, first="keep listeners, rules and target groups as text: they are the edge's new configuration",
        source=f"{AWS}/elasticloadbalancing/latest/application/load-balancer-listeners.html",
    ),
    Rule(
        "elb", "load-balancer", Hold.REPLACEABLE,
        why="listeners and health checks are settings of the provider's",
        instead="nginx or HAProxy on the edge hosts",
        lead_hours=4, first="keep listeners and health checks as text",
        source=f"{AWS}/elasticloadbalancing/latest/classic/introduction.html",
    ),
    Rule(
        "ecs", "service", Hold.REPLACEABLE,
        why="images are plain containers and leave; task definitions, roles and service discovery do not",
        instead="the same images under systemd or another orchestrator on own hosts",
        lead_hours=16, first="pull every image out of the registry; keep the task definitions as text",
        source=f"{AWS}/AmazonECS/latest/developerguide/task_definitions.html",
    ),
    Rule(
        "ecr", "repository", Hold.PORTABLE,
        why="images are plain containers; the registry's address stands in every deployment that pulls them",
        instead="a registry of your own (distribution, Harbor), filled with every tag that is still deployed",
        lead_hours=4, first="copy each repository with its tags: skopeo sync or docker pull, while sign-in works",
        source=f"{AWS}/AmazonECR/latest/userguide/docker-pull-ecr-image.html",
    ),
    Rule(
        "apigateway", "rest-api", Hold.REPLACEABLE,
        why="its definition leaves as OpenAPI; authorizers, usage plans, mapping templates and the address do not",
        instead="nginx on the edge hosts, with the routes of the export; sign-in and limits in the app",
        lead_hours=24, first="aws apigateway get-export of each stage; find who calls its execute-api address",
        source=f"{AWS}/apigateway/latest/developerguide/api-gateway-export-api.html",
    ),
    Rule(
        "apigateway", "http-api", Hold.REPLACEABLE,
        why="an HTTP API leaves as OpenAPI, a WebSocket API does not; authorizers and the address stay",
        instead="nginx on the edge hosts; WebSockets ended by the app itself",
        lead_hours=24, first="aws apigatewayv2 export-api of each; find who calls its execute-api address",
        source=f"{AWS}/apigateway/latest/developerguide/http-api-export.html",
    ),
    Rule(
        "stepfunctions", "state-machine", Hold.REPLACEABLE,
        why="the definition leaves as JSON of a language that only the provider runs; running executions are lost",
        instead="the same steps as code with a queue, or a workflow engine on own hosts (Temporal, Airflow)",
        lead_hours=48, first="describe-state-machine of each; let running executions end before the fence",
        source=f"{AWS}/step-functions/latest/dg/concepts-amazon-states-language.html",
    ),
    Rule(
        "ecs", "task", Hold.REPLACEABLE,
        why="it runs beside every service: a timer, a function or a person started it, and that is easily forgotten",
        instead="the same image by a systemd timer on own hosts",
        lead_hours=8, first="find who starts it (EventBridge, a function, a pipeline), and keep its task definition",
        source=f"{AWS}/AmazonECS/latest/developerguide/standalone-tasks.html",
    ),
    Rule(
        "eks", "cluster", Hold.REPLACEABLE,
        why="manifests are plain Kubernetes; the control plane, load balancer and volume classes are the provider's",
        instead="Kubernetes on own hosts; replace storage and load-balancer classes",
        lead_hours=48, first="keep all manifests; list those with a storage class, ingress or role of the provider",
        source=f"{AWS}/eks/latest/userguide/what-is-eks.html",
    ),
    Rule(
        "lambda", "function", Hold.REPLACEABLE,
        why="the code leaves as a zip or an image; its triggers and its event shapes do not",
        instead="a process under systemd with a queue or a timer on own hosts",
        lead_hours=16, first="download the code of each; write down what triggers it",
        source=f"{AWS}/lambda/latest/api/API_GetFunction.html",
    ),
    Rule(
        "cloudfront", "distribution", Hold.REPLACEABLE,
        why="cache rules and edge functions are the provider's; the address that ends in cloudfront.net never leaves",
        instead="nginx with a cache on the edge hosts, or another CDN before them",
        lead_hours=8, first="find who uses the *.cloudfront.net address; give the content a name of your own",
        source=f"{AWS}/AmazonCloudFront/latest/DeveloperGuide/CNAMEs.html",
    ),
    Rule(
        "iam", "role", Hold.REPLACEABLE,
        why="code that signs in by its role has no password of its own to take along",
        instead="system users, and secrets of the new home in the services' environment",
        lead_hours=8, first="find which code asks the metadata service for credentials",
        source=f"{AWS}/IAM/latest/UserGuide/id_roles.html",
    ),
    Rule(
        "iam", "user", Hold.REPLACEABLE,
        why="access keys work here only",
        instead="accounts of the new home",
        lead_hours=4, first="find where each access key is written down; make a read-only one for the export",
        source=f"{AWS}/IAM/latest/UserGuide/id_users.html",
    ),
)  # fmt: skip
"""Machines, functions, containers, load balancers, the CDN, and identities of code."""
