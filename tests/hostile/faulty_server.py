"""An S3 server over HTTP that serves a MemoryBucket exactly, and misbehaves where it is told to.

Faults by key: those of MemoryBucket, and `wrong`, `truncated`, `reset`, `stall`, `error`. `listing_faults` counts
down: that many listing requests fail with a 500.
"""

import itertools
import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

from migrate.export.source import Entry, ObjectMissing
from tests.hostile.memory_bucket import MemoryBucket, Stored, md5

REFUSALS = {
    "forbidden": (403, "AccessDenied"),
    "missing": (404, "NoSuchKey"),
    "slow": (503, "SlowDown"),
    "error": (500, "InternalError"),
    "broken": (500, "InternalError"),
}
SETTINGS = {
    "policy", "acl", "publicAccessBlock", "ownershipControls", "cors", "lifecycle", "versioning", "website",
    "encryption", "tagging",
}  # fmt: skip


class FaultyServer(ThreadingHTTPServer):
    """Serves on a free loopback port. `delay` in seconds before each GET; `stall` is how long a stalled one hangs."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, bucket: MemoryBucket, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.bucket = bucket
        self.outage_answers = itertools.cycle([(500, "InternalError"), (503, "SlowDown"), (502, "BadGateway")])
        self.outage_at_read, self.outage_seconds, self.outage_until = 0, 0.0, 0.0
        self.is_cut_off = False
        self.settings_answer = (404, "NoSuchConfiguration")
        self.listing_faults = 0
        self.listing_fails_after_first = 0
        self.listing_answer: tuple[int, str] | None = None
        self.delay = 0.0
        self.stall = 60.0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed breaks its connections; anything else is a fault of this server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def cut_off(self) -> None:
        """Closes the port; connections that are kept alive are dropped at their next request."""
        self.is_cut_off = True
        self.socket.close()

    @property
    def is_out(self) -> bool:
        if self.outage_at_read and not self.outage_until and sum(self.bucket.reads.values()) >= self.outage_at_read:
            self.outage_until = time.monotonic() + self.outage_seconds
        return time.monotonic() < self.outage_until

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(bucket: MemoryBucket, port: int = 0) -> Iterator[FaultyServer]:
    server = FaultyServer(bucket, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def log_message(self, format: str, *args: object) -> None:
        return

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        key, query = self._target()
        if self.server.is_cut_off:
            self.close_connection = True
        elif self.server.is_out:
            self._refuse(*next(self.server.outage_answers))
        elif key is None:
            self._list(query)
        elif "tagging" in query:
            self._tags(key, query)
        else:
            self._object(key, query, with_body=True)

    def do_HEAD(self) -> None:
        key, query = self._target()
        if self.server.is_out:
            self._refuse(500, "InternalError")
        elif key is None:
            self._send(200, b"")
        else:
            self._object(key, query, with_body=False)

    def _target(self) -> tuple[str | None, dict[str, str]]:
        path, _, query = self.path.partition("?")
        bucket, slash, raw = path.removeprefix("/").partition("/")
        fields = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        key = urllib.parse.unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
        if bucket != self.server.bucket.bucket:
            fields["no such bucket"] = "yes"
        return (key if slash and key else None), fields

    def _object(self, key: str, query: dict[str, str], *, with_body: bool) -> None:
        bucket = self.server.bucket
        kind = bucket.fault_of(key) if with_body else None
        time.sleep(self.server.delay)
        if kind in REFUSALS:
            return self._refuse(*REFUSALS[kind])
        try:
            stored = bucket._find(key, query.get("versionId", ""))
        except ObjectMissing:
            return self._refuse(404, "NoSuchKey")
        if stored.storage_class == "GLACIER" and with_body:
            return self._refuse(403, "InvalidObjectState")
        if self.headers.get("If-Match", f'"{stored.etag}"') != f'"{stored.etag}"':
            return self._refuse(412, "PreconditionFailed")
        with bucket._lock:
            bucket.reads[key] += with_body
        return self._content(stored, query, kind, with_body=with_body)

    def _content(self, stored: Stored, query: dict[str, str], kind: str | None, *, with_body: bool) -> None:
        headers = {
            "ETag": f'"{stored.etag}"',
            "Last-Modified": _http_date(stored.last_modified),
            "Accept-Ranges": "bytes",
            **stored.headers,
            **{f"x-amz-meta-{name}": value for name, value in stored.metadata.items()},
        }
        data, status = stored.data, 200
        if "partNumber" in query and stored.part_sizes:
            number = int(query["partNumber"])
            start = sum(stored.part_sizes[: number - 1])
            data, status = data[start : start + stored.part_sizes[number - 1]], 206
            headers["x-amz-mp-parts-count"] = str(len(stored.part_sizes))
        if kind == "wrong" and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        if with_body and "Range" in self.headers:
            start, end = self._asked_range(len(data))
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            data, status = data[start:end], 206
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            self._body(data, kind)

    def _asked_range(self, size: int) -> tuple[int, int]:
        start, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        return int(start), min(size, int(last) + 1) if last else size

    def _body(self, data: bytes, kind: str | None) -> None:
        if kind in ("truncated", "reset", "stall"):
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            if kind == "stall":
                time.sleep(self.server.stall)
            if kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close_connection = True
            return
        self.wfile.write(data)

    def _tags(self, key: str, query: dict[str, str]) -> None:
        tags = self.server.bucket._find(key, query.get("versionId", "")).tags
        body = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in tags.items())
        self._send(200, f"<Tagging><TagSet>{body}</TagSet></Tagging>".encode())

    def _list(self, query: dict[str, str]) -> None:
        if SETTINGS & query.keys():
            self._refuse(*self.server.settings_answer)
            return
        if "no such bucket" in query:
            self._refuse(404, "NoSuchBucket")
        elif self.server.listing_answer is not None:
            self._refuse(*self.server.listing_answer)
        elif self.server.listing_faults:
            self.server.listing_faults -= 1
            self._refuse(500, "InternalError")
        elif self.server.listing_fails_after_first and "continuation-token" in query:
            self.server.listing_fails_after_first -= 1
            self._refuse(500, "InternalError")
        else:
            self._list_page(query)

    def _list_page(self, query: dict[str, str]) -> None:
        pages = list(self.server.bucket.pages(query.get("prefix", ""), versions=False))
        number = int(query.get("continuation-token", "0"))
        more = number + 1 < len(pages)
        body = [
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><EncodingType>url</EncodingType>',
            f"<Name>bucket</Name><IsTruncated>{'true' if more else 'false'}</IsTruncated>",
            f"<NextContinuationToken>{number + 1}</NextContinuationToken>" if more else "",
            *(_contents(entry) for entry in (pages[number] if pages else ())),
            "</ListBucketResult>",
        ]
        self._send(200, "".join(body).encode())

    def _refuse(self, status: int, code: str) -> None:
        body = (
            b"" if self.command == "HEAD" else f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        )
        self._send(status, body)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _contents(entry: Entry) -> str:
    key = urllib.parse.quote_plus(entry.key.encode("utf-8", "surrogateescape"), safe="/")
    return (
        f"<Contents><Key>{key}</Key><LastModified>{entry.last_modified}</LastModified><ETag>&quot;{entry.etag}&quot;</ETag>"
        f"<Size>{entry.size}</Size><StorageClass>{entry.storage_class}</StorageClass></Contents>"
    )


def _http_date(moment: str) -> str:
    parsed = time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", parsed)


__all__ = ["FaultyServer", "md5", "serving"]
