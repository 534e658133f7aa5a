"""Pages that can be read at any width: numbers and names stay whole, and words go where there is room for them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

GAP = 2
READABLE = 24
"""Words in a narrower column are a ribbon; then they stand beneath their row."""
NAME_ENOUGH = 40
"""A longer name has a line of its own where it does not fit, and drives no column out of the row."""
BENEATH = 4
WHOLE = re.compile(
    r"(?:\d[\d.,]* x )?\d[\d.,]* (?:h \d\d min|min \d\d s|d \d\d h|[kMGTP]?i?B(?:/s)?|[kMG]?bit/s|h|min|s)(?!\w)"
    r"|\d[\d.,]* x [\w.*$-]+"
    r"|(?:[A-Z][a-z]{2} )?\d\d [A-Z][a-z]{2}(?: \d{4})? \d\d:\d\d(?: UTC)?"
)
"""Amounts with their units, and moments: no line ends within."""
LONGEST_WHOLE = 80


@dataclass(frozen=True)
class Column:
    """A column of a table. `gives_way`: 0 never leaves the row; of others the highest goes beneath it first, there
    with `label` before it. `words` may be wrapped; `name` has a line of its own where it is too long."""

    title: str
    right: bool = False
    gives_way: int = 0
    label: str = ""
    words: bool = False
    name: bool = False


def say(console: Console, text: str, *, indent: int = 0, hang: int = 2) -> None:
    """A paragraph of markup; its second line and those after are indented by `hang` more."""
    for line in paragraph(Text.from_markup(text), console.width, indent=indent, hang=hang):
        put(console, line)


def said(console: Console, label: str, text: str, *, width: int = 10, indent: int = 2) -> None:
    """A label and its paragraph, which stays right of it."""
    say(console, f"{label:<{width}}{text}", indent=indent, hang=width)


def show_table(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str] | str]) -> None:
    """Rows of markup; a row that is a string is a heading between them."""
    for line in table_lines(columns, rows, console.width):
        put(console, line)


def put(console: Console, line: Text) -> None:
    console.print(line, highlight=False, soft_wrap=True)


def paragraph(text: Text, width: int, *, indent: int = 0, hang: int = 0) -> Iterator[Text]:
    """The text's lines, none wider than `width`; those that the width makes necessary hang."""
    begin, room = " " * indent, max(1, width - indent)
    for part in text.split("\n", allow_blank=True):
        rest, hung, left = part, "", room
        while cell_len(rest.plain) > left:
            end = _line_end(rest.plain, left)
            yield Text(begin + hung) + _stripped(rest[:end])
            hung, left = " " * hang, max(1, room - hang)
            rest = rest[end + len(rest.plain[end:]) - len(rest.plain[end:].lstrip(" ")) :]
        yield _stripped(Text(begin + hung) + rest)


def _stripped(line: Text) -> Text:
    line = line.copy()
    line.rstrip()
    return line


def _line_end(plain: str, width: int) -> int:
    """Where the line ends: at its last space that is within nothing whole, or in the midst of a word too long."""
    near = plain[: width + LONGEST_WHOLE]
    most = sum(reached <= width for reached in accumulate(map(cell_len, near)))
    whole = [(found.start(), found.end()) for found in WHOLE.finditer(near)]
    inset = len(plain) - len(plain.lstrip(" "))
    for at in range(min(most, len(plain) - 1), inset, -1):
        if plain[at] == " " and not any(begin < at < end for begin, end in whole):
            return at
    return max(1, most)


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str] | str], width: int) -> list[Text]:
    """Header and rows, none wider than `width`."""
    cells = [row if isinstance(row, str) else [Text.from_markup(cell) for cell in row] for row in rows]
    natural = [
        max([1, cell_len(column.title), *(_widest(row[at]) for row in cells if not isinstance(row, str))])
        for at, column in enumerate(columns)
    ]
    kept = _kept(columns, natural, width)
    widths = _widths(columns, natural, kept, width)
    titles = {at: [Text(columns[at].title, "bold")] for at in kept}
    lines = list(paragraph(_line(columns, titles, 0, widths), width))
    for row in cells:
        if isinstance(row, str):
            lines.extend(paragraph(Text.from_markup(row), width))
        else:
            lines.extend(_row(columns, row, kept, widths, width))
    return lines


def _widest(cell: Text) -> int:
    return max(cell_len(line) for line in cell.plain.split("\n"))


def _kept(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    """The columns that stay in the row."""
    kept = list(range(len(columns)))

    def least(at: int) -> int:
        enough = READABLE if columns[at].words else NAME_ENOUGH if columns[at].name else natural[at]
        return min(natural[at], enough)

    while sum(map(least, kept)) + GAP * (len(kept) - 1) > width:
        weakest = max(columns[at].gives_way for at in kept)
        if not weakest:
            break
        kept = [at for at in kept if columns[at].gives_way < weakest]
    return kept


def _widths(columns: Sequence[Column], natural: Sequence[int], kept: Sequence[int], width: int) -> list[int]:
    """Names get what they need before words do, and words share what is left."""
    widths = list(natural)
    names = [at for at in kept if columns[at].name]
    words = [at for at in kept if columns[at].words]
    left = width - GAP * (len(kept) - 1) - sum(natural[at] for at in kept if at not in (*names, *words))
    for at in names:
        widths[at] = max(1, min(natural[at], left - sum(min(natural[other], READABLE) for other in words)))
        left -= widths[at]
    for number, at in enumerate(words):
        after = words[number + 1 :]
        fair, spare = left // (len(after) + 1), left - sum(natural[other] for other in after)
        widths[at] = max(1, min(natural[at], max(fair, spare)))
        left -= widths[at]
    return widths


def _row(
    columns: Sequence[Column], row: Sequence[Text], kept: Sequence[int], widths: Sequence[int], width: int
) -> Iterator[Text]:
    cells = {at: list(paragraph(row[at], widths[at])) if columns[at].words else [row[at]] for at in kept}
    for at in kept:
        if columns[at].name and _widest(row[at]) > widths[at]:
            before = {one: cells[one] for one in kept if one <= at}
            yield from paragraph(_line(columns, before, 0, widths), width, hang=BENEATH)
            cells.update({one: [Text()] for one in before})
    for number in range(max(len(lines) for lines in cells.values())):
        yield from paragraph(_line(columns, cells, number, widths), width, hang=BENEATH)
    given = [_labelled(columns[at], cell) for at, cell in enumerate(row) if at not in kept]
    told = Text("; ").join(text for text in given if text.plain)
    if told.plain:
        told.stylize_before("dim")
        yield from paragraph(told, width, indent=BENEATH)


def _labelled(column: Column, cell: Text) -> Text:
    if cell.plain.strip() in ("", "–"):
        return Text()
    return Text(f"{column.label} ") + cell if column.label else cell


def _line(columns: Sequence[Column], cells: Mapping[int, Sequence[Text]], number: int, widths: Sequence[int]) -> Text:
    """That line of the cells, side by side."""
    line, gap = Text(), ""
    for at, lines in cells.items():
        cell = lines[number] if number < len(lines) else Text()
        blank = " " * max(0, widths[at] - cell_len(cell.plain))
        line.append(gap + (blank if columns[at].right else ""))
        line.append_text(cell)
        line.append("" if columns[at].right else blank)
        gap = " " * GAP
    line.rstrip()
    return line
