"""Where hosts speak in the clear to each other over addresses that anyone's packets could pass: a warning, as data."""

from pathlib import Path

import pytest

from migrate.check import Severity, Verdict
from migrate.inventory import Host, Inventory
from migrate.manifest import read_stack
from migrate.target.plainwire import is_private, judge_wire

STACK = read_stack(Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml")


def inventory_at(app: str, media: str = "10.0.0.3", *, one: bool = False) -> Inventory:
    if one:
        groups = ("database", "cache", "app", "worker", "edge", "media")
        return Inventory(Path("hosts.yml"), {"app1": Host("app1", app, groups)})
    return Inventory(Path("hosts.yml"), {
        "data": Host("data", app, ("database",)), "app1": Host("app1", app, ("app", "worker")),
        "edge1": Host("edge1", media, ("edge", "media")),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.1.2.3", True), ("172.16.0.1", True), ("172.32.0.1", False), ("192.168.9.9", True), ("100.64.0.1", True),
        ("100.128.0.1", False), ("127.0.0.1", True), ("::1", True), ("fd12::1", True), ("2001:db8::1", False),
        ("192.0.2.21", False), ("203.0.113.7", False), ("8.8.8.8", False), ("2a01:4f8::1", False),
        ("::ffff:10.0.0.1", True), ("::ffff:8.8.8.8", False),
    ],
)  # fmt: skip
def test_an_address_is_private_or_not(address: str, private: bool) -> None:
    assert is_private(address) is private


@pytest.mark.parametrize(
    ("inventory", "host", "words"),
    [
        (inventory_at("192.0.2.31"), "app1", "edge1 in the clear to web, 192.0.2.31:8000"),
        (inventory_at("10.0.0.2", "2a01:4f8::1"), "edge1", "app1 in the clear to media, [2a01:4f8::1]:8081"),
        (inventory_at("10.0.0.2"), "app1", ""),
        (inventory_at("192.0.2.31"), "edge1", ""),
        (inventory_at("192.0.2.31"), "data", ""),
        (inventory_at("192.0.2.31", one=True), "app1", ""),
    ],
)
def test_what_is_spoken_in_the_clear_over_a_public_address_is_a_warning_and_says_what_to_do(
    inventory: Inventory, host: str, words: str
) -> None:
    check = judge_wire(STACK, inventory, inventory.hosts[host])
    assert check.name == "private-network" and check.severity is Severity.WARNING and not check.holds
    assert (check.verdict is Verdict.FAIL) is bool(words) and words in check.detail
    assert ("VPN" in check.hint) is bool(words)


def test_a_host_that_goes_by_a_name_cannot_be_judged() -> None:
    found = inventory_at("app1.example")
    assert judge_wire(STACK, found, found.hosts["app1"]).verdict is Verdict.UNKNOWN
