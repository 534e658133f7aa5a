"""The least policy that lets `assess` see everything, from the readers' own tables."""

from collections.abc import Iterable
from typing import Any

from migrate.adapters.aws_account.reader import Reader
from migrate.adapters.aws_account.readers import READERS

NEEDS_NO_PERMISSION = frozenset({"sts:GetCallerIdentity"})
ALWAYS = ("ec2:DescribeRegions",)
SAMPLE_ACTIONS = ("s3:GetObject", "s3:ListBucket")
"""For positions in images; whoever does not want objects to be read takes this statement out and says --sample 0."""


def least_policy(readers: Iterable[Reader] = READERS) -> dict[str, Any]:
    """An IAM policy document; nothing in it changes anything."""
    looking = {action for reader in readers for action in reader.actions.values()} | set(ALWAYS)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Look", "Effect": "Allow", "Action": sorted(looking - NEEDS_NO_PERMISSION), "Resource": "*"},
            {"Sid": "SampleImages", "Effect": "Allow", "Action": list(SAMPLE_ACTIONS), "Resource": "*"},
        ],
    }
