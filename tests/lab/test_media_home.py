"""Media of a home of several hosts: every key of the ledger is answered with its bytes and headers by each of them, and
what is written on the one that leads is on the others at once.

The tests of this module follow each other on hosts that they share, and leave the trees as empty as they were.
"""

import base64
import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import quote

import pytest

from migrate.adapters.s3 import S3Source, connect
from migrate.check import Verdict
from migrate.export.engine import export_bucket
from migrate.export.keymap import is_safe, key_bytes
from migrate.inventory import Inventory
from migrate.restore.artifacts import Archive
from migrate.restore.headers import HEADERS
from migrate.restore.media import MediaPlaced
from tests.conformance.test_source_port import access_to, free_port, running
from tests.homes import CONTEXT, STEP, Home, changed_tasks
from tests.hostile.hostile_keys import HOSTILE_KEYS
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
MEDIA, BUCKET = "media", "plaza-media"
READ, WRITE = 8080, 8081
KEYS = tuple(key for key in HOSTILE_KEYS if key != "/" and "\n" not in key)
"""Those that the S3 server of the test lists; the others are written by WebDAV."""
UNLISTED = tuple(key for key in HOSTILE_KEYS if key not in KEYS)
SENT = (
    {"ContentType": "image/jpeg"},
    {"ContentType": "text/html; charset=utf-8", "CacheControl": "public, max-age=31536000, immutable"},
    {"ContentType": "application/json", "ContentEncoding": "gzip", "ContentLanguage": "de"},
    {"ContentType": "image/jpeg", "ContentDisposition": 'attachment; filename="a \\"$HOME\\" b.jpg"'},
    {"ContentType": "image/jpeg", "Expires": "Thu, 01 Dec 2033 16:00:00 GMT", "CacheControl": "no-cache"},
)
"""Headers that objects were given, in turn."""
PICTURES = {f"images/{name}.JPG": {"ContentType": "image/jpg"} for name in "abcdef"}
"""An extension whose objects have another type than nginx would give them."""

COPY = "cloudexit-media-copy"
UNDER_WAY = f"while systemctl is-active {COPY} | grep -q activating; do sleep 0.1; done"
COPY_NOW = f"systemctl stop {COPY}.timer; timeout 20 sh -c '{UNDER_WAY}' && systemctl start {COPY}"


