"""One small reader per service: which calls it makes, which permissions they need, what it tells of each resource."""

from migrate.adapters.aws_account.reader import Reader
from migrate.adapters.aws_account.readers.compute import EC2, ECS, EKS, ELB, ELBV2, LAMBDA
from migrate.adapters.aws_account.readers.databases import DYNAMODB, ELASTICACHE, OPENSEARCH, RDS
from migrate.adapters.aws_account.readers.gateways import APIGATEWAY, ECR, EFS, STEPFUNCTIONS
from migrate.adapters.aws_account.readers.identities import COGNITO, COGNITO_IDENTITY, IAM
from migrate.adapters.aws_account.readers.keys import KMS, SECRETS, SSM
from migrate.adapters.aws_account.readers.messaging import SES, SNS, SQS
from migrate.adapters.aws_account.readers.names import ACM, CLOUDFRONT, DOMAINS, ROUTE53
from migrate.adapters.aws_account.readers.s3 import S3
from migrate.adapters.aws_account.readers.tagged import TAGGED

READERS: tuple[Reader, ...] = (
    S3, RDS, DYNAMODB, ELASTICACHE, OPENSEARCH, EC2, ELBV2, ELB, ECS, EKS, LAMBDA, SQS, SNS, SES, COGNITO, CLOUDFRONT,
    ROUTE53, DOMAINS, ACM, KMS, SECRETS, SSM, IAM, ECR, EFS, APIGATEWAY, STEPFUNCTIONS, COGNITO_IDENTITY, TAGGED,
)  # fmt: skip
"""Every service that is looked at."""
