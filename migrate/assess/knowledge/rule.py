"""One rule of what is known of a service."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from migrate.assess.findings import Hold
from migrate.assess.observed import Fact, Resource

ASSUMED = "assumed"
"""Source of what is a default of ours."""
AWS = "https://docs.aws.amazon.com"


@dataclass(frozen=True)
class Rule:
    """Judges the resources of one kind whose facts are those of `when`; without `when`, all of the kind."""

    service: str
    kind: str
    hold: Hold
    why: str
    instead: str
    lead_hours: float
    first: str
    source: str = ASSUMED
    when: Mapping[str, Fact] = field(default_factory=dict)

    def fits(self, resource: Resource) -> bool:
        if (self.service, self.kind) != (resource.service, resource.kind):
            return False
        return all(resource.facts.get(fact) == value for fact, value in self.when.items())
