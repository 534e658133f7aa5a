"""The app's release on the hosts that run it: a virtual environment of its own, switched to host by host."""

import gzip
import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld, UsageProblem
from migrate.inventory import Inventory
from migrate.plan import Step
from migrate.ports import Hosts, Playbooks, PlayResult
from migrate.secret import Secrets
from migrate.stack import Stack
from migrate.target.checks import ServiceChecks
from migrate.target.playbooks import playbooks_folder
from migrate.target.provision import play_document, raise_unless_good, with_lost_hosts
from migrate.target.releasehome import ReleaseHome
from migrate.target.standing import Installed, as_document

SAFE_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
READ_BYTES = 1 << 20
INSTALL_SECONDS = 900.0
OF_THE_MOVE = "restore.release"
"""Kind of the step that installs what the archive of the old home holds."""


@dataclass(frozen=True)
class ReleaseArchive:
    """A release tarball, and what its release.json says."""

    path: Path
    name: str
    version: str
    sha256: str

    @property
    def installed(self) -> Installed:
        return Installed(self.version, self.sha256)

    @property
    def folder(self) -> str:
        return f"/srv/{self.name}/releases/{self.installed.folder_name}"


def read_release(path: Path, name: str) -> ReleaseArchive:
    """Raises UsageProblem where no such file can be opened, GateHeld where it is no release, is damaged, or is one of
    something else."""
    expected = f"a .tar.gz with release.json of {name}, requirements.txt and wheels/"
    try:
        path.open("rb").close()
    except OSError as fault:
        raise UsageProblem(
            f"the release cannot be opened: {fault.strerror}", where=str(path), expected=expected
        ) from fault
    try:
        with gzip.open(path) as packed:
            while packed.read(READ_BYTES):
                pass  # its checksum stands at the end, and a tar ends before
        with tarfile.open(path, "r:gz") as archive:
            names = [member.name.removeprefix("./") for member in archive]
            member = next((m for m in archive.getmembers() if m.name.removeprefix("./") == "release.json"), None)
            stream = archive.extractfile(member) if member else None
            document: Any = json.load(stream) if stream else None
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError, KeyError) as fault:
        raise GateHeld(f"the release cannot be read: {fault}", where=str(path), expected=expected) from fault
    if not isinstance(document, dict) or "requirements.txt" not in names:
        raise GateHeld("this is no release", where=str(path), expected=expected)
    version = str(document.get("version", ""))
    if document.get("name") != name or not SAFE_VERSION.fullmatch(version):
        raise GateHeld(
            f"it says that it is {document.get('name')!r} {version!r}",
            where=str(path),
            expected=f"{name} and a version of letters, digits, dots, plus and minus",
        )
    with path.open("rb") as content:
        return ReleaseArchive(path, name, version, hashlib.file_digest(content, "sha256").hexdigest())


class ReleaseInstall:
    """Has the release that a step's `subject` names run on its hosts: on all of them it is installed into a folder of
    its own, then they are switched to it in waves. A host on which nothing of it runs yet is switched and left so.
    Where the subject names version and SHA-256 too, it is that archive or none.

    `locate` gives the local file of a bucket and a pattern."""

    def __init__(
        self,
        hosts: Hosts,
        playbooks: Playbooks,
        stack: Stack,
        inventory: Inventory,
        secrets: Secrets,
        checks: ServiceChecks,
        locate: Callable[[str, str], Path],
        who: str,
    ) -> None:
        """`who`: what tells one operator's state folder from another's."""
        self._hosts = hosts
        self._playbooks = playbooks
        self._stack = stack
        self._inventory = inventory
        self._secrets = secrets
        self._checks = checks
        self._locate = locate
        self._who = who

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """A plan of the move leaves a home alone that was given a later release since."""
        archive = self._archive(step)
        home = self._home(archive.name)
        if step.kind == OF_THE_MOVE and home.has_moved_on_from(archive.installed):
            return Verdict.PASS
        return home.verdict(archive.installed)

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where the archive is no such release or a host did not take it, ChecksHeld where it was taken
        back because it is not healthy, LockHeld where somebody else is at it; Unreachable."""
        archive = self._archive(step)
        home = self._home(archive.name)
        home.refuse_bare_hosts()
        with home.claim.held():
            result = self._installed(archive, home, context)
            rolled = home.roll(archive.installed, context)
        return Outcome({**as_document(archive.installed), **_rolled(rolled), **play_document(result)})

    def _installed(self, archive: ReleaseArchive, home: ReleaseHome, context: StepContext) -> PlayResult:
        result = self._playbooks.run(
            playbooks_folder() / "release.yml",
            home.target,
            variables={
                "cloudexit_release": {
                    "name": archive.name,
                    "version": archive.version,
                    "sha256": archive.sha256,
                    "folder": archive.folder,
                    "archive": str(archive.path),
                }
            },
            secrets=self._secrets,
            limit=list(home.target.hosts),
            cancelled=context.cancelled,
            on_task=lambda task: context.progress({"task": task}),
            timeout=INSTALL_SECONDS,
        )
        raise_unless_good(with_lost_hosts(result, self._hosts, home.target))
        return result

    def _home(self, release: str) -> ReleaseHome:
        return ReleaseHome(self._hosts, self._checks, self._stack, self._inventory, release, self._who)

    def _archive(self, step: Step) -> ReleaseArchive:
        name, *planned = step.subject.split()
        artifact = self._stack.releases[name].artifact
        found = read_release(self._locate(artifact.bucket, artifact.pattern), name)
        if planned and planned != [found.version, found.sha256]:
            raise GateHeld(
                f"the archive is not the one that was read when the plan was made, but {found.version} now",
                where=str(found.path),
                expected=f"{planned[0]}, SHA-256 {planned[1]}",
                hint="deploy a file that nobody writes to meanwhile",
            )
        return found


class ReleaseRollback:
    """Has a release that is still on every host run again, by the same waves and gates. A step's `subject` is its name,
    version and SHA-256: a rollback that is killed and said again goes back once."""

    def __init__(self, hosts: Hosts, stack: Stack, inventory: Inventory, checks: ServiceChecks, who: str) -> None:
        self._hosts = hosts
        self._stack = stack
        self._inventory = inventory
        self._checks = checks
        self._who = who

    def verify(self, step: Step, context: StepContext) -> Verdict:
        home, target = self._home_and_target(step)
        return home.verdict(target)

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where a host has not got it, ChecksHeld where it is not healthy any more; Unreachable."""
        home, target = self._home_and_target(step)
        home.refuse_without(target)
        with home.claim.held():
            rolled = home.roll(target, context)
        return Outcome({**as_document(target), **_rolled(rolled)})

    def _home_and_target(self, step: Step) -> tuple[ReleaseHome, Installed]:
        name, version, sha256 = step.subject.split()
        home = ReleaseHome(self._hosts, self._checks, self._stack, self._inventory, name, self._who)
        return home, Installed(version, sha256)


def _rolled(hosts: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Seconds of each host, and the same as words for the step's line."""
    words = ", ".join(f"{name} {taken['seconds']:.0f} s" for name, taken in hosts.items())
    return {"switched": words, "rolled": hosts}
