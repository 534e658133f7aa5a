"""GET and HEAD requests of one bucket as bytes, signed with SigV4. The signing key is derived once a day."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from migrate.export.keymap import key_bytes
from migrate.secret import Secret

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_BODY = hashlib.sha256(b"").hexdigest()
UNRESERVED = "-_.~"


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key: str
    secret_key: Secret
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a bucket's objects are, as boto3 would ask for them.

    `folder` ends in a slash; `authority` is the Host header; `ca_file` is what TLS certificates are held against; `region` is the one to sign for.
    """

    tls: bool
    host: str
    port: int
    authority: str
    folder: str
    region: str
    ca_file: str | None = None


class Requests:
    """Writes requests. Safe for threads: what it caches is replaced, never changed."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials | None) -> None:
        self._endpoint = endpoint
        self._key: tuple[str, bytes] = ("", b"")
        self.credentials = credentials

    def path(self, key: str) -> str:
        return self._endpoint.folder + quote(key_bytes(key), safe="/" + UNRESERVED)

    def write(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], now: float | None = None
    ) -> bytes:
        """One request; `headers` in lower case; `now` in seconds since the epoch."""
        path = self.path(key)
        written_query = "&".join(f"{name}={quote(value, safe=UNRESERVED)}" for name, value in sorted(query.items()))
        sent = {"host": self._endpoint.authority, "x-amz-checksum-mode": "ENABLED", **headers}
        credentials = self.credentials
        if credentials is not None:
            sent |= self._signature(credentials, method, path, written_query, sent, now or time.time())
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        target = f"{path}?{written_query}" if written_query else path
        return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")

    def _signature(
        self, credentials: Credentials, method: str, path: str, query: str, headers: Mapping[str, str], now: float
    ) -> dict[str, str]:
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        added = {"x-amz-content-sha256": EMPTY_BODY, "x-amz-date": moment}
        if credentials.token is not None:
            added["x-amz-security-token"] = credentials.token.reveal()
        signed = sorted({**headers, **added}.items())
        names = ";".join(name for name, _ in signed)
        values = "".join(f"{name}:{value}\n" for name, value in signed)
        canonical = f"{method}\n{path}\n{query}\n{values}\n{names}\n{EMPTY_BODY}"
        scope = f"{moment[:8]}/{self._endpoint.region}/s3/aws4_request"
        text = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        proof = hmac.digest(self._signing_key(credentials, scope), text.encode(), "sha256").hex()
        added["authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={proof}"
        )
        return added

    def _signing_key(self, credentials: Credentials, scope: str) -> bytes:
        identity = f"{credentials.access_key}/{scope}"
        known, key = self._key
        if known != identity:
            key = b"AWS4" + credentials.secret_key.reveal().encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = (identity, key)
        return key
