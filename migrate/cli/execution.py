"""Carrying a plan out from the command line: lock, journal, runner, report."""

import threading
from collections.abc import Callable, Mapping, Sequence

from migrate.action import Action
from migrate.cli.output import Output
from migrate.cli.state import StateFolder
from migrate.errors import CloudexitError, ExitCode
from migrate.journal import Journal, exclusive
from migrate.plan import SIDE_BY_SIDE, Plan
from migrate.report.document import run_report
from migrate.report.terminal import show_event, show_report
from migrate.runner import Observer, Runner

ActionsFor = Callable[[threading.Event], Mapping[str, Action]]
OUTCOMES = {
    ExitCode.GATE: "held",
    ExitCode.INCOMPLETE: "incomplete",
    ExitCode.UNREACHABLE: "unreachable",
    ExitCode.INTERRUPTED: "interrupted",
}


def execute(
    command: str,
    plan: Plan,
    state: StateFolder,
    actions_for: ActionsFor,
    output: Output,
    observers: Sequence[Observer] = (),
    lanes: int = SIDE_BY_SIDE,
) -> None:
    """Runs or resumes `plan` under the state folder's lock, and shows its report however it ends.

    Raises the failure's CloudexitError after the report stands on disk.
    """
    with exclusive(state.lock, command):
        execute_locked(command, plan, state, actions_for, output, observers, lanes)


def execute_locked(
    command: str,
    plan: Plan,
    state: StateFolder,
    actions_for: ActionsFor,
    output: Output,
    observers: Sequence[Observer] = (),
    lanes: int = SIDE_BY_SIDE,
) -> None:
    """As `execute`, for a caller that holds the lock."""
    stop = threading.Event()
    journal = Journal(state.journal)
    run = journal.begin_or_resume(command, plan.digest, plan.as_document())
    prose = output.prose

    def observe(step, event, detail, seconds) -> None:  # type: ignore[no-untyped-def]
        show_event(prose, step, event, detail, seconds, verbose=output.verbose)
        for observer in observers:
            observer(step, event, detail, seconds)

    failure: CloudexitError | None = None
    try:
        Runner(plan, actions_for(stop), journal, run, observe, stop, lanes).execute()
        journal.end(run, "done")
    except CloudexitError as error:
        failure = error
        journal.end(run, OUTCOMES.get(error.exit_code, "failed"))
    except BaseException as crash:
        journal.end(run, "interrupted" if isinstance(crash, KeyboardInterrupt) else "crashed")
        journal.close()
        raise
    report = run_report(journal, journal.run(run.id))
    journal.close()
    kept = state.keep_report(report)
    if output.as_json:
        error_document = failure.as_document() if failure else None
        output.document({**report, "exit_code": int(failure.exit_code) if failure else 0, "error": error_document})
    else:
        show_report(output.results, report, verbose=output.verbose)
    output.say(f"kept: {kept}")
    if failure:
        failure.reported = output.as_json
        raise failure
