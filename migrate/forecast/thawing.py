"""Objects in archive classes: what each tier takes, and the last moment to ask for them."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from migrate.export.archived import Tier
from migrate.forecast.basis import Basis
from migrate.forecast.moments import before
from migrate.forecast.result import ArchivedForecast
from migrate.forecast.taking import terms_of

HOUR = 3600.0


def archived(basis: Basis, deadline: datetime | None, begin_by: Mapping[str, datetime]) -> tuple[ArchivedForecast, ...]:
    """One row for each bucket, class and tier that the class has; of what the manifest asks for, its tier alone, asked
    for when the export of its bucket begins. `begin_by`: bucket -> until when that must be."""
    return tuple(_rows(basis, deadline, begin_by))


def _rows(basis: Basis, deadline: datetime | None, begin_by: Mapping[str, datetime]) -> Iterator[ArchivedForecast]:
    for name in basis.stack.buckets:
        taken = basis.taken(name)
        for frozen in taken.frozen if taken else ():
            fetching = frozen.amount.bytes / basis.line.value * basis.line.spread
            for tier in Tier:
                terms = terms_of(frozen.storage_class, tier)
                if terms is None or (frozen.terms and tier is not frozen.tier):
                    continue
                ask_by = before(deadline, terms.hours_to * HOUR + fetching) if deadline else None
                if ask_by and frozen.terms:
                    ask_by = min(ask_by, begin_by.get(name, ask_by))
                yield ArchivedForecast(
                    bucket=name,
                    storage_class=frozen.storage_class,
                    objects=frozen.amount.objects,
                    bytes=frozen.amount.bytes,
                    tier=tier.value,
                    hours=terms.hours_to,
                    asked_for=frozen.terms is not None,
                    ask_by=ask_by,
                )
