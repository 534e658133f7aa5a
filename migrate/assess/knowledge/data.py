"""Where the data lies: object storage, databases, caches, search."""

from migrate.assess.findings import Hold
from migrate.assess.knowledge.rule import AWS, Rule

DATA = (
    Rule(
        "s3", "bucket", Hold.REPLACEABLE, when={"archived": True, "encryption": "customer key"},
        why="objects in archive classes must be restored before they are read, up to two days, and then need the key",
        instead="files on own disks behind nginx, or any S3-compatible store",
        lead_hours=48, first="ask for the restore now; the exporting identity must be allowed the key (kms:Decrypt)",
        source=f"{AWS}/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html",
    ),
    Rule(
        "s3", "bucket", Hold.REPLACEABLE, when={"archived": True},
        why="objects in archive classes must be restored before they can be read: hours to two days",
        instead="files on own disks behind nginx, or any S3-compatible store",
        lead_hours=48, first="ask for the restore: cloudexit export --restore-archived bulk, or S3 Batch Operations",
        source=f"{AWS}/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html",
    ),
    Rule(
        "s3", "bucket", Hold.PORTABLE, when={"encryption": "customer key", "archived": None},
        why="reading needs the key; whether some lie in archive classes was not told: those wait up to two days",
        instead="files on own disks behind nginx, or any S3-compatible store",
        lead_hours=48, first="let CloudWatch be read; look that the exporting identity may use the key (kms:Decrypt)",
        source=f"{AWS}/AmazonS3/latest/userguide/UsingKMSEncryption.html",
    ),
    Rule(
        "s3", "bucket", Hold.PORTABLE, when={"encryption": "customer key"},
        why="objects leave byte for byte; reading them needs the key for as long as it takes",
        instead="files on own disks behind nginx, or any S3-compatible store",
        lead_hours=1, first="look that the exporting identity may use the key (kms:Decrypt), then export",
        source=f"{AWS}/AmazonS3/latest/userguide/UsingKMSEncryption.html",
    ),
    Rule(
        "s3", "bucket", Hold.PORTABLE, when={"archived": None},
        why="objects leave byte for byte; whether some lie in archive classes was not told: those wait up to two days",
        instead="files on own disks behind nginx, or any S3-compatible store",
        lead_hours=48, first="let CloudWatch be read, or look: cloudexit export s3://BUCKET DEST --dry-run",
        source=f"{AWS}/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html",
    ),
    Rule(
        "s3", "bucket", Hold.PORTABLE,
        why="objects, metadata and tags leave as they are",
        instead="files on own disks behind nginx, or any S3-compatible store",
        lead_hours=1, first="cloudexit export s3://BUCKET DEST --dry-run, then without",
        source=f"{AWS}/AmazonS3/latest/API/API_GetObject.html",
    ),
    Rule(
        "efs", "file-system", Hold.PORTABLE,
        why="plain files behind NFS; they leave only through a host that mounts them, at the file system's own pace",
        instead="files on own disks, served by NFS where several hosts write them",
        lead_hours=8, first="mount it on a host and rsync --hard-links --xattrs; small files take far longer",
        source=f"{AWS}/efs/latest/ug/how-it-works.html",
    ),
    Rule(
        "rds", "instance", Hold.PORTABLE, when={"engine_family": "postgresql"},
        why="the database is PostgreSQL: pg_dump and logical replication leave; the physical snapshot does not",
        instead="PostgreSQL of the same major version or a newer one, on own disks, with its own backups",
        lead_hours=4, first="pg_dump --format=custom now; rds.logical_replication=1 (needs a restart) for the delta",
        source=f"{AWS}/AmazonRDS/latest/UserGuide/PostgreSQL.Procedural.Importing.html",
    ),
    Rule(
        "rds", "instance", Hold.PORTABLE, when={"engine_family": "mysql"},
        why="the database is MySQL or MariaDB: a logical dump and the binlog leave; the physical snapshot does not",
        instead="MySQL or MariaDB on own disks",
        lead_hours=4, first="mysqldump --single-transaction now; set `binlog retention hours` for the delta",
        source=f"{AWS}/AmazonRDS/latest/UserGuide/mysql-stored-proc-configuring.html",
    ),
    Rule(
        "rds", "instance", Hold.REPLACEABLE,
        why="a licensed or less usual engine: its own dump tool leaves, a licence may not",
        instead="the same engine under an own licence, or a port to PostgreSQL (weeks)",
        lead_hours=72, first="make a dump with the engine's own tool, and ask who holds the licence",
    ),
    Rule(
        "rds", "cluster", Hold.REPLACEABLE, when={"engine_family": "postgresql"},
        why="Aurora's storage is its own; by the wire it is PostgreSQL, so a logical dump or replication leaves",
        instead="PostgreSQL with streaming replicas on own disks; Aurora's own functions and extensions have no heir",
        lead_hours=8, first="pg_dump --format=custom from a reader; list aurora_* functions that the code calls",
        source=f"{AWS}/AmazonRDS/latest/AuroraUserGuide/AuroraPostgreSQL.Replication.Logical.html",
    ),
    Rule(
        "rds", "cluster", Hold.REPLACEABLE, when={"engine_family": "mysql"},
        why="Aurora's storage is its own; by the wire it is MySQL, so a logical dump or the binlog leaves",
        instead="MySQL or MariaDB with replicas on own disks",
        lead_hours=8, first="mysqldump --single-transaction from a reader; binlog_format must be on for a delta",
        source=f"{AWS}/AmazonRDS/latest/AuroraUserGuide/AuroraMySQL.Replication.MySQL.html",
    ),
    Rule(
        "rds", "cluster", Hold.REPLACEABLE,
        why="a document or graph store of the provider's own: the data leaves through queries, the engine does not",
        instead="MongoDB, FerretDB or a graph database of your own, and code that is tested against it",
        lead_hours=336, first="export all data through the engine's own tools; run the app's tests against the heir",
    ),
    Rule(
        "rds", "snapshot", Hold.CAPTIVE,
        why="a physical snapshot cannot leave; its export is Parquet, skips some tables and restores into no database",
        instead="restore it into an instance here and dump that, before the account ends",
        lead_hours=6, first="decide which snapshots hold what no dump holds; restore and dump those",
        source=f"{AWS}/AmazonRDS/latest/UserGuide/USER_ExportSnapshot.html",
    ),
    Rule(
        "dynamodb", "table", Hold.REPLACEABLE,
        why="items leave as DynamoDB JSON (export to S3, or a scan); the query model and the API do not",
        instead="PostgreSQL tables with jsonb, or ScyllaDB's Alternator where the code must not change",
        lead_hours=72, first="switch point-in-time recovery on, export to S3, and read how the code queries it",
        source=f"{AWS}/amazondynamodb/latest/developerguide/S3DataExport.HowItWorks.html",
    ),
    Rule(
        "elasticache", "cluster", Hold.PORTABLE, when={"engine": "redis"},
        why="a Redis snapshot is a plain RDB file and may be copied to S3",
        instead="Redis or Valkey on own hosts, from the RDB snapshot",
        lead_hours=1, first="make a snapshot and export it to a bucket in the same region",
        source=f"{AWS}/AmazonElastiCache/latest/dg/backups-exporting.html",
    ),
    Rule(
        "elasticache", "cluster", Hold.PORTABLE, when={"engine": "valkey"},
        why="a Valkey snapshot is a plain RDB file and may be copied to S3",
        instead="Valkey on own hosts, from the RDB snapshot",
        lead_hours=1, first="make a snapshot and export it to a bucket in the same region",
        source=f"{AWS}/AmazonElastiCache/latest/dg/backups-exporting.html",
    ),
    Rule(
        "elasticache", "cluster", Hold.PORTABLE,
        why="memcached keeps nothing that could leave",
        instead="memcached on own hosts, empty",
        lead_hours=1, first="look that the app lives through an empty cache",
        source=f"{AWS}/AmazonElastiCache/latest/dg/SelectEngine.html",
    ),
    Rule(
        "opensearch", "domain", Hold.REPLACEABLE,
        why="automatic snapshots lie in a bucket that is not yours; a manual one into your own bucket leaves",
        instead="OpenSearch on own hosts from the snapshot, or an index rebuilt from the database",
        lead_hours=8, first="register an own bucket as repository and take a manual snapshot",
        source=f"{AWS}/opensearch-service/latest/developerguide/managedomains-snapshots.html",
    ),
)  # fmt: skip
"""Object storage, databases, caches, search."""
