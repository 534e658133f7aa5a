"""Removes from the archive what is gone from the source, after asking the source for each once more."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from migrate.export.keymap import key_text
from migrate.export.ledger import Ledger, utc_now
from migrate.export.source import ObjectMissing, ObjectProblem, ObjectSource
from migrate.export.tree import Tree

REQUESTS_AT_ONCE = 8
OBJECTS_AT_ONCE = 200
CANDIDATES = (
    "SELECT id, key, version_id, path, stored_size FROM objects"
    " WHERE state = 'gone' AND path IS NOT NULL AND id NOT IN (SELECT id FROM temp.seen) ORDER BY id"
)
PRUNED = "UPDATE objects SET path = NULL, stored_size = NULL, reason = ?, settled_at = ? WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Pruned:
    """`kept` are objects that no listing shows and that the source did not deny to have."""

    objects: int = 0
    bytes: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class _Candidate:
    id: int
    key: str
    version_id: str
    path: str
    size: int


def prune(ledger: Ledger, tree: Tree, source: ObjectSource, wanted: Callable[[str], bool]) -> Pruned:
    """Removes the files of objects that this run's complete listing does not show and that the source denies to have.

    An object that the source still has, or will not speak of, is kept. The rows stay, without a path.
    """
    removed = size = kept = 0
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as requests:
        for some in _batches(ledger, wanted):
            denials = requests.map(lambda candidate: _is_denied(source, candidate), some)
            lost = [candidate for candidate, denied in zip(some, denials, strict=True) if denied]
            for candidate in lost:
                tree.remove(candidate.path)
            with ledger.transaction():
                moment = utc_now()
                reason = f"the source no longer has it; its file was pruned at {moment}"
                ledger.connection.executemany(PRUNED, [(reason, moment, candidate.id) for candidate in lost])
            removed += len(lost)
            size += sum(candidate.size for candidate in lost)
            kept += len(some) - len(lost)
    tree.sync_folders()
    return Pruned(removed, size, kept)


def _batches(ledger: Ledger, wanted: Callable[[str], bool]) -> Iterator[list[_Candidate]]:
    rows = ledger.connection.execute(CANDIDATES).fetchall()
    candidates = (_Candidate(number, key_text(key), *rest) for number, key, *rest in rows)
    chosen = (candidate for candidate in candidates if wanted(candidate.key))
    while some := list(itertools.islice(chosen, OBJECTS_AT_ONCE)):
        yield some


def _is_denied(source: ObjectSource, candidate: _Candidate) -> bool:
    try:
        source.head(candidate.key, version_id=candidate.version_id)
    except ObjectMissing:
        return True
    except ObjectProblem:
        return False
    return False
