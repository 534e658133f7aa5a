"""Secrets from an ansible-vault file beside the manifest, read by ansible-vault itself."""

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from migrate.errors import UsageProblem

NAME = "secrets.vault.yml"
PASSWORD_FILE = "ANSIBLE_VAULT_PASSWORD_FILE"
OPENING_SECONDS = 60.0
"""A password file may be a program that asks a key store."""
HEADER = b"$ANSIBLE_VAULT;"


def read_vault(path: Path, known: Collection[str]) -> dict[str, str]:
    """Secret -> its value; empty where there is no such file.

    Raises UsageProblem where it is not encrypted, cannot be opened, or holds a name that is not in `known`. Neither a
    value nor what ansible-vault printed of the content is ever quoted."""
    if not path.exists():
        return {}
    with path.open("rb") as stream:
        if not stream.read(len(HEADER)) == HEADER:
            raise _problem(path, "it is not encrypted", f"ansible-vault encrypt {path.name}")
    password_file = os.environ.get(PASSWORD_FILE)
    if not password_file:
        raise _problem(path, "nothing opens it", f"{PASSWORD_FILE}=FILE, as for Ansible itself")
    content = _named_texts(path, _opened(path, Path(password_file)))
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise _problem(path, f"nobody asks for {', '.join(unknown)}", f"names among: {', '.join(sorted(known))}")
    return content


def names_in_vault(path: Path, known: Collection[str]) -> set[str]:
    """Names of the secrets that the vault gives. Raises UsageProblem as `read_vault`."""
    return set(read_vault(path, known))


def _opened(path: Path, password_file: Path) -> str:
    command = [str(Path(sys.executable).with_name("ansible-vault")), "decrypt", "--output", "-"]
    environment = {name: os.environ[name] for name in ("HOME", "PATH", "LANG") if name in os.environ}
    environment |= {"LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            [*command, "--vault-password-file", str(password_file.expanduser().absolute()), str(path.absolute())],
            capture_output=True, text=True, timeout=OPENING_SECONDS, check=False, env=environment, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _problem(path, "its password did not come in time", "a password file that answers at once") from None
    if done.returncode:
        raise _problem(path, "it does not open", f"the password that it was encrypted with, in {password_file}")
    return done.stdout


def _named_texts(path: Path, text: str) -> dict[str, str]:
    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        raise _problem(path, "what is in it is no YAML", "name: value, a line each") from None
    if not isinstance(content, dict) or not all(isinstance(v, str) and v for v in content.values()):
        raise _problem(path, "what is in it are not names with texts", "name: value, a line each; quote numbers")
    return {str(name): value for name, value in content.items()}


def _problem(path: Path, what: str, expected: str) -> UsageProblem:
    return UsageProblem(f"the vault cannot be used: {what}", where=str(path), expected=expected)
