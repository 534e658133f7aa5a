"""`leads.yml` beside an inventory: which host of a group takes its writes."""

from pathlib import Path

import pytest

from migrate.errors import DocumentProblems, UsageProblem
from migrate.inventory import hold_against, on_hosts_of, read_inventory
from migrate.leads import LEADS, refuse_a_second_inventory
from migrate.manifest import read_stack

ROOT = Path(__file__).parents[2]
HOSTS = """
all:
  children:
    database: {hosts: {db1: {ansible_host: 192.0.2.1}, db2: {ansible_host: 192.0.2.2}, db3: {ansible_host: 192.0.2.3}}}
    cache: {hosts: {db1: }}
"""


def written(folder: Path, leads: str | None = None) -> Path:
    path = folder / "hosts.yml"
    path.write_text(HOSTS)
    if leads is not None:
        (folder / LEADS).write_text(leads)
    return path


def test_the_first_host_of_a_group_leads_it(tmp_path: Path) -> None:
    inventory = read_inventory(written(tmp_path))
    assert inventory.lead("database").name == "db1"
    assert read_inventory(written(tmp_path, "")).digest == inventory.digest


def test_a_host_that_is_named_leads_its_group_and_no_other(tmp_path: Path) -> None:
    plain = read_inventory(written(tmp_path)).digest
    inventory = read_inventory(written(tmp_path, "database: db2"))
    assert [host.name for host in inventory.group("database")] == ["db2", "db1", "db3"]
    assert inventory.address("database") == "192.0.2.2" and inventory.lead("cache").name == "db1"
    assert inventory.digest != plain


@pytest.mark.parametrize(
    "leads", ["database: db9", "cache: db2", "nothing: db1", "[a]", "database: [db1]", "database:"]
)
def test_a_host_that_is_not_in_the_group_is_refused_with_its_line(tmp_path: Path, leads: str) -> None:
    with pytest.raises((UsageProblem, DocumentProblems)) as problem:
        read_inventory(written(tmp_path, leads))
    assert LEADS in str(vars(problem.value)) or LEADS in str(problem.value)


def test_services_that_watch_are_left_out_where_nobody_runs_them() -> None:
    stack = read_stack(ROOT / "examples" / "plaza" / "stack.yaml")
    inventory = read_inventory(ROOT / "inventories" / "example")
    watched = {**stack.model_dump(mode="json")["services"]["cache"], "kind": "monitor", "group": "monitor"}
    services = {**stack.services, "watch": type(stack.services["cache"]).model_validate(watched)}
    settled = on_hosts_of(stack.model_copy(update={"services": services}), inventory)
    assert set(settled.services) == set(stack.services) - {"logs", "monitor", "packages"}
    hold_against(settled, inventory)


def test_two_inventories_in_one_folder_are_not_led_by_one_file(tmp_path: Path) -> None:
    written(tmp_path, "database: db2")
    (tmp_path / "spare.yaml").write_text(HOSTS)
    for name in ("hosts.yml", "spare.yaml"):
        with pytest.raises(UsageProblem, match="lies in the same folder") as problem:
            read_inventory(tmp_path / name)
        assert problem.value.where.endswith(LEADS) and "a folder of its own" in problem.value.hint


def test_other_files_beside_an_inventory_are_none(tmp_path: Path) -> None:
    path = written(tmp_path, "database: db2")
    for name, text in (("stack.yml", "name: plaza"), ("broken.yaml", "{"), ("play.yml", "[{hosts: all}]")):
        (tmp_path / name).write_text(text)
    assert read_inventory(path).lead("database").name == "db2"


def test_as_long_as_nobody_led_another_a_second_inventory_hinders_nobody_but_a_fail_over(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "spare.yml").write_text(HOSTS)
    assert read_inventory(path).lead("database").name == "db1"
    with pytest.raises(UsageProblem, match=r"spare\.yml lies in the same folder"):
        refuse_a_second_inventory(path)
