"""A cloud account for tests: moto's server in a thread, with something of every service that is looked at."""

import http.client
import io
import json
import logging
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

REGION, OTHER_REGION = "us-east-1", "eu-west-1"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
ASSUMED_BY_LAMBDA = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
FUNCTION_ENVIRONMENT = {
    "MEDIA_URL": "https://app-media.s3.amazonaws.com/",
    "API_TOKEN": "hunter2-hunter2",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/jobs",
}


@dataclass(frozen=True)
class Cloud:
    """The address of the provider."""

    url: str

    def client(self, service: str, region: str = REGION) -> Any:
        return boto3.client(service, region_name=region, endpoint_url=self.url)

    @property
    def environment(self) -> dict[str, str]:
        """For a command of its own process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {**kept, **KEYS, "AWS_ENDPOINT_URL": self.url}


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    """An empty account; ends with the block. moto is imported by those who need it: it takes its time."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        tell_moto(host, port, "/moto-api/reset")  # what one account holds lives as long as the process
        yield Cloud(f"http://{host}:{port}")
    finally:
        server.stop()


def tell_moto(host: str, port: int, path: str, body: str = "") -> None:
    """A word to the server itself, not to the account."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("POST", path, body)
    assert connection.getresponse().status == 200
    connection.close()


def fill(cloud: Cloud) -> None:
    """Something of every service."""
    for part in (
        _buckets,
        _metrics,
        _used_disk,
        _databases,
        _machines,
        _containers,
        _messages,
        _names,
        _keys,
        _identities,
        _gateways,
        _services_unknown_here,
    ):
        part(cloud)


def _buckets(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    for name in ("app-media", "app-backups", "app-archive", "app-empty", "app-young"):
        s3.create_bucket(Bucket=name)
    cloud.client("s3", OTHER_REGION).create_bucket(
        Bucket="app-europe", CreateBucketConfiguration={"LocationConstraint": OTHER_REGION}
    )
    for name in ("app-media", "app-backups", "app-young"):
        s3.put_object(Bucket=name, Key="one", Body=b"x")
    s3.put_bucket_versioning(Bucket="app-backups", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_encryption(
        Bucket="app-backups",
        ServerSideEncryptionConfiguration={
            "Rules": [
                {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/app"}}
            ]
        },
    )
    open_to_all = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": ["arn:aws:s3:::app-media", "arn:aws:s3:::app-media/*"],
            }
        ],
    }  # fmt: skip
    s3.put_bucket_policy(Bucket="app-media", Policy=json.dumps(open_to_all))
    s3.put_bucket_inventory_configuration(
        Bucket="app-media", Id="daily",
        InventoryConfiguration={
            "Id": "daily", "IsEnabled": True, "IncludedObjectVersions": "All", "Schedule": {"Frequency": "Daily"},
            "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::app-backups", "Format": "CSV"}},
        },
    )  # fmt: skip


def _metrics(cloud: Cloud) -> None:
    """Yesterday's sizes, as the store itself reports them once a day."""
    gigabyte = 10**9
    for region, bucket, sizes, objects in (
        (REGION, "app-media", {"StandardStorage": 40 * gigabyte, "StandardIAStorage": 2 * gigabyte}, 1_200_000),
        (REGION, "app-backups", {"StandardStorage": 5 * gigabyte}, 300),
        (REGION, "app-archive", {"DeepArchiveStorage": 900 * gigabyte}, 4_000),
        (OTHER_REGION, "app-europe", {"StandardStorage": gigabyte}, 10),
    ):
        values = [("BucketSizeBytes", kind, float(size)) for kind, size in sizes.items()]
        values.append(("NumberOfObjects", "AllStorageTypes", float(objects)))
        cloud.client("cloudwatch", region).put_metric_data(
            Namespace="AWS/S3",
            MetricData=[
                {
                    "MetricName": metric, "Value": value, "Timestamp": datetime.now(UTC) - timedelta(hours=20),
                    "Dimensions": [
                        {"Name": "BucketName", "Value": bucket}, {"Name": "StorageType", "Value": kind},
                    ],
                }
                for metric, kind, value in values
            ],
        )  # fmt: skip


