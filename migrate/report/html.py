"""What the HTML pages share: one self-contained file each, with its own style, without script."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

STYLE = Path(__file__).with_name("plan_page.css")


def page(title: str, body: str, own_style: Path | None = None) -> str:
    """The whole file; `body` is HTML already, `own_style` is added to the common one."""
    style = STYLE.read_text() + (own_style.read_text() if own_style else "")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>\n"
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head>\n'
        f"<body><main>{body}</main></body></html>\n"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already; a column whose name begins with > is set to the right."""
    sides = ["r" if column.startswith(">") else "l" for column in columns]
    head = "".join(f'<th class="{side}">{c.lstrip(">")}</th>' for c, side in zip(columns, sides, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{side}">{cell}</td>' for cell, side in zip(row, sides, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
