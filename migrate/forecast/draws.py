"""The distribution of the finish: the plan carried out in thought, many times, with drawn times.

Each figure (a line, a disk, a pace) is drawn once a draw and shared by every step that rests on it: if the line is
slower than said, it is so for every bucket. The draws are a Latin hypercube with a seed, so that a few hundred make the
median exact enough, and the same input gives the same answer. Why not PERT: docs/adr/0031-deadline.md.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import add, mul
from statistics import NormalDist

from migrate.figures import NORMAL_P90, Estimate, drawn
from migrate.forecast.defaults import OWN_SPREAD
from migrate.forecast.schedule import Network
from migrate.plan import Plan

DRAWS = 200
SEED = 540
LEAST_OWN = 0.1
"""Eleven standard deviations away: the bound that keeps a time from being negative."""


@dataclass(frozen=True)
class Spread:
    """Seconds from the beginning, in ascending order, one a draw."""

    sorted_seconds: Sequence[float]

    def at(self, share: float) -> float:
        """The quantile of a share between 0 and 1."""
        last = len(self.sorted_seconds) - 1
        place = share * last
        low = int(place)
        high = min(low + 1, last)
        return self.sorted_seconds[low] + (place - low) * (self.sorted_seconds[high] - self.sorted_seconds[low])

    def share_within(self, seconds: float) -> float:
        """Which share of the draws ends within so many seconds."""
        return sum(one <= seconds for one in self.sorted_seconds) / len(self.sorted_seconds)


@dataclass(frozen=True)
class Drawn:
    """What came of the draws: the end of what needs the old home, of the chosen steps, and of all."""

    out: Spread
    up: Spread
    proved: Spread


Scale = Mapping[str, float]
"""Figure -> what the seconds that rest on it are multiplied with; 1 where it is not named."""
AS_IT_IS: Scale = {}


class Luck:
    """What is drawn for a plan: a factor a figure, shared by the steps that rest on it, and one for each step."""

    def __init__(self, plan: Plan, *, draws: int = DRAWS, seed: int = SEED) -> None:
        self.draws = draws
        self._seed = seed
        self._normals: dict[str, list[float]] = {}
        self._factors: dict[tuple[str, float], list[float]] = {}
        self._own = [[own_factor(normal) for normal in stratified(draws, f"{seed}:{step.id}")] for step in plan.steps]
        self._estimates = [step.estimate for step in plan.steps]

    def seconds(self, index: int, scale: Scale = AS_IT_IS) -> list[float]:
        """The times of a step, one a draw, by its position in the plan; nothing where its time is not known."""
        estimate = self._estimates[index]
        if estimate is None:
            return [0.0] * self.draws
        whole: list[float] = []
        for limits in estimate.stretches:
            stretch: list[float] = []
            for limit in limits:
                median = limit.seconds * scale.get(limit.figure, 1.0)
                own = [median * factor for factor in self.factors(limit.figure, limit.spread)]
                stretch = list(map(max, stretch, own)) if stretch else own
            whole = list(map(add, whole, stretch)) if whole else stretch
        return list(map(mul, whole, self._own[index]))

    def factors(self, figure: str, spread: float) -> list[float]:
        """What the median of a figure is multiplied with, one a draw."""
        found = self._factors.get((figure, spread))
        if found is None:
            normals = self._normals.setdefault(figure, stratified(self.draws, f"{self._seed}:{figure}"))
            found = self._factors[figure, spread] = [drawn(spread, normal) for normal in normals]
        return found


def draw(network: Network, up: Sequence[int], luck: Luck) -> Drawn:
    """`up`: positions of the steps after which users are served."""
    durations = zip(*(luck.seconds(index) for index in range(len(network.plan.steps))), strict=True)
    outs, ups, proofs = [], [], []
    for one in durations:
        ends = network.place(one).ends
        outs.append(max(ends[index] for index in network.last_of_old_home))
        ups.append(max((ends[index] for index in up), default=max(ends)))
        proofs.append(max(ends))
    return Drawn(Spread(sorted(outs)), Spread(sorted(ups)), Spread(sorted(proofs)))


def own_factor(normal: float) -> float:
    """What a step varies by for itself. Normal, not lognormal: with median and mean 1 a step keeps its median, and the
    sum of many the sum of theirs."""
    return max(LEAST_OWN, 1 + (OWN_SPREAD - 1) / NORMAL_P90 * normal)


def drawn_seconds(estimate: Estimate, normals: Mapping[str, float]) -> float:
    """One drawn time of a step; `normals`: figure -> its draw of the standard normal distribution."""
    return sum(
        max(limit.seconds * drawn(limit.spread, normals[limit.figure]) for limit in limits)
        for limits in estimate.stretches
    )


def stratified(draws: int, seed: str) -> list[float]:
    """An even number of draws of the standard normal distribution: half of them one from each stratum of equal weight,
    shuffled, with random signs, and then their mirror images. So no median is off by the luck of the draw."""
    chance = random.Random(seed)
    values = list(_upper_half(draws // 2))
    chance.shuffle(values)
    signed = [value if chance.random() < 0.5 else -value for value in values]
    return [*signed, *(-value for value in signed)]


@cache
def _upper_half(count: int) -> tuple[float, ...]:
    normal = NormalDist()
    return tuple(normal.inv_cdf(0.5 + (number + 0.5) / count / 2) for number in range(count))
