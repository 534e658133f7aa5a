"""Where the playbooks are, and what they are: from a checkout and from an installed wheel alike."""

import hashlib
from pathlib import Path

from migrate.errors import CloudexitError
from migrate.plan import digest_of

PACKAGE = Path(__file__).resolve().parent.parent


def playbooks_folder() -> Path:
    """`playbooks/` beside the package in a checkout, `migrate/playbooks/` in a wheel."""
    for folder in (PACKAGE / "playbooks", PACKAGE.parent / "playbooks"):
        if (folder / "provision.yml").is_file():
            return folder
    raise CloudexitError(
        "the playbooks are not there", where=str(PACKAGE), expected="provision.yml", hint="install cloudexit anew"
    )


def playbooks_digest(folder: Path) -> str:
    """SHA-256 over every file of the playbooks: a changed role is provisioned again."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return digest_of({str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
