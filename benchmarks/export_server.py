"""A server faster than any client: nginx serves a folder of objects and prepared pages of ListObjectsV2.

It shows what a client costs by itself. ETags and checksums are real, so whoever verifies can.
"""

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from awscrt import checksums

BUCKET = "bench"
PAGE = 1000
PART_BYTES = 16 * 1024 * 1024
WHEN = 1_767_225_600  # 2026-01-01T00:00:00Z
START_SECONDS = 10.0

CONFIGURATION = """
daemon off; worker_processes {workers}; pid {work}/nginx.pid; error_log {work}/error.log warn; user root;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000000; keepalive_timeout 120;
  client_body_temp_path {work}/tmp1; proxy_temp_path {work}/tmp2; fastcgi_temp_path {work}/tmp3;
  uwsgi_temp_path {work}/tmp4; scgi_temp_path {work}/tmp5;
  map_hash_max_size 262144; map_hash_bucket_size 256;
  map $args $page {{ default page-0; "~continuation-token=([0-9]+)" page-$1; }}
  map $uri $object_etag {{ include {work}/etags; }}
  map $uri $object_crc {{ default ""; include {work}/checksums; }}
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl;
    ssl_certificate {work}/certificate.pem; ssl_certificate_key {work}/key.pem;
    location = /{bucket} {{ root {work}/pages; default_type application/xml; try_files /$page =404; }}
    location = /{bucket}/ {{ root {work}/pages; default_type application/xml; try_files /$page =404; }}
    location = /part {{ internal; alias {work}/part; add_header x-amz-mp-parts-count 32; }}
    location /{bucket}/empty/ {{ rewrite ^ /nothing last; }}
    location = /nothing {{
      internal; alias {work}/nothing; etag off; add_header ETag '"d41d8cd98f00b204e9800998ecf8427e"';
    }}
    location /{bucket}/ {{
      if ($arg_partNumber) {{ rewrite ^ /part last; }}
      alias {objects}/; etag off; default_type image/jpeg;
      add_header ETag $object_etag; add_header x-amz-checksum-crc64nvme $object_crc;
      add_header x-amz-request-id 0123456789ABCDEF;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Served:
    """A running server. `certificate` is what its TLS certificate is held against."""

    plain: str
    tls: str
    certificate: Path
    objects: int
    bytes: int


@dataclass(frozen=True)
class Profile:
    """What the bucket holds: `count` objects of about `size` bytes; `crc`: with multipart ETags and a CRC64NVME."""

    name: str
    count: int
    size: int
    crc: bool = False


def make_objects(profile: Profile, work: Path) -> int:
    """Writes objects, listing pages and header maps below `work`; returns the sum of bytes."""
    folder = work / "objects"
    (work / "pages").mkdir(parents=True)
    noise = os.urandom(1024 * 1024)
    etags, crcs, entries, total = [], [], [], 0
    if not profile.size:
        return _make_empty_objects(profile, work)
    for number in range(profile.count):
        key = f"images/{number % 97:02x}/{hashlib.sha256(str(number).encode()).hexdigest()[:24]}.jpg"
        # Sizes from half to one and a half of the mean, the same in every run.
        size = (
            profile.size
            if profile.crc or profile.size > PART_BYTES
            else profile.size // 2 + number * 7919 % profile.size
        )
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        etag, crc = _write(path, number, size, noise, profile.crc)
        os.utime(path, (WHEN, WHEN))
        etags.append(f"/{BUCKET}/{key} '\"{etag}\"';\n")
        if profile.crc:
            crcs.append(f"/{BUCKET}/{key} {crc};\n")
        entries.append((key, size, etag))
        total += size
    (work / "etags").write_text("".join(etags))
    (work / "checksums").write_text("".join(crcs))
    with (work / "part").open("wb") as part:
        part.truncate(PART_BYTES)
    _write_pages(sorted(entries), work / "pages")
    return total


def _make_empty_objects(profile: Profile, work: Path) -> int:
    """So many keys and nothing behind them: what is measured is the listing and the ledger."""
    for name in ("etags", "checksums", "nothing"):
        (work / name).touch()
    folder = work / "objects"
    folder.mkdir()
    keys = (f"empty/{number // 1000:06}/{number % 1000:03}" for number in range(profile.count))
    _write_pages([(key, 0, "d41d8cd98f00b204e9800998ecf8427e") for key in keys], work / "pages")
    return 0


def _write(path: Path, number: int, size: int, noise: bytes, in_parts: bool) -> tuple[str, str]:
    whole, digests, crc, left = hashlib.md5(), [], 0, size
    part = hashlib.md5()
    with path.open("wb") as stream:
        while left:
            data = (number.to_bytes(8, "big") + noise)[: min(left, len(noise))]
            stream.write(data)
            left -= len(data)
            whole.update(data)
            part.update(data)
            crc = checksums.crc64nvme(data, crc)
            if (size - left) % PART_BYTES == 0 or not left:
                digests.append(part.digest())
                part = hashlib.md5()
    etag = f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}" if in_parts else whole.hexdigest()
    return etag, base64.b64encode(crc.to_bytes(8, "big")).decode()


def _write_pages(entries: list[tuple[str, int, str]], pages: Path) -> None:
    for start in range(0, len(entries), PAGE):
        page = entries[start : start + PAGE]
        more = start + PAGE < len(entries)
        contents = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key, size, etag in page
        )
        token = f"<NextContinuationToken>{start // PAGE + 1}</NextContinuationToken>" if more else ""
        (pages / f"page-{start // PAGE}").write_text(
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix></Prefix><KeyCount>{len(page)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{contents}</ListBucketResult>"
        )


@contextmanager
def serving(profile: Profile, work: Path, nginx: str) -> Iterator[Served]:
    """Makes the bucket below `work` and serves it until the block ends."""
    total = make_objects(profile, work)
    plain, tls = _free_port(), _free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(work / "key.pem"), "-out", str(work / "certificate.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    configuration = work / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(work=work, objects=work / "objects", bucket=BUCKET, plain=plain, tls=tls,
                             workers=len(os.sched_getaffinity(0)))
    )  # fmt: skip
    process = subprocess.Popen([nginx, "-c", str(configuration), "-p", str(work)])
    try:
        _await(plain, process)
        yield Served(
            f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{tls}", work / "certificate.pem", profile.count, total
        )
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        shutil.rmtree(work)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit("nginx does not answer; see its error.log") from None
            time.sleep(0.05)
