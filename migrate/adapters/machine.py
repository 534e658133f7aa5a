"""What the machine that runs this has. Reads only."""

import os
from datetime import datetime
from pathlib import Path

from migrate.facts import ExportHosts
from migrate.figures import Ground


def this_machine(folder: Path, now: datetime) -> ExportHosts:
    """Cores, and what is free where `folder` lies or would lie."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = os.statvfs(there)
    return ExportHosts(
        hosts=1,
        cores=os.cpu_count() or 1,
        disk=free.f_bavail * free.f_frsize,
        files=free.f_favail or None,
        ground=Ground.MEASURED,
        source=f"this machine, {there}",
        at=now,
    )
