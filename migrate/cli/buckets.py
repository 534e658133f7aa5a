"""The buckets of one S3 account, for every command that exports: how each is read, and by which lanes."""

from migrate.adapters.fastlane.endpoint import lanes_for
from migrate.adapters.s3 import Access, S3Source, open_account
from migrate.export.lanes import MakeLanes


class Buckets:
    """One account. Raises UsageProblem for an unknown profile or a malformed endpoint; speaks to nobody yet."""

    def __init__(self, access: Access) -> None:
        self._account = open_account(access)

    def source(self, bucket: str) -> S3Source:
        return S3Source(self._account.client, bucket, self._account.session)

    def lanes(self, bucket: str) -> MakeLanes:
        return lanes_for(self._account, bucket)
