"""A Redis instance is rebuilt from its snapshot, which is vetted before anything is stopped."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from migrate.action import Outcome, StepContext
from migrate.check import CheckResult, ChecksHeld, Verdict
from migrate.errors import GateHeld, Interrupted, Missing, OutsideProblem, Unreachable
from migrate.inventory import Host, Inventory
from migrate.plan import Step
from migrate.ports import Completed, Hosts, Redis
from migrate.restore.artifacts import Archive, SnapshotRecord, StoredArtifact, require_same_bytes
from migrate.restore.server import RESTORE_FOLDER
from migrate.secret import Secret, Secrets
from migrate.stack import Service, Stack

DEFAULT_PORT = 6379
DEFAULT_SETTINGS = {
    "dir": "/var/lib/redis",
    "dbfilename": "dump.rdb",
    "appendonly": "no",
    "appenddirname": "appendonlydir",
    "appendfilename": "appendonly.aof",
}
"""Debian's, where CONFIG is closed to us."""
OWNER = "redis"
MARKERS = PurePosixPath("/var/lib/cloudexit")
MAGIC = re.compile(rb"^REDIS\d{4}")
COUNTED = re.compile(r"\[info\] (\d+) (keys read|expires)")
VET_SECONDS = 3600.0
ANSWER_SECONDS = 10.0
LOAD_SECONDS = 3600.0
UNIT_SECONDS = 120.0
POLL_SECONDS = 0.3
GO_ON_FROM = """
set -e
rm -rf -- "$2.new" && install -d -o "$4" -g "$4" -m 0750 -- "$2.new"
install -o "$4" -g "$4" -m 0640 -T -- "$1" "$2.new/$3.1.base.rdb"
printf 'file %s.1.base.rdb seq 1 type b\\n' "$3" >"$2.new/$3.manifest"
chown "$4:$4" -- "$2.new/$3.manifest"
sync -- "$2.new/$3.1.base.rdb" "$2.new/$3.manifest"
rm -rf -- "$2" && mv -T -- "$2.new" "$2"
"""
"""An append-only file (Redis 7 and later: a folder) whose base is a snapshot, and that holds nothing else yet."""
WRITE_WHOLE = 'umask 077 && cat > "$1.tmp" && sync "$1.tmp" && mv -fT "$1.tmp" "$1"'


@dataclass(frozen=True)
class Snapshot:
    """The newest snapshot of a cache, its record, and what redis-check-rdb counted in it."""

    artifact: StoredArtifact
    record: SnapshotRecord
    keys: int = 0
    expires: int = 0


