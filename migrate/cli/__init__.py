"""`cloudexit`: what operators type."""

import gc
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType

import typer

from migrate.cli.output import Output
from migrate.cli.streams import guard, lost_result
from migrate.errors import CloudexitError, ExitCode

# Objects allocated between two searches for cycles: with Python's own 700, exports spent a tenth of their time on them.
SELDOM = 50_000
COPYING = frozenset({"export", "export-ls", "verify", "import"})
PLANNING = "plan"
VERDICTS = (ExitCode.DONE, ExitCode.GATE, ExitCode.INCOMPLETE)
"""Codes of commands that came to their end, and whose result says the rest."""


def command_line(words: Sequence[str] = ()) -> typer.Typer:
    """All commands; where `words` begin with one that copies objects or plans, only those, which load much sooner."""
    gc.freeze()
    gc.set_threshold(SELDOM)
    app = typer.Typer(
        name="cloudexit",
        help="Takes a social app off a cloud provider that drops it: lossless export, own hosts, proved restore.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    if words and words[0] == PLANNING:
        from migrate.cli import plan

        app.callback()(_several_commands)
        plan.register(app)
        return app
    from migrate.cli import export

    if words and words[0] in COPYING:
        export.register(app)
        return app
    from migrate.cli import (
        assess,
        deploy,
        edges,
        failover,
        initial,
        lab,
        logs,
        phases,
        plan,
        records,
        recover,
        rehearse,
        runs,
        secrets,
    )

    groups = (
        initial,
        assess,
        plan,
        runs,
        phases,
        export,
        rehearse,
        failover,
        edges,
        secrets,
        deploy,
        records,
        logs,
        recover,
    )
    for commands in groups:
        commands.register(app)
    app.add_typer(lab.app, name="lab")
    return app


def _several_commands() -> None:
    """With this, a single registered command keeps its name."""


def main() -> None:
    """Runs one command and ends the process with the contract's exit code."""
    signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
    guard()
    code = _with_result_written(_exit_code())
    sys.stderr.flush()
    # A step that does not come to rest in time must not keep an interrupted or failed run from ending.
    os._exit(code)


def _with_result_written(code: int) -> int:
    """A verdict that could not be written is none; a failure, told on standard error, keeps its own code."""
    problem = lost_result()
    if problem is None:
        return code
    sys.stderr.write(f"{problem}\n")
    return int(problem.exit_code) if code in VERDICTS else code


def _exit_code() -> int:
    try:
        # Without standalone mode a typer.Exit comes back as its code.
        ended = command_line(sys.argv[1:])(standalone_mode=False)
    except CloudexitError as error:
        _show(error)
        return int(error.exit_code)
    except typer.Exit as end:
        return int(end.exit_code)
    except typer.Abort:
        return int(ExitCode.INTERRUPTED)
    except KeyboardInterrupt:
        sys.stderr.write("stopped by you\n  do: the same command goes on from here\n")
        return int(ExitCode.INTERRUPTED)
    except Exception as bug:  # noqa: BLE001 - the last resort: what is no operator's error is a bug of ours
        return _report_bug(bug)
    return ended if isinstance(ended, int) else int(ExitCode.DONE)


def _show(error: CloudexitError) -> None:
    sys.stderr.write(f"{error}\n")
    if "--json" in sys.argv[1:] and not error.reported:
        Output().document(error.as_document())


def _report_bug(bug: Exception) -> int:
    usage_exit = getattr(bug, "exit_code", None)
    if hasattr(bug, "format_message") and usage_exit is not None:
        bug.show()  # type: ignore[attr-defined]
        _document("UsageProblem", int(usage_exit), str(bug.format_message()))
        return int(usage_exit)
    sys.stderr.write(f"an unexpected error, which is a bug: {type(bug).__name__}\n")
    kept = _keep_traceback(bug)
    _document("Bug", int(ExitCode.BUG), f"{type(bug).__name__}; traceback: {kept}")
    return int(ExitCode.BUG)


def _keep_traceback(bug: Exception) -> str:
    """Writes it into a file, or, where no file can be written, to standard error; says where it stands."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="cloudexit-traceback-", suffix=".txt")
        with os.fdopen(descriptor, "w") as stream:
            traceback.print_exception(bug, file=stream)
    except OSError:
        traceback.print_exception(bug)
        return "on standard error"
    sys.stderr.write(f"  traceback: {name}\n")
    return name


def _document(error: str, exit_code: int, what: str) -> None:
    if "--json" in sys.argv[1:]:
        Output().document({"error": error, "exit_code": exit_code, "what": what})


def _as_keyboard_interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
