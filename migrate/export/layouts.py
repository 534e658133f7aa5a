"""How a multipart object was cut, asked of the source as far as it can say."""

from collections.abc import Callable

from migrate.export.verification import even_parts, plausible_layouts

MOST_PARTS = 10_000

PartSize = Callable[[int], int | None]
Layouts = tuple[tuple[int, ...], ...]


def part_layouts(size: int, parts: int, part_size: PartSize, *, ask_every_part: bool = False) -> tuple[Layouts, bool]:
    """The part layouts that may be true, the likeliest first, and whether the source itself gave them.

    `part_size` asks the source for the bytes of one part, counted from 1; what it raises comes through.
    """
    if parts == 1:
        return ((size,),), True
    first = part_size(1)
    if not first:
        return plausible_layouts(size, parts), False
    if -(-size // first) == parts and not ask_every_part:
        even = even_parts(size, first)
        if part_size(parts) == even[-1]:
            return (even, *plausible_layouts(size, parts)), True
    sizes = _every_part(first, min(parts, MOST_PARTS), part_size)
    if sizes is None or sum(sizes) != size:
        return plausible_layouts(size, parts), False
    return (sizes,), True


def _every_part(first: int, parts: int, part_size: PartSize) -> tuple[int, ...] | None:
    sizes = [first]
    for part in range(2, parts + 1):
        size = part_size(part)
        if size is None:
            return None
        sizes.append(size)
    return tuple(sizes)
