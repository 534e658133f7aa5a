"""What the tests of whole rehearsals share."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.cli.rehearse import lab_name
from migrate.cli.state import StateFolder
from migrate.journal import Journal
from migrate.lab.lab import Lab
from migrate.report.document import run_report

PLAZA = Path(__file__).parents[1] / "examples" / "plaza" / "stack.yaml"
CLOUDEXIT = Path(sys.executable).with_name("cloudexit")
COMMAND_SECONDS = 900
PROOFS = ("prove.", "restore.database.plaza.proof", "restore.media.")
"""Steps whose checks stand in every report; a gate passed just before a kill is found open, and not passed again."""


@dataclass(frozen=True)
class Drill:
    """A rehearsal that was carried out to its end, with its hosts still up."""

    state: Path
    lab: Lab
    report: dict[str, Any]
    page: str


def lab_of(state: Path) -> Lab:
    """The lab that a rehearsal with this state folder uses."""
    return Lab(lab_name(StateFolder.beside(PLAZA, state, drill=True)))


def cloudexit(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(CLOUDEXIT), *map(str, arguments)], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )


def last_report(state: Path) -> dict[str, Any]:
    journal = Journal(state / "journal.sqlite", read_only=True)
    run = journal.last_run()
    assert run
    report: dict[str, Any] = json.loads(json.dumps(run_report(journal, run), default=str))
    journal.close()
    return report


def end_state(report: dict[str, Any]) -> dict[str, Any]:
    """What must be the same however often the drill was killed: outcomes, verdicts, counts of what was restored.

    A step that a kill caught after its effect and before its record is found there, and skipped: as good as done. The
    old home's users go on writing while the export runs, so the newest media differ from drill to drill; the dump and
    all that follows from it do not.
    """
    return {
        "outcome": report["outcome"],
        "proved": report["proved"],
        "steps": {row["id"]: row["outcome"] in ("done", "skipped") for row in report["steps"]},
        "verdicts": sorted(
            (c["step"], c["host"], c["name"], c["verdict"]) for c in report["checks"] if c["step"].startswith(PROOFS)
        ),
        "rewritten": {name: detail["rewritten"] for name, detail in report["rewritten"].items()},
        "restored": sorted(
            (c["name"], c["detail"]) for c in report["checks"] if c["step"] == "restore.database.plaza.proof"
        ),
    }