@dataclass(frozen=True)
class CacheRestored:
    """Restores the cache `step.subject`. A target that holds anything but this snapshot's data is refused without
    `replace`. What was restored stands in /var/lib/cloudexit/cache-<name>.json on the host."""

    stack: Stack
    inventory: Inventory
    secrets: Secrets
    hosts: Hosts
    redis: Redis
    archive: Archive
    replace: bool = False

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """`pass` when the host says that this snapshot was restored, and Redis was not emptied since."""
        try:
            snapshot = self._snapshot(step.subject)
        except (Missing, GateHeld):
            return Verdict.UNKNOWN
        marker = self._marker(step.subject)
        if marker.get("sha256") != snapshot.record.sha256 or marker.get("state") != "restored":
            return Verdict.FAIL
        try:
            keys = self._key_count(step.subject)
        except OutsideProblem:
            return Verdict.PASS
        return Verdict.FAIL if keys == 0 and marker.get("lasting_keys", 0) > 0 else Verdict.PASS

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where the snapshot or the target is refused, ChecksHeld where keys are missing afterwards."""
        name = step.subject
        snapshot = self._snapshot(name)
        require_same_bytes(snapshot.artifact, snapshot.record)
        _vet_magic(snapshot)
        remote = RESTORE_FOLDER / f"{name}.rdb"
        snapshot = self._vet_on_host(name, snapshot, remote)
        self._ensure_running(name, context)
        settings = self._settings(name)
        self._require_replaceable(name, snapshot)
        self._note(name, snapshot, "placing", 0)
        self._place(name, remote, settings)
        self._wait_until_it_answers(name, LOAD_SECONDS, context)
        check = compare_keys(name, snapshot, self._key_count(name))
        if not check:
            raise ChecksHeld(f"the restored cache {name!r} is not proved", [check])
        self._note(name, snapshot, "restored", snapshot.keys - snapshot.expires)
        detail = {
            "snapshot": snapshot.artifact.where,
            "sha256": snapshot.record.sha256,
            "keys": snapshot.keys,
            "expires": snapshot.expires,
            "taken_at": snapshot.record.taken_at.isoformat(),
        }
        return Outcome(detail, (check,))

    def _snapshot(self, name: str) -> Snapshot:
        artifact = self.archive.newest(self.stack.caches[name].snapshot)
        return Snapshot(artifact, self.archive.record(artifact, SnapshotRecord))

    def _service(self, name: str) -> Service:
        return self.stack.services[self.stack.caches[name].service]

    def _host(self, name: str) -> Host:
        return self.inventory.group(self._service(name).group)[0]

    def _port(self, name: str) -> int:
        return self._service(name).port or DEFAULT_PORT

    def _password(self, name: str) -> Secret:
        return self.secrets[self.stack.caches[name].password]

    def _must(self, name: str, command: list[str], what: str, *, stdin: bytes = b"") -> Completed:
        done = self.hosts.run(self._host(name), command, stdin=stdin, timeout=UNIT_SECONDS)
        if not done:
            raise GateHeld(
                f"{what}: {done.stderr.strip() or f'exit status {done.exit_status}'}",
                where=self._host(name).name,
                expected=f"`{command[0]}` to succeed",
                hint=f"look at: journalctl -u {self._service(name).unit} -n 50",
            )
        return done

    def _vet_on_host(self, name: str, snapshot: Snapshot, remote: PurePosixPath) -> Snapshot:
        self._must(name, ["install", "-d", "-m", "0755", "--", str(RESTORE_FOLDER.parent)], "cannot make a folder")
        self._must(name, ["mkdir", "-p", "--", str(RESTORE_FOLDER)], "cannot make a folder")
        self.hosts.put(self._host(name), snapshot.artifact.path, remote)
        done = self.hosts.run(self._host(name), ["redis-check-rdb", str(remote)], timeout=VET_SECONDS)
        if not done:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise _refused(
                snapshot,
                f"redis-check-rdb does not take it: {' '.join(said[-3:])[:400]}",
                "a whole snapshot, of this version of Redis or an older one",
            )
        counted = {what: int(number) for number, what in COUNTED.findall(done.stdout)}
        keys = counted.get("keys read", 0)
        if keys != snapshot.record.keys:
            raise _refused(snapshot, f"it holds {keys:,} keys", f"{snapshot.record.keys:,} keys, as its record says")
        return Snapshot(snapshot.artifact, snapshot.record, keys, counted.get("expires", 0))

    def _ensure_running(self, name: str, context: StepContext) -> None:
        self._must(name, ["systemctl", "start", self._service(name).unit], "Redis does not start")
        self._wait_until_it_answers(name, UNIT_SECONDS, context)

    def _wait_until_it_answers(self, name: str, bound: float, context: StepContext) -> None:
        deadline = time.monotonic() + bound
        while True:
            try:
                with self.hosts.tunnel(self._host(name), self._port(name)) as port:
                    self.redis.ping(
                        port, self._password(name), timeout=ANSWER_SECONDS, tls=self._service(name).tls_only
                    )
                    return
            except Unreachable as problem:
                if time.monotonic() > deadline:
                    raise Unreachable(
                        f"Redis does not answer within {bound:.0f} s: {problem.what}",
                        where=self._host(name).name,
                        hint=f"look at: journalctl -u {self._service(name).unit} -n 50",
                    ) from problem
            if context.cancelled():
                raise Interrupted("stopped while Redis loads", hint="the same command goes on from here")
            time.sleep(POLL_SECONDS)

    def _key_count(self, name: str) -> int:
        with self.hosts.tunnel(self._host(name), self._port(name)) as port:
            return self.redis.key_count(
                port, self._password(name), timeout=ANSWER_SECONDS, tls=self._service(name).tls_only
            )

    def _settings(self, name: str) -> dict[str, str]:
        """Where Redis keeps its snapshot; the password goes in by standard input."""
        asked = "".join(f"CONFIG GET {setting}\n" for setting in DEFAULT_SETTINGS)
        done = self.hosts.run(
            self._host(name),
            [
                "redis-cli",
                "-p",
                str(self._port(name)),
                *(["--tls", "--insecure"] if self._service(name).tls_only else []),
            ],
            stdin=f"AUTH {self._password(name).reveal()}\n{asked}".encode(),
        )
        return DEFAULT_SETTINGS | parse_settings(done.stdout)

    def _require_replaceable(self, name: str, snapshot: Snapshot) -> None:
        marker = self._marker(name)
        if self.replace or (marker.get("sha256") == snapshot.record.sha256 and marker.get("state") == "placing"):
            return
        keys = self._key_count(name)
        if keys:
            raise GateHeld(
                f"the cache {name!r} is not empty: {keys:,} keys",
                where=self._host(name).name,
                expected="an empty Redis, or one that was restored from this snapshot",
                hint="with --replace the snapshot takes the place of what is there",
            )

    def _place(self, name: str, vetted: PurePosixPath, settings: Mapping[str, str]) -> None:
        """As the snapshot that Redis loads, or, where it keeps an append-only file, as what that file goes on from."""
        unit = self._service(name).unit
        live = PurePosixPath(settings["dir"]) / settings["dbfilename"]
        self._must(name, ["systemctl", "stop", unit], "Redis does not stop")
        copy = ["install", "-o", OWNER, "-g", OWNER, "-m", "0640", "-T", "--", str(vetted), str(live)]
        self._must(name, copy, "the snapshot cannot be placed")
        if settings["appendonly"] == "yes":
            folder = PurePosixPath(settings["dir"]) / settings["appenddirname"]
            command = ["sh", "-c", GO_ON_FROM, "sh", str(vetted), str(folder), settings["appendfilename"], OWNER]
            self._must(name, command, "the append-only file cannot be begun with the snapshot")
        self._must(name, ["systemctl", "start", unit], "Redis does not start")

    def _note(self, name: str, snapshot: Snapshot, state: str, lasting_keys: int) -> None:
        text = json.dumps({"sha256": snapshot.record.sha256, "state": state, "lasting_keys": lasting_keys})
        command = ["sh", "-c", WRITE_WHOLE, "sh", str(MARKERS / f"cache-{name}.json")]
        self._must(name, command, "cannot note what is restored", stdin=text.encode())

    def _marker(self, name: str) -> Mapping[str, Any]:
        done = self.hosts.run(self._host(name), ["cat", "--", str(MARKERS / f"cache-{name}.json")])
        try:
            return dict(json.loads(done.stdout)) if done else {}
        except ValueError:
            return {}


def compare_keys(name: str, snapshot: Snapshot, found: int) -> CheckResult:
    """Pure: equal passes; fewer passes by at most the keys that had a time to live, which may have run out since."""
    title = f"{name}: keys as in the snapshot"
    missing = snapshot.keys - found
    if missing == 0:
        return CheckResult(title, Verdict.PASS, f"{found:,} keys")
    if 0 < missing <= snapshot.expires:
        detail = (
            f"{found:,} of {snapshot.keys:,} keys; {missing:,} of the {snapshot.expires:,} with a time to live ran out"
        )
        return CheckResult(title, Verdict.PASS, detail)
    return CheckResult(
        title,
        Verdict.FAIL,
        f"{found:,} keys, the snapshot holds {snapshot.keys:,}, {snapshot.expires:,} of them with a time to live",
        "something else writes to this Redis, or it has evicted keys: look at maxmemory, then restore with --replace",
    )


def parse_settings(output: str) -> dict[str, str]:
    """What `CONFIG GET` printed: a name and its value on lines of their own; the replies to others are passed over."""
    lines = output.splitlines()
    return {lines[index]: lines[index + 1] for index in range(len(lines) - 1) if lines[index] in DEFAULT_SETTINGS}


def _vet_magic(snapshot: Snapshot) -> None:
    with snapshot.artifact.path.open("rb") as stream:
        head = stream.read(9)
    if not MAGIC.match(head):
        raise _refused(snapshot, f"no Redis snapshot: it begins with {head.hex(' ')}", "a file that begins with REDIS")


def _refused(snapshot: Snapshot, what: str, expected: str) -> GateHeld:
    return GateHeld(
        f"the snapshot is refused: {what}",
        where=snapshot.artifact.where,
        expected=expected,
        hint="point `snapshot.pattern` at another one, or let the backup job run again, and export again",
    )
