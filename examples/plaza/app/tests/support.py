"""What several tests need."""

import base64
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import redis
from PIL import Image
from werkzeug.test import TestResponse

from plaza.community.loading import COLUMNS
from plaza.settings import Settings

PASSWORD = "redis password of the tests"
DEMO_PASSWORD = "correct horse battery staple"
UNTIL = datetime(2026, 11, 1, 12, tzinfo=UTC)


def jpeg(colour: str = "teal", size: tuple[int, int] = (900, 600), exif: Image.Exif | None = None) -> bytes:
    """A picture as a phone would send it."""
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG", exif=exif or Image.Exif())
    return buffer.getvalue()


@dataclass(frozen=True)
class Pristine:
    """A small community as it was made: settings, rows as COPY writes them, and a folder with the pictures.

    `live` is the folder that the settings name.
    """

    settings: Settings
    rows: dict[str, bytes]
    media: Path
    live: Path

    def put_back(self) -> None:
        """Undo whatever a test has done. Quicker than a copy of the whole database."""
        if self.live.is_dir():
            shutil.rmtree(self.live)
        shutil.copytree(self.media, self.live, copy_function=os.link)
        with redis.Redis.from_url(self.settings.redis_url) as client:
            client.flushall()
        with psycopg.connect(self.settings.database_url) as connection:
            connection.execute(f"TRUNCATE {', '.join(self.rows)} RESTART IDENTITY")
            for table, rows in self.rows.items():
                with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
                    copy.write(rows)
                if COLUMNS[table].startswith("id "):
                    sequence = f"pg_get_serial_sequence('{table}', 'id')"
                    connection.execute(f"SELECT setval({sequence}, coalesce(max(id), 0) + 1, false) FROM {table}")  # noqa: S608


def document(answer: TestResponse) -> Any:  # noqa: ANN401
    """The JSON in an answer."""
    return answer.json


def copied_out(connection: psycopg.Connection[Any], table: str) -> bytes:
    """The rows of a table as COPY writes them."""
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} TO STDOUT") as copy:
        return b"".join(copy)


class WebDavHandler(BaseHTTPRequestHandler):
    """A media server as the new home has one: GET, PUT and DELETE below /plaza-media/, with a password."""

    protocol_version = "HTTP/1.1"
    root: Path
    credentials = base64.b64encode(b"media:p@ss/word").decode()

    def do_GET(self) -> None:
        path = self._path()
        if path is not None:
            self._answer(200, path.read_bytes()) if path.is_file() else self._answer(404)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        path = self._path()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            self._answer(201)

    def do_DELETE(self) -> None:
        path = self._path()
        if path is not None:
            there = path.is_file()
            path.unlink(missing_ok=True)
            self._answer(204 if there else 404)

    def _path(self) -> Path | None:
        if self.headers.get("Authorization") != f"Basic {self.credentials}":
            self._answer(401)
            return None
        return self.root / self.path.removeprefix("/plaza-media/")

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@contextmanager
def webdav_server(root: Path) -> Iterator[str]:
    """Serve `root`; give the location for PLAZA_MEDIA_STORE, password included."""
    handler = type("Handler", (WebDavHandler,), {"root": root})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://media:p%40ss%2Fword@127.0.0.1:{server.server_port}/plaza-media/"
        server.shutdown()
