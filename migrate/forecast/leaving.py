"""What stays at the old home if the deadline comes first: by bucket, age and bytes, and under other orders."""

from collections.abc import Iterator, Sequence

from migrate.facts import BucketFacts
from migrate.forecast.basis import Basis
from migrate.forecast.result import LeftBehind, OrderOutcome
from migrate.forecast.schedule import Network
from migrate.plan import Step

ANY_AGE = "any age"
Shares = dict[str, float]
"""Bucket -> the share of it that is left behind, from 0 to 1."""


def left_behind(network: Network, basis: Basis, available: float) -> tuple[LeftBehind, ...]:
    """Under the plan's order. Objects come in the order of their keys, which says nothing of their age: of a bucket
    that is out in part, every age is left in the same proportion."""
    exports = _exports(network)
    return tuple(
        row
        for name, share in _shares(exports, _time_for_exports(network, available)).items()
        if share > 0
        for row in _rows(name, basis.bucket(name), share)
    )


def _rows(name: str, bucket: BucketFacts | None, share: float) -> Iterator[LeftBehind]:
    if bucket is None:
        return
    objects, size = bucket.objects, bucket.bytes
    for age in bucket.ages:
        objects, size = objects - age.objects, size - age.bytes
    bounds = [age.older_than_days for age in bucket.ages]
    newest = f"younger than {bounds[0]} days" if bounds and bounds[0] else ANY_AGE if not bounds else "of no known age"
    parts = [(newest, objects, size)] if objects or not bounds else []
    for age, upper in zip(bucket.ages, [*bounds[1:], None][: len(bounds)], strict=True):
        words = f"{age.older_than_days} to {upper} days" if upper else f"older than {age.older_than_days} days"
        parts.append((words, age.objects, age.bytes))
    for words, count, total in parts:
        yield LeftBehind(bucket=name, age=words, objects=round(count * share), bytes=round(total * share))


def orders(network: Network, basis: Basis, available: float) -> tuple[OrderOutcome, ...]:
    """The plan's order, and others that an operator can take by hand."""
    exports = _exports(network)
    time = _time_for_exports(network, available)
    smallest = sorted(exports, key=_seconds)
    plan = _outcome("as planned", basis, _shares(exports, time))
    return (
        plan,
        _outcome("smallest bucket first", basis, _shares(smallest, time)),
        _newest_first(basis, exports, plan),
    )


def _exports(network: Network) -> list[Step]:
    return [step for step in network.plan.steps if step.kind == "export.bucket"]


def _seconds(step: Step) -> float:
    return step.estimate.seconds if step.estimate else 0.0


def _time_for_exports(network: Network, available: float) -> float:
    before = sum(_seconds(step) for step in network.plan.steps if step.needs_old_home and step.kind != "export.bucket")
    return max(0.0, available - before)


def _shares(exports: Sequence[Step], seconds: float) -> Shares:
    shares = {}
    for step in exports:
        own = _seconds(step)
        done = min(own, seconds)
        seconds -= done
        shares[step.subject] = 1 - done / own if own else 0.0
    return shares


def _outcome(order: str, basis: Basis, shares: Shares) -> OrderOutcome:
    left = [name for name, share in shares.items() if share > 0]
    amounts = [(basis.bucket(name), shares[name]) for name in left]
    whole = [name for name in left if shares[name] == 1]
    parts = [f"{shares[name]:.0%} of {name}" for name in left if shares[name] < 1]
    return OrderOutcome(
        order=order,
        whole_buckets=len(shares) - len(left),
        left_objects=round(sum(bucket.objects * share for bucket, share in amounts if bucket)),
        left_bytes=round(sum(bucket.bytes * share for bucket, share in amounts if bucket)),
        loses=", ".join([*parts, *_named(whole)]),
    )


def _named(buckets: Sequence[str]) -> list[str]:
    return [*buckets[:3], f"{len(buckets) - 3} more buckets"] if len(buckets) > 4 else list(buckets)


def _newest_first(basis: Basis, exports: Sequence[Step], plan: OrderOutcome) -> OrderOutcome:
    """`export --order newest` on every bucket, with the bytes that are left taken from the oldest up."""
    ages = [
        (age.older_than_days, age.bytes, age.objects)
        for step in exports
        if (bucket := basis.bucket(step.subject))
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
