"""The manifest that `init` writes from what an account holds."""

import yaml

from migrate.assess.first_manifest import first_manifest
from migrate.assess.observed import Resource
from migrate.cli.initial import TEMPLATES, filled
from migrate.stack import Stack


def bucket(name: str, size: int = 1) -> Resource:
    return Resource(service="s3", kind="bucket", region="us-east-1", name=name, facts={"bytes": size, "objects": 1})


def manifest_of(*buckets: Resource) -> str:
    return filled((TEMPLATES / "stack.yaml").read_text(), first_manifest(buckets))


def test_names_of_the_account_stand_as_they_are() -> None:
    """`moved-media` became part of `myapp-media-backup`, which holds an example's name in it."""
    text = manifest_of(bucket("myapp-media-backup"), bucket("moved-media", 10**12), bucket("myapp-releases-old"))
    stack = Stack.model_validate(yaml.safe_load(text))
    assert {"myapp-media-backup", "moved-media", "myapp-releases-old"} <= set(stack.buckets)
    assert {database.dump.bucket for database in stack.databases.values()} == {"myapp-media-backup"}
    assert {tree.bucket for tree in stack.media.values()} == {"moved-media"}


def test_an_example_that_stands_for_nothing_found_says_so() -> None:
    text = manifest_of(bucket("assets"))
    assert "myapp-releases: {holds: releases}   # an example: no bucket of the account sounds like releases" in text
    assert "an example: no bucket" not in filled((TEMPLATES / "stack.yaml").read_text(), first_manifest(()))
