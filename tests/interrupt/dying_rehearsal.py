"""The rehearsal, in a process that kills itself: `dying_rehearsal.py STACK STATE DEATHS [MOMENT]`.

DEATHS is a file with one step id a line, of the steps after which it has died already. The first step that ends
(MOMENT `done`) or has been under way for a moment (MOMENT `amid`) and is not in it is added, and the process sends
itself SIGKILL.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migrate.cli.output import Output
from migrate.cli.rehearse import RehearsalOptions, carry_out
from migrate.errors import CloudexitError
from migrate.journal import Event
from migrate.plan import Step

AMID_SECONDS = 0.7


def main() -> int:
    stack, state, deaths = (Path(argument) for argument in sys.argv[1:4])
    moment = sys.argv[4] if len(sys.argv) > 4 else "done"
    mortal = set(sys.argv[5].split(",")) if len(sys.argv) > 5 else None

    def die(step: str) -> None:
        with deaths.open("a") as stream:
            stream.write(f"{step}\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.kill(os.getpid(), signal.SIGKILL)

    def observe(step: Step, event: Event, detail: Mapping[str, Any], seconds: float | None) -> None:
        died = deaths.read_text().splitlines() if deaths.exists() else []
        if step.id in died or (mortal is not None and step.id not in mortal):
            return
        if moment == "done" and event in (Event.DONE, Event.SKIPPED):
            die(step.id)
        if moment == "amid" and event is Event.STARTED:
            threading.Timer(AMID_SECONDS, die, (step.id,)).start()

    try:
        carry_out(RehearsalOptions(stack, state=state, keep=True), Output(), [observe])
    except CloudexitError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
