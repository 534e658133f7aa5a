"""What `cloudexit failover` says before it touches anything."""

import shutil
from pathlib import Path

import pytest

from tests.drill import PLAZA, cloudexit
from tests.homes import CHECKOUT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(PLAZA, tmp_path / "stack.yaml")
    shutil.copytree(CHECKOUT / "inventories" / "fleet", tmp_path / "inventory")
    hosts = tmp_path / "inventory" / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("~/.ssh/id_ed25519", str(tmp_path / "no-key")))
    return tmp_path


def told(folder: Path, *options: str) -> tuple[int, str]:
    argv = ["--stack", str(folder / "stack.yaml"), "-i", str(folder / "inventory"), *options]
    done = cloudexit("failover", "database", *argv)
    return done.returncode, done.stderr


def test_who_leads_by_the_inventory_and_is_to_give_way_is_said_how_and_that_way_is_open(folder: Path) -> None:
    leads = folder / "inventory" / "leads.yml"
    code, said = told(folder, "--rejoin", "data1")
    assert code == 2 and f"write `database: data2` into {leads}" in said, said
    leads.write_text("database: data2\n")
    code, said = told(folder, "--rejoin", "data1")
    assert code == 2 and "no such file" in said and "by the inventory" not in said, said
    code, said = told(folder, "--rejoin", "data2")
    assert code == 2 and "write `database: data1` into" in said, said


def test_a_second_inventory_in_the_folder_is_refused_before_leads_yml_is_written(folder: Path) -> None:
    shutil.copy(folder / "inventory" / "hosts.yml", folder / "inventory" / "spare.yml")
    code, said = told(folder)
    assert code == 2 and "spare.yml lies in the same folder" in said, said
