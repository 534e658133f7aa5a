"""Fixtures of this machine as a host."""

from tests.local_hosts import archive, cluster, local_hosts, postgresql

__all__ = ["archive", "cluster", "local_hosts", "postgresql"]
