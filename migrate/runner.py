"""The only loop: observes before it applies, enforces gates, writes the journal, goes on where it was stopped."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from migrate.action import Action, Outcome, Recalling, StepContext
from migrate.check import Verdict
from migrate.errors import CloudexitError, GateHeld, Interrupted
from migrate.journal import Event, Journal, Run
from migrate.plan import SIDE_BY_SIDE, Effect, Plan, Step

POLL_SECONDS = 0.2
STOP_SECONDS = 20.0
"""How long an interrupted run waits for the steps under way to come to rest."""

PROGRESS_SECONDS = 1.0
"""How often the progress of one step reaches the journal, at most."""

Observer = Callable[[Step, Event, Mapping[str, Any], float | None], None]


@dataclass(frozen=True)
class StepEnd:
    step: Step
    event: Event
    outcome: Outcome
    seconds: float
    error: CloudexitError | None = None


class Runner:
    """Carries out a plan. Steps whose requirements are met run side by side; a failure lets nothing new begin.

    Steps that need the old home have a lane of their own: its deadline must not wait behind the new home's work.

    `observer` is told of every event after the journal has it on disk.
    """

    def __init__(
        self,
        plan: Plan,
        actions: Mapping[str, Action],
        journal: Journal,
        run: Run,
        observer: Observer,
        stop: threading.Event | None = None,
        lanes: int = SIDE_BY_SIDE,
    ) -> None:
        missing = {step.kind for step in plan.steps} - set(actions)
        if missing:
            raise ValueError(f"no action for: {', '.join(sorted(missing))}")
        self.plan = plan
        self.actions = actions
        self.journal = journal
        self.run = run
        self.observer = observer
        self.stop = stop or threading.Event()
        self.lanes = lanes
        self._done: set[str] = set()
        self._errors: list[CloudexitError] = []
        self._progressed: dict[str, float] = {}

    def execute(self) -> None:
        """Returns when every step is done. Raises the first failure's error, or Interrupted."""
        waiting = list(self.plan.steps)
        under_way: dict[Future[StepEnd], Step] = {}
        pool = ThreadPoolExecutor(self.lanes, thread_name_prefix="step")
        old_home = ThreadPoolExecutor(1, thread_name_prefix="old-home")
        try:
            while waiting or under_way:
                if not self._errors:
                    for step in [s for s in waiting if set(s.requires) <= self._done]:
                        waiting.remove(step)
                        under_way[self._begin(old_home if step.needs_old_home else pool, step)] = step
                if not under_way:
                    break
                ended, _ = wait(under_way, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in ended:
                    under_way.pop(future)
                    self._finish(future.result())
        except KeyboardInterrupt:
            self._come_to_rest(under_way)
            raise Interrupted("stopped by you", hint="the same command goes on from here") from None
        finally:
            for lane in (pool, old_home):
                lane.shutdown(wait=False, cancel_futures=True)
        if self._errors:
            raise self._errors[0]

    def _begin(self, pool: ThreadPoolExecutor, step: Step) -> Future[StepEnd]:
        finished = self.journal.last_done(self.run, step.id)
        context = StepContext(
            previous=finished.detail if finished else None,
            progress=lambda detail: self._progress(step, detail),
            cancelled=self.stop.is_set,
        )
        self._note(step, Event.STARTED, {}, None)
        return pool.submit(carry_out, step, self.actions[step.kind], context)

    def _finish(self, end: StepEnd) -> None:
        detail = dict(end.outcome.detail)
        if end.outcome.checks:
            detail["checks"] = [check.as_document() for check in end.outcome.checks]
        if end.error:
            detail["error"] = end.error.as_document()
            self._errors.append(end.error)
        else:
            self._done.add(end.step.id)
        self._note(end.step, end.event, detail, end.seconds)

    def _progress(self, step: Step, detail: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if now - self._progressed.get(step.id, -PROGRESS_SECONDS) >= PROGRESS_SECONDS:
            self._progressed[step.id] = now
            self._note(step, Event.PROGRESS, detail, None)

    def _note(self, step: Step, event: Event, detail: Mapping[str, Any], seconds: float | None) -> None:
        self.journal.write(self.run, step.id, event, detail, seconds)
        self.observer(step, event, detail, seconds)

    def _come_to_rest(self, under_way: dict[Future[StepEnd], Step]) -> None:
        self.stop.set()
        ended, _ = wait(under_way, timeout=STOP_SECONDS)
        for future in ended:
            self._finish(future.result())


def carry_out(step: Step, action: Action, context: StepContext) -> StepEnd:
    """Observes, applies unless the effect is there, and observes again. An operator's error ends in the result."""
    began = time.monotonic()

    def end(event: Event, outcome: Outcome, error: CloudexitError | None = None) -> StepEnd:
        return StepEnd(step, event, outcome, time.monotonic() - began, error)

    try:
        if action.verify(step, context) is Verdict.PASS:
            return end(Event.SKIPPED, _account(step, action, context))
        outcome = action.apply(step, context)
        if step.effect is not Effect.READ:
            _observe_effect(step, action, replace(context, previous=outcome.detail))
    except CloudexitError as error:
        return end(Event.FAILED, Outcome(checks=tuple(error.checks)), error)
    return end(Event.DONE, outcome)


def _account(step: Step, action: Action, context: StepContext) -> Outcome:
    """What the journal says of an effect that is there, or what the effect says of itself."""
    if context.previous is not None:
        return Outcome(context.previous)
    return action.recall(step) if isinstance(action, Recalling) else Outcome()


def _observe_effect(step: Step, action: Action, context: StepContext) -> None:
    verdict = action.verify(step, context)
    if verdict is not Verdict.PASS:
        raise GateHeld(
            f"{step.id} was applied, but its effect cannot be observed ({verdict})",
            expected="what the step does to be there when it is looked at again",
            hint="run the same command again; if it stays, look at the step's records: cloudexit report --json",
        )
