"""A dump is vetted, and brought to its database host, before anything of the target database is touched."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld, Missing
from migrate.inventory import Inventory
from migrate.plan import Step
from migrate.ports import Hosts
from migrate.restore.artifacts import Archive, DumpRecord, StoredArtifact, require_same_bytes
from migrate.restore.custom_format import HEAD_BYTES, Head, NotCustomFormat, read_head
from migrate.restore.server import RESTORE_FOLDER, SUPERUSER, Server, first_error
from migrate.stack import Stack

READ_SECONDS = 6 * 3600.0
"""Bound on reading a whole dump once: 100 GB at 5 MB/s."""
ANOTHER_DUMP = "point `dump.pattern` at a dump that fits, or let the backup job make one, and export again"


@dataclass(frozen=True)
class Dump:
    """The newest dump of a database in the archive, with its record and where it lies on the database host."""

    database: str
    artifact: StoredArtifact
    record: DumpRecord

    @property
    def remote(self) -> PurePosixPath:
        return RESTORE_FOLDER / f"{self.database}.dump"

    @property
    def incoming(self) -> PurePosixPath:
        """Where it lies until it is vetted: a kill in between leaves nothing under the vetted name."""
        return RESTORE_FOLDER / f"{self.database}.dump.incoming"


def newest_dump(archive: Archive, stack: Stack, database: str) -> Dump:
    """Raises Missing where the bucket was not exported yet, GateHeld where dump or record cannot be used."""
    artifact = archive.newest(stack.databases[database].dump)
    return Dump(database, artifact, archive.record(artifact, DumpRecord))


def vet_head(dump: Dump, server_major: int) -> Head:
    """Raises GateHeld unless the archive is a custom-format one, of this database, for this server or an older one."""
    with dump.artifact.path.open("rb") as stream:
        content = stream.read(HEAD_BYTES)
    try:
        head = read_head(content)
    except NotCustomFormat as fault:
        raise _refused(
            dump, f"not a dump in custom format: {fault}", "an archive made by pg_dump --format=custom"
        ) from None
    for said, name in (("the dump", head.database), ("its record", dump.record.database)):
        if name != dump.database:
            raise _refused(dump, f"a dump of another database: {said} says {name!r}", f"a dump of {dump.database!r}")
    for said, major in (
        ("its server was", head.server_major),
        ("its pg_dump was", head.dump_major),
        ("its record says", dump.record.major),
    ):
        if major > server_major:
            raise _refused(
                dump,
                f"made by a newer PostgreSQL: {said} {major}, the target server is {server_major}",
                f"PostgreSQL {server_major} or older; a dump loads into its own version or a newer one",
                f"provision PostgreSQL {major} or newer on the database host",
            )
    return head


@dataclass(frozen=True)
class DumpPlaced:
    """Brings the newest dump of the database `step.subject` to its host, 0600 and owned by postgres, once vetted."""

    stack: Stack
    inventory: Inventory
    hosts: Hosts
    archive: Archive

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """A dump that would be refused never passes, though the same bytes lie on the host from before."""
        server = self._server(step)
        try:
            dump = newest_dump(self.archive, self.stack, step.subject)
            require_same_bytes(dump.artifact, dump.record)
            server.ensure_running()
            vet_head(dump, server.major)
        except (Missing, GateHeld):
            return Verdict.UNKNOWN
        found = server.sha256(dump.remote, timeout=READ_SECONDS)
        return Verdict.PASS if found == dump.record.sha256 else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where the dump is refused; the target database is not touched before or after."""
        dump = newest_dump(self.archive, self.stack, step.subject)
        require_same_bytes(dump.artifact, dump.record)
        server = self._server(step)
        server.ensure_running()
        head = vet_head(dump, server.major)
        self._bring(server, dump)
        entries = self._read_whole(server, dump)
        self.hosts.run(server.host, ["mv", "-fT", "--", str(dump.incoming), str(dump.remote)])
        return Outcome(
            {
                "dump": dump.artifact.where,
                "bytes": dump.record.bytes,
                "sha256": dump.record.sha256,
                "taken_at": dump.record.taken_at.isoformat(),
                "made_by": head.server_version,
                "entries": entries,
                "rows": sum(dump.record.tables.values()),
            }
        )

    def _server(self, step: Step) -> Server:
        return Server.of(self.stack.databases[step.subject].service, self.stack, self.inventory, self.hosts)

    def _bring(self, server: Server, dump: Dump) -> None:
        folder = str(RESTORE_FOLDER)
        made = self.hosts.run(server.host, ["install", "-d", "-m", "0750", "-o", "root", "-g", SUPERUSER, "--", folder])
        if not made:
            raise GateHeld(
                f"cannot make {folder}: {made.stderr.strip()}",
                where=server.host.name,
                expected="a host that was provisioned with PostgreSQL",
                hint="provision first: cloudexit provision",
            )
        self.hosts.put(server.host, dump.artifact.path, dump.incoming)
        self.hosts.run(server.host, ["chown", f"{SUPERUSER}:{SUPERUSER}", "--", str(dump.incoming)])

    def _read_whole(self, server: Server, dump: Dump) -> int:
        """Number of entries of its table of contents, once pg_restore has read every byte of the dump."""
        listing = server.tool("pg_restore", ["--list", str(dump.incoming)], timeout=READ_SECONDS)
        whole = listing and server.tool("pg_restore", ["--file=/dev/null", str(dump.incoming)], timeout=READ_SECONDS)
        if not whole:
            self.hosts.run(server.host, ["rm", "-f", "--", str(dump.incoming)])
            raise _refused(
                dump, f"truncated or damaged: {first_error(whole.stderr)}", "a dump that pg_restore can read to its end"
            )
        return sum(1 for line in listing.stdout.splitlines() if line and not line.startswith(";"))


def _refused(dump: Dump, what: str, expected: str, hint: str = ANOTHER_DUMP) -> GateHeld:
    return GateHeld(f"the dump is refused: {what}", where=dump.artifact.where, expected=expected, hint=hint)
