"""A new home on disposable hosts, of the shape of a documented inventory, and what tests ask of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from migrate.action import StepContext
from migrate.adapters.ansible import AnsiblePlaybooks
from migrate.adapters.http import HttpxClient
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.adapters.ssh import SshHosts
from migrate.inventory import Inventory, on_hosts_of, read_inventory
from migrate.lab import HostSpec, Lab
from migrate.manifest import read_stack
from migrate.plan import Effect, Phase, Step
from migrate.ports import Completed, PlayResult
from migrate.secret import Secrets, load_or_generate
from migrate.stack import Stack
from migrate.target.checks import ServiceChecks
from migrate.target.ownsecrets import OWN_SECRETS
from migrate.target.playbooks import playbooks_folder
from migrate.target.provision import Provision, ProvisionDrift
from migrate.target.release import ReleaseInstall
from migrate.target.variables import provision_variables

CHECKOUT = Path(__file__).parents[1]
PLAZA = CHECKOUT / "examples" / "plaza" / "stack.yaml"
CONTEXT = StepContext()
STEP = Step("step", Phase.PROVISION, "kind", "title", Effect.REVERSIBLE, subject="plaza")


@dataclass(frozen=True)
class Home:
    stack: Stack
    inventory: Inventory
    secrets: Secrets
    hosts: SshHosts
    playbooks: AnsiblePlaybooks
    folder: Path

    def run(self, host: str, *command: str) -> Completed:
        return self.hosts.run(self.inventory.hosts[host], command)

    def says(self, host: str, script: str) -> str:
        done = self.run(host, "sh", "-c", script)
        assert done, done
        return done.stdout.strip()

    def provision(self, **how: Any) -> Provision:
        checks = self.checks()
        return Provision(
            self.hosts, self.playbooks, self.stack, self.inventory, self.secrets, checks, "tests", **how
        )  # fmt: skip

    def drift(self) -> ProvisionDrift:
        return ProvisionDrift(self.hosts, self.playbooks, self.stack, self.inventory, self.secrets)

    def play(self, *, check: bool = False, limit: Sequence[str] = (), **variables: Any) -> PlayResult:
        """provision.yml by itself; `variables` go over those that follow from the manifest and the inventory."""
        told = provision_variables(self.stack, self.inventory, self.secrets)
        return self.playbooks.run(
            playbooks_folder() / "provision.yml",
            self.inventory,
            variables={**told.variables, "cloudexit_marker": "by hand", **variables},
            secrets=told.secrets,
            check=check,
            limit=limit,
        )

    def role(self, name: str, tasks: str = "main", **variables: Any) -> PlayResult:
        """One role of the playbooks by itself, or one file of its tasks, with these variables."""
        folder = playbooks_folder() / "roles" / name
        include = {"name": str(folder), "tasks_from": tasks}
        play = {
            "hosts": "all", "become": True, "gather_facts": False,
            "tasks": [{"name": f"Role {name}", "ansible.builtin.include_role": include}],
        }  # fmt: skip
        path = self.folder / f"{name}-{tasks}.yml"
        path.write_text(yaml.safe_dump([play]))
        return self.playbooks.run(path, self.inventory, variables=variables, secrets=self.secrets)

    def release_install(self, archive: Path) -> ReleaseInstall:
        return ReleaseInstall(
            self.hosts, self.playbooks, self.stack, self.inventory, self.secrets, self.checks(),
            lambda bucket, pattern: archive, "tests",
        )  # fmt: skip

    def checks(self) -> ServiceChecks:
        return ServiceChecks(
            self.stack, self.inventory, self.secrets, self.hosts, HttpxClient(), PsycopgClient(), RedisClient()
        )


def home_on(inventory: Path, hosts: SshHosts, folder: Path) -> Home:
    """plaza's home on the hosts of an inventory; secrets and Ansible's runs are kept in `folder`."""
    read = read_inventory(inventory)
    stack = on_hosts_of(read_stack(PLAZA), read)
    secrets = load_or_generate(folder / "secrets.json", stack.secrets, {}, OWN_SECRETS)
    return Home(stack, read, secrets, hosts, AnsiblePlaybooks(folder / "ansible"), folder)


def lab_inventory(lab: Lab, name: str, folder: Path, **variables: Any) -> Path:
    """The inventory `inventories/<name>` with a lab's hosts behind its names: groups are the documented ones,
    addresses, user and keys the lab's. The hosts are made. `variables` are added for all hosts."""
    documented = read_inventory(CHECKOUT / "inventories" / name)
    lab.up([HostSpec(host.name, host.groups) for host in documented.hosts.values()])
    path = lab.write_inventory(folder / "hosts.yml")
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    document["all"]["vars"].update(variables)
    path.write_text(yaml.safe_dump(document))
    return path


def changed_tasks(result: PlayResult) -> Mapping[str, tuple[str, ...]]:
    """Host -> tasks that Ansible's events call changed, for hosts that have any."""
    assert result, result
    return {play.host: play.changed_tasks for play in result.hosts.values() if play.changed}
