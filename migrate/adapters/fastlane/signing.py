"""GET and HEAD requests of one bucket as bytes, signed with SigV4. The signing key is derived once a day."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
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

    `folder` ends in a slash; `authority` is the Host header; `ca_file` is what TLS certificates are held against;
    `region` is the one to sign for.
    """

    tls: bool
    host: str
    port: int
    authority: str
    folder: str
    region: str
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all requests of one second have in common."""

    second: int
    credentials: Credentials | None
    moment: str = ""
    scope: str = ""
    key: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)


class Requests:
    """Writes requests. Safe for threads: what it caches is replaced, never changed."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials | None) -> None:
        self._endpoint = endpoint
        self._frame = _Frame(0, None)
        self.credentials = credentials

    def path(self, key: str) -> str:
        return self._endpoint.folder + quote(key_bytes(key), safe="/" + UNRESERVED)

    def write(
        self, method: str, key: str, query: Mapping[str, str], byte_range: str = "", now: float | None = None
    ) -> bytes:
        """One request; `byte_range` as of the Range header; `now` in seconds since the epoch."""
        path = self.path(key)
        asked = "&".join(f"{name}={quote(value, safe=UNRESERVED)}" for name, value in sorted(query.items()))
        target = f"{path}?{asked}" if asked else path
        credentials = self.credentials
        sent = f"host:{self._endpoint.authority}\n"
        if byte_range:
            sent += f"range:{byte_range}\n"
        sent += "x-amz-checksum-mode:ENABLED\n"
        if credentials is None:
            signature = ""
        else:
            frame = self._frame_of(int(now or time.time()), credentials)
            sent += f"x-amz-content-sha256:{EMPTY_BODY}\nx-amz-date:{frame.moment}\n{frame.token}"
            signature = self._signature(frame, credentials, f"{method}\n{path}\n{asked}\n{sent}", bool(byte_range))
        lines = sent.replace("\n", "\r\n")
        return f"{method} {target} HTTP/1.1\r\n{lines}{signature}\r\n".encode("latin-1")

    def _signature(self, frame: _Frame, credentials: Credentials, beginning: str, ranged: bool) -> str:
        """The Authorization header; the names of signed headers are in the order of the alphabet."""
        names = "host;range;x-amz-checksum-mode;" if ranged else "host;x-amz-checksum-mode;"
        names += "x-amz-content-sha256;x-amz-date" + (";x-amz-security-token" if frame.token else "")
        canonical = hashlib.sha256(f"{beginning}\n{names}\n{EMPTY_BODY}".encode()).hexdigest()
        text = f"{ALGORITHM}\n{frame.moment}\n{frame.scope}\n{canonical}"
        proof = hmac.digest(frame.key, text.encode(), "sha256").hex()
        who = f"{credentials.access_key}/{frame.scope}"
        return f"authorization:{ALGORITHM} Credential={who}, SignedHeaders={names}, Signature={proof}\r\n"

    def _frame_of(self, second: int, credentials: Credentials) -> _Frame:
        frame = self._frame
        if frame.second == second and frame.credentials is credentials:
            return frame
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        scope = f"{moment[:8]}/{self._endpoint.region}/s3/aws4_request"
        if frame.scope == scope and frame.credentials is credentials:
            key = frame.key
        else:
            key = b"AWS4" + credentials.secret_key.reveal().encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
        token = f"x-amz-security-token:{credentials.token.reveal()}\n" if credentials.token else ""
        self._frame = _Frame(second, credentials, moment, scope, key, token)
        return self._frame
