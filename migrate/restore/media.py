"""The media tree of a bucket comes to the hosts that serve it, and every byte of it is compared with the ledger."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, Severity, Verdict
from migrate.errors import GateHeld, Missing
from migrate.export.keymap import OBJECTS, key_bytes, safe_path
from migrate.inventory import Host, Inventory
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.restore.artifacts import Archive
from migrate.stack import Stack

MEDIA_ROOT = PurePosixPath("/srv/media")
WRITER = "media"
"""System user of the media server, which writes new objects into the same folders."""
COPY_SECONDS = 24 * 3600.0
DIGEST_SECONDS = 6 * 3600.0
NAMED = 20
MISSING = "is missing"
DIFFERS = "differs"
REMOVE_FROM_TREE = 'cd -- "$1" && xargs -0 -r rm -f --'
DIGEST_TREE = 'cd -- "$1" 2>/dev/null || exit 0; xargs -0 -r sha256sum -b -z -- 2>/dev/null; exit 0'
"""Digests of the files whose names come NUL-separated by standard input; a file that is not there is left out."""


@dataclass(frozen=True)
class Expected:
    """What the ledger says of a bucket: key -> SHA-256 of what a web server can serve by path, and what it cannot."""

    digests: Mapping[str, str]
    sizes: int
    not_servable: tuple[str, ...]


def expected_of(archive: Archive, bucket: str) -> Expected:
    """Every verified object of a bucket. Raises Missing where the bucket was not exported yet."""
    digests: dict[str, str] = {}
    strange: list[str] = []
    size = 0
    for row in archive.verified(bucket):
        if row.path == safe_path(row.key) and row.digest:
            digests[row.key] = row.digest
            size += row.stored_size or 0
        else:
            strange.append(row.key)
    return Expected(digests, size, tuple(strange))


@dataclass(frozen=True)
class MediaPlaced:
    """Brings the objects of the media `step.subject` to /srv/media/<bucket>/ on every host of its service.

    Objects that the app has written there since are left alone; one of ours that differs is brought again."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts
    archive: Archive

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """Reads every byte on the hosts, and compares it with the ledger."""
        bucket = self.stack.media[step.subject].bucket
        try:
            expected = expected_of(self.archive, bucket)
        except Missing:
            return Verdict.UNKNOWN
        faults = (fault for host in self._hosts(step) for fault in self._differing(host, bucket, expected))
        return Verdict.FAIL if any(True for _ in faults) else Verdict.PASS

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld that names what is missing or differs on a host."""
        bucket = self.stack.media[step.subject].bucket
        expected = expected_of(self.archive, bucket)
        for host in self._hosts(step):
            context.progress({"host": host.name, "objects": len(expected.digests), "bytes": expected.sizes})
            self._remove_differing(host, bucket, expected)
            self._mirror(host, bucket)
            faults = [f"{key} {fault}" for key, fault in self._differing(host, bucket, expected)]
            if faults:
                raise GateHeld(
                    f"{len(faults)} of {len(expected.digests):,} objects are not there as they should be:"
                    f" {'; '.join(faults[:NAMED])}"
                    + (f"; and {len(faults) - NAMED} more" if len(faults) > NAMED else ""),
                    where=f"{host.name}:{MEDIA_ROOT / bucket}",
                    expected="every verified object of the ledger, byte for byte",
                    hint="run again: what differs is brought again; if it stays, look at the disk, and at the archive: "
                    "cloudexit verify",
                )
        return self._outcome(step, expected)

    def recall(self, step: Step) -> Outcome:
        """What `verify` has just compared, byte for byte."""
        return self._outcome(step, expected_of(self.archive, self.stack.media[step.subject].bucket))

    def _outcome(self, step: Step, expected: Expected) -> Outcome:
        return Outcome(
            {"objects": len(expected.digests), "bytes": expected.sizes, "hosts": [h.name for h in self._hosts(step)]},
            (_proof(step.subject, expected), *_not_servable(step.subject, expected)),
        )

    def _hosts(self, step: Step) -> list[Host]:
        return self.inventory.group(self.stack.services[self.stack.media[step.subject].service].group)

    def _mirror(self, host: Host, bucket: str) -> None:
        local = self.archive.folder / bucket / OBJECTS
        if local.is_dir():
            self.hosts.mirror_tree(host, local, MEDIA_ROOT / bucket, owner=WRITER, timeout=COPY_SECONDS)

    def _remove_differing(self, host: Host, bucket: str, expected: Expected) -> None:
        """The copy takes a file of the same size and time as the same; what is spoilt must be out of its way."""
        spoilt = [key for key, fault in self._differing(host, bucket, expected) if fault == DIFFERS]
        if spoilt:
            command = ["sh", "-c", REMOVE_FROM_TREE, "sh", str(MEDIA_ROOT / bucket)]
            self.hosts.run(host, command, stdin=_names(spoilt), timeout=DIGEST_SECONDS)

    def _differing(self, host: Host, bucket: str, expected: Expected) -> Iterator[tuple[str, str]]:
        """Key and fault of each object that is not there as it should be."""
        names = _names(expected.digests)
        done = self.hosts.run(
            host, ["sh", "-c", DIGEST_TREE, "sh", str(MEDIA_ROOT / bucket)], stdin=names, timeout=DIGEST_SECONDS
        )
        found = parse_digests(done.stdout)
        for key, digest in expected.digests.items():
            if key not in found:
                yield key, MISSING
            elif found[key] != digest:
                yield key, DIFFERS


def _names(keys: Iterable[str]) -> bytes:
    return b"".join(key_bytes(key) + b"\0" for key in keys)


def parse_digests(output: str) -> dict[str, str]:
    """Name -> digest from what `sha256sum -b -z` prints."""
    entries = (entry.split(" *", 1) for entry in output.split("\0") if entry)
    return {name: digest for digest, name in entries}


def _proof(name: str, expected: Expected) -> CheckResult:
    return CheckResult(
        f"{name}: media as in the ledger",
        Verdict.PASS,
        f"{len(expected.digests):,} objects, {expected.sizes:,} bytes, each SHA-256 equal",
    )


def _not_servable(name: str, expected: Expected) -> list[CheckResult]:
    if not expected.not_servable:
        return []
    keys = list(expected.not_servable)
    return [
        CheckResult(
            f"{name}: every key can be served by its path",
            Verdict.FAIL,
            f"{len(keys)} cannot: {', '.join(map(repr, keys[:NAMED]))}",
            "they are kept in the archive; whatever needs them must be taught another address",
            severity=Severity.WARNING,
            facts={"keys": keys[:1000]},
        )
    ]
