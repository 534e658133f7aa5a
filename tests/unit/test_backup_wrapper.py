"""One cluster whose backup fails does not keep the others from theirs."""

import os
import subprocess
from pathlib import Path

import pytest

ROLE = Path(__file__).parents[2] / "playbooks" / "roles" / "pgbackrest"
PGBACKREST = """#!/bin/sh
echo "$*" >> "$CALLS"
case $1 in
    --stanza=broken) exit 56 ;;
    --stanza=hangs) exec sleep 30 ;;
esac
"""


def back_up(folder: Path, kind: str, *stanzas: str) -> tuple[int, list[str], str]:
    """Exit status, what pgBackRest was asked, and what was said."""
    program = folder / "pgbackrest"
    program.write_text(PGBACKREST)
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(folder / "calls")}
    done = subprocess.run(
        [ROLE / "files" / "cloudexit-back-up", kind, "1s", *stanzas], env=environment, capture_output=True, text=True
    )
    return done.returncode, (folder / "calls").read_text().splitlines(), done.stderr


@pytest.mark.parametrize(
    ("stanzas", "status", "words"),
    [
        (["one", "two"], 0, ""),
        (["broken", "two"], 1, "broken: the backup failed with 56"),
        (["hangs", "two"], 1, "hangs: the backup was broken off, it took longer than 1s"),
        (["one", "broken"], 1, "broken: the backup failed with 56"),
    ],
)
def test_every_cluster_has_its_backup_made_and_a_failure_is_told(
    tmp_path: Path, stanzas: list[str], status: int, words: str
) -> None:
    ended, calls, said = back_up(tmp_path, "incr", *stanzas)
    assert calls == [f"--stanza={stanza} --type=incr backup" for stanza in stanzas]
    assert ended == status
    assert said.startswith(words) if words else not said


def test_the_unit_has_one_command_for_all_clusters() -> None:
    unit = (ROLE / "templates" / "backup.service.j2").read_text()
    [command] = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    assert command.startswith("ExecStart=/usr/local/sbin/cloudexit-back-up %i ")
