"""What the old provider charges for leaving. List prices; each line says how it was reckoned."""

from collections.abc import Iterator, Sequence

from migrate.export.archived import WITHOUT_COPY, Terms, Tier, restore_usd
from migrate.figures import Ground, sized, weakest
from migrate.forecast.basis import Basis
from migrate.forecast.result import CostLine
from migrate.forecast.taking import TERMS_OF, Frozen, Taken, terms_of

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
ARCHIVE_SOURCE = "list price of S3 retrieval, us-east-1, 2026-11; not in the sum: a tier is to be chosen"
ASKED_SOURCE = "list price of S3 retrieval, us-east-1, 2026-11; in the sum: the manifest asks for it"


def cost_of(basis: Basis) -> tuple[CostLine, ...]:
    """Egress by tier and requests of what is fetched; what it costs to have archived objects restored."""
    buckets = {name: basis.taken(name) for name in basis.stack.buckets}
    known = {name: taken for name, taken in buckets.items() if taken is not None}
    unknown = [name for name, taken in buckets.items() if taken is None]
    lines: list[CostLine] = []
    if known:
        ground = weakest([taken.ground for taken in known.values()])
        lines += _egress(sum(taken.whole.bytes for taken in known.values()), ground)
        lines += _requests(list(known.values()), ground)
    lines += [line for name, taken in known.items() for line in _archived(name, taken)]
    lines += [_unknown(f"versions of {name}", "their number is not in the facts")
              for name, taken in known.items() if not taken.is_told]  # fmt: skip
    if unknown:
        lines.append(_unknown(f"{len(unknown)} of {len(buckets)} buckets", f"size not known: {', '.join(unknown[:5])}"))
    return tuple(lines)


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


def _requests(buckets: Sequence[Taken], ground: Ground) -> Iterator[CostLine]:
    objects = sum(taken.whole.objects for taken in buckets)
    tagged = sum(taken.whole.objects for taken in buckets if taken.wanted.tags)
    lists = sum(-(-taken.listed // KEYS_A_LIST) for taken in buckets)
    for what, count, price in (
        ("GetObject, one an object", objects, GET_USD_A_THOUSAND),
        ("ListObjectsV2, 1,000 keys each", lists, LIST_USD_A_THOUSAND),
        *((("GetObjectTagging, one an object", tagged, GET_USD_A_THOUSAND),) if tagged else ()),
    ):
        yield CostLine(
            what=what, usd=round(count / 1000 * price, 2), formula=f"{count:,} / 1,000 x ${price:g}",
            source=REQUEST_SOURCE, ground=ground,
        )  # fmt: skip


def _archived(name: str, taken: Taken) -> Iterator[CostLine]:
    """The tier that the manifest asks for; where it asks for none, each tier, of which one is to be chosen."""
    for frozen in taken.frozen:
        for tier in Tier:
            terms = terms_of(frozen.storage_class, tier)
            if terms and (frozen.terms is None or tier is frozen.tier):
                yield _restored(name, frozen, tier, terms, taken.ground)


def _restored(name: str, frozen: Frozen, tier: Tier, terms: Terms, ground: Ground) -> CostLine:
    held, copied = frozen.amount, TERMS_OF.get(frozen.storage_class, frozen.storage_class) not in WITHOUT_COPY
    copy = " + 7 days of a copy" if copied else ""
    return CostLine(
        what=f"{name}: {frozen.storage_class} back by {tier}, there after {terms.lasting}",
        usd=restore_usd(terms, held.objects, held.bytes, copied=copied),
        formula=f"{sized(held.bytes)} x ${terms.usd_a_gb:g}/GiB + {held.objects:,} / 1,000 x "
        f"${terms.usd_a_thousand:g}{copy}",
        source=ARCHIVE_SOURCE if frozen.terms is None else ASKED_SOURCE,
        ground=ground,
    )


def _unknown(what: str, why: str) -> CostLine:
    return CostLine(what=what, usd=None, formula=why, source="", ground=Ground.ASSUMED)


def total(lines: Sequence[CostLine]) -> float:
    """US dollars of everything but the retrieval of archived objects of which a tier is still to be chosen."""
    return sum(line.usd or 0.0 for line in lines if line.source != ARCHIVE_SOURCE)
