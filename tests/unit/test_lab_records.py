"""Addresses, inventory, names, records and locks of the lab: everything that needs no host."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import GateHeld, LockHeld, UsageProblem
from migrate.inventory import read_inventory
from migrate.lab import DEBIAN_PACKAGES, HostSpec, Lab, Release
from migrate.lab.command import CommandFailed, call, system_environment
from migrate.lab.files import place_file, read_record, remove_tree, write_record
from migrate.lab.inventory import inventory_text
from migrate.lab.lock import held
from migrate.lab.network import LAB_RANGE, Forwarding, Network, choose_address, choose_subnet
from migrate.lab.requirements import PROGRAM_OF_PACKAGE

SUBNET = IPv4Network("10.200.7.0/24")


@given(st.text("abcdefghij-0123456789", min_size=1, max_size=8))
def test_a_lab_keeps_its_subnet_unless_a_route_is_in_the_way(name: str) -> None:
    first = choose_subnet(name, [])
    assert first == choose_subnet(name, [IPv4Network("192.168.0.0/16")])
    assert first.prefixlen == 24
    assert first.subnet_of(LAB_RANGE)
    second = choose_subnet(name, [IPv4Network((int(first.network_address) & ~0xFFF, 20))])
    assert not second.overlaps(first)


def test_no_subnet_left_is_said() -> None:
    with pytest.raises(GateHeld, match="is free"):
        choose_subnet("demo", [IPv4Network("10.0.0.0/8")])


@given(st.lists(st.text("abcdef0123", min_size=1, max_size=12), unique=True, max_size=40))
def test_hosts_of_a_lab_never_share_an_address(names: list[str]) -> None:
    given_out: list[IPv4Address] = []
    for name in names:
        given_out.append(choose_address(name, SUBNET, given_out))
    assert len(set(given_out)) == len(names)
    assert all(address in SUBNET and 10 <= int(address) & 0xFF <= 249 for address in given_out)


def test_an_address_does_not_depend_on_what_was_planned_before() -> None:
    alone = choose_address("data", SUBNET, [])
    assert choose_address("data", SUBNET, [choose_address("old", SUBNET, [])]) == alone


def test_a_subnet_that_is_full_is_said() -> None:
    with pytest.raises(GateHeld, match="no address is free"):
        choose_address("data", SUBNET, list(SUBNET.hosts()))


def test_names_of_interfaces_fit_into_what_the_kernel_takes() -> None:
    network = Network("longname", Path("/x"))
    assert len(network.bridge) <= 15
    assert len(network.port(SUBNET[249])) <= 15


def test_two_roots_never_mistake_each_others_bridge() -> None:
    assert Network("demo", Path("/a")).mark != Network("demo", Path("/b")).mark
    assert int(Network("demo", Path("/a")).mark[:2], 16) & 0b11 == 0b10


def test_the_inventory_is_one_that_the_tool_reads(tmp_path: Path) -> None:
    hosts = [("data", "10.200.7.5", ("database", "cache")), ("app", "10.200.7.6", ("app", "worker"))]
    path = tmp_path / "hosts.yml"
    text = inventory_text(hosts, Path("/lab/key"), Path("/lab/known_hosts"), {"old_home": ["app"], "cache": ["data"]})
    path.write_text(text)
    inventory = read_inventory(path)
    assert {name: host.address for name, host in inventory.hosts.items()} == {"data": "10.200.7.5", "app": "10.200.7.6"}
    assert [host.name for host in inventory.group("database")] == ["data"]
    assert [host.name for host in inventory.group("old_home")] == ["app"]
    assert inventory.hosts["app"].known_hosts == Path("/lab/known_hosts")
    assert inventory.hosts["app"].private_key == Path("/lab/key")
    variables = yaml.safe_load(text)["all"]["vars"]
    assert "StrictHostKeyChecking=yes" in variables["ansible_ssh_common_args"]
    assert variables["ansible_python_interpreter"] == "/usr/bin/python3"


@pytest.mark.parametrize("name", ["", "Demo", "ninechars", "-a", "a-", "1lab", "a/b", "../x"])
def test_names_that_could_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="not a name for a lab"):
        Lab(name, tmp_path)


def test_host_names_are_held_to_the_same(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="not a name for a host"):
        Lab("demo", tmp_path).plan([HostSpec("../../etc")])


def made(lab: Lab, name: str, **planned: str) -> None:
    """What is on the disk once a host has been made."""
    record = read_record(lab.folder / "lab.json") or {"subnet": "10.200.7.0/24", "hosts": {}}
    record["hosts"][name] = {"address": f"10.200.7.{10 + len(record['hosts'])}", "groups": [], **planned}
    write_record(lab.folder / "lab.json", record)
    write_record(lab.folder / "hosts" / name / "host.json", {"phase": "ready", "image": None, "layers": []})


@pytest.mark.parametrize(
    ("there", "wanted_by_lab", "wanted_by_host", "holds"),
    [
        ({}, None, None, True),
        ({}, "12", None, True),
        ({}, "13", None, False),
        ({"release": "13"}, None, None, True),
        ({"release": "13"}, "13", None, True),
        ({"release": "13"}, "12", "13", True),
        ({"release": "13"}, "12", None, False),
        ({"release": "13"}, None, "12", False),
    ],
)
def test_a_host_keeps_its_release_and_another_one_is_refused(
    tmp_path: Path, there: dict[str, str], wanted_by_lab: str | None, wanted_by_host: str | None, holds: bool
) -> None:
    lab = Lab("demo", tmp_path, release=Release(wanted_by_lab) if wanted_by_lab else None)
    made(lab, "data", **there)
    spec = HostSpec("data", release=Release(wanted_by_host) if wanted_by_host else None)
    if holds:
        lab.plan([spec])
    else:
        with pytest.raises(UsageProblem, match=r"is of Debian \d+, and Debian \d+ is wanted") as problem:
            lab.plan([spec])
        assert "cloudexit lab down --name demo" in problem.value.hint
    planned = (read_record(lab.folder / "lab.json") or {})["hosts"]["data"]
    assert planned.get("release", "12") == there.get("release", "12")


def test_hosts_of_two_releases_are_planned_side_by_side(tmp_path: Path) -> None:
    lab = Lab("demo", tmp_path)
    lab.plan([HostSpec("old"), HostSpec("data", release=Release.TRIXIE)])
    lab.plan([HostSpec("old"), HostSpec("data")])
    record = read_record(lab.folder / "lab.json") or {}
    assert {name: host["release"] for name, host in record["hosts"].items()} == {"old": "12", "data": "13"}


def test_images_of_one_release_are_none_of_another(tmp_path: Path) -> None:
    twelve, thirteen = (Lab("demo", tmp_path, release=release).images for release in Release)
    assert twelve.base != thirteen.base and twelve.base.parent == tmp_path / "images"
    for images in (twelve, thirteen):
        (images.base / "root").mkdir(parents=True)
        (images.base.parent / "frozen" / "host").mkdir(parents=True)
        record = {"frozen_from": "data", "made_at": "x", "layers": [str(images.base / "root")]}
        write_record(images.base.parent / "frozen" / "host" / "image.json", record)
    (tmp_path / "images" / "base-outdated").mkdir()
    twelve._sweep()
    assert not (tmp_path / "images" / "base-outdated").exists()
    assert twelve.frozen("host") and thirteen.frozen("host")
    assert twelve.layers("host") != thirteen.layers("host")


def test_a_record_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lab.json"
    assert read_record(path) is None
    write_record(path, {"subnet": "10.0.0.0/24"})
    assert read_record(path) == {"subnet": "10.0.0.0/24"}
    assert [file.name for file in path.parent.iterdir()] == ["lab.json"]
    path.write_text("{")
    with pytest.raises(GateHeld, match="not a record of the lab"):
        read_record(path)


def test_a_link_in_a_hosts_tree_is_replaced_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("ours")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "resolv.conf").symlink_to(outside)
    place_file(tmp_path / "root" / "resolv.conf", "theirs", mode=0o600)
    assert outside.read_text() == "ours"
    assert (tmp_path / "root" / "resolv.conf").read_text() == "theirs"


def test_nothing_is_removed_through_a_mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("x")
    monkeypatch.setattr("migrate.lab.files.mounted_below", lambda folder: [folder / "root"])
    with pytest.raises(GateHeld, match="still mounted"):
        remove_tree(tmp_path)
    assert (tmp_path / "keep").exists()


def test_the_second_command_is_told_who_holds_the_lab(tmp_path: Path) -> None:
    lock = tmp_path / "demo.lock"
    with held(lock, "lab up"), pytest.raises(LockHeld) as fault, held(lock, "lab down"):
        pass
    assert f"lab up, process {os.getpid()}, since 20" in str(fault.value)
    with held(lock, "lab down"):
        pass


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "demo.lock"
    script = (
        "import sys, time; from pathlib import Path; from migrate.lab.lock import held\n"
        f"with held(Path({str(lock)!r}), 'x'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockHeld), held(lock, "lab down"):
            pass
        holder.kill()
    with held(lock, "lab down", wait_seconds=5):
        pass


def test_a_failing_program_is_quoted_and_a_slow_one_is_ended() -> None:
    with pytest.raises(CommandFailed, match="exit status 3: no such thing"):
        call(["sh", "-c", "echo no such thing >&2; exit 3"])
    with pytest.raises(CommandFailed, match=r"did not end within 0\.1 s"):
        call(["sleep", "30"], timeout=0.1)
    with pytest.raises(CommandFailed, match="no program 'no-such-program'"):
        call(["no-such-program"])


def test_programs_do_not_see_the_operators_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    environment = system_environment({"OWN": "1"})
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert environment["https_proxy"] == "http://proxy.example"
    assert environment["OWN"] == "1"


def test_every_needed_package_has_a_program_to_look_for() -> None:
    assert set(DEBIAN_PACKAGES) == set(PROGRAM_OF_PACKAGE)


def test_a_lock_removed_by_its_holder_is_made_anew_for_the_next(tmp_path: Path) -> None:
    lock = tmp_path / "demo.lock"
    waited: list[str] = []
    with ThreadPoolExecutor(1) as pool:

        def second() -> bool:
            with held(lock, "lab up", wait_seconds=10, on_wait=waited.append):
                return lock.exists()

        with held(lock, "lab down"):
            other = pool.submit(second)
            until = time.monotonic() + 10
            while not waited and time.monotonic() < until:
                time.sleep(0.01)
            lock.unlink()
        assert other.result(timeout=20)
    assert "lab down" in waited[0]


@pytest.mark.parametrize(
    ("before", "labs_left", "after"), [("0", False, "0"), ("0", True, "1"), ("1", False, "1")], ids=str
)
def test_forwarding_is_left_as_it_was_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str, labs_left: bool, after: str
) -> None:
    switch = tmp_path / "ip_forward"
    switch.write_text(before)
    monkeypatch.setattr("migrate.lab.network.IP_FORWARD", switch)
    monkeypatch.setattr("migrate.lab.network.call", lambda argv: "[{}]")
    Forwarding(tmp_path).need()
    assert switch.read_text() == "1"
    Forwarding(tmp_path).need()
    Forwarding(tmp_path).release(lambda: labs_left)
    assert switch.read_text() == after
