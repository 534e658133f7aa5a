"""Where ports meet adapters: what one command works with, and the action behind each kind of step."""

import getpass
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrate.action import Action
from migrate.adapters.ansible import AnsiblePlaybooks
from migrate.adapters.http import HttpxClient
from migrate.adapters.journey import CommandJourneys
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.adapters.s3 import Access
from migrate.adapters.ssh import SshHosts
from migrate.adapters.vault import NAME as VAULT
from migrate.adapters.vault import read_vault
from migrate.cli.buckets import Buckets
from migrate.cli.reading import read_stack_and_inventory
from migrate.cli.state import StateFolder
from migrate.cutover.lag import LagMeasured, PsqlSource
from migrate.export.step import BucketExported, ObjectsAccounted, SourceAnswers
from migrate.inventory import Inventory, addresses, hold_against, require_files
from migrate.lab.drill import OLD_HOST, DumpTaken, HostsUp, OldHomeLives, OldHomeRecipe, OldHomeSwitchedOff
from migrate.lab.lab import HostSpec, Lab
from migrate.plan import Plan
from migrate.planner import make_plan
from migrate.ports import Hosts, Playbooks
from migrate.restore.artifacts import Archive
from migrate.restore.cache import CacheRestored
from migrate.restore.database import DatabaseLoaded
from migrate.restore.dump import DumpPlaced
from migrate.restore.media import MediaPlaced
from migrate.restore.proof import DatabaseProved
from migrate.restore.rewrite import UrlsRewritten
from migrate.secret import Secrets, load, load_or_generate
from migrate.stack import Artifact, Stack
from migrate.target.backups import FirstBackup
from migrate.target.checks import ServiceChecks
from migrate.target.deploy import JoinedHostsStarted
from migrate.target.ownsecrets import OWN_SECRETS
from migrate.target.preflight import Preflight
from migrate.target.provision import Provision, ProvisionDrift
from migrate.target.release import ReleaseInstall, ReleaseRollback
from migrate.target.releasehome import ReleaseHome
from migrate.target.services import AllChecked, Drained, JourneyWalked, ServiceStarted

ActionsFor = Callable[[threading.Event], Mapping[str, Action]]


@dataclass(frozen=True)
class Drill:
    """What only a rehearsal has: disposable hosts and, where the manifest has one, a stand-in for the old home."""

    lab: Lab
    specs: Sequence[HostSpec]
    recipe: OldHomeRecipe | None = None
    old_inventory: Inventory | None = None
    access: Access | None = None


