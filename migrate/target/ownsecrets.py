"""Secrets that the new home needs for itself, beside those of the manifest, and how each is made."""

import secrets
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from migrate.target.authority import SECRET_NAME, new_authority

DKIM_BITS = 2048


def password() -> str:
    """192 bits, in letters that need no quoting anywhere."""
    return secrets.token_urlsafe(24)


def dkim_key() -> str:
    """An RSA key (PEM): RFC 8463's Ed25519 is not verified everywhere yet."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=DKIM_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


AUTHORITY = SECRET_NAME
REPLICATION = "cloudexit_replication"
"""Password with which a replica signs in at its primary."""
BACKUP = "cloudexit_backup"
"""What the backups are encrypted with. Without it they are noise."""
MONITORING = "cloudexit_monitoring"
"""Password of the role that reads figures from databases."""
DKIM = "cloudexit_dkim"
"""Key that signs the mail."""

OWN_SECRETS: Mapping[str, Callable[[], str]] = {
    AUTHORITY: new_authority,
    REPLICATION: password,
    BACKUP: password,
    MONITORING: password,
    DKIM: dkim_key,
}
