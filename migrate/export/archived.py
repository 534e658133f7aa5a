"""What it costs and takes to have archived objects restored.

List prices in US dollars of the provider's us-east-1 (S3 pricing page, 2026-11; the worked example at
repost.aws/knowledge-center/s3-manage-data-retrieval) and times as its user guide states them ("Archive retrieval
options"). The cost of a restore is

    GB * price per GB + objects / 1000 * price per 1,000 requests + GB * days / 30 * STANDARD storage price

with GB = 2**30 bytes. What leaves the provider afterwards is charged as egress, and is not in it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

GB = 2**30
COPY_DAYS = 7
DAYS_A_MONTH = 30
STANDARD_USD_A_GB_MONTH = 0.023


class Tier(StrEnum):
    EXPEDITED = "expedited"
    STANDARD = "standard"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Terms:
    """Hours until a copy is there, typically and at the latest; prices in US dollars."""

    hours_from: float
    hours_to: float
    usd_a_gb: float
    usd_a_thousand: float

    @property
    def lasting(self) -> str:
        """`3 to 5 h`, `12 h`, `1 to 5 min`."""
        count, unit = (60, "min") if self.hours_to < 1 else (1, "h")
        first, last = f"{self.hours_from * count:g}", f"{self.hours_to * count:g}"
        return f"{last} {unit}" if first == last else f"{first} to {last} {unit}"


TERMS: Mapping[tuple[str, Tier], Terms] = {
    ("GLACIER", Tier.EXPEDITED): Terms(1 / 60, 5 / 60, 0.03, 10.0),
    ("GLACIER", Tier.STANDARD): Terms(3, 5, 0.01, 0.05),
    ("GLACIER", Tier.BULK): Terms(5, 12, 0.0, 0.0),
    ("DEEP_ARCHIVE", Tier.STANDARD): Terms(12, 12, 0.02, 0.10),
    ("DEEP_ARCHIVE", Tier.BULK): Terms(48, 48, 0.0025, 0.025),
    ("INTELLIGENT_TIERING", Tier.EXPEDITED): Terms(1 / 60, 5 / 60, 0.03, 10.0),
    ("INTELLIGENT_TIERING", Tier.STANDARD): Terms(3, 12, 0.0, 0.0),
    ("INTELLIGENT_TIERING", Tier.BULK): Terms(5, 48, 0.0, 0.0),
}
# A copy of these has no end and is not stored twice.
WITHOUT_COPY = frozenset({"INTELLIGENT_TIERING"})


@dataclass(frozen=True, slots=True)
class RestoreOffer:
    """What the objects of one storage class would cost and take in one tier; hours until a copy is there."""

    storage_class: str
    tier: str
    objects: int
    bytes: int
    hours_from: float
    hours_to: float
    usd: float


def offers(held: Iterable[tuple[str, int, int]]) -> Iterator[RestoreOffer]:
    """For (storage class, objects, bytes) each tier that the class has; none for a class of another provider."""
    for storage_class, objects, size in held:
        for tier in Tier:
            terms = TERMS.get((storage_class, tier))
            if terms is not None:
                usd = restore_usd(terms, objects, size, copied=storage_class not in WITHOUT_COPY)
                yield RestoreOffer(storage_class, tier.value, objects, size, terms.hours_from, terms.hours_to, usd)


def restore_usd(terms: Terms, objects: int, size: int, *, copied: bool = True) -> float:
    """The cost in US dollars, as the formula above has it."""
    retrieval = size / GB * terms.usd_a_gb + objects / 1000 * terms.usd_a_thousand
    copy = size / GB * COPY_DAYS / DAYS_A_MONTH * STANDARD_USD_A_GB_MONTH if copied else 0.0
    return round(retrieval + copy, 4)
