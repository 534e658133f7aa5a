"""Ranges of hosts, as Ansible writes them, and their addresses."""

import subprocess
import sys
from pathlib import Path

import pytest

from migrate.errors import UsageProblem
from migrate.hostranges import expand
from migrate.inventory import read_inventory


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("db[1:3]", ["db1", "db2", "db3"]),
        ("db[08:11].example", ["db08.example", "db09.example", "db10.example", "db11.example"]),
        ("rack[a:c]", ["racka", "rackb", "rackc"]),
        ("app[1:9:4]", ["app1", "app5", "app9"]),
        ("one[7:7]", ["one7"]),
    ],
)
def test_a_range_stands_for_its_names(written: str, names: list[str]) -> None:
    assert expand(written) == names


@pytest.mark.parametrize(
    "written", ["db[3:1]", "db[1-3]", "db[1:", "db[1:2][1:2]", "db[01:100]", "db[a:9]", "db[1:2:0]", "db[0:99999999]"]
)
def test_what_is_no_range_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        expand(written)


INVENTORY = """\
all:
  hosts:
    "db[001:300]": {cloudexit_first_address: 10.0.0.250, cloudexit_cores: 8}
  children:
    database: {hosts: {"db[001:002]": }}
    spare: {hosts: {"db[003:300]": }}
"""


def test_each_host_of_a_range_has_the_next_address_and_the_same_variables(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    inventory = read_inventory(path)
    assert len(inventory.hosts) == 300
    assert inventory.hosts["db001"].address == "10.0.0.250"
    assert inventory.hosts["db010"].address == "10.0.1.3"
    assert [host.name for host in inventory.group("database")] == ["db001", "db002"]
    assert inventory.merged["db300"]["cloudexit_cores"] == 8
    assert inventory.where_of_host("db123", "cloudexit_cores").startswith(f"{path}:3:")


def test_ansible_reads_the_same_names(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY)
    listed = subprocess.run(
        [Path(sys.executable).with_name("ansible"), "-i", path, "spare", "--list-hosts"],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout.split()  # fmt: skip
    assert listed[2:] == [host.name for host in read_inventory(path).group("spare")]


def test_addresses_that_do_not_reach_are_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY.replace("10.0.0.250", "255.255.255.250"))
    with pytest.raises(UsageProblem, match="has no address"):
        read_inventory(path)
