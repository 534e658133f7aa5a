"""Text and times as the pages show them."""

import re
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from markupsafe import Markup, escape

from plaza.posts import LINK, MENTION, TAG

SPANS = re.compile(f"(?P<link>{LINK.pattern})|(?P<tag>{TAG.pattern})|(?P<mention>{MENTION.pattern})")
SHOWN_LINK_LENGTH = 42


def linkify(body: str) -> Markup:
    """Escape a post's text, and make links, hashtags and mentions clickable."""
    parts: list[Markup] = []
    end = 0
    for match in SPANS.finditer(body):
        parts.append(escape(body[end : match.start()]))
        parts.append(_anchor(match))
        end = match.end()
    parts.append(escape(body[end:]))
    return Markup("").join(parts)


def _anchor(match: re.Match[str]) -> Markup:
    text = match.group()
    if match["link"]:
        shown = text.split("://", 1)[1].removesuffix("/")
        if len(shown) > SHOWN_LINK_LENGTH:
            shown = shown[: SHOWN_LINK_LENGTH - 1] + "…"
        return Markup('<a href="{}" rel="nofollow noopener" dir="ltr">{}</a>').format(text, shown)
    path = f"/tags/{quote(text[1:])}" if match["tag"] else f"/@{text[1:]}"
    return Markup('<a href="{}">{}</a>').format(path, text)


def ago(then: datetime, now: datetime | None = None) -> str:
    """How long ago, in the shortest words: `now`, `5m`, `3h`, `2d`, then a date."""
    now = now or datetime.now(UTC)
    seconds = (now - then).total_seconds()
    if seconds < 60:
        return "now"
    for limit, size, unit in ((3600, 60, "m"), (86400, 3600, "h"), (7 * 86400, 86400, "d")):
        if seconds < limit:
            return f"{int(seconds // size)}{unit}"
    return f"{then:%b} {then.day}" if then.year == now.year else f"{then:%b} {then.day}, {then.year}"


def count(number: int) -> str:
    """1234 as `1.2k`."""
    return str(number) if number < 1000 else f"{number / 1000:.1f}".removesuffix(".0") + "k"


def initials(name: str) -> str:
    """The first letter of a display name, for people without a picture."""
    return next((letter for letter in name if letter.isalnum()), "·").upper()


def origin(url: str) -> str:
    """Scheme, host and port of a URL, as a content security policy wants it; empty for a bare path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
