"""What was seen of an account: resources with their facts, and the places where nobody was let look."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

GLOBAL = "global"
"""Region of services that have none."""

Fact = bool | int | float | str | tuple[str, ...] | dict[str, int] | None


class Noun(BaseModel):
    """A value of the report; its schema, with these texts, is docs/reference/assessment.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Resource(Noun):
    """One thing of the account."""

    service: str
    """Service as the provider's own command line calls it, for example `s3` or `cognito-idp`."""
    kind: str
    """What it is within the service, for example `bucket`."""
    region: str
    """Region, or `global`."""
    name: str
    """Name or id within the service."""
    facts: dict[str, Fact] = {}
    """What was read of it. A fact that could not be read is not here but in `unseen`."""
    unseen: tuple[str, ...] = ()
    """Facts that we were not let read: neither yes nor no."""

    @property
    def address(self) -> str:
        """`service/name`: what an answer of the manifest names."""
        return f"{self.service}/{self.name}"

    def whole(self, fact: str) -> int:
        """A count, 0 where it was not read."""
        value = self.facts.get(fact)
        return int(value) if isinstance(value, (int, float)) else 0

    def texts(self, fact: str) -> tuple[str, ...]:
        value = self.facts.get(fact)
        return value if isinstance(value, tuple) else ()


class Blindness(StrEnum):
    """Why something was not seen. None of them means that there is nothing."""

    NOT_ALLOWED = "not allowed to look"
    NO_ANSWER = "no answer"
    NOT_UNDERSTOOD = "the service does not say"


class Unseen(Noun):
    """A question that got no answer."""

    service: str
    """Service that was asked."""
    region: str
    """Region that was asked, or `global`."""
    action: str
    """Permission that the question needs, as a policy names it."""
    reason: Blindness
    """Why there was no answer."""
    said: str = ""
    """What the other side said."""
    about: str = ""
    """The resource that it was about; empty for the whole service in the region."""


class Observed(Noun):
    """Everything that one look at the account brought home."""

    account: str
    """Account number."""
    caller: str
    """Identity that looked."""
    regions: tuple[str, ...]
    """Regions that were asked."""
    resources: tuple[Resource, ...] = ()
    """What is there."""
    unseen: tuple[Unseen, ...] = ()
    """What could not be seen."""
    seconds: float = 0.0
    """How long the look took."""


def silent_regions(unseen: Sequence[Unseen]) -> tuple[str, ...]:
    """Regions of which at least one service did not answer in time."""
    return tuple(sorted({u.region for u in unseen if u.reason is Blindness.NO_ANSWER}))
