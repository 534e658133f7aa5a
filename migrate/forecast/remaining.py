"""When a run that is under way will end: the plan's own forecast, with what is done out of the way."""

from collections.abc import Mapping
from dataclasses import dataclass

from migrate.forecast.draws import Luck, Spread
from migrate.forecast.schedule import Network
from migrate.plan import SIDE_BY_SIDE, Plan

SAYS_ITSELF = "what a step says of itself"
SAYS_SPREAD = 1.3
"""How far what a step says of its own end is off; assumed."""


@dataclass(frozen=True)
class Standing:
    """How far a step is."""

    done: bool = False
    elapsed_seconds: float = 0.0
    """Since it began; 0 where it has not."""
    seconds_left: float | None = None
    """As the step itself reckons, if it does."""


@dataclass(frozen=True)
class Remaining:
    """What is left until something is reached; seconds from now. `untold`: steps before it whose time is not known, so
    that it takes at least so long."""

    spread: Spread
    untold: tuple[str, ...]


def remaining(plan: Plan, standings: Mapping[str, Standing], lanes: int = SIDE_BY_SIDE) -> dict[str, Remaining]:
    """`out`, `up` and `proved`: those that this plan has steps for and that are not reached yet. `standings`: id of a
    step -> how far it is; a step that is not named has not begun."""
    network = Network(plan, lanes)
    luck = Luck(plan)
    known = [standings.get(step.id, Standing()) for step in plan.steps]
    draws = list(zip(*(_left(luck, i, known[i]) for i in range(len(known))), strict=True))
    ends = [network.place(one).ends for one in draws]
    found = {}
    for what, last in _reached(plan).items():
        open_ = [index for index in last if not known[index].done]
        if open_:
            before = network.with_all_before(open_)
            untold = tuple(plan.steps[index].id for index in before if _is_untold(luck, known, index))
            found[what] = Remaining(Spread(sorted(max(one[index] for index in open_) for one in ends)), untold)
    return found


def _reached(plan: Plan) -> dict[str, list[int]]:
    """What is reached -> the steps that end it."""
    out = [index for index, step in enumerate(plan.steps) if step.needs_old_home]
    up = [index for index, step in enumerate(plan.steps) if step.kind == "start.service"]
    return {"out": out, "up": up, "proved": list(range(len(plan.steps)))}


def _left(luck: Luck, index: int, standing: Standing) -> list[float]:
    if standing.done:
        return [0.0] * luck.draws
    if standing.seconds_left is not None:
        return [standing.seconds_left * factor for factor in luck.factors(SAYS_ITSELF, SAYS_SPREAD)]
    longer = [one for one in luck.seconds(index) if one > standing.elapsed_seconds]
    # Of the times that were foreseen, those that can still come true.
    return [longer[draw % len(longer)] - standing.elapsed_seconds if longer else 0.0 for draw in range(luck.draws)]


def _is_untold(luck: Luck, known: list[Standing], index: int) -> bool:
    """Whether nothing is known of its time, or it takes longer than was ever foreseen."""
    standing = known[index]
    if standing.done or standing.seconds_left is not None:
        return False
    return max(luck.seconds(index)) <= standing.elapsed_seconds
