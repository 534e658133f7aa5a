"""Who a host is: SSH keys made before it first boots, so that its first connection is already to a pinned key."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from migrate.lab.command import call
from migrate.lab.files import write_whole


@dataclass(frozen=True)
class KeyPair:
    """An ed25519 key pair in OpenSSH's format."""

    private: Path

    @property
    def public_text(self) -> str:
        """`ssh-ed25519 AAAA…`, without the comment."""
        return " ".join(self.private.with_suffix(".pub").read_text(encoding="utf-8").split()[:2])


def ensure_key(path: Path, comment: str) -> KeyPair:
    """The key pair at `path`, made if it is not there whole."""
    if not path.with_suffix(".pub").is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return KeyPair(path)


def ensure_machine_id(path: Path) -> str:
    """32 hexadecimal digits, kept at `path`."""
    if not path.is_file():
        write_whole(path, f"{secrets.token_hex(16)}\n")
    return path.read_text(encoding="utf-8").strip()
