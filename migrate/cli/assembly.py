"""Where ports meet adapters: what one command works with, and the action behind each kind of step."""

import os
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
from migrate.adapters.s3 import Access, S3Source, connect
from migrate.adapters.ssh import SshHosts
from migrate.cli.state import StateFolder
from migrate.errors import UsageProblem
from migrate.export.source import ObjectSource
from migrate.export.step import BucketExported, ObjectsAccounted, SourceAnswers
from migrate.inventory import Inventory, addresses, hold_against, read_inventory
from migrate.lab.drill import DumpTaken, HostsUp, OldHomeLives, OldHomeRecipe, OldHomeSwitchedOff
from migrate.lab.lab import HostSpec, Lab
from migrate.plan import Plan
from migrate.planner import make_plan
from migrate.secret import Secrets, load_or_generate
from migrate.stack import Stack, read_stack

ActionsFor = Callable[[threading.Event], Mapping[str, Action]]
DEFAULT_INVENTORY = Path("inventory") / "hosts.yml"


@dataclass(frozen=True)
class Drill:
    """What only a rehearsal has: disposable hosts and, where the manifest describes one, a stand-in for the old home."""

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
        stack = read_stack(manifest)
        path = inventory_path or manifest.parent / DEFAULT_INVENTORY
        if inventory_path is None and not path.exists():
            raise UsageProblem(
                "no inventory is given",
                where=str(path),
                expected="an Ansible inventory in YAML",
                hint="name it: -i inventory/hosts.yml, or make one: cloudexit init DIR",
            )
        inventory = read_inventory(path)
        plan = make_plan(stack, inventory)
        return cls.assemble(manifest, stack, inventory, StateFolder.beside(manifest, state), plan)

    @classmethod
    def assemble(
        cls, manifest: Path, stack: Stack, inventory: Inventory, state: StateFolder, plan: Plan,
        drill: Drill | None = None,
    ) -> "Undertaking":  # fmt: skip
        hold_against(stack, inventory)
        return cls(manifest, stack, inventory, state, plan, drill)

    @property
    def site(self) -> str:
        return self.stack.site.format(**addresses(self.stack, self.inventory))

    def secrets(self) -> Secrets:
        """Given by the environment, or generated and kept."""
        given = {
            name: os.environ[variable]
            for name, variable in self.stack.secrets.items()
            if variable and os.environ.get(variable)
        }
        return load_or_generate(self.state.secrets, self.stack.secrets, given)

    def source_of(self) -> Callable[[str], ObjectSource]:
        """Buckets at the old provider. `AWS_ENDPOINT_URL` wins over the manifest's; a drill brings its own."""
        access = self.drill.access if self.drill else None
        if access is None:
            endpoint = None if os.environ.get("AWS_ENDPOINT_URL") else self.stack.source.endpoint_url
            region = None if os.environ.get("AWS_REGION") else self.stack.source.region
            access = Access(endpoint_url=endpoint, region=region)
        client = connect(access)
        return lambda bucket: S3Source(client, bucket)

    def actions(self, *, replace: bool = False) -> ActionsFor:
        """Kind of step -> what carries it out; the adapters are made when the run begins."""
        return lambda stop: {**self._export_actions(stop), **self._target_actions(replace), **self._drill_actions()}

    def _export_actions(self, stop: threading.Event) -> dict[str, Action]:
        source_of = self.source_of()
        return {
            "preflight.source": SourceAnswers(self.stack, source_of),
            "export.bucket": BucketExported(self.stack, source_of, self.state.archive, stop),
            "prove.objects": ObjectsAccounted(self.stack, self.state.archive),
        }
