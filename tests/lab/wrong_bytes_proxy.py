"""Stands before an S3 endpoint and changes one byte of the first image that is asked for, each time it is asked for.

`take-over UNIT` moves the unit's server from port 9000 to 9001 and serves on 9000 itself, detached; `serve` serves.
Runs on the old home, with nothing but the standard library.
"""

import http.client
import http.server
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

PUBLIC, BEHIND = 9000, 9001
WAIT_SECONDS = 20
spoiled: list[str] = []


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = http.client.HTTPConnection("127.0.0.1", BEHIND, timeout=30)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            server.putheader(name, value)
        server.endheaders()
        answer = server.getresponse()
        body = answer.read()
        if self.command == "GET" and re.match(r"/plaza-media/images/", self.path) and body:
            if not spoiled:
                spoiled.append(self.path)
            if self.path in spoiled:
                body = bytes([body[0] ^ 1]) + body[1:]
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: there is nobody to read it."""


def take_over(unit: str) -> None:
    file = Path(subprocess.run(["systemctl", "show", "-P", "FragmentPath", unit], capture_output=True, text=True,
                               check=True).stdout.strip())  # fmt: skip
    text = file.read_text()
    assert f":{PUBLIC}" in text, text
    file.write_text(text.replace(f":{PUBLIC}", f":{BEHIND}"))
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "restart", unit], check=True)
    subprocess.run(["systemd-run", "--quiet", sys.executable, str(Path(__file__).resolve()), "serve"], check=True)
    for port in (BEHIND, PUBLIC):
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)


if __name__ == "__main__":
    if sys.argv[1] == "take-over":
        take_over(sys.argv[2])
    else:
        http.server.ThreadingHTTPServer(("", PUBLIC), Proxy).serve_forever()
