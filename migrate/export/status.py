"""Where the last run on an archive is, from its ledger: the same in any terminal."""

import os
import socket
from dataclasses import asdict
from pathlib import Path

from migrate.errors import Missing
from migrate.export.ledger import Ledger, RunRecord


def archive_status(dest: Path) -> dict[str, object]:
    """Bucket, run, progress and whether it is under way. Raises Missing where there is no archive, or no run yet."""
    with Ledger.open(dest) as ledger:
        run = ledger.last_run()
        bucket, prefix = ledger.archive_value("bucket"), ledger.archive_value("prefix")
    if run is None:
        raise Missing("nothing was exported into this archive yet", where=str(dest))
    under_way = is_under_way(run)
    return {
        "archive": str(dest),
        "bucket": bucket,
        "prefix": prefix,
        "run": run.id,
        "started": run.started,
        "ended": run.ended,
        "host": run.host,
        "pid": run.pid,
        # A run that was killed could not write down its own end.
        "outcome": run.outcome if under_way or run.outcome != "running" else "interrupted",
        "under_way": under_way,
        "listing_complete": run.listing_complete,
        "progress": asdict(run.progress),
        "result": run.result,
    }


def is_under_way(run: RunRecord) -> bool:
    """Whether its process lives; of another host's process nothing is known but what it wrote."""
    if run.outcome != "running":
        return False
    if run.host != socket.gethostname():
        return True
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
