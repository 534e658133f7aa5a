"""Lines of a page: wrapped with an indent, and with nothing in them that a terminal would obey."""

import unicodedata

from rich.console import Console
from rich.text import Text

NARROWEST = 20
OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode that move the cursor, turn the direction of writing, end a line, or are no character."""
JOINER = "\u200d"
"""Of this category, but many emoji are made with it."""

Part = str | tuple[str, str]
"""Text, or text and its style."""


def visible(text: str) -> str:
    """The text with what a terminal would obey written out: names are given by strangers."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if unicodedata.category(character) in OBEYED and character != JOINER:
        return character.encode("unicode_escape").decode("ascii")
    return character


def say(console: Console, *parts: Part, indent: int = 0, hanging: int = 0, whole: bool = False) -> None:
    """One paragraph, its lines but the first indented by `hanging` more; `whole` leaves wrapping to the terminal, so
    that the line can be copied."""
    pairs = (part if isinstance(part, tuple) else (part, "") for part in parts)
    text = Text.assemble(*((visible(words), style) for words, style in pairs))
    width = max(NARROWEST, console.width - indent - hanging)
    for number, line in enumerate([text] if whole else text.wrap(console, width)):
        line.rstrip()
        margin = Text(" " * (indent + (hanging if number else 0)))
        console.print(margin + line, highlight=False, soft_wrap=True)
