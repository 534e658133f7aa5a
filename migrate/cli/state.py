"""The state folder: journal, ledgers, reports, Ansible artifacts. Mode 0700."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.errors import UsageProblem
from migrate.forecast.history import History, history_of
from migrate.journal import Journal

NAME = ".cloudexit"


@dataclass(frozen=True)
class StateFolder:
    """Paths of what a run keeps. A drill keeps its data apart, under the same journal and lock."""

    root: Path
    data: Path

    @classmethod
    def beside(cls, manifest: Path, chosen: Path | None, *, drill: bool = False) -> "StateFolder":
        root = (chosen or manifest.parent / NAME).absolute()
        return cls(root, root / "rehearsal" if drill else root)

    def create(self) -> None:
        """Makes the folders, private to the operator. Raises UsageProblem where that is not possible."""
        for folder in (self.root, self.data, self.archive, self.ansible, self.reports):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            except OSError as fault:
                raise UsageProblem(
                    f"the state folder cannot be made: {fault.strerror}",
                    where=str(folder),
                    hint="choose another with --state DIR",
                ) from fault

    @property
    def journal(self) -> Path:
        return self.root / "journal.sqlite"

    def history(self) -> History:
        """What earlier runs and drills took; nothing where there were none."""
        if not self.journal.exists():
            return History()
        journal = Journal(self.journal, read_only=True)
        try:
            return history_of(journal)
        finally:
            journal.close()

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def secrets(self) -> Path:
        return self.data / "secrets.json"

    @property
    def archive(self) -> Path:
        return self.data / "archive"

    @property
    def ansible(self) -> Path:
        return self.data / "ansible"

    def keep_report(self, report: Mapping[str, Any]) -> Path:
        path = self.reports / f"run-{report['run']}.json"
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(report, stream, indent=1, ensure_ascii=False)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        return path
