"""The app's release on the hosts that run it: a virtual environment of its own, switched to in one step."""

import hashlib
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld
from migrate.inventory import Host, Inventory
from migrate.plan import Step
from migrate.ports import Hosts, Playbooks
from migrate.secret import Secrets
from migrate.stack import Stack
from migrate.target.hostview import services_of
from migrate.target.playbooks import playbooks_folder
from migrate.target.provision import play_document, raise_unless_good, with_lost_hosts
from migrate.target.sidebyside import on_every_host

SAFE_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
INSTALL_SECONDS = 900.0
INSTALLED = 'cd "/srv/$1" && readlink current && cat "releases/$2/installed.sha256"'


@dataclass(frozen=True)
class ReleaseArchive:
    """A release tarball, and what its release.json says."""

    path: Path
    name: str
    version: str
    sha256: str

    @property
    def folder(self) -> str:
        return f"/srv/{self.name}/releases/{self.version}"


def read_release(path: Path, name: str) -> ReleaseArchive:
    """Raises GateHeld where the file is no release, is damaged, or is a release of something else."""
    expected = f"a .tar.gz with release.json of {name}, requirements.txt and wheels/"
    try:
        with tarfile.open(path, "r:gz") as archive:
            names = [member.name.removeprefix("./") for member in archive]
            member = next((m for m in archive.getmembers() if m.name.removeprefix("./") == "release.json"), None)
            stream = archive.extractfile(member) if member else None
            document: Any = json.load(stream) if stream else None
    except (tarfile.TarError, OSError, EOFError, ValueError) as fault:
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
    """Installs the release that a step's `subject` names. `locate` gives the local file of a bucket and a pattern."""

    def __init__(
        self,
        hosts: Hosts,
        playbooks: Playbooks,
        stack: Stack,
        inventory: Inventory,
        secrets: Secrets,
        locate: Callable[[str, str], Path],
    ) -> None:
        self._hosts = hosts
        self._playbooks = playbooks
        self._stack = stack
        self._inventory = inventory
        self._secrets = secrets
        self._locate = locate

    def verify(self, step: Step, context: StepContext) -> Verdict:
        archive = self._archive(step.subject)
        there = self._installed(archive)
        return Verdict.PASS if all(there.values()) else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where the archive is no such release or a host did not take it; Unreachable."""
        archive = self._archive(step.subject)
        target = self._target(step.subject)
        units = {host.name: self._units(host, step.subject) for host in target.hosts.values()}
        result = self._playbooks.run(
            playbooks_folder() / "release.yml",
            target,
            variables={
                "cloudexit_release": {**vars(archive), "path": None, "archive": str(archive.path), "units": units}
            },
            secrets=self._secrets,
            limit=list(target.hosts),
            cancelled=context.cancelled,
            on_task=lambda task: context.progress({"task": task}),
            timeout=INSTALL_SECONDS,
        )
        raise_unless_good(with_lost_hosts(result, self._hosts, target))
        missing = [name for name, there in self._installed(archive).items() if not there]
        if missing:
            raise GateHeld(
                f"{archive.name} {archive.version} is not what runs next",
                where=", ".join(missing),
                expected=f"/srv/{archive.name}/current -> {archive.folder}, installed from {archive.sha256}",
            )
        return Outcome({"version": archive.version, "sha256": archive.sha256, **play_document(result)})

    def _archive(self, release: str) -> ReleaseArchive:
        artifact = self._stack.releases[release].artifact
        return read_release(self._locate(artifact.bucket, artifact.pattern), release)

    def _target(self, release: str) -> Inventory:
        groups = set(self._stack.hosts_of_release(release))
        chosen = {name: host for name, host in self._inventory.hosts.items() if groups & set(host.groups)}
        return Inventory(self._inventory.path, chosen, self._inventory.variables)

    def _units(self, host: Host, release: str) -> list[str]:
        return [service.unit for service in services_of(self._stack, host).values() if service.release == release]

    def _installed(self, archive: ReleaseArchive) -> dict[str, bool]:
        def look(host: Host) -> bool:
            found = self._hosts.run(host, ["sh", "-c", INSTALLED, "sh", archive.name, archive.version], timeout=20.0)
            return bool(found) and found.stdout.split() == [archive.folder, archive.sha256]

        return on_every_host(self._target(archive.name), look)
