"""ports.JourneyRunner by a subprocess that prints one JSON line a step."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from migrate.check import CheckResult, Verdict

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""What a journey gets of our environment: no credentials of the old provider."""
STOP_SECONDS = 5.0
LAST_WORDS = 2000


class CommandJourneys:
    """A journey's own exit status is its last word: with steps that all pass and another status, it failed."""

    def walk(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, timeout: float
    ) -> list[CheckResult]:
        """One result a step `{"step", "verdict", "detail", "seconds"}`. A journey that died, overran `timeout` seconds
        or said nothing ends with a failing one. Never raises for what the journey does."""
        inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        began = time.monotonic()
        try:
            process = subprocess.Popen(
                list(command), cwd=folder, env={**inherited, **environment}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as fault:
            return [_failed("the journey starts", f"{command[0]}: {fault.strerror}", 0.0)]
        overran = False
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            overran = True
            output, errors = _stop(process)
        except BaseException:
            _stop(process)
            raise
        seconds = time.monotonic() - began
        results = [_result(line) for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
        last_words = errors.decode("utf-8", "replace").strip()[-LAST_WORDS:]
        if overran:
            return [*results, _failed("the journey ends in time", f"not within {timeout:g} s. {last_words}", seconds)]
        if not results or (process.returncode != 0 and all(results)):
            status = f"exit status {process.returncode}, {len(results)} steps. {last_words}"
            return [*results, _failed("the journey ends well", status.strip(), seconds)]
        return results


def _stop(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    """Ends the journey and what it started; what it had printed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            return process.communicate(timeout=STOP_SECONDS)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    return process.communicate(timeout=STOP_SECONDS)


def _result(line: str) -> CheckResult:
    try:
        step = json.loads(line)
        return CheckResult(
            str(step["step"]), Verdict(step["verdict"]), str(step.get("detail", "")),
            seconds=float(step.get("seconds", 0.0)),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        return _failed("the journey says what it does", f"no step: {line[:200]!r}", 0.0)


def _failed(name: str, detail: str, seconds: float) -> CheckResult:
    return CheckResult(name, Verdict.FAIL, detail, seconds=seconds)
