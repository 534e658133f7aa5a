"""Whether the data is out by the deadline: when to go, when to give up, and what would make it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from migrate.figures import Estimate, Limit
from migrate.forecast.basis import Basis
from migrate.forecast.draws import Spread
from migrate.forecast.leaving import left_behind, orders
from migrate.forecast.result import DeadlineForecast, Standing
from migrate.forecast.schedule import Network

MOST_HOSTS = 256
WIDEST = 1e15
"""Bytes a second: wider than any line."""
SAFE = 0.9
EVEN = 0.5
FORLORN = 0.1

Scaling = Callable[[Limit], float]
"""Limit -> what its seconds are multiplied with."""


@dataclass(frozen=True)
class Chain:
    """The steps that the old home's data waits for, each with its estimate; no lane holds them up."""

    estimates: tuple[Estimate | None, ...]
    requires: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, network: Network) -> "Chain":
        """What is needed until the last step of the old home has ended, in the plan's order."""
        kept: set[int] = set()
        open_ = list(network.last_of_old_home)
        while open_:
            index = open_.pop()
            if index not in kept:
                kept.add(index)
                open_.extend(network.requires[index])
        order = sorted(kept)
        place = {index: number for number, index in enumerate(order)}
        return cls(
            tuple(network.plan.steps[index].estimate for index in order),
            tuple(tuple(place[before] for before in network.requires[index]) for index in order),
        )

    @property
    def is_told(self) -> bool:
        """Whether every time in it is known."""
        return all(estimate is not None for estimate in self.estimates)

    def seconds(self, scaling: Scaling) -> float:
        """Until the last of them ends."""
        ends: list[float] = []
        for estimate, required in zip(self.estimates, self.requires, strict=True):
            own = estimate.stretches if estimate else ()
            lasts = sum(max(limit.seconds * scaling(limit) for limit in limits) for limits in own)
            ends.append(max((ends[before] for before in required), default=0.0) + lasts)
        return max(ends, default=0.0)


def median(limit: Limit) -> float:
    return 1.0


def safe(limit: Limit) -> float:
    return limit.spread


def deadline_forecast(
    network: Network, basis: Basis, out: Spread | None, go_at: datetime, deadline: datetime
) -> DeadlineForecast:
    """`out`: when the data is out; None where that cannot be told."""
    available = (deadline - go_at).total_seconds()
    chain = Chain.of(network)
    standing = _standing(out, available)
    missed = standing is Standing.MISSED
    told = chain.is_told
    return DeadlineForecast(
        deadline=deadline,
        available_seconds=available,
        standing=standing,
        chance=out.share_within(available) if out else None,
        slack_p50_seconds=available - out.at(EVEN) if out else None,
        slack_p90_seconds=available - out.at(SAFE) if out else None,
        go_by=_before(deadline, out, SAFE),
        even_by=_before(deadline, out, EVEN),
        give_up_at=_before(deadline, out, FORLORN),
        binding=_binding(chain),
        line=basis.line.value,
        line_p50=needed_line(chain, basis, available, median) if told else None,
        line_p90=needed_line(chain, basis, available, safe) if told else None,
        export_hosts=basis.export.hosts,
        export_hosts_p50=needed_hosts(chain, basis, available, median) if told else None,
        export_hosts_p90=needed_hosts(chain, basis, available, safe) if told else None,
        orders=orders(network, basis, available) if missed else (),
        left_behind=left_behind(network, basis, available) if missed else (),
    )


def _standing(out: Spread | None, available: float) -> Standing:
    if out is None:
        return Standing.UNKNOWN
    if out.at(SAFE) <= available:
        return Standing.MET
    return Standing.TIGHT if out.at(EVEN) <= available else Standing.MISSED


def _before(deadline: datetime, out: Spread | None, share: float) -> datetime | None:
    return deadline - timedelta(seconds=out.at(share)) if out else None


def _binding(chain: Chain) -> str:
    """The figure in which most of the time lies."""
    seconds: dict[str, float] = {}
    for estimate in chain.estimates:
        for limit in estimate.binding if estimate else ():
            seconds[limit.figure] = seconds.get(limit.figure, 0.0) + limit.seconds
    return max(seconds, key=seconds.__getitem__, default="")


def needed_line(chain: Chain, basis: Basis, available: float, quantile: Scaling) -> float | None:
    """The narrowest line, in bytes a second, with which the data is out in time; None where another limit forbids."""

    def fits(rate: float) -> bool:
        factor = basis.line.value / rate
        return chain.seconds(lambda limit: quantile(limit) * (factor if limit.figure == "line" else 1.0)) <= available

    if not fits(WIDEST):
        return None
    low, high = 1.0, WIDEST
    while high / low > 1.0001:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def needed_hosts(chain: Chain, basis: Basis, available: float, quantile: Scaling) -> int | None:
    """The fewest export hosts, each with the line, disk and cores of those that are there; None where none suffice."""
    now = basis.export.hosts
    one = basis.figure("line").value
    uplink = basis.facts.uplink.rate if basis.facts.uplink else WIDEST

    def fits(hosts: int) -> bool:
        scaled = {
            "line": basis.line.value / min(one * hosts, uplink),
            "disk_write": now / hosts,
            "ledger": now / hosts,
            "fetch": now / hosts,
            "processor": now / hosts,
        }
        return chain.seconds(lambda limit: quantile(limit) * scaled.get(limit.figure, 1.0)) <= available

    return next((hosts for hosts in _counts() if fits(hosts)), None)


def _counts() -> Sequence[int]:
    return range(1, MOST_HOSTS + 1)
