"""Disposable hosts: real systemd, real sshd, an address each, made in seconds and gone without a trace."""

from migrate.lab.image import FrozenImage
from migrate.lab.lab import HostSpec, HostState, Lab, LabHost
from migrate.lab.releases import DEFAULT_RELEASE, Release
from migrate.lab.requirements import DEBIAN_PACKAGES, doctor

__all__ = [
    "DEBIAN_PACKAGES",
    "DEFAULT_RELEASE",
    "FrozenImage",
    "HostSpec",
    "HostState",
    "Lab",
    "LabHost",
    "Release",
    "doctor",
]
