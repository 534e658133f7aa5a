"""The home's own certificate authority: who is a host of this home, proved to the other hosts.

Everything follows from one secret, so that nothing is to be kept beside it: keys are derived from it (HKDF), and the
same text is signed the same way each time (RFC 6979). The same secret and the same host give the same certificate, byte
for byte, on whichever machine they are made.

ECDSA on P-256, and not Ed25519: libpq cannot bind a sign-in by password to a channel whose certificate has no digest.
"""

import ipaddress
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from migrate.errors import UsageProblem
from migrate.inventory import Host
from migrate.secret import Secret

SECRET_NAME = "cloudexit_authority"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FORM = re.compile(r"(\d{4}-\d{2}-\d{2}):([\w-]{32,})")
AUTHORITY_LIFE = timedelta(days=3652)
HOST_LIFE = timedelta(days=1826)
"""From the day on which the authority was made. The secret is rotated before: the monitor says when."""


def new_authority() -> str:
    """A new authority, as the secret that is kept: the day of its making, and what its keys are derived from."""
    return f"{datetime.now(UTC).date().isoformat()}:{secrets.token_urlsafe(48)}"


@dataclass(frozen=True)
class Identity:
    """What a host proves itself with; PEM texts."""

    authority: str
    certificate: str
    key: Secret


class Authority:
    """Raises UsageProblem where the secret is none of an authority."""

    def __init__(self, secret: Secret) -> None:
        match = FORM.fullmatch(secret.reveal())
        if not match:
            raise UsageProblem(
                f"the secret {SECRET_NAME!r} is no authority's",
                expected="what was generated for it: a day, a colon, and a long word",
            )
        self._born = datetime.fromisoformat(match.group(1)).replace(tzinfo=UTC)
        self._seed = match.group(2).encode()
        self._key = self._derived("authority")
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudexit home authority")])
        self.certificate = self._own_certificate().public_bytes(Encoding.PEM).decode()

    def identity(self, host: Host) -> Identity:
        """Key and certificate of a host, for its name and its address; good as server and as client."""
        key = self._derived(f"host {host.name} {host.address}")
        names = [x509.DNSName(host.name), x509.IPAddress(ipaddress.ip_address(host.address))]
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host.name)]), key, HOST_LIFE)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(self._key, SHA256(), ecdsa_deterministic=True)
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Identity(self.certificate, certificate.public_bytes(Encoding.PEM).decode(), Secret(pem))

    def _own_certificate(self) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        return (
            self._builder(self._name, self._key, AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, SHA256(), ecdsa_deterministic=True)
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta) -> x509.CertificateBuilder:
        public = key.public_key()
        point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        serial = int.from_bytes(self._bytes(f"serial {point.hex()}", 16)) >> 1
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(serial)
            .not_valid_before(self._born - timedelta(days=1))
            .not_valid_after(self._born + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )  # fmt: skip

    def _derived(self, purpose: str) -> ec.EllipticCurvePrivateKey:
        """Of 384 bits, so that what is left over by the order of the curve gives nothing away (FIPS 186-5, A.2.1)."""
        return ec.derive_private_key(int.from_bytes(self._bytes(purpose, 48)) % (P256_ORDER - 1) + 1, ec.SECP256R1())

    def _bytes(self, purpose: str, length: int) -> bytes:
        return HKDF(SHA256(), length, salt=None, info=f"cloudexit {purpose}".encode()).derive(self._seed)
