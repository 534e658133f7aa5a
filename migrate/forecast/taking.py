"""What the export takes of a bucket, as manifest and command line want it, and what it leaves at the old home."""

from collections.abc import Iterator
from dataclasses import dataclass

from migrate.export.archived import TERMS, Terms, Tier
from migrate.facts import ARCHIVED_CLASSES, Amount, BucketFacts
from migrate.figures import Ground
from migrate.stack import Bucket

NOTHING = Amount(objects=0, bytes=0)
TERMS_OF = {"INTELLIGENT_TIERING_ARCHIVE": "INTELLIGENT_TIERING"}
"""Class in the facts -> class under which its terms stand, where that is another."""


@dataclass(frozen=True)
class Wanted:
    """What is to be exported of every bucket, whatever the manifest says of it."""

    tags: bool = False
    versions: bool = False


@dataclass(frozen=True)
class Frozen:
    """Archived objects of one class, and the terms on which the manifest has them restored; None where it does not."""

    storage_class: str
    amount: Amount
    tier: Tier | None
    terms: Terms | None


@dataclass(frozen=True)
class Taken:
    """What comes over the line of one bucket."""

    bucket: BucketFacts
    wanted: Wanted
    frozen: tuple[Frozen, ...]
    order: str
    """Which objects come first, as the manifest says it."""

    @property
    def is_told(self) -> bool:
        """Whether everything that is wanted is of known size."""
        return not self.wanted.versions or self.bucket.versions is not None

    @property
    def ground(self) -> Ground:
        return self.bucket.ground

    @property
    def listed(self) -> int:
        """Keys that the source lists."""
        return self.bucket.objects + self._versions.objects

    @property
    def ready(self) -> Amount:
        """What can be read at once."""
        archived = _sum(frozen.amount for frozen in self.frozen)
        return Amount(
            objects=self.bucket.objects + self._versions.objects - archived.objects,
            bytes=self.bucket.bytes + self._versions.bytes - archived.bytes,
        )

    @property
    def thawed(self) -> Amount:
        """What can be read once it has been restored, which the export asks for and waits for."""
        return _sum(frozen.amount for frozen in self.frozen if frozen.terms)

    @property
    def thaw(self) -> Terms | None:
        """The terms that take longest."""
        asked = [frozen.terms for frozen in self.frozen if frozen.terms]
        return max(asked, key=lambda terms: terms.hours_to, default=None)

    @property
    def left(self) -> tuple[Frozen, ...]:
        """Archived objects that the export cannot read, since nobody asks for them."""
        return tuple(frozen for frozen in self.frozen if not frozen.terms)

    @property
    def whole(self) -> Amount:
        """Everything that is fetched."""
        return _sum((self.ready, self.thawed))

    @property
    def requests_each(self) -> int:
        """Requests for one object."""
        return 2 if self.wanted.tags else 1

    @property
    def _versions(self) -> Amount:
        return (self.bucket.versions or NOTHING) if self.wanted.versions else NOTHING


def taken(bucket: BucketFacts, said: Bucket, wanted: Wanted) -> Taken:
    """`said`: the manifest's word on the bucket."""
    asked = Tier(said.restore_archived) if said.restore_archived else None
    both = Wanted(tags=said.tags or wanted.tags, versions=said.versions or wanted.versions)
    return Taken(bucket, both, tuple(_frozen(bucket, asked)), said.order)


def terms_of(storage_class: str, tier: Tier) -> Terms | None:
    """None where the class has no such tier."""
    return TERMS.get((TERMS_OF.get(storage_class, storage_class), tier))


def _frozen(bucket: BucketFacts, asked: Tier | None) -> Iterator[Frozen]:
    for storage_class in ARCHIVED_CLASSES:
        amount = bucket.classes.get(storage_class)
        if amount and amount.objects:
            yield Frozen(storage_class, amount, asked, terms_of(storage_class, asked) if asked else None)


def _sum(amounts: "Iterator[Amount] | tuple[Amount, ...]") -> Amount:
    both = list(amounts)
    return Amount(objects=sum(a.objects for a in both), bytes=sum(a.bytes for a in both))
