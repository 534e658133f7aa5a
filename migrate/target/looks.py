"""Looks at a host by a small program that is run there, and what is made of its answer. No I/O of its own."""

import json
from collections.abc import Sequence

from migrate.check import Verdict
from migrate.mailing import LogsCheck, SmtpCheck
from migrate.target.finding import Finding
from migrate.target.parts.logs import FOLDER

MARK = "cloudexit-mark"
"""Name under which each host writes its own name of the inventory into its journal, every two minutes."""
MAIL_PROGRAM = """
import json, smtplib, subprocess, sys
try:
    with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=float(sys.argv[2])) as server:
        code, said = server.ehlo()
except (OSError, smtplib.SMTPException) as problem:
    print(json.dumps({"problem": f"{type(problem).__name__}: {problem}"}))
else:
    queue = subprocess.run(["/usr/sbin/postqueue", "-j"], capture_output=True, text=True, timeout=60, check=True)
    print(json.dumps({"code": code, "said": said.decode("utf-8", "replace"), "queued": queue.stdout.count("\\n")}))
"""
MARKS_PROGRAM = """
import json, subprocess, sys, time
def age(name):
    command = ["journalctl", "-q", "-m", "-D", sys.argv[1], "-n", "1", "-o", "json", "--output-fields=MESSAGE"]
    done = subprocess.run([*command, f"SYSLOG_IDENTIFIER={sys.argv[2]}", f"MESSAGE={name}"], capture_output=True,
                          text=True, timeout=60, check=True)
    return time.time() - int(json.loads(done.stdout)["__REALTIME_TIMESTAMP"]) / 1e6 if done.stdout else None
print(json.dumps({name: age(name) for name in sys.argv[3:]}))
"""


def mail_command(port: int, timeout: float) -> list[str]:
    return ["python3", "-I", "-c", MAIL_PROGRAM, str(port), str(timeout)]


def mail_finding(answer: str, check: SmtpCheck) -> Finding:
    """What the mail host's answer is worth."""
    found = json.loads(answer)
    if "problem" in found:
        return Finding(Verdict.FAIL, found["problem"])
    if found["code"] != 250:
        return Finding(Verdict.FAIL, f"EHLO is answered {found['code']}: {found['said']}")
    fits = found["queued"] <= check.queue_at_most
    words = f"EHLO is answered, {found['queued']:,} messages wait, at most {check.queue_at_most:,}"
    return Finding(Verdict.PASS if fits else Verdict.FAIL, words)


def marks_command(names: Sequence[str]) -> list[str]:
    return ["python3", "-I", "-c", MARKS_PROGRAM, FOLDER, MARK, *names]


def marks_finding(answer: str, check: LogsCheck) -> Finding:
    """Which hosts the log host has not heard of for too long."""
    ages: dict[str, float | None] = json.loads(answer)
    silent = {name: age for name, age in ages.items() if age is None or age > check.newest_within}
    if not silent:
        oldest = max((age for age in ages.values() if age is not None), default=0.0)
        return Finding(Verdict.PASS, f"{len(ages)} hosts, the longest silent for {max(oldest, 0):.0f} s")
    words = ", ".join(f"{name} ({'never' if age is None else f'{age:.0f} s ago'})" for name, age in silent.items())
    return Finding(Verdict.FAIL, f"not heard of within {check.newest_within:.0f} s: {words}")
