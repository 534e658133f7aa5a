"""Release archives for tests: a server and a worker in one wheel, small enough to be made on the spot."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

SERVER = b"""import http.server, json, os, signal, sys, threading, time
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if FAULT == "hangs":
            time.sleep(3600)
        if self.path == "/slow":
            time.sleep(2)
        self.send_response(500 if FAULT == "ill" else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"version": VERSION, "media": os.environ["PLAZA_MEDIA_STORE"]}).encode())
    def log_message(self, *words):
        pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = FAULT == "hangs"
    request_queue_size = 128
def main():
    if FAULT == "crashes":
        sys.exit("no such setting: PLAZA_NONSENSE")
    print("serving", VERSION, FAULT)
    server = Server(("0.0.0.0", 8000), Answer)
    # As gunicorn does: what is under way is answered, and nothing new is taken.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()
"""
WORKER = b"import signal\nsignal.pause()\n"
Fault = Literal["", "crashes", "ill", "hangs"]
"""What is wrong with a release: it ends at its start, answers everything with 500, or never answers."""


def wheel(folder: Path, version: str, fault: Fault = "") -> Path:
    info = f"plaza-{version}.dist-info"
    files = {
        "plaza/__init__.py": b"",
        "plaza/worker.py": WORKER,
        "plaza/serve.py": f"VERSION = {version!r}\nFAULT = {fault!r}\n".encode() + SERVER,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: plaza\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": b"[console_scripts]\ngunicorn = plaza.serve:main\n",
    }
    record = "".join(f"{name},{_record_digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"plaza-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def release(folder: Path, version: str, *, says: str | None = None, fault: Fault = "") -> Path:
    """`says`: the version that its release.json names, where that is to be a lie."""
    made = wheel(folder, version, fault)
    document = {"name": "plaza", "version": says or version, "python": ">=3.11"}
    path = folder / f"plaza-{version}.tar.gz"
    write_tarball(
        path,
        {
            "release.json": json.dumps(document).encode(),
            "requirements.txt": f"plaza=={version}\n".encode(),
            f"wheels/{made.name}": made.read_bytes(),
        },
    )
    return path


def write_tarball(path: Path, files: Mapping[str, bytes]) -> None:
    """The same files make the same bytes, whenever they are written."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(mode="w", fileobj=packed) as archive,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _record_digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
