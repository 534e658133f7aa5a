"""The bucket's own object count, held against the listing where no inventory report decides object by object.

Such a count names nothing, may be a day old, and counts older versions and unfinished uploads too. So a difference is
told, and only a listing that is short by more than `MAY_DIFFER` makes the run incomplete (exit 4): either much was
deleted within a day, or the listing hides something, and an inventory report tells which.
"""

from dataclasses import dataclass

from migrate.export.scope import ExportOptions

MAY_DIFFER = 0.01


@dataclass(frozen=True, slots=True)
class OwnCount:
    """What the store itself says that the bucket holds. `taken` is RFC 3339 UTC, `who` where the number comes from."""

    objects: int
    taken: str
    who: str


@dataclass(frozen=True, slots=True)
class CountCheck:
    """How listing and count compare. `short`: so many fewer than counted were listed; below zero, so many more."""

    second_source: str
    taken: str
    counted: int
    listed: int

    @property
    def short(self) -> int:
        return self.counted - self.listed

    @property
    def agrees(self) -> bool:
        return self.short <= self.counted * MAY_DIFFER


def hold_count(
    count: OwnCount | str, listed: int, prefix: str, options: ExportOptions, versioning: object
) -> CountCheck | str:
    """The comparison, or why there is none. `versioning` is the bucket's setting, as the source told it."""
    if prefix or options.include or options.exclude:
        return "the bucket's own count is of the whole bucket, and a part of it was asked for"
    if isinstance(count, str):
        return count
    if not options.versions and versioning != {}:
        return "the bucket's own count holds older versions too (--versions compares them), or may hold them"
    return CountCheck(count.who, count.taken, count.objects, listed)
