"""Everything that can be said of a plan before it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from migrate.figures import Ground, weakest
from migrate.forecast.basis import Basis
from migrate.forecast.chain import Chain
from migrate.forecast.cost import cost_of, total
from migrate.forecast.deadline import SAFE, deadline_forecast
from migrate.forecast.draws import DRAWS, Drawn, Luck, Spread, draw
from migrate.forecast.leaving import stays
from migrate.forecast.moments import after, before
from migrate.forecast.result import Finish, Forecast, LaneOutcome, StepForecast
from migrate.forecast.room import room_of
from migrate.forecast.schedule import Network, Timeline, critical_path, latest_begins
from migrate.forecast.thawing import archived
from migrate.forecast.words import point_of_no_return, rollback, unknowable
from migrate.plan import LAG, Plan, Step

METHOD = f"{DRAWS} draws of the plan; each figure is drawn once a draw, lognormal, Latin hypercube, fixed seed"
HEAVY_SHARE = 0.1
MORE_LANES = (8, 16, 32, 64)
WORTH_IT = 0.95
"""So much of the time at most must be left for more lanes to be worth a word."""


@dataclass(frozen=True)
class Occasion:
    """When it is asked, from when it counts, by when it must be out."""

    now: datetime
    go_at: datetime
    deadline: datetime | None = None


def forecast(plan: Plan, basis: Basis, occasion: Occasion) -> Forecast:
    """The forecast of a plan whose steps carry their estimates."""
    network = Network(plan, basis.lanes)
    medians = [step.estimate.seconds if step.estimate else 0.0 for step in plan.steps]
    timeline = network.place(medians)
    up = [index for index, step in enumerate(plan.steps) if step.kind == "start.service"]
    luck = Luck(plan)
    drawn, chain = draw(network, up, luck), Chain.of(network, luck)
    told = all(step.estimate for step in plan.steps)
    finishes = _finishes(network, timeline, up, drawn, occasion.go_at, out_told=chain.is_told, told=told)
    out = drawn.out if chain.is_told else None
    deadline = (
        deadline_forecast(plan, chain, basis, out, occasion.go_at, occasion.deadline) if occasion.deadline else None
    )
    bill = cost_of(basis)
    last_begins = _last_begins(plan, chain, occasion.deadline)
    return Forecast(
        made_at=occasion.now,
        go_at=occasion.go_at,
        method=METHOD,
        export_hosts=basis.export.hosts,
        oldest_fact=_oldest(basis),
        lanes=basis.lanes,
        finishes=finishes,
        more_lanes=_more_lanes(plan, medians, timeline, up, basis.lanes) if told and up else (),
        untold=tuple(step.id for step in plan.steps if step.estimate is None),
        deadline=deadline,
        steps=_steps(network, timeline, medians, finishes, last_begins, occasion),
        archived=archived(basis, occasion.deadline, _begin_by(plan, last_begins)),
        cost=bill,
        bill_usd=round(total(bill), 2) if any(line.usd is not None for line in bill) else None,
        stays=stays(basis),
        room=room_of(basis),
        point_of_no_return=point_of_no_return(plan),
    )


def _more_lanes(
    plan: Plan, medians: Sequence[float], timeline: Timeline, up: Sequence[int], lanes: int
) -> tuple[LaneOutcome, ...]:
    """Each number of lanes that makes the services run sooner than the one before."""
    best = max(timeline.ends[index] for index in up)
    found = []
    for more in (number for number in MORE_LANES if number > lanes):
        ends = Network(plan, more).place(medians).ends
        seconds = max(ends[index] for index in up)
        if seconds <= best * WORTH_IT:
            best = seconds
            found.append(LaneOutcome(lanes=more, up_seconds=round(seconds, 3)))
    return tuple(found)


def _finishes(
    network: Network,
    timeline: Timeline,
    up: Sequence[int],
    drawn: Drawn,
    go_at: datetime,
    *,
    out_told: bool,
    told: bool,
) -> tuple[Finish, ...]:
    """Those of the three that can be told."""
    everything = range(len(timeline.ends))
    found = []
    for what, spread, last, can_tell in (
        ("out", drawn.out, network.last_of_old_home, out_told),
        ("up", drawn.up, up or everything, told),
        ("proved", drawn.proved, everything, told),
    ):
        if can_tell and timeline.ends:
            path = critical_path(timeline, max(last, key=timeline.ends.__getitem__))
            found.append(_finish(what, spread, [network.plan.steps[index] for index in path], go_at))
    return tuple(found)


def _finish(what: str, spread: Spread, path: Sequence[Step], go_at: datetime) -> Finish:
    p50, p90 = spread.at(0.5), spread.at(0.9)
    return Finish.model_validate({
        "what": what, "p10_seconds": spread.at(0.1), "p50_seconds": p50, "p90_seconds": p90,
        "p50_at": after(go_at, p50), "p90_at": after(go_at, p90),
        "ground": _ground(path), "critical_path": tuple(step.id for step in path),
    })  # fmt: skip


def _ground(path: Sequence[Step]) -> Ground:
    """The weakest ground in which a tenth of the time lies, or more."""
    seconds: dict[Ground, float] = {}
    for estimate in (step.estimate for step in path if step.estimate):
        seconds[estimate.ground] = seconds.get(estimate.ground, 0.0) + estimate.seconds
    whole = sum(seconds.values())
    return weakest([ground for ground, part in seconds.items() if part >= HEAVY_SHARE * whole])


def _steps(
    network: Network,
    timeline: Timeline,
    medians: Sequence[float],
    finishes: Sequence[Finish],
    last_begins: Mapping[int, datetime],
    occasion: Occasion,
) -> tuple[StepForecast, ...]:
    told = any(finish.what == "proved" for finish in finishes)
    begins_told = _told_beginnings(network)
    critical = {name for finish in finishes if finish.what != "proved" for name in finish.critical_path}
    latest = latest_begins(network, timeline, medians, max(timeline.ends, default=0.0))
    rows = []
    for index, step in enumerate(network.plan.steps):
        known = begins_told[index]
        rows.append(
            StepForecast(
                id=step.id,
                begins_seconds=round(timeline.begins[index], 3) if known else None,
                ends_seconds=round(timeline.ends[index], 3) if known and step.estimate else None,
                critical=step.id in critical,
                last_begin=last_begins.get(index),
                latest_begin=after(occasion.go_at, max(latest[index], timeline.begins[index])) if told else None,
                float_seconds=round(max(0.0, latest[index] - timeline.begins[index]), 3) if told else None,
                rollback=rollback(step),
                unknowable=unknowable(step),
            )
        )
    return tuple(rows)


def _told_beginnings(network: Network) -> list[bool]:
    """For each step whether the time of everything before it is known."""
    told: list[bool] = []
    for required in network.requires:
        told.append(all(told[index] and network.plan.steps[index].estimate for index in required))
    return told


def _last_begins(plan: Plan, chain: Chain, deadline: datetime | None) -> dict[int, datetime]:
    if deadline is None or not chain.is_told:
        return {}
    begins = {index: before(deadline, spread.at(SAFE)) for index, spread in chain.remaining().items()}
    # The data does not wait for these, but they ask the old home.
    asking = {
        index: before(deadline, step.estimate.p90_seconds)
        for index, step in enumerate(plan.steps)
        if step.kind == LAG and step.estimate
    }
    return {**asking, **begins}


def _begin_by(plan: Plan, last_begins: Mapping[int, datetime]) -> dict[str, datetime]:
    """Bucket -> the last moment at which its export can begin."""
    return {plan.steps[i].subject: at for i, at in last_begins.items() if plan.steps[i].kind == "export.bucket"}


def _oldest(basis: Basis) -> datetime | None:
    facts = basis.facts
    sizes = [basis.bucket(name) for name in basis.stack.buckets]
    observed = [*sizes, *facts.databases.values(), *facts.caches.values()]
    return min((one.at for one in observed if one and one.at), default=None)
