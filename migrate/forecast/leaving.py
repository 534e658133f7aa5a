"""What stays at the old home: what nobody asked for, and what a deadline cuts off, by bucket, age and bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from migrate.facts import Amount, BucketFacts
from migrate.forecast.basis import Basis
from migrate.forecast.estimates import THAW
from migrate.forecast.result import LeftBehind, OrderOutcome, Stays
from migrate.forecast.taking import Taken
from migrate.plan import Plan, Step

ANY_AGE = "any age"
LISTING = "listing"
Shares = dict[str, float]
"""Bucket -> the share of what is taken of it that is left behind, from 0 to 1."""


def stays(basis: Basis) -> tuple[Stays, ...]:
    """What no time would bring along: archived objects that nobody asks for, and versions that are not current."""
    return tuple(row for name in basis.stack.buckets if (taken := basis.taken(name)) for row in _stays(name, taken))


def _stays(name: str, taken: Taken) -> Iterator[Stays]:
    for frozen in taken.left:
        tier = f" ({frozen.storage_class} has no tier {frozen.tier})" if frozen.tier else ""
        yield Stays(
            bucket=name, what=f"archived objects in {frozen.storage_class}", objects=frozen.amount.objects,
            bytes=frozen.amount.bytes, how=f"buckets.{name}.restore_archived: standard or bulk{tier}", breaks=True,
        )  # fmt: skip
    versions = taken.bucket.versions
    if versions and versions.objects and not taken.wanted.versions:
        yield Stays(
            bucket=name, what="versions that are not current", objects=versions.objects, bytes=versions.bytes,
            how=f"buckets.{name}.versions: true", breaks=False,
        )  # fmt: skip


@dataclass(frozen=True)
class Exports:
    """The exports of a plan in its order, and the seconds that there are for them."""

    steps: tuple[Step, ...]
    basis: Basis
    seconds: float

    @classmethod
    def of(cls, plan: Plan, basis: Basis, out: float, available: float) -> "Exports":
        """`out`: seconds until everything is out, in half of all draws. Steps are reckoned at their medians; what the
        whole takes longer than these, as the slower of two limits counts in each draw, is spread over all of them."""
        before = [step for step in plan.steps if step.needs_old_home]
        medians = sum(_seconds(step) for step in before)
        others = sum(_seconds(step) for step in before if step.kind != "export.bucket")
        steps = tuple(step for step in before if step.kind == "export.bucket")
        return cls(steps, basis, max(0.0, available * min(1.0, medians / out) - others) if out else 0.0)


def _seconds(step: Step) -> float:
    return step.estimate.seconds if step.estimate else 0.0


def left_behind(exports: Exports) -> tuple[LeftBehind, ...]:
    """Under the plan's order. Objects come in the order of their keys, which says nothing of their age: of a bucket
    that is out in part, every age is left in the same proportion. Archived objects that nobody asked for stay too."""
    rows: list[LeftBehind] = []
    for name, share in _shares(exports, exports.steps).items():
        taken = exports.basis.taken(name)
        if taken is None:
            continue
        if share > 0:
            rows += _rows(name, taken, share)
        rows += (
            LeftBehind(bucket=name, age=f"{frozen.storage_class}, not asked for", **frozen.amount.model_dump())
            for frozen in taken.left
        )
    return tuple(rows)


def _rows(name: str, taken: Taken, share: float) -> Iterator[LeftBehind]:
    for words, amount in _by_age(taken.bucket, _sum_of(taken)):
        if amount.objects or amount.bytes:
            yield LeftBehind(
                bucket=name, age=words, objects=round(amount.objects * share), bytes=round(amount.bytes * share)
            )
    if taken.wanted.versions and taken.bucket.versions:
        old = taken.bucket.versions
        yield LeftBehind(
            bucket=name, age="older versions", objects=round(old.objects * share), bytes=round(old.bytes * share)
        )


def _sum_of(taken: Taken) -> Amount:
    """What nobody asks for of the current objects."""
    return Amount(
        objects=sum(frozen.amount.objects for frozen in taken.left),
        bytes=sum(frozen.amount.bytes for frozen in taken.left),
    )


def _by_age(bucket: BucketFacts, frozen: Amount) -> Iterator[tuple[str, Amount]]:
    """Age in words -> what of the current objects is so old, the youngest first, without `frozen`: archived objects are
    taken for the oldest."""
    bounds = [age.older_than_days for age in bucket.ages]
    rest = Amount(
        objects=bucket.objects - sum(age.objects for age in bucket.ages),
        bytes=bucket.bytes - sum(age.bytes for age in bucket.ages),
    )
    newest = f"younger than {bounds[0]} days" if bounds and bounds[0] else ANY_AGE if not bounds else "of no known age"
    parts: list[tuple[str, Amount]] = [(newest, rest)]
    for age, upper in zip(bucket.ages, [*bounds[1:], None][: len(bounds)], strict=True):
        words = f"{age.older_than_days} to {upper} days" if upper else f"older than {age.older_than_days} days"
        parts.append((words, Amount(objects=age.objects, bytes=age.bytes)))
    thinned: list[tuple[str, Amount]] = []
    for words, amount in reversed(parts):
        objects, size = min(frozen.objects, amount.objects), min(frozen.bytes, amount.bytes)
        frozen = Amount(objects=frozen.objects - objects, bytes=frozen.bytes - size)
        thinned.append((words, Amount(objects=amount.objects - objects, bytes=amount.bytes - size)))
    yield from reversed(thinned)


def orders(exports: Exports) -> tuple[OrderOutcome, ...]:
    """The plan's order, and others that an operator can take by hand."""
    smallest = sorted(exports.steps, key=_seconds)
    plan = _outcome("as planned", exports, _shares(exports, exports.steps))
    return (
        plan,
        _outcome("smallest bucket first", exports, _shares(exports, smallest)),
        _newest_first(exports),
    )


