"""`SHA256SUMS` in DEST: an auditor checks the archive with `sha256sum -c SHA256SUMS`, without this program."""

import os
from pathlib import Path

from migrate.export.keymap import SUMS
from migrate.export.ledger import Ledger
from migrate.export.tree import Tree

SPOOLED = "sums"
# A value of the ledger's archive table.
SUMS_STATE = "sums"
SUMS_HOLD = "hold"


def sums_line(digest: str, path: str) -> bytes:
    """One line as coreutils writes it: a backslash or a line end in the name is escaped, and the line then says so."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != path else ""
    return f"{mark}{digest}  {escaped}\n".encode("utf-8", "surrogateescape")


def write_sums(ledger: Ledger, tree: Tree) -> None:
    """Writes the sums of everything that lies in the archive, in the order of the keys."""
    tree.discard(SPOOLED)
    rows = ledger.connection.execute(
        "SELECT digest, path FROM objects WHERE path IS NOT NULL AND digest IS NOT NULL"
        " AND state IN ('verified', 'fetched', 'gone') ORDER BY key, version_id"
    )
    with tree.spool_file(SPOOLED) as raw, os.fdopen(os.dup(raw.fileno()), "wb") as stream:
        stream.writelines(sums_line(digest, path) for digest, path in rows)
        stream.flush()
        os.fsync(raw.fileno())
    tree.place(SPOOLED, SUMS)


def sums_present(dest: Path) -> bool:
    return (dest / SUMS).is_file()
