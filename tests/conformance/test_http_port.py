"""ports.Http against real sockets."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from migrate.adapters.http import HttpxClient
from migrate.errors import Unreachable
from migrate.ports import Http


class Answers(BaseHTTPRequestHandler):
    """/STATUS answers with that status; /slow sends a byte every tenth of a second, /moved redirects."""

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b".")
                time.sleep(0.1)
            return
        status = 302 if self.path == "/moved" else int(self.path.strip("/").split("?")[0])
        body = f"answer to {self.path}".encode()
        self.send_response(status)
        self.send_header("Location", "/200")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def client() -> Http:
    return HttpxClient()


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_any_status_is_a_reply(client: Http, base: str, status: int) -> None:
    reply = client.get(f"{base}/{status}?q=1", timeout=5)
    assert (reply.status, reply.body) == (status, f"answer to /{status}?q=1".encode())
    assert {name.lower() for name in reply.headers} >= {"content-length", "location"}


def test_no_redirect_is_followed(client: Http, base: str) -> None:
    assert client.get(f"{base}/moved", timeout=5).status == 302


def test_the_proxies_of_the_environment_are_not_asked(client: Http, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert client.get(f"{base}/200", timeout=5).status == 200


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://no-such-host.invalid/", "nonsense", "http://[::1"])
def test_no_reply_is_unreachable(client: Http, url: str) -> None:
    with pytest.raises(Unreachable) as unreachable:
        client.get(url, timeout=5)
    assert unreachable.value.where == url


def test_the_bound_is_on_the_whole_reply(client: Http, base: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="within"):
        client.get(f"{base}/slow", timeout=0.5)
    assert time.monotonic() - began < 3


def test_a_server_that_says_nothing_or_nonsense_is_unreachable(client: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unreachable):
        client.get(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def babble() -> None:
            connection, _ = silent.accept()
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")
            connection.close()

        threading.Thread(target=babble, daemon=True).start()
        with pytest.raises(Unreachable):
            client.get(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout=2)
