"""Hosts of a database and of its backups are of one release of Debian; all others may have another."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.check import CheckResult, Verdict
from migrate.inventory import Host, Inventory, on_hosts_of
from migrate.manifest import read_stack
from migrate.target.onerelease import OPERATING_SYSTEM, RELEASE, held_to_one_release

PLAZA = Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml"
GROUPS = {
    "data1": ("database",), "data2": ("database",), "ops1": ("backup", "monitor"), "edge1": ("edge", "media"),
    "app1": ("app", "worker", "cache"),
}  # fmt: skip


def found(releases: Mapping[str, str]) -> list[CheckResult]:
    inventory = Inventory(Path("hosts.yml"), {name: Host(name, "192.0.2.1", GROUPS[name]) for name in releases})
    checks = [CheckResult("root", Verdict.PASS, "root", host=name) for name in releases]
    for name, release in releases.items():
        check = CheckResult(OPERATING_SYSTEM, Verdict.PASS, f"Debian {release}", host=name, facts={RELEASE: release})
        checks.append(check)
    return list(held_to_one_release(on_hosts_of(read_stack(PLAZA), inventory), inventory, checks))


@pytest.mark.parametrize(
    ("releases", "held"),
    [
        ({"data1": "12", "data2": "12", "ops1": "12", "edge1": "12", "app1": "12"}, set()),
        ({"data1": "13", "data2": "13", "ops1": "13", "edge1": "12", "app1": "12"}, set()),
        ({"data1": "12", "data2": "12", "ops1": "12", "edge1": "13", "app1": "13"}, set()),
        ({"data1": "12", "data2": "13", "edge1": "12"}, {"data2"}),
        ({"data1": "13", "data2": "12", "ops1": "12"}, {"data2", "ops1"}),
        ({"data1": "13", "ops1": "12"}, {"ops1"}),
        ({"data2": "13", "app1": "12"}, set()),
    ],
)
def test_who_shares_a_database_shares_its_release(releases: dict[str, str], held: set[str]) -> None:
    results = found(releases)
    assert {check.host for check in results if check.holds} == held
    assert len(results) == 2 * len(releases)
    for check in results:
        if check.holds:
            assert check.name == OPERATING_SYSTEM and check.hint
            assert check.detail.endswith(f"data1, which leads the database, has Debian {releases['data1']}")


def test_a_host_that_could_not_be_asked_holds_nobody_up() -> None:
    inventory = Inventory(Path("hosts.yml"), {name: Host(name, "192.0.2.1", GROUPS[name]) for name in GROUPS})
    silent = CheckResult("reachable", Verdict.FAIL, "no SSH", host="data1")
    other = CheckResult(OPERATING_SYSTEM, Verdict.PASS, "Debian 13", host="ops1", facts={RELEASE: "13"})
    checks = [silent, other, replace(other, host="data2")]
    assert list(held_to_one_release(on_hosts_of(read_stack(PLAZA), inventory), inventory, checks)) == checks
