"""What the manifest says of the account, and the account does not bear out."""

from migrate.assess.findings import Fault
from migrate.assess.observed import GLOBAL, Observed, Unseen
from migrate.documents import Document
from migrate.stack import Stack


def faults_of_manifest(document: Document, stack: Stack, observed: Observed) -> tuple[Fault, ...]:
    """Buckets of the manifest that are not there, by file, line and field; none where not all buckets were listed."""
    if any(_of_the_whole_store(unseen) for unseen in observed.unseen):
        return ()
    there = {r.name for r in observed.resources if (r.service, r.kind) == ("s3", "bucket")}
    return tuple(
        Fault(
            where=document.where(("buckets", name)),
            what=f"the account holds no bucket {name!r}",
            expected=", ".join(sorted(there)) or "a bucket of the account",
        )
        for name in stack.buckets
        if name not in there
    )


def _of_the_whole_store(unseen: Unseen) -> bool:
    return (unseen.service, unseen.region, unseen.about) == ("s3", GLOBAL, "")
