"""`secrets`: where each secret comes from, and a new value for one. No value is ever shown."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from migrate.adapters.vault import NAME as VAULT
from migrate.adapters.vault import names_in_vault
from migrate.cli.options import DEFAULT_STACK, StackPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.cli.state import StateFolder
from migrate.errors import GateHeld, UsageProblem
from migrate.journal import exclusive
from migrate.manifest import read_stack
from migrate.secret import kept_names, make_anew
from migrate.target.ownsecrets import BACKUP, OWN_SECRETS

NOT_MADE = "generated at the first provision"
KEPT = "kept in the state folder"
BOUND = {BACKUP: "every backup that was made with it would be noise: begin a new repository instead"}
"""Secrets that cannot be given a new value, and why."""
StackOption = Annotated[Path, typer.Option("--stack", help="The manifest.")]

app = typer.Typer(help="Where secrets come from, and new values for them. Never shows one.", no_args_is_help=True)


@app.command("list")
def list_secrets(
    stack: StackPath = DEFAULT_STACK,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Where each secret of the stack and of the new home comes from."""
    sources = _sources(stack, StateFolder.beside(stack, state))
    output = Output(as_json, verbose, quiet)
    if as_json:
        output.document({"secrets": [{"name": name, "from": source} for name, source in sources.items()]})
    else:
        width = max(map(len, sources))
        for name, source in sources.items():
            output.results.print(f"{name:<{width}}  {source}", highlight=False, soft_wrap=True)


@app.command("rotate")
def rotate(
    name: Annotated[str, typer.Argument(help="Name of the secret.")],
    stack: StackOption = DEFAULT_STACK,
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Makes a new value, or the first one, for a secret that is kept in the state folder. Hosts get it at the next
    provision with --rotate-secrets."""
    folder = StateFolder.beside(stack, state)
    sources = _sources(stack, folder)
    if name not in sources:
        raise UsageProblem(f"no secret is called {name!r}", where=str(stack), expected=", ".join(sources))
    if name in BOUND:
        raise GateHeld(f"{name} cannot be given a new value", where=str(folder.secrets), expected=BOUND[name])
    if sources[name] not in (KEPT, NOT_MADE):
        raise UsageProblem(
            f"{name} is not ours to change: {sources[name]}", where=str(folder.secrets),
            expected="a secret that was generated", hint="change it where it comes from, then provision",
        )  # fmt: skip
    folder.create()
    with exclusive(folder.lock, "secrets rotate"):
        make_anew(folder.secrets, name, OWN_SECRETS)
    output = Output(as_json, verbose, quiet)
    output.say("hosts and app live with the old value until: cloudexit provision --rotate-secrets")
    if as_json:
        output.document({"rotated": name})


def _sources(stack: Path, folder: StateFolder) -> Mapping[str, str]:
    variables = {**read_stack(stack).secrets, **{name: name.upper() for name in OWN_SECRETS}}
    vault, kept = names_in_vault(stack.with_name(VAULT), variables), kept_names(folder.secrets)
    found = {}
    for name, variable in variables.items():
        if variable and os.environ.get(variable):
            found[name] = f"the environment: {variable}"
        elif name in vault:
            found[name] = f"the vault: {VAULT}"
        else:
            found[name] = KEPT if name in kept else NOT_MADE
    return found


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="secrets")