def _used_disk(cloud: Cloud) -> None:
    for metric, dimension, name, value in (
        ("FreeStorageSpace", "DBInstanceIdentifier", "app-main", 400 * 1024**3),
        ("VolumeBytesUsed", "DBClusterIdentifier", "app-aurora", 7 * 10**9),
    ):
        cloud.client("cloudwatch").put_metric_data(
            Namespace="AWS/RDS",
            MetricData=[
                {
                    "MetricName": metric, "Value": float(value), "Timestamp": datetime.now(UTC) - timedelta(hours=2),
                    "Dimensions": [{"Name": dimension, "Value": name}],
                }
            ],
        )  # fmt: skip


def _databases(cloud: Cloud) -> None:
    rds = cloud.client("rds")
    common = {"MasterUsername": "ops", "MasterUserPassword": "not-a-secret-1"}
    rds.create_db_instance(
        DBInstanceIdentifier="app-main", Engine="postgres", DBInstanceClass="db.r6g.xlarge", AllocatedStorage=500,
        PubliclyAccessible=False, DBName="plaza", **common,
    )  # fmt: skip
    rds.create_db_snapshot(DBInstanceIdentifier="app-main", DBSnapshotIdentifier="app-main-before-upgrade")
    rds.create_db_cluster(DBClusterIdentifier="app-aurora", Engine="aurora-postgresql", **common)
    rds.create_db_instance(
        DBInstanceIdentifier="app-aurora-1", DBClusterIdentifier="app-aurora", Engine="aurora-postgresql",
        DBInstanceClass="db.r6g.large",
    )  # fmt: skip
    cloud.client("dynamodb").create_table(
        TableName="sessions", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST",
    )  # fmt: skip
    cloud.client("elasticache").create_replication_group(
        ReplicationGroupId="app-redis", ReplicationGroupDescription="jobs", Engine="redis",
        CacheNodeType="cache.m6g.large", NumCacheClusters=1,
    )  # fmt: skip
    cloud.client("opensearch").create_domain(DomainName="search", EngineVersion="OpenSearch_2.11")


