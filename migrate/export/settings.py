"""What the bucket says of itself: its own object count, and its policy, ACL and other settings.

The settings are in the ledger's archive table as `bucket_<name>`, as JSON.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from migrate.errors import CloudexitError
from migrate.export.ledger import Ledger
from migrate.export.own_count import OwnCount
from migrate.export.source import ObjectSource


@dataclass(frozen=True, slots=True)
class Settings:
    """What the source told; a text says why it told nothing."""

    values: Mapping[str, object]
    count: OwnCount | str

    def record(self, ledger: Ledger) -> None:
        """A refusal does not replace what an earlier run was told. The caller owns the transaction."""
        for name, value in self.values.items():
            if not isinstance(value, str) or ledger.archive_value(f"bucket_{name}") is None:
                ledger.set_archive_value(f"bucket_{name}", json.dumps(value, default=str))


def ask_settings(source: ObjectSource, deliver: Callable[[Settings], None]) -> threading.Thread:
    """Asks beside everything else; who may not even speak to the bucket is told so by the listing."""

    def ask() -> None:
        with contextlib.suppress(CloudexitError):
            deliver(Settings(source.settings(), source.own_count()))

    thread = threading.Thread(target=ask, name="settings", daemon=True)
    thread.start()
    return thread
