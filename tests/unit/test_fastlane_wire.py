"""The small HTTP reader against a server that says exactly what it is told to say."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrate.adapters.fastlane import wire
from migrate.adapters.fastlane.signing import Endpoint
from migrate.adapters.fastlane.wire import Answer, Connection, Unfit

ASK = b"GET /k HTTP/1.1\r\nhost:h\r\n\r\n"
CLOSE = b"<close>"
STALL = b"<stall>"
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "x"\r\n\r\nhello'


@contextmanager
def saying(*answers: Sequence[bytes], tls: ssl.SSLContext | None = None) -> Iterator[tuple[Endpoint, list[int]]]:
    """A server that gives each request the next answer, piece by piece; `CLOSE` ends the connection, `STALL` hangs."""
    listener = socket.create_server(("127.0.0.1", 0))
    waiting, accepted, over = list(answers), [0], threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                peer, _ = listener.accept()
                accepted[0] += 1
                with tls.wrap_socket(peer, server_side=True) if tls else peer as speaking:
                    converse(speaking)
            except OSError:
                continue

    def converse(peer: socket.socket) -> None:
        while waiting:
            asked = b""
            while b"\r\n\r\n" not in asked:
                more = peer.recv(4096)
                if not more:
                    return
                asked += more
            for piece in waiting.pop(0):
                if piece == CLOSE:
                    return
                if piece == STALL:
                    over.wait(10)
                    return
                peer.sendall(piece)
                time.sleep(0.01)
        peer.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        port = listener.getsockname()[1]
        yield Endpoint(tls is not None, "127.0.0.1", port, "h", "/", "r"), accepted
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def body_of(connection: Connection, answer: Answer) -> bytes:
    whole = bytearray(answer.length)
    assert connection.read(memoryview(whole)) == answer.length
    assert connection.read(memoryview(bytearray(1))) == 0
    return bytes(whole)


@pytest.mark.parametrize("pieces", [[GOOD], [GOOD[:3], GOOD[3:30], GOOD[30:70], GOOD[70:]], [GOOD[:-7], GOOD[-7:]]])
def test_an_answer_comes_whole_however_it_is_cut(pieces: list[bytes]) -> None:
    with saying(pieces, pieces) as (endpoint, accepted):
        connection = Connection(endpoint, None)
        for _ in range(2):
            answer = connection.ask(ASK)
            assert (answer.status, answer.headers["etag"], answer.length) == (200, '"x"', 5)
            assert body_of(connection, answer) == b"hello"
        assert accepted == [1]
        connection.close()


def test_every_cut_of_an_answer_is_the_same_answer() -> None:
    cuts = [[GOOD[:at], GOOD[at:]] for at in range(1, len(GOOD))]
    with saying(*cuts) as (endpoint, _):
        connection = Connection(endpoint, None)
        for _ in cuts:
            assert body_of(connection, connection.ask(ASK)) == b"hello"
        connection.close()


def test_a_large_body_comes_in_pieces_of_the_callers_size() -> None:
    data = bytes(range(256)) * 400
    head = b"HTTP/1.1 206 Partial Content\r\ncontent-length: %d\r\n\r\n" % len(data)
    with saying([head + data[:100], data[100:]]) as (endpoint, _):
        connection = Connection(endpoint, None)
        assert connection.ask(ASK).status == 206
        pieces, buffer = [], memoryview(bytearray(999))
        while got := connection.read(buffer):
            pieces.append(bytes(buffer[:got]))
        assert b"".join(pieces) == data
        assert len(pieces) == -(-len(data) // 999)
        connection.close()


def test_head_has_a_length_and_no_body() -> None:
    head = GOOD.removesuffix(b"hello")
    with saying([head], [GOOD]) as (endpoint, accepted):
        connection = Connection(endpoint, None)
        assert connection.ask(ASK, body=False).length == 5
        assert body_of(connection, connection.ask(ASK)) == b"hello"
        assert accepted == [1]
        connection.close()


@pytest.mark.parametrize("farewell", [b"close", b"upgrade"])
@pytest.mark.parametrize("body", [True, False])
def test_a_connection_that_is_not_kept_is_not_used_again(farewell: bytes, body: bool) -> None:
    last = GOOD.replace(b"ETag", b"Connection: " + farewell + b"\r\nETag")
    last = last if body else last.removesuffix(b"hello")
    with saying([last, CLOSE], [GOOD]) as (endpoint, accepted):
        connection = Connection(endpoint, None)
        answer = connection.ask(ASK, body=body)
        assert not body or body_of(connection, answer) == b"hello"
        assert body_of(connection, connection.ask(ASK)) == b"hello"
        assert accepted == [2]
        connection.close()


def test_a_kept_connection_that_died_is_replaced_once() -> None:
    with saying([GOOD], [CLOSE], [GOOD]) as (endpoint, accepted):
        connection = Connection(endpoint, None)
        body_of(connection, connection.ask(ASK))
        assert body_of(connection, connection.ask(ASK)) == b"hello"
        assert accepted == [2]
        connection.close()


def test_a_new_connection_that_says_nothing_is_not_tried_again() -> None:
    with saying([CLOSE], [GOOD]) as (endpoint, accepted):
        with pytest.raises(Unfit, match="closed"):
            Connection(endpoint, None).ask(ASK)
        assert accepted == [1]


def test_a_body_that_was_left_unread_costs_its_connection_only() -> None:
    with saying([GOOD], [GOOD]) as (endpoint, accepted):
        connection = Connection(endpoint, None)
        connection.ask(ASK)
        assert body_of(connection, connection.ask(ASK)) == b"hello"
        assert accepted == [2]
        connection.close()


HEAD = "HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n", "Content-Length"),
        (HEAD + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "Content-Length"),
        (HEAD + "ETag: x\r\n\r\n", "Content-Length"),
        (HEAD + "Content-Length: -5\r\n\r\n", "Content-Length"),
        (HEAD + "Content-Length: 5, 5\r\n\r\n", "Content-Length"),
        (HEAD + "Content-Length: ５\r\n\r\n".encode().decode("latin-1"), "Content-Length"),
        (HEAD + "Content-Length: 5\r\ncontent-length: 5\r\n\r\n", "twice"),
        (HEAD + "Content-Length: 5\r\n folded: x\r\n\r\n", "header name"),
        (HEAD + "Content-Length: 5\r\nno header\r\n\r\n", "header"),
        (HEAD + "Content-Length: 5\r\nETag\r\n\r\n", "no header"),
        (HEAD + "Content-Length: 1\r\n\r\nhello", "more bytes"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "status line"),
        ("HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\n", "status line"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "status line"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
        ("HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n", "status 301"),
        ("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (HEAD + "x: " + "y" * wire.HEAD_BYTES, "too long"),
    ],
)
def test_all_other_answers_are_unfit(said: str, why: str) -> None:
    with saying([said.encode("latin-1")]) as (endpoint, _), pytest.raises(Unfit, match=why) as unfit:
        Connection(endpoint, None).ask(ASK)
    assert not unfit.value.slow_down


@pytest.mark.parametrize("status", [503, 429])
def test_a_store_that_asks_for_a_pause_is_heard(status: int) -> None:
    with saying([b"HTTP/1.1 %d Slow Down\r\n\r\n" % status]) as (endpoint, _), pytest.raises(Unfit) as unfit:
        Connection(endpoint, None).ask(ASK)
    assert unfit.value.slow_down


def test_names_beyond_what_is_remembered_are_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_NAMES", 0)
    monkeypatch.setattr(wire, "NAMES", {})
    assert wire.parse_head("HTTP/1.1 200 OK\r\nContent-LENGTH:\t7 ").length == 7
    assert wire.NAMES == {}


@pytest.mark.parametrize("pieces", [[GOOD[:20], CLOSE], [GOOD[:-2], CLOSE]])
def test_an_answer_that_ends_early_is_unfit(pieces: list[bytes]) -> None:
    with saying(pieces) as (endpoint, _):
        connection = Connection(endpoint, None)
        with pytest.raises(Unfit, match="ended early"):
            body_of(connection, connection.ask(ASK))


@pytest.mark.parametrize("pieces", [[STALL], [GOOD[:20], STALL], [GOOD[:-2], STALL]])
def test_a_stalled_connection_is_cut(pieces: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_SECONDS", 0.2)
    with saying(pieces) as (endpoint, _):
        connection = Connection(endpoint, None)
        started = time.monotonic()
        with pytest.raises(Unfit):
            body_of(connection, connection.ask(ASK))
    assert 0.1 < time.monotonic() - started < 2


def test_nobody_there_is_unfit() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Unfit):
        Connection(Endpoint(False, "127.0.0.1", port, "h", "/", "r"), None).ask(ASK)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "certificate")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "certificate", folder / "key"


def serving_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_tls_reads_the_same(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_SECONDS", 0.3)
    trusted = ssl.create_default_context(cafile=certificate[0])
    stalled = [GOOD[:-2], STALL]
    with saying([GOOD], [GOOD[:30], GOOD[30:]], stalled, tls=serving_tls(certificate)) as (endpoint, accepted):
        connection = Connection(endpoint, trusted)
        for _ in range(2):
            assert body_of(connection, connection.ask(ASK)) == b"hello"
        with pytest.raises(Unfit, match="broke off"):
            body_of(connection, connection.ask(ASK))
        assert accepted == [1]


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]) -> None:
    with (
        saying([GOOD], tls=serving_tls(certificate)) as (endpoint, _),
        pytest.raises(Unfit, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        Connection(endpoint, ssl.create_default_context()).ask(ASK)
