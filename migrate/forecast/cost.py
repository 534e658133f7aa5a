"""What the old provider charges for leaving. List prices; each line says how it was reckoned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migrate.export.archived import TERMS, WITHOUT_COPY, restore_usd
from migrate.facts import Amount, BucketFacts
from migrate.figures import Ground, sized, weakest
from migrate.forecast.basis import Basis
from migrate.forecast.result import CostLine

GIGABYTE = 1e9
EGRESS_TIERS: Sequence[tuple[float, float]] = ((100, 0.0), (10_000, 0.09), (50_000, 0.085), (150_000, 0.07))
"""Up to so many GB a month, US dollars a GB. The provider counts 2**30 bytes for a GB: it charges up to 7 percent
less than here."""
EGRESS_BEYOND = 0.05
EGRESS_SOURCE = "list price of egress to the internet, US regions, 2026-11"
GET_USD_A_THOUSAND = 0.0004
LIST_USD_A_THOUSAND = 0.005
KEYS_A_LIST = 1000
REQUEST_SOURCE = "list price of S3 requests, us-east-1, 2026-11"
ARCHIVE_SOURCE = "list price of S3 retrieval, us-east-1, 2026-11"


@dataclass(frozen=True)
class Wanted:
    """What is to be exported beside the objects themselves."""

    tags: bool = False
    versions: bool = False


def cost_of(basis: Basis, wanted: Wanted) -> tuple[CostLine, ...]:
    """Egress by tier, requests, archived objects; tags and versions where they are wanted."""
    buckets = {name: basis.bucket(name) for name in basis.stack.buckets}
    known = {name: bucket for name, bucket in buckets.items() if bucket is not None}
    unknown = [name for name, bucket in buckets.items() if bucket is None]
    ground = weakest([bucket.ground for bucket in known.values()]) if known else Ground.ASSUMED
    size = sum(bucket.bytes + (_versions(bucket).bytes if wanted.versions else 0) for bucket in known.values())
    objects = sum(bucket.objects + (_versions(bucket).objects if wanted.versions else 0) for bucket in known.values())
    lines = [*_egress(size, ground), *_requests(objects, ground, wanted)] if known else []
    lines += [line for name, bucket in known.items() for line in _archived(name, bucket)]
    if wanted.versions:
        lines += [_unknown(f"versions of {name}", "their number is not in the facts")
                  for name, bucket in known.items() if bucket.versions is None]  # fmt: skip
    if unknown:
        lines.append(_unknown(f"{len(unknown)} of {len(buckets)} buckets", f"size not known: {', '.join(unknown[:5])}"))
    return tuple(lines)


def _versions(bucket: BucketFacts) -> Amount:
    return bucket.versions or Amount(objects=0, bytes=0)


def _egress(size: int, ground: Ground) -> Iterator[CostLine]:
    below, left = 0.0, size / GIGABYTE
    for upper, price in (*EGRESS_TIERS, (float("inf"), EGRESS_BEYOND)):
        amount = min(left, upper - below)
        if amount <= 0:
            return
        formula = f"{amount:,.0f} GB x ${price:g}"
        what = f"egress, {_tier(below, upper)}"
        yield CostLine(what=what, usd=round(amount * price, 2), formula=formula, source=EGRESS_SOURCE, ground=ground)
        below, left = upper, left - amount


def _tier(below: float, upper: float) -> str:
    if below == 0:
        return f"the first {upper:g} GB of a month"
    return f"beyond {below / 1000:g} TB" if upper == float("inf") else f"{below / 1000:g} to {upper / 1000:g} TB"


def _requests(objects: int, ground: Ground, wanted: Wanted) -> Iterator[CostLine]:
    for what, count, price in (
        ("GetObject, one an object", objects, GET_USD_A_THOUSAND),
        ("ListObjectsV2, 1,000 keys each", -(-objects // KEYS_A_LIST), LIST_USD_A_THOUSAND),
        *((("GetObjectTagging, one an object", objects, GET_USD_A_THOUSAND),) if wanted.tags else ()),
    ):
        yield CostLine(
            what=what, usd=round(count / 1000 * price, 2), formula=f"{count:,} / 1,000 x ${price:g}",
            source=REQUEST_SOURCE, ground=ground,
        )  # fmt: skip


def _archived(name: str, bucket: BucketFacts) -> Iterator[CostLine]:
    for (storage_class, tier), terms in TERMS.items():
        held = bucket.classes.get(storage_class)
        if held is None or not held.objects:
            continue
        usd = restore_usd(terms, held.objects, held.bytes, copied=storage_class not in WITHOUT_COPY)
        yield CostLine(
            what=f"{name}: {storage_class} back by {tier}, there after {terms.hours_from:g} to {terms.hours_to:g} h",
            usd=usd,
            formula=f"{sized(held.bytes)} x ${terms.usd_a_gb:g}/GiB + {held.objects:,} / 1,000 x "
            f"${terms.usd_a_thousand:g} + 7 days of a copy",
            source=ARCHIVE_SOURCE,
            ground=bucket.ground,
        )


def _unknown(what: str, why: str) -> CostLine:
    return CostLine(what=what, usd=None, formula=why, source="", ground=Ground.ASSUMED)


def total(lines: Sequence[CostLine]) -> float:
    """US dollars of everything but the retrieval of archived objects, of which one tier is to be chosen."""
    return sum(line.usd or 0.0 for line in lines if line.source != ARCHIVE_SOURCE)
