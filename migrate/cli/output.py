"""Where results and prose go: one JSON document or a page on standard output, everything else on standard error."""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

PIPE_COLUMNS = 132
"""Width of a page that goes to no terminal, where COLUMNS says no other."""
FEWEST_COLUMNS = 40

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More detail.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")]

NUMBER = re.compile("[1-9][0-9]{0,3}")
STRAY_BYTES = re.compile("[\\ud800-\\udfff]")


@dataclass(frozen=True)
class Output:
    """The two streams of one command. Rich leaves colour out where the stream is no terminal or NO_COLOR is set."""

    as_json: bool = False
    verbose: bool = False
    quiet: bool = False

    @property
    def results(self) -> Console:
        return Console(file=sys.stdout, width=_columns(sys.stdout))

    @property
    def prose(self) -> Console:
        return Console(stderr=True, quiet=self.quiet, width=_columns(sys.stderr))

    def say(self, text: str) -> None:
        self.prose.print(text, highlight=False, soft_wrap=True)

    def document(self, document: Mapping[str, Any]) -> None:
        sys.stdout.write(json_text(document, ascii_only=not _takes_unicode(sys.stdout)) + "\n")
        sys.stdout.flush()


def json_text(document: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """Raises ValueError for a number that JSON has not: infinite, or none."""
    text = json.dumps(document, indent=1, ensure_ascii=ascii_only, allow_nan=False, default=str)
    if not text.isascii() and STRAY_BYTES.search(text):  # no UTF-8 holds a name that is none
        return json_text(document, ascii_only=True)
    return text


def _takes_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")


def _columns(stream: TextIO) -> int | None:
    """None where the terminal itself is asked."""
    if stream.isatty():
        return None
    said = os.environ.get("COLUMNS", "")
    return max(FEWEST_COLUMNS, int(said)) if NUMBER.fullmatch(said) else PIPE_COLUMNS
