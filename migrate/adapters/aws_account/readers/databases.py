"""RDS and Aurora, DynamoDB, ElastiCache, OpenSearch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from migrate.adapters.aws_account.reader import Look, Reader
from migrate.adapters.aws_account.readers.metrics import METRIC_DATA, Every, Series, moment, newest
from migrate.assess.observed import Fact, Resource

GIBIBYTE = 1024**3
"""What RDS calls a gigabyte."""
INSTANCE, CLUSTER = "DBInstanceIdentifier", "DBClusterIdentifier"
FREE, VOLUME = "FreeStorageSpace", "VolumeBytesUsed"
HOURLY = Every(seconds=3600, back=6 * 3600)
FAMILIES = {
    "postgres": "postgresql",
    "aurora-postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "aurora-mysql": "mysql",
    "aurora": "mysql",
}


def _rds(look: Look) -> Iterator[Resource]:
    instances = [
        found
        for found in look.pages("rds.describe_db_instances", "DBInstances", token="Marker")
        if not found.get("DBClusterIdentifier")  # a member of a cluster, which is listed by itself
    ]
    clusters = list(look.pages("rds.describe_db_clusters", "DBClusters", token="Marker"))
    used = _used_bytes(look, instances, clusters)
    for found in instances:
        name = found["DBInstanceIdentifier"]
        yield look.sheet(
            "instance", name,
            engine=found["Engine"], engine_family=FAMILIES.get(found["Engine"], "other"),
            version=found.get("EngineVersion"), storage_gb=found.get("AllocatedStorage"),
            instance_class=found.get("DBInstanceClass"), encrypted=bool(found.get("StorageEncrypted")),
            public=bool(found.get("PubliclyAccessible")), multi_az=bool(found.get("MultiAZ")),
            database=found.get("DBName"), **used.get(name, {}),
        ).resource()  # fmt: skip
    for found in clusters:
        name = found["DBClusterIdentifier"]
        yield look.sheet(
            "cluster", name,
            engine=found["Engine"], engine_family=FAMILIES.get(found["Engine"], "other"),
            version=found.get("EngineVersion"),
            storage_gb=None if found["Engine"].startswith("aurora") else found.get("AllocatedStorage"),
            members=len(found.get("DBClusterMembers", ())), encrypted=bool(found.get("StorageEncrypted")),
            database=found.get("DatabaseName"), **used.get(name, {}),
        ).resource()  # fmt: skip
    for call, items, name in (
        ("rds.describe_db_snapshots", "DBSnapshots", "DBSnapshotIdentifier"),
        ("rds.describe_db_cluster_snapshots", "DBClusterSnapshots", "DBClusterSnapshotIdentifier"),
    ):
        for found in look.pages(call, items, token="Marker"):
            if found.get("SnapshotType") == "automated":
                continue  # goes with its instance, which is listed by itself
            yield look.sheet(
                "snapshot", found[name], engine=found.get("Engine"), storage_gb=found.get("AllocatedStorage")
            ).resource()


def _used_bytes(
    look: Look, instances: Sequence[Mapping[str, Any]], clusters: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Fact]]:
    """Name -> bytes that are used, and when: of an instance what is not free, of a cluster its volume."""
    allocated: dict[str, int] = {found[INSTANCE]: found.get("AllocatedStorage") or 0 for found in instances}
    series = [Series("AWS/RDS", FREE, ((INSTANCE, name),)) for name, size in allocated.items() if size]
    series += [Series("AWS/RDS", VOLUME, ((CLUSTER, found[CLUSTER]),)) for found in clusters]
    values, _ = newest(look, look.region, series, HOURLY, "bytes used by databases")
    used: dict[str, dict[str, Fact]] = {}
    for one, told in values.items():
        name = one.dimension(INSTANCE) or one.dimension(CLUSTER)
        in_use = told.value if one.metric == VOLUME else allocated[name] * GIBIBYTE - told.value
        if in_use >= 0:
            used[name] = {"used_bytes": in_use, "measured_at": moment(told.at)}
    return used


RDS = Reader(
    "rds",
    {
        "rds.describe_db_instances": "rds:DescribeDBInstances",
        "rds.describe_db_clusters": "rds:DescribeDBClusters",
        "rds.describe_db_snapshots": "rds:DescribeDBSnapshots",
        "rds.describe_db_cluster_snapshots": "rds:DescribeDBClusterSnapshots",
        **METRIC_DATA,
    },
    _rds,
)


def _dynamodb(look: Look) -> Iterator[Resource]:
    following, asked = "LastEvaluatedTableName", "ExclusiveStartTableName"
    for name in look.pages("dynamodb.list_tables", "TableNames", token=following, asked=asked):
        sheet = look.sheet("table", name)
        if answer := sheet.ask("bytes items stream replicas", "dynamodb.describe_table", TableName=name):
            table = answer["Table"]
            sheet.facts |= {
                "bytes": table.get("TableSizeBytes", 0),
                "items": table.get("ItemCount", 0),
                "stream": bool(table.get("StreamSpecification", {}).get("StreamEnabled")),
                "replicas": len(table.get("Replicas", ())),
            }
        if answer := sheet.ask("point_in_time_recovery", "dynamodb.describe_continuous_backups", TableName=name):
            recovery = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
            sheet.facts["point_in_time_recovery"] = recovery.get("PointInTimeRecoveryStatus") == "ENABLED"
        yield sheet.resource()


DYNAMODB = Reader(
    "dynamodb",
    {
        "dynamodb.list_tables": "dynamodb:ListTables",
        "dynamodb.describe_table": "dynamodb:DescribeTable",
        "dynamodb.describe_continuous_backups": "dynamodb:DescribeContinuousBackups",
    },
    _dynamodb,
)


def _elasticache(look: Look) -> Iterator[Resource]:
    engines: dict[str, str] = {}
    for found in look.pages("elasticache.describe_cache_clusters", "CacheClusters", token="Marker"):
        if group := found.get("ReplicationGroupId"):
            engines[group] = found["Engine"]
            continue
        yield look.sheet(
            "cluster", found["CacheClusterId"], engine=found["Engine"], version=found.get("EngineVersion"),
            nodes=found.get("NumCacheNodes"), node_type=found.get("CacheNodeType"),
        ).resource()  # fmt: skip
    for found in look.pages("elasticache.describe_replication_groups", "ReplicationGroups", token="Marker"):
        name = found["ReplicationGroupId"]
        yield look.sheet(
            "cluster", name, engine=found.get("Engine") or engines.get(name, "redis"),
            nodes=len(found.get("MemberClusters", ())), node_type=found.get("CacheNodeType"),
        ).resource()  # fmt: skip
    for found in look.pages("elasticache.describe_serverless_caches", "ServerlessCaches"):
        yield look.sheet("cluster", found["ServerlessCacheName"], engine=found["Engine"], serverless=True).resource()


ELASTICACHE = Reader(
    "elasticache",
    {
        "elasticache.describe_cache_clusters": "elasticache:DescribeCacheClusters",
        "elasticache.describe_replication_groups": "elasticache:DescribeReplicationGroups",
        "elasticache.describe_serverless_caches": "elasticache:DescribeServerlessCaches",
    },
    _elasticache,
)


def _opensearch(look: Look) -> Iterator[Resource]:
    for found in look.pages("opensearch.list_domain_names", "DomainNames"):
        sheet = look.sheet("domain", found["DomainName"])
        if answer := sheet.ask("version nodes storage_gb", "opensearch.describe_domain", DomainName=sheet.name):
            status = answer["DomainStatus"]
            nodes = status.get("ClusterConfig", {}).get("InstanceCount", 1)
            sheet.facts |= {
                "version": status.get("EngineVersion"),
                "nodes": nodes,
                "storage_gb": nodes * (status.get("EBSOptions", {}).get("VolumeSize") or 0),
            }
        yield sheet.resource()


OPENSEARCH = Reader(
    "opensearch",
    {"opensearch.list_domain_names": "es:ListDomainNames", "opensearch.describe_domain": "es:DescribeDomain"},
    _opensearch,
)
