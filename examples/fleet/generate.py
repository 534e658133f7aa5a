"""Writes this example: the manifest, inventory and facts of a network with 540 hosts, 70 TB in 300 million objects and
100 databases. It exists on paper only; its size is that of the eviction of January 2021, as reported.

`python examples/fleet/generate.py` writes the three files beside it; `--check` exits 1 where one is out of date.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
DATABASES = 100
MEDIA = 20
STORES_A_TREE = 2
APPS = 400

STACK = """\
# A network of 540 hosts, on paper: 100 databases, 20 buckets of media, 400 hosts of the app. Written by generate.py.
name: fleet
site: "https://fleet.example/"

buckets:
  fleet-backups: {{holds: backups}}
  fleet-releases: {{holds: releases}}
{buckets}

databases:
{databases}

media:
{media}

releases:
  fleet: {{artifact: {{bucket: fleet-releases, pattern: "fleet/fleet-*.tar.gz"}}, user: fleet}}

secrets:
  database_password:
  media_password:
  session_key: FLEET_SECRET_KEY

services:
{services}

  worker:
    kind: process
    group: app
    unit: fleet-worker.service
    release: fleet
    command: "python -m fleet.worker"
    after: &stores
{after}
    environment: &fleet
      FLEET_SHARDS: "{shards}"
      FLEET_DATABASE_PASSWORD: "{{secret:database_password}}"
      FLEET_SECRET_KEY: "{{secret:session_key}}"
    checks:
      - {{name: running, unit: active}}

  web:
    kind: process
    group: app
    unit: fleet-web.service
    port: 8000
    open_to: [app]
    release: fleet
    command: "gunicorn --bind 0.0.0.0:8000 fleet.web:app"
    after: *stores
    environment: *fleet
    checks:
      - {{name: healthy, http: {{path: /healthz}}}}

  edge:
    kind: edge
    group: app
    unit: nginx-edge.service
    after: [web]
    port: 80
    open_to: [anyone]
    upstream: web
    checks:
      - {{name: front-page, http: {{path: /}}}}
"""

DATABASE = """\
  shard_{n}:
    service: database_{n}
    owner: fleet
    password: database_password
    dump: {{bucket: fleet-backups, pattern: "shard_{n}/*.dump"}}
    watermarks: {{posts: created_at}}"""

TREE = """\
  tree_{n}:
    bucket: fleet-media-{n}
    service: media_{n}
    password: media_password
    url: "https://fleet.example/media/{n}/"
    old_urls: ["https://fleet-media-{n}.s3.cloud.example/"]"""

POSTGRESQL = """\
  database_{n}:
    kind: postgresql
    group: db_{n}
    unit: postgresql.service
    port: 5432
    open_to: [app]
    checks: [{{name: answers, postgresql: {{database: shard_{n}, query: "SELECT count(*) > 0 FROM posts"}}}}]"""

SERVER = """\
  media_{n}:
    kind: media
    group: store_{n}
    unit: nginx-media.service
    port: 8080
    open_to: [app]
    write_port: 8081
    writers: [app]
    checks: [{{name: healthy, http: {{path: /healthz}}}}]"""

INVENTORY = """\
# 540 hosts of three kinds, by ranges: the first has the first address, each that follows has the next one.
# What a host has stands here as it was ordered; `cloudexit plan` holds the need against it. Written by generate.py.
all:
  vars:
    ansible_user: admin
    cloudexit_known_hosts: known_hosts
  hosts:
    "db[001:{databases}]":
      cloudexit_first_address: 10.1.0.1
      cloudexit_cores: 96
      cloudexit_memory: 768GB
      cloudexit_disk: 4TB
    "store[01:{stores}]":
      cloudexit_first_address: 10.2.0.1
      cloudexit_cores: 64
      cloudexit_memory: 512GB
      cloudexit_disk: 14TB
      cloudexit_files: 800_000_000
  children:
    app:
      hosts:
        "app[001:{apps}]":
          cloudexit_first_address: 10.3.0.1
          cloudexit_cores: 16
          cloudexit_memory: 64GB
          cloudexit_disk: 400GB
{groups}
"""

FACTS = """\
# What was observed of the network on paper, as metrics and a probe would tell it. Written by generate.py.
# 70 TB in 300,000,000 objects: 20 buckets of media, the dumps of 100 databases, and a few releases.
buckets:
  fleet-backups:
    {{objects: 200, bytes: 4TB, source: "CloudWatch BucketSizeBytes, NumberOfObjects", at: {at}}}
  fleet-releases:
    {{objects: 20, bytes: 2GB, source: "CloudWatch BucketSizeBytes, NumberOfObjects", at: {at}}}
{buckets}

