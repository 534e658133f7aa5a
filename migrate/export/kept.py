"""Large objects that are not whole yet: their first bytes stay in the spool, beside a record of whose bytes they are.

A killed run leaves both files; the next one hashes what is there and asks for the rest, at the same ETag or version.
"""

import json
import re

from migrate.export.lanes import Work
from migrate.export.ledger import Ledger
from migrate.export.tree import KEPT, Tree

KEPT_FROM_BYTES = 8 * 1024 * 1024
NAME = re.compile(rf"{KEPT}(\d+)(\.json)?")
UNFINISHED = ("listed", "archived")


def is_keepable(work: Work) -> bool:
    """Whether a part of the object is worth keeping, and can be told from a part of another."""
    return work.size >= KEPT_FROM_BYTES and bool(work.etag or work.version_id)


def claim(tree: Tree, work: Work) -> str:
    """The spool file that holds the object's beginning; what belongs to any other object is discarded.

    Raises OSError where the spool cannot be written.
    """
    name = f"{KEPT}{work.id}"
    record = f"{name}.json"
    identity = json.dumps([work.key, work.version_id, work.etag, work.size])
    there = tree.spooled_size(name)
    if there and there <= work.size and tree.spooled_text(record) == identity:
        return name
    tree.discard(name)
    tree.discard(record)
    with tree.spool_file(record) as stream:
        stream.write(identity.encode())
    return name


def sweep(tree: Tree, ledger: Ledger) -> None:
    """Discards what is kept of objects that no run will go on with."""
    for name in tree.spooled_names():
        match = NAME.fullmatch(name)
        if match is None:
            continue
        found = ledger.connection.execute("SELECT state FROM objects WHERE id = ?", (int(match[1]),)).fetchone()
        orphan = match[2] is not None and tree.spooled_size(f"{KEPT}{match[1]}") is None
        if found is None or found[0] not in UNFINISHED or orphan:
            tree.discard(name)