def _machines(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=2, MaxCount=2, InstanceType="c6g.xlarge")
    ec2.allocate_address(Domain="vpc")
    network = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=network, CidrBlock=f"10.1.{index}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"]
        for index, zone in enumerate("ab")
    ]
    cloud.client("elbv2").create_load_balancer(Name="app-front", Subnets=[subnet["SubnetId"] for subnet in subnets])
    cloud.client("elb").create_load_balancer(
        LoadBalancerName="app-old-front", AvailabilityZones=["us-east-1a"],
        Listeners=[{"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 8000}],
    )  # fmt: skip
    cloud.client("eks").create_cluster(
        name="jobs", roleArn="arn:aws:iam::123456789012:role/eks", resourcesVpcConfig={"subnetIds": []}
    )


def _containers(cloud: Cloud) -> None:
    ecs = cloud.client("ecs")
    ecs.create_cluster(clusterName="web")
    ecs.register_task_definition(
        family="api",
        containerDefinitions=[
            {
                "name": "api", "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/api:41", "memory": 512,
                "environment": [{"name": "S3_HOST", "value": "s3.us-east-1.amazonaws.com"}],
            }
        ],
    )  # fmt: skip
    ecs.create_service(cluster="web", serviceName="api", taskDefinition="api", desiredCount=3)
    role = cloud.client("iam").create_role(RoleName="thumbnails", AssumeRolePolicyDocument=ASSUMED_BY_LAMBDA)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("main.py", "def main(event, context): return None\n")
    cloud.client("lambda").create_function(
        FunctionName="thumbnails", Runtime="python3.12", Role=role["Role"]["Arn"], Handler="main.main",
        Code={"ZipFile": packed.getvalue()}, Environment={"Variables": FUNCTION_ENVIRONMENT},
    )  # fmt: skip


def _messages(cloud: Cloud) -> None:
    queue = cloud.client("sqs").create_queue(QueueName="jobs")["QueueUrl"]
    for number in range(3):
        cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=f"job {number}")
    sns = cloud.client("sns")
    sns.create_topic(Name="alerts")
    sns.create_platform_application(Name="phones", Platform="GCM", Attributes={"PlatformCredential": "x"})
    sns.set_sms_attributes(attributes={"DefaultSenderID": "MYAPP"})
    cloud.client("sesv2").create_email_identity(EmailIdentity="myapp.example")


def _names(cloud: Cloud) -> None:
    route53 = cloud.client("route53")
    zone = route53.create_hosted_zone(Name="myapp.example", CallerReference="1")["HostedZone"]["Id"]
    records = [("www.myapp.example", 86400), ("api.myapp.example", 60)]
    route53.change_resource_record_sets(
        HostedZoneId=zone,
        ChangeBatch={
            "Changes": [
                {
                    "Action": "CREATE",
                    "ResourceRecordSet": {
                        "Name": name, "Type": "A", "TTL": ttl, "ResourceRecords": [{"Value": "192.0.2.7"}],
                    },
                }
                for name, ttl in records
            ]
        },
    )  # fmt: skip
    cloud.client("acm").request_certificate(DomainName="myapp.example", ValidationMethod="DNS")
    cloud.client("cloudfront").create_distribution(
        DistributionConfig={
            "CallerReference": "1", "Comment": "", "Enabled": True,
            "Origins": {
                "Quantity": 1,
                "Items": [
                    {
                        "Id": "media", "DomainName": "app-media.s3.amazonaws.com",
                        "S3OriginConfig": {"OriginAccessIdentity": ""},
                    }
                ],
            },
            "DefaultCacheBehavior": {
                "TargetOriginId": "media", "ViewerProtocolPolicy": "allow-all",
                "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}}, "MinTTL": 0,
            },
        }
    )  # fmt: skip


def _keys(cloud: Cloud) -> None:
    kms = cloud.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/app", TargetKeyId=key)
    cloud.client("secretsmanager").create_secret(Name="app/stripe", SecretString="not-a-secret")
    cloud.client("ssm").put_parameter(Name="/app/flag", Value="on", Type="SecureString")


def _identities(cloud: Cloud) -> None:
    cloud.client("cognito-idp").create_user_pool(PoolName="members")
    iam = cloud.client("iam")
    iam.create_user(UserName="deploy")
    iam.create_access_key(UserName="deploy")


def _gateways(cloud: Cloud) -> None:
    cloud.client("ecr").create_repository(repositoryName="web/api")
    cloud.client("efs").create_file_system(CreationToken="shared")
    cloud.client("apigateway").create_rest_api(name="partners")
    cloud.client("apigatewayv2").create_api(Name="live", ProtocolType="WEBSOCKET", RouteSelectionExpression="$r.b.a")
    cloud.client("stepfunctions").create_state_machine(
        name="signup", roleArn="arn:aws:iam::123456789012:role/steps",
        definition=json.dumps({"StartAt": "a", "States": {"a": {"Type": "Succeed"}}}),
    )  # fmt: skip
    cloud.client("cognito-identity").create_identity_pool(
        IdentityPoolName="phones", AllowUnauthenticatedIdentities=True
    )


def _services_unknown_here(cloud: Cloud) -> None:
    for name in ("events", "orders"):
        cloud.client("glue").create_job(
            Name=name, Role="arn:aws:iam::123456789012:role/glue", Command={"Name": "glueetl"}, Tags={"team": "data"}
        )


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with running_cloud() as running:
            fill(running)
            yield running


class _Forwarder(BaseHTTPRequestHandler):
    """Passes requests on, but leaves those signed for the silent region without an answer."""

    server: "_Proxy"

    def _pass_on(self) -> None:
        scope = self.headers.get("Authorization", "")
        if f"/{self.server.silent}/" in scope:
            self.server.asked.append(scope)
            self.server.ended.wait(60)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _pass_on

    def log_message(self, *_: object) -> None:
        pass


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cloud: Cloud, silent: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarder)
        address = urlsplit(cloud.url)
        self.host, self.port = address.hostname or "", address.port
        self.silent = silent
        self.asked: list[str] = []
        self.ended = threading.Event()


@contextmanager
def silent_region(cloud: Cloud, region: str) -> Iterator[tuple[str, list[str]]]:
    """An endpoint where one region accepts requests and never answers; and the requests that it got."""
    proxy = _Proxy(cloud, region)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", proxy.asked
    finally:
        proxy.ended.set()
        proxy.shutdown()
        proxy.server_close()
