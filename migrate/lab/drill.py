"""The steps that only a drill has: hosts come up, the old home lives, and is switched off in the end."""

import hashlib
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld, Unreachable
from migrate.inventory import Host, Inventory
from migrate.lab.lab import HostSpec, HostState, Lab
from migrate.plan import Step, digest_of
from migrate.ports import Hosts, Playbooks
from migrate.secret import Secrets
from migrate.stack import OldHome

OLD_HOST = "old"
OLD_GROUP = "old_home"
IMAGE_PREFIX = "old-home-"
PREPARE_SECONDS = 900.0
MAKING_SECONDS = 1800.0
ENDPOINT_SECONDS = 60.0
DUMP_SECONDS = 600.0
UNIT_SECONDS = 60.0
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class OldHomeRecipe:
    """What an old home is made from. The same inputs give the same image, so that it is made once."""

    folder: Path
    manifest: OldHome
    cache: Path
    secrets: Secrets

    @property
    def image(self) -> str:
        """Name of the image: a digest over every input file, and over the secrets that stand in it."""
        files = {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self._input_files()
        }
        secrets = {name: hashlib.sha256(secret.reveal().encode()).hexdigest() for name, secret in self.secrets.items()}
        recipe = {"files": files, "manifest": self.manifest.model_dump(mode="json"), "secrets": secrets}
        return f"{IMAGE_PREFIX}{digest_of(recipe)[:16]}"

    def _input_files(self) -> list[Path]:
        chosen = [self.folder / name for name in (self.manifest.playbook, *self.manifest.inputs)]
        files = [file for path in chosen for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        return sorted(
            {f for f in files if f.is_file() and not {"__pycache__", "build", ".pytest_cache"} & set(f.parts)}
            - {f for f in files if ".egg-info" in str(f)}
        )

    def prepare(self) -> None:
        """Runs the manifest's command that builds what the playbook needs. Raises GateHeld with its last words."""
        if not self.manifest.prepare:
            return
        self.cache.mkdir(parents=True, exist_ok=True)
        command = [self._expand(word) for word in self.manifest.prepare]
        try:
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, timeout=PREPARE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as fault:
            raise GateHeld(f"{shlex.join(command)} did not end within {PREPARE_SECONDS:.0f} s") from fault
        if done.returncode:
            raise GateHeld(
                f"what the old home is made from could not be built: exit {done.returncode}\n{done.stderr[-2000:]}",
                where=shlex.join(command),
                hint="run the command by hand in the manifest's folder",
            )

    def variables(self) -> dict[str, str]:
        return {name: self._expand(value) for name, value in self.manifest.variables.items()}

    def _expand(self, text: str) -> str:
        return (
            text.replace("{cache}", str(self.cache))
            .replace("{manifest}", str(self.folder))
            .replace("{python}", sys.executable)
        )


def switched_off(lab: Lab) -> Path:
    """The mark that this drill's old home was switched off; it goes with the lab."""
    return lab.folder / "old-home.switched-off"


class HostsUp:
    """Disposable hosts for the new home boot side by side."""

    def __init__(self, lab: Lab, specs: Sequence[HostSpec]) -> None:
        self.lab = lab
        self.specs = specs

    def verify(self, step: Step, context: StepContext) -> Verdict:
        running = {host.name for host in self.lab.hosts() if host.state is HostState.RUNNING}
        return Verdict.PASS if {spec.name for spec in self.specs} <= running else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        made = self.lab.up(list(self.specs))
        return Outcome({"hosts": len(made), "addresses": {host.name: str(host.address) for host in made}})


class OldHomeLives:
    """The old home boots from its image, which is made first where there is none yet."""

    def __init__(self, lab: Lab, recipe: OldHomeRecipe, playbooks: Playbooks, inventory: Inventory) -> None:
        self.lab = lab
        self.recipe = recipe
        self.playbooks = playbooks
        self.inventory = inventory

    @property
    def host(self) -> Host:
        return self.inventory.hosts[OLD_HOST]

    def verify(self, step: Step, context: StepContext) -> Verdict:
        """An old home that was switched off has lived: a resumed drill does not bring it back."""
        known = {host.name: host for host in self.lab.hosts()}
        if OLD_HOST not in known:
            return Verdict.FAIL
        if switched_off(self.lab).exists():
            return Verdict.PASS
        # One that lives already is kept, though its inputs may have changed since this drill began.
        alive = known[OLD_HOST].state is HostState.RUNNING and (known[OLD_HOST].image or "").startswith(IMAGE_PREFIX)
        return Verdict.PASS if alive and self._endpoint_answers() else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        standing = {host.name: host.image for host in self.lab.hosts()}.get(OLD_HOST)
        if standing not in (None, self.recipe.image):
            self.lab.remove(OLD_HOST)
        made = not self.lab.has_image(self.recipe.image)
        if made:
            self._make_image(context)
        self.lab.up([HostSpec(OLD_HOST, (OLD_GROUP,), self.recipe.image)])
        self._await_endpoint()
        return Outcome({"image": self.recipe.image, "image_made_now": made, "address": self.host.address})

    def _make_image(self, context: StepContext) -> None:
        context.progress({"note": "building the release and the old home's inputs"})
        self.recipe.prepare()
        context.progress({"note": "making the old home's image, once: packages, app, community"})
        self.lab.up([HostSpec(OLD_HOST, (OLD_GROUP,))])
        result = self.playbooks.run(
            self.recipe.folder / self.recipe.manifest.playbook,
            self.inventory,
            variables=self.recipe.variables(),
            secrets=self.recipe.secrets,
            cancelled=context.cancelled,
            on_task=lambda task: context.progress({"note": f"old home: {task}"}),
            timeout=MAKING_SECONDS,
        )
        if not result:
            play = next(iter(result.hosts.values()))
            raise GateHeld(f"the old home could not be made: {play.failure}", where=OLD_HOST)
        self.lab.freeze(OLD_HOST, self.recipe.image)

    def _endpoint_answers(self) -> bool:
        try:
            socket.create_connection((self.host.address, self.recipe.manifest.s3_port), timeout=2.0).close()
        except OSError:
            return False
        return True

    def _await_endpoint(self) -> None:
        end = time.monotonic() + ENDPOINT_SECONDS
        while not self._endpoint_answers():
            if time.monotonic() > end:
                raise Unreachable(
                    f"the old home's S3 endpoint does not answer within {ENDPOINT_SECONDS:.0f} s",
                    where=f"{self.host.address}:{self.recipe.manifest.s3_port}",
                    hint="look at the host: cloudexit lab ssh old",
                )
            time.sleep(POLL_SECONDS)


class DumpTaken:
    """The old home's own dump job runs once; then its users go on writing until it is switched off."""

    def __init__(self, hosts: Hosts, old: Host, manifest: OldHome) -> None:
        self.hosts = hosts
        self.old = old
        self.manifest = manifest

    def verify(self, step: Step, context: StepContext) -> Verdict:
        return Verdict.PASS if context.previous is not None else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        began = time.monotonic()
        self._start(self.manifest.dump_unit, DUMP_SECONDS)
        seconds = time.monotonic() - began
        if self.manifest.traffic_unit:
            self._start(self.manifest.traffic_unit, UNIT_SECONDS)
        return Outcome({"dump_seconds": round(seconds, 1), "traffic": self.manifest.traffic_unit or "none"})

    def _start(self, unit: str, timeout: float) -> None:
        done = self.hosts.run(self.old, ["systemctl", "start", unit], timeout=timeout)
        if not done:
            log = self.hosts.run(self.old, ["journalctl", "--unit", unit, "--lines", "20", "--no-pager"])
            raise GateHeld(f"{unit} failed at the old home:\n{log.stdout}", where=self.old.name)


class OldHomeSwitchedOff:
    """The old home loses the network, and is stopped."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def verify(self, step: Step, context: StepContext) -> Verdict:
        states: Mapping[str, HostState] = {host.name: host.state for host in self.lab.hosts()}
        off = switched_off(self.lab).exists() and states.get(OLD_HOST) is HostState.STOPPED
        return Verdict.PASS if off else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        switched_off(self.lab).touch()
        self.lab.cut_off(OLD_HOST)
        self.lab.stop(OLD_HOST)
        return Outcome({"host": OLD_HOST})
