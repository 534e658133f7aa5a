"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

StackPath = Annotated[Path, typer.Argument(help="The manifest.")]
InventoryPath = Annotated[Path | None, typer.Option("--inventory", "-i", help="Ansible inventory of the new home.")]
State = Annotated[Path | None, typer.Option("--state", help="State folder; .cloudexit beside the manifest.")]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite a target that is not empty.")]
Lanes = Annotated[
    int, typer.Option("--side-by-side", min=1, max=256, help="Steps at once, beside those that need the old home.")
]
DEFAULT_STACK = Path("stack.yaml")
