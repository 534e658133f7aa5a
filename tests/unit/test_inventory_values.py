"""Which of several values a host has: as Ansible has it, or refused where that hangs on the alphabet."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrate.errors import DocumentProblems
from migrate.inventory import Inventory, hold_against, read_inventory
from tests.plan_cases import stack_named

ADDRESS = {"ansible_host": "192.0.2.1"}
SETTLED = {
    "own beats group": {"a": {"vars": {"x": 1}, "hosts": {"m": {**ADDRESS, "x": 2}}}},
    "own of another place beats group": {
        "a": {"vars": {"x": 1}, "hosts": {"m": None}}, "b": {"hosts": {"m": {**ADDRESS, "x": 2}}}
    },
    "child beats parent": {"a": {"vars": {"x": 1}, "children": {"b": {"vars": {"x": 2}, "hosts": {"m": ADDRESS}}}}},
    "child beats parent, seen in both": {
        "a": {"vars": {"x": 1}, "hosts": {"m": None}, "children": {"b": {"vars": {"x": 2}, "hosts": {"m": ADDRESS}}}}
    },
    "group beats all, though another group says nothing": {
        "a": {"vars": {"x": 2}, "hosts": {"m": ADDRESS}}, "b": {"hosts": {"m": None}}
    },
    "two groups, one value": {
        "a": {"vars": {"x": 2}, "hosts": {"m": ADDRESS}}, "b": {"vars": {"x": 2}, "hosts": {"m": None}}
    },
}  # fmt: skip


def written(tmp_path: Path, children: dict[str, Any]) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"vars": {"x": 0}, "children": children}}, sort_keys=False))
    return path


@pytest.mark.parametrize("children", SETTLED.values(), ids=SETTLED.keys())
def test_a_host_has_the_value_that_ansible_gives_it(tmp_path: Path, children: dict[str, Any]) -> None:
    path = written(tmp_path, children)
    program = Path(sys.executable).with_name("ansible-inventory")
    told = subprocess.run([program, "-i", path, "--host", "m"], capture_output=True, text=True, timeout=60, check=True)
    assert read_inventory(path).merged["m"]["x"] == json.loads(told.stdout)["x"] == 2


def test_two_values_of_two_groups_are_refused_by_line(tmp_path: Path) -> None:
    """Ansible takes the group that is later in the alphabet; who reads the file takes it for the other."""
    groups = {
        "big": {"vars": {"ansible_port": 2200}, "hosts": {"m": ADDRESS}},
        "media": {"vars": {"ansible_port": 22}, "hosts": {"m": None}},
    }
    with pytest.raises(DocumentProblems) as refused:
        read_inventory(written(tmp_path, groups))
    text = str(refused.value)
    assert "hosts.yml:13: all.children.media.vars.ansible_port" in text
    assert "the groups 'big' and 'media' give 'm' two values" in text


def test_a_value_at_the_host_settles_it(tmp_path: Path) -> None:
    groups = {
        "big": {"vars": {"ansible_port": 2200}, "hosts": {"m": {**ADDRESS, "ansible_port": 222}}},
        "media": {"vars": {"ansible_port": 22}, "hosts": {"m": None}},
    }
    assert read_inventory(written(tmp_path, groups)).hosts["m"].port == 222


@pytest.mark.parametrize("spelling", ["2001:DB8::1", "2001:db8:0:0::1"])
def test_one_machine_under_two_spellings_is_one_machine(tmp_path: Path, spelling: str) -> None:
    groups = {"media": {"hosts": {"one": {"ansible_host": "2001:db8::1"}, "two": {"ansible_host": spelling}}}}
    inventory: Inventory = read_inventory(written(tmp_path, groups))
    with pytest.raises(DocumentProblems, match="have one address"):
        hold_against(stack_named("one_bucket"), inventory)


@pytest.mark.parametrize("amount", [".inf", "-1", "true", "9" * 40])
def test_an_amount_that_no_machine_has_is_refused(tmp_path: Path, amount: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(f"all:\n  hosts:\n    m: {{ansible_host: 192.0.2.1, cloudexit_disk: {amount}}}\n")
    with pytest.raises(DocumentProblems, match="no amount"):
        read_inventory(path)