@dataclass
class Restored:
    home: Home
    archive: Archive
    ports: dict[tuple[str, int], int] = field(default_factory=dict)
    """Host and port there -> port here that leads to it."""

    @property
    def media(self) -> list[str]:
        """Media hosts, the one that leads first."""
        return [host.name for host in self.home.inventory.group(MEDIA)]

    @property
    def step(self) -> MediaPlaced:
        return MediaPlaced(self.home.stack, self.home.inventory, self.home.hosts, self.archive)

    def get(self, host: str, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
        return self.ask(
            host, READ, method, f"/media/{path}", headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    def write(self, host: str, method: str, path: str, body: bytes = b"") -> int:
        login = base64.b64encode(b"media:" + self.home.secrets["media_password"].reveal().encode()).decode()
        return self.ask(host, WRITE, method, f"/{BUCKET}/{path}", body, {"Authorization": f"Basic {login}"})[0].status

    def ask(
        self, host: str, port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        """The path goes out as it is."""
        connection = HTTPConnection("127.0.0.1", self.ports[host, port], timeout=20)
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def copied(self) -> None:
        """What the timer does, begun now: one that is under way is waited for."""
        for host in self.media[1:]:
            self.home.says(host, COPY_NOW)


def content(key: str) -> bytes:
    return b"content of " + key_bytes(key)


def eventually(question: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.5)


def started(home: Home, host: str, unit: str, port: int) -> None:
    listens = f"until ss -Hltn | grep -q ':{port} '; do sleep 0.1; done"
    home.says(host, f'systemctl start {unit} && timeout 20 sh -c "{listens}"')


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A bucket of hostile keys and various headers, exported from a real S3 server."""
    folder, port = tmp_path_factory.mktemp("media"), free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, folder / "log"):
        client = connect(access_to(port))
        client.create_bucket(Bucket=BUCKET)
        for number, key in enumerate(KEYS):
            client.put_object(Bucket=BUCKET, Key=key, Body=content(key), **SENT[number % len(SENT)])  # type: ignore[arg-type]
        for key, sent in PICTURES.items():
            client.put_object(Bucket=BUCKET, Key=key, Body=content(key), **sent)  # type: ignore[arg-type]
        result = export_bucket(S3Source(client, BUCKET), "", folder / "archive" / BUCKET)
    assert (result.complete, result.verified) == (True, len(KEYS) + len(PICTURES))
    return Archive(folder / "archive")


@pytest.fixture(scope="module")
def restored(fleet: Fleet, archive: Archive) -> Iterator[Restored]:
    """The bucket in its new home, by the step of the restore; the copies are made by the tests alone."""
    made = Restored(fleet.home, archive)
    with ExitStack() as stack:
        for host in fleet.home.inventory.group(MEDIA):
            started(fleet.home, host.name, "nginx-media.service", WRITE)
            for port in (READ, WRITE):
                made.ports[host.name, port] = stack.enter_context(fleet.home.hosts.tunnel(host, port))
        outcome = made.step.apply(replace(STEP, subject="plaza"), CONTEXT)
        assert all(outcome.checks), outcome
        for host_name in made.media[1:]:
            fleet.home.says(host_name, "systemctl stop cloudexit-media-copy.timer")
        yield made
    empty = f"cd /srv/media && rm -rf .odd/* .left-over {BUCKET}/* {BUCKET}/.[!.]* .headers"
    for name in made.media:
        fleet.home.says(name, f"{empty} && rm -rf /etc/nginx/media.headers && systemctl reload nginx-media")
    for name in made.media[1:]:
        fleet.home.says(name, "systemctl start cloudexit-media-copy.timer")


def spellings(key: str) -> Iterator[str]:
    """Of a key in an address: as S3 has it, and with every byte but letters and digits as its number."""
    yield quote(key_bytes(key), safe="/-_.~")
    yield "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02x}" for byte in key_bytes(key))


def test_every_key_is_answered_by_every_host_with_the_bytes_and_headers_of_the_ledger(restored: Restored) -> None:
    rows = {row.key: row for row in restored.archive.verified(BUCKET)}
    assert rows.keys() == {*KEYS, *PICTURES} and sum(not is_safe(key) for key in rows) > 20
    for host in restored.media:
        for key, row in rows.items():
            for spelling in spellings(key):
                reply, body = restored.get(host, spelling)
                assert (reply.status, body) == (200, content(key)), (host, spelling)
                assert hashlib.sha256(body).hexdigest() == row.digest
                shown = {name: reply.headers.get_all(name) for name in HEADERS}
                expected = {name: [row.headers[name]] if name in row.headers else None for name in HEADERS}
                assert shown == {**expected, "cache-control": expected["cache-control"] or ["max-age=3600"]}, key
                moment = parsedate_to_datetime(reply.headers["Last-Modified"]).isoformat()
                assert moment.replace("+00:00", "Z") == row.last_modified
                assert reply.headers.get_all("X-Content-Type-Options") == ["nosniff"]
                assert reply.headers.get_all("Content-Security-Policy") == ["default-src 'none'; sandbox"]
    assert restored.step.verify(replace(STEP, subject="plaza"), CONTEXT) is Verdict.PASS


def test_every_key_is_answered_through_the_edges_unless_it_climbs_above_the_site(restored: Restored) -> None:
    for edge in restored.home.inventory.group("edge"):
        started(restored.home, edge.name, "nginx-edge.service", 80)
        climbing = set()
        for key in KEYS:
            for spelling in spellings(key):
                connection = HTTPConnection(edge.address, 80, timeout=20)
                connection.request("GET", f"/media/{spelling}")
                reply = connection.getresponse()
                body = reply.read()
                connection.close()
                if reply.status == 400:
                    climbing.add(key)
                else:
                    assert (reply.status, body) == (200, content(key)), (edge.name, spelling)
        assert climbing == {"../../../../../../tmp/escape"}


def test_hosts_agree_on_etags_so_that_a_visitor_may_meet_either(restored: Restored) -> None:
    for key in ("a", "a/b", "x//y", "images/a.JPG"):
        assert len({restored.get(host, quote(key))[0].headers["ETag"] for host in restored.media}) == 1


def test_ranges_heads_and_conditions_are_answered(restored: Restored) -> None:
    for host in restored.media:
        for key in ("images/a.JPG", "x//y"):
            whole, body = restored.get(host, key)
            part, some = restored.get(host, key, Range="bytes=3-6")
            assert (part.status, some, part.headers["Content-Type"]) == (206, body[3:7], whole.headers["Content-Type"])
            assert part.headers["Content-Range"] == f"bytes 3-6/{len(body)}"
            head, nothing = restored.get(host, key, "HEAD")
            assert (head.status, nothing, head.headers["Content-Length"]) == (200, b"", str(len(body)))
            for condition in (
                {"If_None_Match": whole.headers["ETag"]}, {"If_Modified_Since": whole.headers["Last-Modified"]},
                {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
            ):  # fmt: skip
                assert restored.get(host, key, **condition)[0].status == 304
            assert restored.get(host, key, If_None_Match='"other"')[0].status == 200
            assert restored.get(host, key, "POST")[0].status == 403


@pytest.mark.parametrize(
    "path",
    ["", "images", "images/", "images//a.JPG", "/images/a.JPG", "images/a.JPG/", "./images/a.JPG",
     "images/../images/a.JPG", "%2e%2e/plaza-media/images/a.JPG", "..%2F.odd/", "../.tree",
     "..%2f.headers/plaza-media/expires.map",
     "../../../../../../etc/passwd", "IMAGES/a.JPG", "images/a.jpg", "no-such-object", "%00", "a%00b"],
)  # fmt: skip
def test_there_is_nothing_but_the_objects(restored: Restored, path: str) -> None:
    """No listing, no folder, no redirect, no other spelling of a key, nothing beside the trees."""
    for host in restored.media:
        reply, body = restored.get(host, path)
        assert reply.status in (400, 404), (host, reply.status, body)
        assert b"content of" not in body


@pytest.mark.parametrize(
    "path", ["/.tree", "/.odd/", "/.headers/", "/plaza-media/images/a.JPG", "/.climbs", "/.nobody"]
)
def test_folders_of_the_server_itself_are_not_served(restored: Restored, path: str) -> None:
    for host in restored.media:
        assert restored.ask(host, READ, "GET", path)[0].status == 404


def test_a_link_in_a_tree_leads_nowhere(restored: Restored) -> None:
    for host in restored.media:
        restored.home.says(host, f"ln -s /etc/passwd /srv/media/{BUCKET}/link")
        assert restored.get(host, "link")[0].status == 404
        restored.home.says(host, f"rm /srv/media/{BUCKET}/link")


def test_headers_reach_a_host_that_joins_later_with_the_trees(restored: Restored) -> None:
    for host in restored.media[1:]:
        restored.home.says(host, "rm -rf /srv/media/.headers /etc/nginx/media.headers && systemctl reload nginx-media")
        restored.copied()
        shown = partial(restored.get, host, "images/a.JPG")
        eventually(lambda shown=shown: shown()[0].headers["Content-Type"] == "image/jpg", 10)  # type: ignore[misc]


def test_lists_of_headers_that_the_server_refuses_change_nothing(restored: Restored) -> None:
    lead, spoilt = restored.media[0], f"/srv/media/.headers/{BUCKET}/expires.map"
    restored.home.says(lead, f"cp -a {spoilt} /root/kept && echo '}} http {{' >>{spoilt}")
    try:
        assert restored.step.verify(replace(STEP, subject="plaza"), CONTEXT) is Verdict.FAIL
        refused = restored.home.run(lead, "cloudexit-media-headers", "nginx-media.service")
        assert not refused and "expires.map" in refused.stderr
        restored.home.says(lead, "systemctl restart nginx-media.service")
        started(restored.home, lead, "nginx-media.service", WRITE)
        assert restored.get(lead, "images/a.JPG")[0].headers["Content-Type"] == "image/jpg"
    finally:
        restored.home.says(lead, f"mv /root/kept {spoilt}")
    assert restored.step.verify(replace(STEP, subject="plaza"), CONTEXT) is Verdict.PASS


def test_a_tree_that_takes_long_to_look_at_is_looked_at_less_often(restored: Restored) -> None:
    lead, host, *_ = restored.media
    assert restored.write(lead, "PUT", "unhurried", b"") == 201
    restored.home.says(host, "echo $(($(date +%s) + 900)) >/var/lib/cloudexit-media/next")
    there = partial(restored.home.run, host, "test", "-e", f"/srv/media/{BUCKET}/unhurried")
    restored.copied()
    assert not there()
    restored.home.says(host, "rm /var/lib/cloudexit-media/next")
    restored.copied()
    assert there()


def test_an_upload_is_answered_by_the_other_hosts_at_once_and_lies_there_after_the_timer(restored: Restored) -> None:
    lead, *others = restored.media
    assert restored.write(lead, "PUT", "new/picture.webp", b"fresh") == 201
    for host in others:
        reply, body = restored.get(host, "new/picture.webp")
        assert (reply.status, body, reply.headers["Content-Type"]) == (200, b"fresh", "image/webp")
        assert reply.headers.get_all("Content-Security-Policy") == ["default-src 'none'; sandbox"]
        assert restored.get(host, "new/picture.webp", Range="bytes=1-2")[1] == b"re"
        assert not restored.home.run(host, "test", "-e", f"/srv/media/{BUCKET}/new/picture.webp")
        restored.home.says(host, "systemctl start cloudexit-media-copy.timer")
        there = f"/srv/media/{BUCKET}/new/picture.webp"
        eventually(lambda host=host, there=there: bool(restored.home.run(host, "test", "-s", there)), 75)  # type: ignore[misc]
        restored.home.says(host, "systemctl stop cloudexit-media-copy.timer")
        assert restored.get(host, "new/picture.webp")[0].headers["ETag"] == reply.headers["ETag"]


def test_an_object_that_is_written_anew_has_the_type_of_its_name(restored: Restored) -> None:
    """The exceptions of the ledger are of the objects that it knows, not of what the app writes in their place."""
    lead, *others = restored.media
    key = next(key for key in KEYS if SENT[KEYS.index(key) % len(SENT)].get("ContentEncoding") and is_safe(key))
    assert restored.get(lead, quote(key))[0].headers["Content-Encoding"] == "gzip"
    time.sleep(1.1)  # files of one second and one size have one ETag
    assert restored.write(lead, "PUT", quote(key), b"other") == 204
    restored.copied()
    for host in (lead, *others):
        reply, body = restored.get(host, quote(key))
        assert (body, reply.headers["Content-Encoding"]) == (b"other", None)


def test_any_key_can_be_written_and_deleted_and_no_other_object_suffers(restored: Restored) -> None:
    lead, *others = restored.media
    keys = (*UNLISTED, "images//a.JPG", "images", "images/..", "images/../images/b.JPG", "images/")
    addresses = {key: next(spellings(key)) for key in keys}
    for key, address in addresses.items():
        assert restored.write(lead, "PUT", address, b"odd " + key_bytes(key)) == 201, key
    restored.copied()
    for host in restored.media:
        assert {key: restored.get(host, address)[1] for key, address in addresses.items()} == {
            key: b"odd " + key_bytes(key) for key in keys
        }
    for key, address in addresses.items():
        assert restored.write(lead, "DELETE", address) == 204, key
    restored.copied()
    for host in (lead, *others):
        assert {restored.get(host, address)[0].status for address in addresses.values()} == {404}
        for key in ("images/a.JPG", "images/b.JPG"):
            assert restored.get(host, key)[1] == content(key)


def test_what_is_deleted_where_uploads_arrive_goes_from_the_other_hosts_too(restored: Restored) -> None:
    lead, *others = restored.media
    for key in ("images/c.JPG", "x//y"):
        assert restored.write(lead, "DELETE", key) == 204
        assert restored.get(others[0], key)[0].status == 200
    restored.copied()
    for host in restored.media:
        assert [restored.get(host, key)[0].status for key in ("images/c.JPG", "x//y", "x/y")] == [404, 404, 200]


def test_hosts_that_take_each_other_for_the_lead_do_not_ask_without_end(restored: Restored) -> None:
    asked = restored.get(restored.media[1], "no-such-object", Cloudexit_Asked="yes")[0]
    assert asked.status == 404


def test_without_the_host_that_leads_the_others_go_on(restored: Restored) -> None:
    lead, *others = restored.media
    restored.home.says(lead, "systemctl stop nginx-media.service")
    try:
        for host in others:
            assert restored.get(host, "images/a.JPG")[1] == content("images/a.JPG")
            reply = restored.get(host, "no-such-object")[0]
            assert (reply.status, reply.headers["Cache-Control"]) == (404, "no-store")
    finally:
        started(restored.home, lead, "nginx-media.service", WRITE)


def test_a_lead_that_began_anew_does_not_empty_the_others(restored: Restored) -> None:
    lead, host, *_ = restored.media
    before = restored.home.says(lead, "cat /srv/media/.tree")
    restored.home.says(lead, "echo another >/srv/media/.tree")
    try:
        refused = restored.home.run(host, "systemctl", "start", "cloudexit-media-copy.service")
        assert not refused
        said = restored.home.says(host, "journalctl -u cloudexit-media-copy -n 5 -o cat")
        assert "it began anew, and would empty them here" in said
        assert restored.get(host, "images/a.JPG")[1] == content("images/a.JPG")
    finally:
        restored.home.says(lead, f"echo {before} >/srv/media/.tree")
        restored.copied()


def swapped(home: Home, lead: str) -> Home:
    leads = {**home.inventory.leads, MEDIA: lead}
    inventory: Inventory = replace(home.inventory, leads=leads)
    return replace(home, inventory=inventory)


def test_after_a_change_of_lead_uploads_arrive_there_and_nothing_is_lost(restored: Restored, fleet: Fleet) -> None:
    old, new, *_ = restored.media
    assert restored.write(old, "PUT", "late.txt", b"not copied in time") == 201
    other = swapped(fleet.home, new)
    try:
        assert other.play(limit=restored.media)
        turned = Restored(other, restored.archive, restored.ports)
        assert turned.media == [new, old]
        assert turned.write(new, "PUT", "after.txt", b"after") == 201
        assert turned.get(old, "after.txt")[1] == b"after"
        turned.copied()
        assert other.says(old, f"cat /srv/media/{BUCKET}/after.txt") == "after"
        assert other.says(old, f"cat /srv/media/.left-over/*/{BUCKET}/late.txt") == "not copied in time"
        assert turned.get(old, "late.txt")[0].status == 404
        assert turned.write(new, "PUT", "later.txt", b"not copied either") == 201
    finally:
        assert fleet.home.play(limit=restored.media)
    restored.copied()
    assert restored.get(new, "after.txt")[1] == b"after"
    assert fleet.home.says(new, f"cat /srv/media/.left-over/*/{BUCKET}/later.txt") == "not copied either"


def test_nothing_of_this_is_a_change_to_a_second_provision(restored: Restored, fleet: Fleet) -> None:
    for name in restored.media[1:]:
        fleet.home.says(name, "systemctl start cloudexit-media-copy.timer")
    assert changed_tasks(fleet.home.play(limit=restored.media)) == {}
