"""The steps that the old home's data waits for: how long they take in each draw, as it is or under other figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from migrate.figures import Estimate
from migrate.forecast.draws import AS_IT_IS, Luck, Scale, Spread
from migrate.forecast.schedule import Network


@dataclass(frozen=True)
class Chain:
    """What is needed until the last step of the old home has ended, in the plan's order; no lane holds it up, as those
    steps have one of their own in which each requires the one before."""

    positions: tuple[int, ...]
    """In the plan."""
    requires: tuple[tuple[int, ...], ...]
    """Places in this chain."""
    last: tuple[int, ...]
    """Places of the steps after whose end the old home is needed no more."""
    estimates: tuple[Estimate | None, ...]
    luck: Luck

    @classmethod
    def of(cls, network: Network, luck: Luck) -> "Chain":
        order = network.with_all_before(network.last_of_old_home)
        place = {index: number for number, index in enumerate(order)}
        return cls(
            tuple(order),
            tuple(tuple(place[before] for before in network.requires[index]) for index in order),
            tuple(place[index] for index in network.last_of_old_home),
            tuple(network.plan.steps[index].estimate for index in order),
            luck,
        )

    @property
    def is_told(self) -> bool:
        """Whether every time in it is known."""
        return all(estimate is not None for estimate in self.estimates)

    def out(self, scale: Scale = AS_IT_IS) -> Spread:
        """Seconds from the beginning until the last of them ends."""
        ends: list[list[float]] = []
        for index, required in zip(self.positions, self.requires, strict=True):
            begins = _latest([ends[before] for before in required], self.luck.draws)
            ends.append([begin + own for begin, own in zip(begins, self.luck.seconds(index, scale), strict=True)])
        return Spread(sorted(_latest([ends[place] for place in self.last], self.luck.draws)))

    def remaining(self) -> dict[int, Spread]:
        """Position in the plan -> seconds from the beginning of that step until everything is out."""
        followers: list[list[int]] = [[] for _ in self.positions]
        for place, required in enumerate(self.requires):
            for before in required:
                followers[before].append(place)
        tails: dict[int, list[float]] = {}
        for place in range(len(self.positions) - 1, -1, -1):
            after = _latest([tails[follower] for follower in followers[place]], self.luck.draws)
            own = self.luck.seconds(self.positions[place])
            tails[place] = [mine + rest for mine, rest in zip(own, after, strict=True)]
        return {self.positions[place]: Spread(sorted(tail)) for place, tail in tails.items()}

    @property
    def binding(self) -> str:
        """The figure in which most of the time lies, at the medians."""
        seconds: dict[str, float] = {}
        for estimate in self.estimates:
            for limit in estimate.binding if estimate else ():
                seconds[limit.figure] = seconds.get(limit.figure, 0.0) + limit.seconds
        return max(seconds, key=seconds.__getitem__, default="")


def _latest(moments: Sequence[list[float]], draws: int) -> list[float]:
    """Of each draw the latest moment."""
    if not moments:
        return [0.0] * draws
    return moments[0] if len(moments) == 1 else list(map(max, *moments))
