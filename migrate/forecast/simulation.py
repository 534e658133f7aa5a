"""The plan carried out in a worse world: drawn times, hosts that fail, hours in which the source gives less.

It holds the prediction against something that knows more: after a failure nothing new begins, as in `runner.Runner`;
what is under way comes to its end, somebody mends it and gives the command again, and done steps are not repeated.
"""

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from migrate.forecast.basis import Basis
from migrate.forecast.draws import Spread, drawn_seconds, own_factor
from migrate.forecast.result import Simulation
from migrate.forecast.schedule import Network
from migrate.plan import Plan, Step

HOUR = 3600.0
ON_EVERY_HOST = frozenset({"preflight.hosts", "provision.hosts", "prove.drift", "prove.checks"})
ON_NO_HOST = frozenset({"prove.objects", "preflight.source", "export.bucket", "lab.hosts", "lab.old-home", "lab.dump"})


@dataclass(frozen=True)
class World:
    """How bad it is. Every figure is assumed: guesses of ours, to be worse than a good day."""

    host_fails: float = 0.0003
    """Chance that a host fails under one step."""
    source_fails: float = 0.002
    """Chance that the source is out for longer than an export is patient, for each bucket."""
    mended_seconds: float = 1800.0
    """From the failure until somebody has mended it and given the command again, at least."""
    throttled_hours: float = 0.04
    """Share of hours in which the source or the line gives less."""
    throttled_to: float = 0.5
    """What it gives then, of what it gives otherwise."""


GOOD_DAY = World(host_fails=0.0, source_fails=0.0, throttled_hours=0.0)


@dataclass(frozen=True)
class Played:
    """One run of the plan: when each step ended, and how often something failed."""

    ends: Sequence[float]
    failures: int


def simulate(plan: Plan, basis: Basis, runs: int, seed: int, world: World | None = None) -> Simulation:
    """The distribution over so many runs. Steps of unknown time count nothing."""
    world = world or World()
    network = Network(plan, basis.lanes)
    hosts = [_hosts_of(step, basis) for step in plan.steps]
    up = [index for index, step in enumerate(plan.steps) if step.kind == "start.service"]
    everything = range(len(plan.steps))
    chance = random.Random(f"simulation {seed}")
    played = [_Run(network, hosts, world, chance).play() for _ in range(runs)]
    spreads = {
        what: Spread(sorted(max((one.ends[index] for index in last), default=0.0) for one in played))
        for what, last in (("out", network.last_of_old_home), ("up", up or everything), ("proved", everything))
    }
    return Simulation(
        runs=runs,
        seed=seed,
        failures=sum(one.failures for one in played) / runs,
        throttled_hours=world.throttled_hours,
        **{
            f"{what}_p{share}_seconds": spread.at(share / 100)
            for what, spread in spreads.items()
            for share in (10, 50, 90)
        },
    )


def _hosts_of(step: Step, basis: Basis) -> int:
    """How many hosts a step touches."""
    if step.kind in ON_NO_HOST:
        return 0
    if step.kind in ON_EVERY_HOST:
        return len(basis.inventory.hosts)
    stack, name = basis.stack, step.subject
    service = {
        "start.service": lambda: name,
        "restore.media": lambda: stack.media[name].service,
        "restore.cache": lambda: stack.caches[name].service,
    }.get(step.kind)
    if step.kind == "restore.release":
        return sum(basis.hosts_of_group.get(group, 0) for group in stack.hosts_of_release(name))
    return basis.hosts_of_group.get(stack.services[service()].group, 1) if service else 1


class _Run:
    """One run, with its own luck."""

    def __init__(self, network: Network, hosts: Sequence[int], world: World, chance: random.Random) -> None:
        self.network = network
        self.hosts = hosts
        self.world = world
        self.chance = chance
        self.hours: list[float] = []
        figures = {
            limit.figure
            for step in network.plan.steps
            if step.estimate
            for limits in step.estimate.stretches
            for limit in limits
        }
        self.normals = {figure: chance.gauss(0, 1) for figure in sorted(figures)}

    def play(self) -> Played:
        network, count = self.network, len(self.network.plan.steps)
        ends = [0.0] * count
        missing = [len(required) for required in network.requires]
        queues = {True: deque[int](), False: deque[int]()}
        free = {True: 1, False: network.lanes}
        under_way: list[tuple[float, int, bool]] = []
        failed: list[int] = []
        now, stopped_at, failures = 0.0, None, 0
        for index in (index for index in range(count) if not missing[index]):
            queues[network.of_old_home[index]].append(index)
        while True:
            if stopped_at is None:
                for kind, queue in queues.items():
                    while queue and free[kind]:
                        free[kind] -= 1
                        heapq.heappush(under_way, self._attempt(queue.popleft(), now))
            if not under_way:
                if stopped_at is None:
                    return Played(ends, failures)
                now, stopped_at = max(now, stopped_at + self.world.mended_seconds), None
                for index in reversed(failed):
                    queues[network.of_old_home[index]].appendleft(index)
                failed.clear()
                continue
            now, index, good = heapq.heappop(under_way)
            free[network.of_old_home[index]] += 1
            if not good:
                failures, stopped_at = failures + 1, now if stopped_at is None else stopped_at
                failed.append(index)
                continue
            ends[index] = now
            for follower in network.followers[index]:
                missing[follower] -= 1
                if not missing[follower]:
                    queues[network.of_old_home[follower]].append(follower)

    def _attempt(self, index: int, now: float) -> tuple[float, int, bool]:
        """When an attempt that begins now ends, and whether in success."""
        step = self.network.plan.steps[index]
        own = own_factor(self.chance.gauss(0, 1))
        seconds = drawn_seconds(step.estimate, self.normals) * own if step.estimate else 0.0
        if step.kind == "export.bucket":
            seconds, fails = self._through_hours(now, seconds), self.world.source_fails
        else:
            fails = 1 - (1 - self.world.host_fails) ** self.hosts[index]
        if self.chance.random() < fails:
            return now + seconds * self.chance.random(), index, False
        return now + seconds, index, True

    def _through_hours(self, begin: float, seconds: float) -> float:
        """How long work of so many full seconds takes from `begin` on, with throttled hours in between."""
        at, left = begin, seconds
        while left > 0:
            hour = int(at // HOUR)
            while len(self.hours) <= hour:
                throttled = self.chance.random() < self.world.throttled_hours
                self.hours.append(self.world.throttled_to if throttled else 1.0)
            pace, until = self.hours[hour], (hour + 1) * HOUR
            done = min(left, (until - at) * pace)
            at, left = at + done / pace, left - done
            if left < 1e-9:
                break
        return at - begin
