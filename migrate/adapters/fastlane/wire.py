"""A very small HTTP/1.1 reader: status 200 or 206 with a Content-Length, on a kept-alive plain or TLS socket.

Any other answer raises Unfit, and the careful lane asks again. A connection that raised is closed.
"""

import re
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from migrate.adapters.fastlane.signing import Endpoint

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
HEAD_BYTES = 32 * 1024
HEAD_END = b"\r\n\r\n"
STATUS = re.compile(r"HTTP/1\.1 (\d{3})(?: .*)?")
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
LENGTH = re.compile(r"[0-9]{1,18}")
FIT = frozenset({200, 206})
# Header names as they came -> in lower case; a store uses a few dozen.
NAMES: dict[str, str] = {}
MOST_NAMES = 1000
SLOW_DOWN = frozenset({429, 503})


class Unfit(Exception):
    """This answer, or its absence, is not the one case handled here. `slow_down`: the store asks for a pause."""

    def __init__(self, why: str, *, slow_down: bool = False) -> None:
        super().__init__(why)
        self.slow_down = slow_down


class Stale(Unfit):
    """A kept connection broke: these requests change nothing, so it is sent again on a new one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names in lower case; `length` of the body in bytes, as far as there is one."""

    status: int
    headers: Mapping[str, str]
    length: int


Fill = Callable[[memoryview], int]


class Connection:
    """One connection, for one thread."""

    def __init__(self, endpoint: Endpoint, tls: ssl.SSLContext | None) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._socket: socket.socket | None = None
        self._some: Fill
        self._all: Fill
        self._used = False
        self._keep = True
        self._head = memoryview(bytearray(HEAD_BYTES))
        self._spare = self._head[:0]
        self._left = 0
        self._request = b""

    def ask(self, request: bytes, *, body: bool = True) -> Answer:
        """Sends a request and reads the head of the answer; then `read` until the body has ended. Raises Unfit."""
        self.send(request)
        return self.answer(body=body)

    def send(self, request: bytes) -> None:
        """Sends a request; `answer` is next. Raises Unfit. A kept connection that has died is replaced."""
        self._request = request
        try:
            self._send()
        except Stale:
            self._send()

    def answer(self, *, body: bool = True) -> Answer:
        """Reads the head of the answer. Raises Unfit. A kept connection that has died is replaced, and asked again."""
        try:
            return self._answer(body)
        except Stale:
            self._send()
            return self._answer(body)

    def read(self, target: memoryview) -> int:
        """Fills `target` with the next bytes of the body, as far as there are any. Raises Unfit."""
        wanted = min(len(target), self._left)
        got = min(wanted, len(self._spare))
        target[:got] = self._spare[:got]
        self._spare = self._spare[got:]
        try:
            while got < wanted:
                more = self._all(target[got:wanted])
                if not more:
                    raise Unfit("the body ended early")
                got += more
        except OSError as problem:
            self.close()
            raise Unfit(f"the body broke off: {problem}") from problem
        except Unfit:
            self.close()
            raise
        self._left -= got
        if not self._left and not self._keep:
            self.close()
        return got

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._used = False
        self._spare = self._head[:0]
        self._left = 0

    def _send(self) -> None:
        if self._left:
            self.close()
        try:
            if self._socket is None:
                self._connect()
            assert self._socket is not None
            self._socket.sendall(self._request)
        except OSError as problem:
            raise self._broken(str(problem) or type(problem).__name__) from problem

    def _answer(self, body: bool) -> Answer:
        try:
            answer, self._spare = self._read_head()
        except OSError as problem:
            raise self._broken(str(problem) or type(problem).__name__) from problem
        except Unfit:
            self.close()
            raise
        self._used = True
        self._left = answer.length if body else 0
        if len(self._spare) > self._left:
            self.close()
            raise Unfit("more bytes than the Content-Length says")
        if not self._left and not self._keep:
            self.close()
        return answer

    def _broken(self, why: str) -> Unfit:
        """Only a connection that once worked may merely have been kept too long."""
        kind = Stale if self._used else Unfit
        self.close()
        return kind(why)

    def _connect(self) -> None:
        plain = socket.create_connection((self._endpoint.host, self._endpoint.port), CONNECT_SECONDS)
        self._socket = plain
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            # The kernel counts the seconds of a blocking socket, which saves a poll before each read.
            plain.settimeout(None)
            seconds = struct.pack("ll", int(READ_SECONDS), int(READ_SECONDS % 1 * 1e6))
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
            self._some = plain.recv_into
            self._all = lambda target: plain.recv_into(target, len(target), socket.MSG_WAITALL)
            return
        plain.settimeout(READ_SECONDS)
        wrapped = self._tls.wrap_socket(plain, server_hostname=self._endpoint.host)
        self._socket = wrapped
        self._some = self._all = wrapped.recv_into

    def _read_head(self) -> tuple[Answer, memoryview]:
        got, end = 0, -1
        while end < 0:
            if got == HEAD_BYTES:
                raise Unfit("the head of the answer is too long")
            more = self._some(self._head[got:])
            if not more:
                raise (
                    self._broken("the connection was closed")
                    if not got
                    else Unfit("the head of the answer ended early")
                )
            looked = max(0, got - len(HEAD_END))
            got += more
            found = bytes(self._head[looked:got]).find(HEAD_END)
            end = looked + found if found >= 0 else -1
        answer = parse_head(bytes(self._head[:end]).decode("latin-1"))
        self._keep = answer.headers.get("connection", "keep-alive").lower() == "keep-alive"
        return answer, self._head[end + len(HEAD_END) : got]


def parse_head(text: str) -> Answer:
    """Status and headers of an answer. Raises Unfit."""
    first, *lines = text.split("\r\n")
    status_line = STATUS.fullmatch(first)
    if status_line is None:
        raise Unfit(f"no status line of HTTP/1.1: {first[:80]!r}")
    status = int(status_line[1])
    if status not in FIT:
        raise Unfit(f"status {status}", slow_down=status in SLOW_DOWN)
    headers: dict[str, str] = {}
    for line in lines:
        raw, colon, value = line.partition(":")
        name = NAMES.get(raw) or _new_name(raw)
        if not colon or name in headers:
            raise Unfit(f"no header, or one that comes twice: {line[:80]!r}")
        headers[name] = value.strip(" \t")
    length = headers.get("content-length", "")
    if "transfer-encoding" in headers or not LENGTH.fullmatch(length):
        raise Unfit("no Content-Length")
    return Answer(status, headers, int(length))


def _new_name(raw: str) -> str:
    if not NAME.fullmatch(raw):
        raise Unfit(f"no header name: {raw[:80]!r}")
    if len(NAMES) < MOST_NAMES:
        NAMES[raw] = raw.lower()
    return raw.lower()
