"""Objects in archive classes: this plan leaves them where they are, and each tier has a last moment to ask for them."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from migrate.export.archived import TERMS
from migrate.forecast.basis import Basis
from migrate.forecast.result import ArchivedForecast

HOUR = 3600.0


def archived(basis: Basis, deadline: datetime | None) -> tuple[ArchivedForecast, ...]:
    """One row for each bucket, class and tier that the class has."""
    return tuple(_rows(basis, deadline))


def _rows(basis: Basis, deadline: datetime | None) -> Iterator[ArchivedForecast]:
    for name in basis.stack.buckets:
        bucket = basis.bucket(name)
        for (storage_class, tier), terms in TERMS.items():
            held = bucket.classes.get(storage_class) if bucket else None
            if held is None or not held.objects:
                continue
            fetching = held.bytes / basis.line.value * basis.line.spread
            seconds = terms.hours_to * HOUR + fetching
            yield ArchivedForecast(
                bucket=name,
                storage_class=storage_class,
                objects=held.objects,
                bytes=held.bytes,
                tier=tier.value,
                hours=terms.hours_to,
                ask_by=deadline - timedelta(seconds=seconds) if deadline else None,
            )
