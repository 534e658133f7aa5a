"""What machines give: this disk, the line to a new host, and what is free there."""

import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from migrate.facts import RateFacts
from migrate.figures import sized
from migrate.forecast.history import SeenHost
from migrate.inventory import Host, Inventory
from migrate.ports import Hosts
from migrate.stack import Stack
from migrate.target.hostfacts import observe
from migrate.target.preflight import ports_taken

DISK_BYTES = 256_000_000
DISK_SECONDS = 5.0
LINK_BYTES = 32_000_000
LINK_SECONDS = 30.0
CHUNK = 4_000_000
MOST_HOSTS = 32


def probe_disk(folder: Path) -> RateFacts:
    """Writes into a file without a name below `folder`, and waits until it is on the disk; nothing stays."""
    chunk = os.urandom(CHUNK)
    written = 0
    began = time.monotonic()
    with tempfile.TemporaryFile(dir=folder) as stream:
        while written < DISK_BYTES and time.monotonic() - began < DISK_SECONDS:
            stream.write(chunk)
            written += CHUNK
        stream.flush()
        os.fsync(stream.fileno())
    seconds = max(time.monotonic() - began, 1e-3)
    source = f"probe: {sized(written)} written to {folder} in {seconds:.1f} s"
    return RateFacts(rate=written / seconds, source=source, at=datetime.now(UTC))


def probe_line(hosts: Hosts, host: Host) -> RateFacts:
    """Sends bytes that nobody keeps, by SSH, as dumps are sent. Raises Unreachable or Refused."""
    hosts.run(host, ["true"], timeout=LINK_SECONDS)  # connecting must not count
    payload = os.urandom(LINK_BYTES)
    began = time.monotonic()
    hosts.run(host, ["sh", "-c", "cat >/dev/null"], stdin=payload, timeout=LINK_SECONDS)
    seconds = max(time.monotonic() - began, 1e-3)
    source = f"probe: {sized(LINK_BYTES)} by SSH to {host.name} in {seconds:.1f} s"
    return RateFacts(rate=LINK_BYTES / seconds, source=source, at=datetime.now(UTC))


def probe_host(hosts: Hosts, stack: Stack, host: Host) -> SeenHost:
    """What is free there, and which ports are not. Raises Unreachable or Refused."""
    facts = observe(hosts, host, ())
    disk = facts.disk_free.get("/srv", facts.disk_free.get("/"))
    busy = tuple(port for port, _ in ports_taken(stack, host, facts.listeners))
    return SeenHost(datetime.now(UTC), disk=disk, memory=facts.memory_free, probed=True, busy_ports=busy)


def hosts_to_probe(inventory: Inventory) -> list[Host]:
    """The first host of each group, each host once, within the bound."""
    first: dict[str, Host] = {}
    for host in inventory.hosts.values():
        for group in host.groups:
            first.setdefault(group, host)
    return list({host.name: host for host in first.values()}.values())[:MOST_HOSTS]