@dataclass(frozen=True)
class Undertaking:
    """One stack on its way to one inventory."""

    manifest: Path
    stack: Stack
    inventory: Inventory
    state: StateFolder
    plan: Plan
    drill: Drill | None = None

    @classmethod
    def read(cls, manifest: Path, inventory_path: Path | None, state: Path | None) -> "Undertaking":
        """Reads everything that a real run needs; raises UsageProblem before anything is touched."""
        stack, inventory = read_stack_and_inventory(manifest, inventory_path)
        folder = StateFolder.beside(manifest, state)
        return cls.assemble(manifest, stack, inventory, folder, make_plan(stack, inventory, history=folder.history()))

    @classmethod
    def assemble(
        cls, manifest: Path, stack: Stack, inventory: Inventory, state: StateFolder, plan: Plan,
        drill: Drill | None = None,
    ) -> "Undertaking":  # fmt: skip
        hold_against(stack, inventory)
        return cls(manifest, stack, inventory, state, plan, drill)

    @property
    def who(self) -> str:
        """Tells this state folder from others to those who find its claim on a host."""
        return f"{getpass.getuser()}@{socket.gethostname()}:{self.state.root}"

    @property
    def site(self) -> str:
        return self.stack.site.format(**addresses(self.stack, self.inventory))

    def make_ready(self) -> None:
        """The last look before anything runs: keys are there, the state folder is. Raises UsageProblem."""
        require_files(self.inventory)
        self.state.create()

    def secrets(self, *names: str, make: bool = False) -> Secrets:
        """Those of these names, or all: given by the environment or by the vault beside the manifest, or kept. Raises
        UsageProblem where one is nowhere; a command that gives secrets to hosts may `make` and keep it."""
        variables = {**self.stack.secrets, **{name: name.upper() for name in OWN_SECRETS}}
        given = {
            name: os.environ[variable] for name, variable in variables.items() if variable and os.environ.get(variable)
        }
        vault = read_vault(self.manifest.with_name(VAULT), variables)
        if make:
            return load_or_generate(self.state.secrets, self.stack.secrets, {**vault, **given}, OWN_SECRETS)
        return load(self.state.secrets, names or variables, {**vault, **given}, f"the environment or {VAULT}")

    def buckets(self) -> Buckets:
        """Buckets at the old provider. `AWS_ENDPOINT_URL` wins over the manifest's; a drill brings its own."""
        access = self.drill.access if self.drill else None
        if access is None:
            endpoint = None if os.environ.get("AWS_ENDPOINT_URL") else self.stack.source.endpoint_url
            region = None if os.environ.get("AWS_REGION") else self.stack.source.region
            access = Access(endpoint_url=endpoint, region=region)
        return Buckets(access)

    def actions(
        self, *, replace: bool = False, make_secrets: bool = False, rotate_secrets: bool = False,
        play_anyway: bool = False, look_once: bool = False,
    ) -> ActionsFor:  # fmt: skip
        """Kind of step -> what carries it out; adapters are made when the run begins.

        `make_secrets`: those that are nowhere are made; else raises UsageProblem, before anything runs.
        `rotate_secrets`, `play_anyway`: as Provision takes them.
        `look_once`: a check that does not pass now is not waited for.
        """
        known = None if make_secrets else self.secrets()

        def assembled(stop: threading.Event) -> Mapping[str, Action]:
            hosts = SshHosts()
            playbooks = AnsiblePlaybooks(self.state.ansible)
            secrets = self.secrets(make=True) if known is None else known
            return {
                **self.export_actions(stop),
                **self._host_actions(hosts, playbooks, secrets, rotate_secrets, play_anyway),
                **self._restore_actions(hosts, secrets, replace),
                **self._service_actions(hosts, secrets, look_once),
                **self._drill_actions(hosts, playbooks),
            }

        return assembled

    def export_actions(self, stop: threading.Event) -> dict[str, Action]:
        """Those that need no secret of the new home."""
        buckets = self.buckets()
        return {
            "preflight.source": SourceAnswers(self.stack, buckets.source),
            "export.bucket": BucketExported(self.stack, buckets.source, self.state.archive, stop, buckets.lanes),
            "prove.objects": ObjectsAccounted(self.stack, self.state.archive),
        }

    def _host_actions(
        self, hosts: Hosts, playbooks: Playbooks, secrets: Secrets, rotate_secrets: bool, play_anyway: bool
    ) -> dict[str, Action]:
        archive = Archive(self.state.archive)

        def locate(bucket: str, pattern: str) -> Path:
            return archive.newest(Artifact(bucket=bucket, pattern=pattern)).path

        return {
            "preflight.hosts": Preflight(hosts, self.stack, self.inventory, secrets),
            "provision.hosts": Provision(
                hosts,
                playbooks,
                self.stack,
                self.inventory,
                secrets,
                self.checks(hosts, secrets),
                self.who,
                rotate_secrets=rotate_secrets,
                play_anyway=play_anyway,
            ),
            "prove.drift": ProvisionDrift(hosts, playbooks, self.stack, self.inventory, secrets),
            "restore.release": ReleaseInstall(
                hosts,
                playbooks,
                self.stack,
                self.inventory,
                secrets,
                self.checks(hosts, secrets),
                locate,
                self.who,
            ),
        }

    def _restore_actions(self, hosts: Hosts, secrets: Secrets, replace: bool) -> dict[str, Action]:
        stack, inventory, archive = self.stack, self.inventory, Archive(self.state.archive)
        return {
            "restore.dump": DumpPlaced(stack, inventory, hosts, archive),
            "restore.database": DatabaseLoaded(stack, inventory, hosts, archive, replace),
            "restore.rewrite": UrlsRewritten(stack, inventory, hosts),
            "restore.proof": DatabaseProved(stack, inventory, hosts, archive),
            "restore.cache": CacheRestored(stack, inventory, secrets, hosts, RedisClient(), archive, replace),
            "restore.media": MediaPlaced(stack, inventory, hosts, archive),
            "restore.backup": FirstBackup(stack, inventory, hosts),
            "cutover.lag": LagMeasured(stack, inventory, hosts, self._source_database(hosts)),
        }

    def _service_actions(self, hosts: Hosts, secrets: Secrets, look_once: bool) -> dict[str, Action]:
        stack, inventory = self.stack, self.inventory
        checks = self.checks(hosts, secrets)
        folder = self.manifest.absolute().parent
        return {
            "start.service": ServiceStarted(stack, inventory, hosts, checks),
            "start.drained": Drained(checks),
            "prove.checks": AllChecked(checks, patient=not look_once),
            "prove.journey": JourneyWalked(stack, inventory, CommandJourneys(), folder, self.state.archive),
        }

    def checks(self, hosts: Hosts, secrets: Secrets) -> ServiceChecks:
        """The checks of the manifest, asked by the real clients."""
        return ServiceChecks(self.stack, self.inventory, secrets, hosts, HttpxClient(), PsycopgClient(), RedisClient())

    def release_home(self, hosts: Hosts, name: str) -> ReleaseHome:
        """A release where it runs."""
        return ReleaseHome(hosts, self.checks(hosts, self.secrets()), self.stack, self.inventory, name, self.who)

    def deploy_actions(self, name: str, archive: Path | None) -> ActionsFor:
        """What carries out a deployment of `archive`, or a rollback where there is none. Raises UsageProblem where a
        secret is missing."""
        secrets = self.secrets()

        def assembled(stop: threading.Event) -> Mapping[str, Action]:
            hosts = SshHosts()
            playbooks = AnsiblePlaybooks(self.state.ansible)
            stack, inventory, checks = self.stack, self.inventory, self.checks(hosts, secrets)
            started = ServiceStarted(stack, inventory, hosts, checks)
            actions: dict[str, Action] = {
                "deploy.rollback": ReleaseRollback(hosts, stack, inventory, checks, self.who),
                "deploy.start": JoinedHostsStarted(stack, started, self.release_home(hosts, name)),
            }
            if archive:
                actions["deploy.release"] = ReleaseInstall(
                    hosts,
                    playbooks,
                    stack,
                    inventory,
                    secrets,
                    checks,
                    lambda bucket, pattern: archive,
                    self.who,
                )
            return actions

        return assembled

    def _source_database(self, hosts: Hosts) -> PsqlSource | None:
        """A drill may ask its own old home; a real one cannot be asked from here yet, and the loss is said unknown."""
        if self.drill is None or self.drill.old_inventory is None:
            return None
        return PsqlSource(self.stack, hosts, self.drill.old_inventory.hosts[OLD_HOST])

    def _drill_actions(self, hosts: Hosts, playbooks: Playbooks) -> dict[str, Action]:
        drill = self.drill
        if drill is None:
            return {}
        found: dict[str, Action] = {"lab.hosts": HostsUp(drill.lab, drill.specs)}
        if drill.recipe and drill.old_inventory:
            old = drill.old_inventory.hosts[OLD_HOST]
            found["lab.old-home"] = OldHomeLives(drill.lab, drill.recipe, playbooks, drill.old_inventory)
            found["lab.dump"] = DumpTaken(hosts, old, drill.recipe.manifest)
            found["cutover.switch-off"] = OldHomeSwitchedOff(drill.lab)
        return found
