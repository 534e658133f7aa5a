"""When each step would begin and end if it took so long: the runner's own order, with its lanes.

Steps are begun as `runner.Runner` begins them: as soon as what they require is done, first come first served, `lanes`
at a time, and those that need the old home in a lane of their own.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from migrate.plan import Plan

NOBODY = -1


@dataclass(frozen=True)
class Timeline:
    """Seconds from the beginning, by the steps' positions in the plan."""

    begins: Sequence[float]
    ends: Sequence[float]
    waited_for: Sequence[int]
    """Position of the step whose end let this one begin; -1 where none did."""
    next_in_lane: Sequence[int]
    """Position of the step that took this one's place in its lane; -1 where none did."""


class Network:
    """The steps of a plan and what follows from what."""

    def __init__(self, plan: Plan, lanes: int) -> None:
        self.plan = plan
        self.lanes = lanes
        positions = {step.id: index for index, step in enumerate(plan.steps)}
        self.requires = [tuple(positions[name] for name in step.requires) for step in plan.steps]
        self.followers: list[list[int]] = [[] for _ in plan.steps]
        for index, required in enumerate(self.requires):
            for before in required:
                self.followers[before].append(index)
        self.of_old_home = [step.needs_old_home for step in plan.steps]

    @cached_property
    def last_of_old_home(self) -> Sequence[int]:
        """Steps after whose end the old home is needed no more."""
        needed = [index for index, of_old_home in enumerate(self.of_old_home) if of_old_home]
        return needed or [0]

    def with_all_before(self, last: Sequence[int]) -> list[int]:
        """Positions of these steps and of all that they require, in the plan's order."""
        kept: set[int] = set()
        open_ = list(last)
        while open_:
            index = open_.pop()
            if index not in kept:
                kept.add(index)
                open_ += self.requires[index]
        return sorted(kept)

    def place(self, durations: Sequence[float]) -> Timeline:
        """Carries the plan out in thought."""
        count = len(durations)
        begins, ends = [0.0] * count, [0.0] * count
        waited_for, next_in_lane = [NOBODY] * count, [NOBODY] * count
        missing = [len(required) for required in self.requires]
        lanes = _Lanes(self.lanes)
        ready = [index for index in range(count) if not missing[index]]
        under_way: list[tuple[float, int]] = []
        now, freed_by, released_by = 0.0, NOBODY, NOBODY
        while True:
            for index in ready:
                waited_for[index] = released_by
                lanes.queue(self.of_old_home[index]).append(index)
            for index, after in lanes.fill(self.of_old_home, freed_by):
                if after != NOBODY:
                    next_in_lane[after] = index
                    if begins_later(ends, waited_for[index], now):
                        waited_for[index] = after
                begins[index], ends[index] = now, now + durations[index]
                heapq.heappush(under_way, (ends[index], index))
            if not under_way:
                return Timeline(begins, ends, waited_for, next_in_lane)
            now, ended = heapq.heappop(under_way)
            lanes.free(self.of_old_home[ended])
            freed_by = released_by = ended
            ready = []
            for follower in self.followers[ended]:
                missing[follower] -= 1
                if not missing[follower]:
                    ready.append(follower)


def begins_later(ends: Sequence[float], released_by: int, now: float) -> bool:
    """Whether a step could have begun before now, and waited for a lane."""
    return (ends[released_by] if released_by != NOBODY else 0.0) < now


class _Lanes:
    def __init__(self, lanes: int) -> None:
        self._free = {True: 1, False: lanes}
        self._queues: dict[bool, deque[int]] = {True: deque(), False: deque()}

    def queue(self, of_old_home: bool) -> deque[int]:
        return self._queues[of_old_home]

    def free(self, of_old_home: bool) -> None:
        self._free[of_old_home] += 1

    def fill(self, of_old_home: Sequence[bool], freed_by: int) -> list[tuple[int, int]]:
        """Steps that begin now, each with the step in whose place it comes."""
        started = []
        for kind, queue in self._queues.items():
            while queue and self._free[kind]:
                self._free[kind] -= 1
                same = freed_by != NOBODY and of_old_home[freed_by] is kind
                started.append((queue.popleft(), freed_by if same else NOBODY))
        return started


def critical_path(timeline: Timeline, last: int) -> list[int]:
    """Positions of the steps that the end of `last` waits for, from the first to it."""
    path = [last]
    while timeline.waited_for[path[-1]] != NOBODY:
        path.append(timeline.waited_for[path[-1]])
    return path[::-1]


def latest_begins(network: Network, timeline: Timeline, durations: Sequence[float], end: float) -> list[float]:
    """For each step the last moment at which it can begin without the whole ending after `end`, as the lanes stand."""
    latest = [end - duration for duration in durations]
    order = sorted(range(len(durations)), key=lambda index: (timeline.begins[index], index), reverse=True)
    for index in order:
        after = [*network.followers[index]]
        if timeline.next_in_lane[index] != NOBODY:
            after.append(timeline.next_in_lane[index])
        for follower in after:
            latest[index] = min(latest[index], latest[follower] - durations[index])
    return latest
