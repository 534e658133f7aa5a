"""Fixtures of this machine as a host."""

from tests.local_hosts import archive, cluster, local_hosts, postgresql
from tests.restored_home import good_dump, home

__all__ = ["archive", "cluster", "good_dump", "home", "local_hosts", "postgresql"]
