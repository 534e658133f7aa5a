"""The distribution of the finish: the plan carried out in thought, many times, with drawn times.

Each figure (a line, a disk, a pace) is drawn once a draw and shared by every step that rests on it: if the line is
slower than said, it is so for every bucket. The draws are a Latin hypercube with a seed, so that a few hundred make the
median exact enough, and the same input gives the same answer. Why not PERT: docs/adr/0031-deadline.md.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

from migrate.figures import Estimate, drawn
from migrate.forecast.defaults import OWN_SPREAD
from migrate.forecast.schedule import Network

DRAWS = 200
SEED = 540


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


def draw(network: Network, up: Sequence[int], *, draws: int = DRAWS, seed: int = SEED) -> Drawn:
    """`up`: positions of the steps after which users are served."""
    durations = _durations(network, draws, seed)
    outs, ups, proofs = [], [], []
    for one in durations:
        ends = network.place(one).ends
        outs.append(max(ends[index] for index in network.last_of_old_home))
        ups.append(max((ends[index] for index in up), default=max(ends)))
        proofs.append(max(ends))
    return Drawn(Spread(sorted(outs)), Spread(sorted(ups)), Spread(sorted(proofs)))


def _durations(network: Network, draws: int, seed: int) -> list[list[float]]:
    figures = {
        limit.figure: limit.spread
        for step in network.plan.steps
        if step.estimate
        for limits in step.estimate.stretches
        for limit in limits
    }
    normals = {figure: stratified(draws, f"{seed}:{figure}") for figure in figures}
    result = []
    own = [stratified(draws, f"{seed}:{step.id}") for step in network.plan.steps]
    for number in range(draws):
        factors = {figure: normals[figure][number] for figure in figures}
        result.append([
            drawn_seconds(step.estimate, factors) * drawn(OWN_SPREAD, mine[number]) if step.estimate else 0.0
            for step, mine in zip(network.plan.steps, own, strict=True)
        ])  # fmt: skip
    return result


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
