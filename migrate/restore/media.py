"""The media tree of a bucket comes to the hosts that serve it, and every byte of it is compared with the ledger.

What no filesystem can hold by its own name lies at `.odd/<bucket>/<SHA-256 of the key>`, as in the archive.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, Severity, Verdict
from migrate.errors import GateHeld, Missing
from migrate.export.keymap import OBJECTS, ODD, key_bytes, odd_path, safe_path
from migrate.export.ledger import Row
from migrate.inventory import Host, Inventory
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.restore.artifacts import Archive
from migrate.restore.headers import Lists, Served, lists_of
from migrate.stack import Stack

MEDIA_ROOT = PurePosixPath("/srv/media")
ODD_ROOT = MEDIA_ROOT / ".odd"
HEADERS_ROOT = MEDIA_ROOT / ".headers"
WRITER = "media"
"""System user of the media server, which writes new objects into the same folders."""
FETCH_NOW = "rm -f /var/lib/cloudexit-media/next; exec systemctl start cloudexit-media-copy.service"
"""Fetches the trees from the host that leads, as the timer does, however lately it looked."""
TAKE_HEADERS = 'PATH="$PATH:/usr/local/sbin" exec cloudexit-media-headers "$@"'
"""Has the server go by the lists in HEADERS_ROOT, or says why it refuses them."""
TAKE_SECONDS = 600.0
COPY_SECONDS = 24 * 3600.0
DIGEST_SECONDS = 6 * 3600.0
NAMED = 20
MISSING = "is missing"
DIFFERS = "differs"
OTHER_TIME = "has another time of change"
REMOVE_FROM_TREE = 'cd -- "$1" && xargs -0 -r rm -f --'
GIVE_TIMES = """cd -- "$1" && xargs -0 -r -n 40 sh -c \\
'while [ $# -gt 1 ]; do touch -c -d "$1" -- "$2"; shift 2; done' sh"""
LOOK_AT_TREE = """cd -- "$1" 2>/dev/null || exit 0
xargs -0 -r sh -c 'sha256sum -b -z -- "$@"; stat --printf "@%Y *%n\\0" -- "$@"' sh 2>/dev/null; exit 0"""
"""Digest, and time of change, of the files whose names come NUL-separated by standard input; a file that is not there
is left out."""


@dataclass(frozen=True)
class File:
    """What must lie on a host; `source` is where it lies in the archive, `modified` in seconds since 1970."""

    key: str
    digest: str
    modified: int
    source: Path


@dataclass(frozen=True)
class Expected:
    """What the ledger says of a bucket: files by their paths below MEDIA_ROOT, and how they are served."""

    files: Mapping[str, File]
    sizes: int
    lists: Lists
    strays: tuple[str, ...]
    """Those that the archive had to give another place than their keys say."""


def expected_of(archive: Archive, bucket: str) -> Expected:
    """Every verified object of a bucket. Raises Missing where the bucket was not exported yet."""
    files: dict[str, File] = {}
    strays: list[str] = []
    size = 0
    for row in archive.verified(bucket):
        if row.path and row.digest:
            place = place_of(bucket, row)
            files[place] = File(row.key, row.digest, _moment(row), archive.folder / bucket / row.path)
            size += row.stored_size or 0
            if row.path not in (safe_path(row.key), odd_path(row.key)):
                strays.append(place)

    def served() -> Iterator[Served]:
        for row in archive.verified(bucket):
            yield Served(row.key, _moment(row), row.stored_size or 0, row.headers)

    return Expected(files, size, lists_of(bucket, served), tuple(strays))


def place_of(bucket: str, row: Row) -> str:
    """Path below MEDIA_ROOT; playbooks/roles/media finds objects by the same rule."""
    if row.path == safe_path(row.key):
        return f"{bucket}/{row.key}"
    return f"{ODD_ROOT.name}/{bucket}/{odd_path(row.key).removeprefix(f'{ODD}/')}"


def _moment(row: Row) -> int:
    return int(datetime.fromisoformat(row.last_modified).timestamp())


@dataclass(frozen=True)
class MediaPlaced:
    """Brings the objects of the media `step.subject` to /srv/media on every host of its service, and has them served as
    they were.

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
        faults = (fault for host in self._hosts(step) for fault in self._faults(step, host, bucket, expected))
        return Verdict.FAIL if any(True for _ in faults) else Verdict.PASS

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """The host that leads first: the others have most of it from there. Raises GateHeld that names what is missing
        or differs on a host."""
        bucket = self.stack.media[step.subject].bucket
        expected = expected_of(self.archive, bucket)
        times_are_set = _give_times_here(expected) and not expected.strays
        for number, host in enumerate(self._hosts(step)):
            context.progress({"host": host.name, "objects": len(expected.files), "bytes": expected.sizes})
            if number:
                self.hosts.run(host, ["sh", "-c", FETCH_NOW], timeout=COPY_SECONDS)
            self._remove_differing(host, expected)
            self._mirror(host, bucket, expected)
            if not times_are_set:
                self._give_times(host, expected)
            self._serve_as_before(step, host, bucket, expected.lists)
            faults = [f"{name} {fault}" for name, fault in self._faults(step, host, bucket, expected)]
            if faults:
                raise GateHeld(
                    f"{len(faults)} of {len(expected.files):,} objects are not there as they should be:"
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
            {
                "objects": len(expected.files), "bytes": expected.sizes, "exceptions": expected.lists.exceptions,
                "hosts": [host.name for host in self._hosts(step)],
            },
            (_proof(step.subject, expected), *_unwritable(step.subject, expected.lists.unwritable)),
        )  # fmt: skip

    def _hosts(self, step: Step) -> list[Host]:
        return self.inventory.group(self.stack.services[self.stack.media[step.subject].service].group)

    def _mirror(self, host: Host, bucket: str, expected: Expected) -> None:
        for local, remote in ((OBJECTS, MEDIA_ROOT / bucket), (ODD, ODD_ROOT / bucket)):
            folder = self.archive.folder / bucket / local
            if folder.is_dir():
                self.hosts.mirror_tree(host, folder, remote, owner=WRITER, timeout=COPY_SECONDS)
        for place in expected.strays:
            self.hosts.put(host, expected.files[place].source, MEDIA_ROOT / place, mode=0o644)

    def _give_times(self, host: Host, expected: Expected) -> None:
        """The copies have the times of the archive's files; where those could not be set, they are set there."""
        other = [place for place, fault in self._differing(host, expected) if fault == OTHER_TIME]
        if other:
            words = [word for place in other for word in (f"@{expected.files[place].modified}", place)]
            command = ["sh", "-c", GIVE_TIMES, "sh", str(MEDIA_ROOT)]
            self.hosts.run(host, command, stdin=_names(words), timeout=DIGEST_SECONDS)

    def _serve_as_before(self, step: Step, host: Host, bucket: str, lists: Lists) -> None:
        """Raises GateHeld with the server's words where it refuses the lists."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in lists.texts.items():
                Path(folder, name).write_bytes(text)
            self.hosts.mirror_tree(host, Path(folder), HEADERS_ROOT / bucket, owner=WRITER, timeout=COPY_SECONDS)
        taken = self._take_headers(step, host)
        if taken:
            raise GateHeld(
                f"the media server refuses the headers of its objects: {taken}",
                where=f"{host.name}:{HEADERS_ROOT / bucket}",
                expected=f"lists that nginx takes, {lists.exceptions:,} exceptions",
                hint="the headers before are in effect; provision the host, then run again",
            )

    def _take_headers(self, step: Step, host: Host, *options: str) -> str:
        """Has the server go by the lists that lie on its host, or with `--look` only tells whether it does. Its words
        where it refuses, empty where all is well."""
        unit = self.stack.services[self.stack.media[step.subject].service].unit
        done = self.hosts.run(host, ["sh", "-c", TAKE_HEADERS, "sh", unit, *options], timeout=TAKE_SECONDS)
        return "" if done else done.stderr.strip() or f"exit {done.exit_status}"

    def _remove_differing(self, host: Host, expected: Expected) -> None:
        """The copy takes a file of the same size and time as the same; what is spoilt must be out of its way."""
        spoilt = [place for place, fault in self._differing(host, expected) if fault == DIFFERS]
        if spoilt:
            command = ["sh", "-c", REMOVE_FROM_TREE, "sh", str(MEDIA_ROOT)]
            self.hosts.run(host, command, stdin=_names(spoilt), timeout=DIGEST_SECONDS)

    def _faults(self, step: Step, host: Host, bucket: str, expected: Expected) -> Iterator[tuple[str, str]]:
        """Each object that is not there as it should be, by its key; then the headers."""
        for place, fault in self._differing(host, expected):
            yield expected.files[place].key, fault
        texts = expected.lists.texts
        found = self._looked_at(host, HEADERS_ROOT / bucket, texts)
        for name, text in texts.items():
            if found.get(name, ("", 0))[0] != hashlib.sha256(text).hexdigest():
                yield f"the list {name}", DIFFERS if name in found else MISSING
        if self._take_headers(step, host, "--look"):
            yield "what the server goes by", DIFFERS

    def _differing(self, host: Host, expected: Expected) -> Iterator[tuple[str, str]]:
        """Place and fault of each object that is not there as it should be."""
        found = self._looked_at(host, MEDIA_ROOT, expected.files)
        for place, file in expected.files.items():
            if place not in found:
                yield place, MISSING
            elif found[place][0] != file.digest:
                yield place, DIFFERS
            elif found[place][1] != file.modified:
                yield place, OTHER_TIME

    def _looked_at(self, host: Host, folder: PurePosixPath, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        command = ["sh", "-c", LOOK_AT_TREE, "sh", str(folder)]
        return parse_looks(self.hosts.run(host, command, stdin=_names(names), timeout=DIGEST_SECONDS).stdout)


def _give_times_here(expected: Expected) -> bool:
    """Files of the archive get the times that the source gave the objects: the copies have them from there, and the
    media server shows them. False where the archive cannot be written to."""
    for file in expected.files.values():
        try:
            if int(file.source.stat().st_mtime) != file.modified:
                os.utime(file.source, (file.modified, file.modified))
        except FileNotFoundError:
            continue  # the comparison on the hosts tells
        except OSError:
            return False
    return True


def _names(keys: Iterable[str]) -> bytes:
    return b"".join(key_bytes(key) + b"\0" for key in keys)


def parse_looks(output: str) -> dict[str, tuple[str, int]]:
    """Name -> digest and time of change, from what LOOK_AT_TREE prints: `digest *name` and `@time *name`."""
    entries = [entry.split(" *", 1) for entry in output.split("\0") if entry]
    times = {name: int(told[1:]) for told, name in entries if told.startswith("@")}
    return {name: (told, times.get(name, 0)) for told, name in entries if not told.startswith("@")}


def _proof(name: str, expected: Expected) -> CheckResult:
    return CheckResult(
        f"{name}: media as in the ledger",
        Verdict.PASS,
        f"{len(expected.files):,} objects, {expected.sizes:,} bytes, each SHA-256 equal;"
        f" {expected.lists.exceptions:,} headers are not what is usual in the tree",
    )


def _unwritable(name: str, keys: list[str]) -> list[CheckResult]:
    if not keys:
        return []
    return [
        CheckResult(
            f"{name}: every object can be served with its headers",
            Verdict.FAIL,
            f"{len(keys)} have a header that is too long for the media server: {', '.join(map(repr, keys[:NAMED]))}",
            "they are served without it; it stands in the ledger",
            severity=Severity.WARNING,
            facts={"keys": keys[:1000]},
        )
    ]
