"""Lines of all hosts, asked of the log host."""

import re
from dataclasses import dataclass

from migrate.errors import Missing, OutsideProblem, UsageProblem
from migrate.inventory import Inventory
from migrate.ports import Hosts
from migrate.secret import Secrets
from migrate.stack import ServiceKind, Stack
from migrate.target.looks import MARK
from migrate.target.parts.logs import FOLDER

SEARCH_SECONDS = 120.0
SINCE = re.compile(r"\d+(s|m|min|h|d|w)")
PROGRAM = """
import json, subprocess, sys
folder, mark, host, *asked = sys.argv[1:]
journal = ["journalctl", "-q", "-m", "--no-pager", "-r", "-D", folder]
def ask(*words):
    done = subprocess.run([*journal, *words], capture_output=True, text=True, errors="replace")
    if done.returncode < 0:
        sys.exit(f"journalctl was ended by signal {-done.returncode}")
    return done
def fault_of(done):
    return done.stderr.strip() if done.returncode else ""
def must_be_whole():
    fault = fault_of(ask("-n", "1"))
    if fault:
        sys.exit(fault)
if host:
    last = ask("-n", "1", "-o", "json", f"SYSLOG_IDENTIFIER={mark}", f"MESSAGE={host}")
    if not last.stdout:
        must_be_whole()
        sys.exit(44)
    asked.append("_HOSTNAME=" + json.loads(last.stdout)["_HOSTNAME"])
done = ask("-o", "short-iso", *asked)
if fault_of(done):
    must_be_whole()
    sys.stderr.write(done.stderr)
    sys.exit(45)
sys.stdout.write(done.stdout)
"""
"""A question that fails where the simplest one is answered is itself at fault."""
NEVER_HEARD, BAD_QUESTION = 44, 45


@dataclass(frozen=True)
class Question:
    """Which lines are wanted: all conditions hold together."""

    host: str | None = None
    unit: str | None = None
    since: str = "1h"
    text: str | None = None
    at_most: int = 1000

    def arguments(self) -> list[str]:
        """As journalctl takes them. Raises UsageProblem."""
        if not SINCE.fullmatch(self.since):
            raise UsageProblem(f"no length of time: {self.since!r}", where="--since", expected="30s, 10m, 2h or 7d")
        period = re.sub(r"m$", "min", self.since)
        found = [f"--since=-{period}", f"--lines={self.at_most}"]
        found += [f"--unit={self.unit}"] if self.unit else []
        return found + ([f"--grep={self.text}"] if self.text else [])


def lines_of(stack: Stack, inventory: Inventory, hosts: Hosts, secrets: Secrets, question: Question) -> list[str]:
    """The newest lines that fit, in order of time, secrets redacted. Raises UsageProblem where it is the question's
    fault, Missing, Unreachable; OutsideProblem where the log host cannot read what it has."""
    service = next((one for one in stack.services.values() if one.kind is ServiceKind.LOGS), None)
    if service is None:
        raise UsageProblem(
            "no host keeps the lines of the others",
            where=str(inventory.path),
            expected="a service of kind logs in the manifest, and a host in its group",
        )
    if question.host is not None and question.host not in inventory.hosts:
        known = ", ".join(inventory.hosts)
        raise UsageProblem(f"no host is called {question.host!r}", where="--host", expected=known)
    command = ["python3", "-I", "-c", PROGRAM, FOLDER, MARK, question.host or "", *question.arguments()]
    keeper = inventory.lead(service.group)
    done = hosts.run(keeper, command, timeout=SEARCH_SECONDS)
    if done.exit_status == NEVER_HEARD:
        raise Missing(
            f"{keeper.name} never heard of {question.host}", where=keeper.name,
            hint=f"look at it there: systemctl status cloudexit-ship-logs on {question.host}",
        )  # fmt: skip
    said = (done.stderr.strip().splitlines() or [f"exit {done.exit_status}"])[-1]
    if done.exit_status == BAD_QUESTION:
        raise UsageProblem(f"journalctl does not take the question: {said}", where=keeper.name)
    if not done:
        raise OutsideProblem(
            f"its lines cannot be read: {said}", where=keeper.name, expected=f"journalctl to read {FOLDER}",
            hint=f"look at it there: journalctl -D {FOLDER} -n 1; then give the command again",
        )  # fmt: skip
    return _in_order_of_time(secrets.redact(done.stdout).splitlines())


def _in_order_of_time(newest_first: list[str]) -> list[str]:
    """An entry of several lines stays together: all but its first are indented."""
    entries: list[list[str]] = []
    for line in newest_first:
        if entries and line[:1].isspace():
            entries[-1].append(line)
        else:
            entries.append([line])
    return [line for entry in reversed(entries) for line in entry]
