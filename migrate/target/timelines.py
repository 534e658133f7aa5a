"""Where the pasts of two PostgreSQL servers part: positions in the WAL, and the timelines that they lie on."""

from collections.abc import Mapping

SEGMENT, PAGE, SEGMENT_HEADER, PAGE_HEADER, ALIGNMENT = 16 << 20, 8192, 40, 24, 8
"""Of WAL as Debian's packages write it, in bytes."""


def bytes_of(position: str) -> int:
    """A position as PostgreSQL writes it (1/2A000028)."""
    high, _, low = position.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def position_of(position: int) -> str:
    """As PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def end_of_record(start: int, length: int) -> int:
    """Where a record of WAL ends: pages that it goes on over begin with a header that is not its own."""
    position = start
    while length > (room := PAGE - position % PAGE):
        position, length = position + room, length - room
        position += SEGMENT_HEADER if position % SEGMENT == 0 else PAGE_HEADER
    return -(-(position + length) // ALIGNMENT) * ALIGNMENT


def ends_of(history: str) -> dict[int, int]:
    """Earlier timelines and where they ended, from a history file of PostgreSQL."""
    lines = [line.split() for line in history.splitlines() if line.strip() and not line.startswith("#")]
    return {int(words[0]): bytes_of(words[1]) for words in lines}


def parted_at(one: Mapping[int, int], other: Mapping[int, int]) -> tuple[int, int]:
    """The last timeline that two servers have in common, and how far. Each maps its timelines to where they end, the
    present one to how far it has come."""
    common = max(set(one) & set(other), default=0)
    return (common, min(one[common], other[common])) if common else (0, 0)