def _shares(exports: Exports, steps: Sequence[Step]) -> Shares:
    seconds, shares = exports.seconds, {}
    for step in steps:
        taken = exports.basis.taken(step.subject)
        own = _seconds(step)
        done = min(own, seconds)
        seconds -= done
        shares[step.subject] = 1 - _done_share(step, taken, done) if own and taken else 0.0
    return shares


def _done_share(step: Step, taken: Taken, seconds: float) -> float:
    """Which share of its bytes an export has fetched after so many seconds: while it waits for archived objects to be
    restored nothing comes."""
    estimate = step.estimate
    if estimate is None or taken.thaw is None or not taken.whole.bytes:
        return seconds / _seconds(step)
    *_, first, second = estimate.stretches
    setup = estimate.seconds - sum(max(limit.seconds for limit in limits) for limits in (first, second))
    ready = max((limit.seconds for limit in first if limit.figure != THAW), default=0.0)
    thawed = max(limit.seconds for limit in second)
    of_ready = min(1.0, max(0.0, seconds - setup) / ready) if ready else 1.0
    of_thawed = max(0.0, seconds - (estimate.seconds - thawed)) / thawed if thawed else float(seconds > ready)
    return (taken.ready.bytes * of_ready + taken.thawed.bytes * of_thawed) / taken.whole.bytes


def _listing_seconds(step: Step) -> float:
    """The listing, where it is not reckoned as a stretch of its own already."""
    stretches = step.estimate.stretches if step.estimate else ()
    return max((x.seconds for limits in stretches if len(limits) > 1 for x in limits if x.figure == LISTING), default=0)


def _outcome(order: str, exports: Exports, shares: Shares) -> OrderOutcome:
    left = [name for name, share in shares.items() if share > 0]
    amounts = [(exports.basis.taken(name), shares[name]) for name in left]
    whole = [name for name in left if shares[name] == 1]
    parts = [f"{shares[name]:.0%} of {name}" for name in left if shares[name] < 1]
    return OrderOutcome(
        order=order,
        whole_buckets=len(shares) - len(left),
        left_objects=round(sum(taken.whole.objects * share for taken, share in amounts if taken)),
        left_bytes=round(sum(taken.whole.bytes * share for taken, share in amounts if taken)),
        loses=", ".join([*parts, *_named(whole)]),
    )


def _named(buckets: Sequence[str]) -> list[str]:
    return [*buckets[:3], f"{len(buckets) - 3} more buckets"] if len(buckets) > 4 else list(buckets)


def _newest_first(exports: Exports) -> OrderOutcome:
    """`export --order newest` on every bucket, with the bytes that are left taken from the oldest up. Each bucket then
    waits for the end of its listing before the first object comes."""
    waiting = sum(_listing_seconds(step) for step in exports.steps)
    sorted_first = replace(exports, seconds=max(0.0, exports.seconds - waiting))
    plan = _outcome("newest objects first", sorted_first, _shares(sorted_first, exports.steps))
    ages = [
        (age.older_than_days, age.bytes, age.objects)
        for step in exports.steps
        if (bucket := exports.basis.bucket(step.subject))
        for age in bucket.ages
    ]
    left, objects, youngest = float(plan.left_bytes), 0.0, None
    for days, size, count in sorted(ages, reverse=True):
        taken = min(left, size)
        left -= taken
        objects += count * taken / size if size else 0
        youngest = days
        if left <= 0:
            break
    told = bool(ages) and left <= 0
    return OrderOutcome(
        order="newest objects first",
        whole_buckets=0,
        left_objects=round(objects) if told else plan.left_objects,
        left_bytes=plan.left_bytes,
        loses=f"only what is older than {youngest} days" if told else "the oldest; their age is not known",
    )
