"""Where results and prose go: one JSON document or a page on standard output, everything else on standard error."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console

PIPE_COLUMNS = 132

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More detail.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")]

STRAY_BYTES = re.compile("[\\ud800-\\udfff]")


@dataclass(frozen=True)
class Output:
    """The two streams of one command. Rich leaves colour out where the stream is no terminal or NO_COLOR is set."""

    as_json: bool = False
    verbose: bool = False
    quiet: bool = False

    @property
    def results(self) -> Console:
        return Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPE_COLUMNS)

    @property
    def prose(self) -> Console:
        return Console(stderr=True, quiet=self.quiet, width=None if sys.stderr.isatty() else PIPE_COLUMNS)

    def say(self, text: str) -> None:
        self.prose.print(text, highlight=False, soft_wrap=True)

    def document(self, document: Mapping[str, Any]) -> None:
        text = json.dumps(document, indent=1, ensure_ascii=False, default=str)
        if not text.isascii() and STRAY_BYTES.search(text):  # no UTF-8 holds a name that is none
            text = json.dumps(document, indent=1, ensure_ascii=True, default=str)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
