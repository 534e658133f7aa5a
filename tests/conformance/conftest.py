"""Fixtures of this machine as a host."""

from tests.cloud_account import cloud
from tests.local_hosts import archive, cluster, local_hosts, postgresql

__all__ = ["archive", "cloud", "cluster", "local_hosts", "postgresql"]