databases:
{databases}

# From the old home to the one machine that fetches. The size of everything over 30 hours is 5.2 Gbit/s.
line: {{rate: 4.8Gbit/s, spread: 1.2, source: "cloudexit plan --probe", at: {at}}}
inside: {{rate: 25Gbit/s, ground: stated, source: "the data centre's offer"}}
disk_write: {{rate: 2.5GB/s, ground: stated, source: "24 disks, as ordered"}}
disk_read: {{rate: 1.5GB/s, ground: stated, source: "NVMe of the stores, as ordered"}}
database_load: {{rate: 40MB/s, ground: stated, source: "a shard was loaded in a test last month"}}
export: {{hosts: 1, cores: 64, memory: 256GB, disk: 96TB, ground: stated, source: "one machine, as ordered"}}
"""
AT = "2026-11-20T03:00:00Z"
# 300,000,000 objects and 70 TB together with the two small buckets.
MEDIA_OBJECTS = (300_000_000 - 220) // MEDIA
MEDIA_BYTES = (70_000_000_000_000 - 4_000_000_000_000 - 2_000_000_000) // MEDIA
BUCKET = """\
  fleet-media-{n}:
    objects: {objects}
    bytes: {bytes}
    source: CloudWatch BucketSizeBytes, NumberOfObjects; ages from S3 Inventory
    at: {at}
    ages:
      - {{older_than_days: 30, objects: {year_objects}, bytes: {year_bytes}}}
      - {{older_than_days: 365, objects: {old_objects}, bytes: {old_bytes}}}"""


def numbers(count: int) -> list[str]:
    return [str(number).zfill(len(str(count))) for number in range(1, count + 1)]


def stack() -> str:
    shards, trees = numbers(DATABASES), numbers(MEDIA)
    services = [POSTGRESQL.format(n=n) for n in shards] + [SERVER.format(n=n) for n in trees]
    return STACK.format(
        buckets="\n".join(f"  fleet-media-{n}: {{holds: media}}" for n in trees),
        databases="\n".join(DATABASE.format(n=n) for n in shards),
        media="\n".join(TREE.format(n=n) for n in trees),
        services="\n\n".join(services),
        after="\n".join(
            f"      - {name}" for name in [f"database_{n}" for n in shards] + [f"media_{n}" for n in trees]
        ),
        shards=" ".join(f"{{db_{n}}}" for n in shards),
    )


def inventory() -> str:
    stores = numbers(MEDIA * STORES_A_TREE)
    groups = [f"    db_{n}: {{hosts: {{db{n}: }}}}" for n in numbers(DATABASES)]
    for index, n in enumerate(numbers(MEDIA)):
        first, last = stores[index * STORES_A_TREE], stores[(index + 1) * STORES_A_TREE - 1]
        groups.append(f'    store_{n}: {{hosts: {{"store[{first}:{last}]": }}}}')
    return INVENTORY.format(databases=DATABASES, stores=len(stores), apps=APPS, groups="\n".join(groups))


def facts() -> str:
    amounts = {
        "objects": MEDIA_OBJECTS, "bytes": MEDIA_BYTES, "year_objects": MEDIA_OBJECTS * 3 // 10,
        "year_bytes": MEDIA_BYTES * 3 // 10, "old_objects": MEDIA_OBJECTS * 6 // 10, "old_bytes": MEDIA_BYTES * 6 // 10,
    }  # fmt: skip
    sizes = f"{{bytes: 120GB, dump_bytes: 40GB, source: pg_database_size, at: {AT}}}"
    return FACTS.format(
        at=AT,
        buckets="\n".join(BUCKET.format(n=n, at=AT, **amounts) for n in numbers(MEDIA)),
        databases="\n".join(f"  shard_{n}: {sizes}" for n in numbers(DATABASES)),
    )


FILES = {"stack.yaml": stack, "inventory/hosts.yml": inventory, "facts.yaml": facts}


def main() -> int:
    stale = [name for name, text in FILES.items() if not _is(HERE / name, text())]
    if "--check" not in sys.argv:
        for name, text in FILES.items():
            (HERE / name).write_text(text())
        return 0
    if stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run: python examples/fleet/generate.py\n")
    return int(bool(stale))


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


if __name__ == "__main__":
    raise SystemExit(main())
