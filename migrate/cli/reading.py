"""Manifest and inventory, read and held against each other, for every command that needs both."""

from pathlib import Path

from migrate.errors import UsageProblem
from migrate.inventory import Inventory, hold_against, on_hosts_of, read_inventory
from migrate.manifest import read_stack
from migrate.stack import Stack

DEFAULT_INVENTORY = Path("inventory") / "hosts.yml"


def read_stack_and_inventory(manifest: Path, inventory_path: Path | None) -> tuple[Stack, Inventory]:
    """Raises UsageProblem, with file, line and field, before anything is touched."""
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
    stack = on_hosts_of(stack, inventory)
    hold_against(stack, inventory)
    return stack, inventory
