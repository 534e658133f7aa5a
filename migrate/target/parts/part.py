"""A part of the new home: what one role installs on a host, and what it must be told."""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from migrate.target.firewall import Opening
from migrate.target.hostview import HostView


def encoded(text: str) -> str:
    """A text in base64: one that has braces of its own must not be taken for a template on its way to a host."""
    return base64.b64encode(text.encode()).decode()


def _nothing(view: HostView) -> tuple[Any, ...]:
    return ()


def _no_secrets(view: HostView) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Part:
    """Pure functions of a host; each may raise UsageProblem where manifest and inventory do not fit together.

    A host whose `variables` are None does not get the part, and is asked for nothing else.
    """

    name: str
    """Key under which provision.yml finds its variables and secrets."""
    variables: Callable[[HostView], Any]
    """What the role is told that is no secret."""
    secrets: Callable[[HostView], Mapping[str, Any]] = _no_secrets
    """What the role is told that is secret."""
    packages: Callable[[HostView], Iterable[str]] = _nothing
    """Debian packages that it needs; all packages of a host are installed in one transaction."""
    masked_units: Callable[[HostView], Iterable[str]] = _nothing
    """Units that its packages bring and that must never run."""
    openings: Callable[[HostView], Iterable[Opening]] = _nothing
    """Ports that it opens beside the `open_to` and `writers` of the manifest."""
