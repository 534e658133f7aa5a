"""The end of a unit's log, as an error quotes it."""

from collections.abc import Callable

from migrate.errors import OutsideProblem
from migrate.inventory import Host
from migrate.ports import Hosts

LOG_LINES = 20


def last_log_lines(
    hosts: Hosts, host: Host, unit: str, redacted: Callable[[str], str], *, seconds: float | None = None
) -> str:
    """The last lines of a unit's journal, those of the last `seconds` only where they are given, or why they could not
    be read; never raises for a host that is lost."""
    command = ["journalctl", "-u", unit, "-n", str(LOG_LINES), "--no-pager", "-o", "short-iso"]
    if seconds is not None:
        command.append(f"--since=-{int(seconds) + 1}s")
    try:
        done = hosts.run(host, command)
    except OutsideProblem as problem:
        return f"(its log could not be read: {problem.what})"
    return redacted(done.stdout.rstrip() or done.stderr.rstrip())
