"""The least policy that lets `assess` see everything, from the readers' own tables."""

from collections.abc import Iterable
from typing import Any

from migrate.adapters.aws_account.reader import Reader
from migrate.adapters.aws_account.readers import READERS

NEEDS_NO_PERMISSION = frozenset({"sts:GetCallerIdentity"})
ALWAYS = ("ec2:DescribeRegions",)
SAMPLE_ACTIONS = ("s3:GetObject", "s3:ListBucket")
"""For positions in images; whoever does not want objects to be read takes this statement out and says --sample 0."""

NARROWED = {"apigateway:GET": ("arn:aws:apigateway:*::/restapis", "arn:aws:apigateway:*::/apis")}
"""Actions that would show more than is asked for, keys of callers too, and what they are kept to."""


def least_policy(readers: Iterable[Reader] = READERS) -> dict[str, Any]:
    """An IAM policy document; nothing in it changes anything."""
    looking = {action for reader in readers for action in reader.actions.values()} | set(ALWAYS)
    narrowed = [
        {"Sid": f"LookAt{number}", "Effect": "Allow", "Action": [action], "Resource": list(NARROWED[action])}
        for number, action in enumerate(sorted(looking & NARROWED.keys()))
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Look",
                "Effect": "Allow",
                "Action": sorted(looking - NEEDS_NO_PERMISSION - NARROWED.keys()),
                "Resource": "*",
            },
            *narrowed,
            {"Sid": "SampleImages", "Effect": "Allow", "Action": list(SAMPLE_ACTIONS), "Resource": "*"},
        ],
    }
