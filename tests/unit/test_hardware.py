"""Disks, arrays and network cards: from a host's answer to verdicts."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from migrate.check import CheckResult, Severity, Verdict
from migrate.datadisks import LABEL, Disk, Signature, Wish
from migrate.target.hardware import Array, Card, Hardware, judge_hardware, read_hardware

WISH = Wish("db1", "/srv", ("S1",))
DISK = Disk("/dev/sdb", serial="S1")
MDSTAT = """Personalities : [raid1] [raid10]
md126 : active (auto-read-only) raid10 sdf[3] sde[2] sdd[1] sdc[0]
      7813772288 blocks super 1.2 512K chunks 2 near-copies [4/4] [UUUU]
      bitmap: 0/59 pages [0KB], 65536KB chunk

md0 : active raid1 sdb1[2](F) sda1[0]
      523264 blocks super 1.2 [2/1] [U_]
      [===>.................]  recovery = 17.4% (91136/523264) finish=0.1min speed=91136K/sec

md9 : inactive sdx[1](S)
      488254464 blocks super 1.2

unused devices: <none>
"""


def checks(found: Hardware, *wishes: Wish) -> dict[str, CheckResult]:
    return {check.name: check for check in judge_hardware("db1", found, wishes)}


def test_an_answer_is_read() -> None:
    entry = {"path": "/dev/sda", "type": "disk", "size": 10, "ro": False, "serial": "A", "pttype": "gpt"}
    found = read_hardware(
        {
            "container": ["none"],
            "machine": ["kvm"],
            "blockdevices": json.dumps(
                {"blockdevices": [entry, {"path": "/dev/loop3", "type": "loop"}]}, indent=1
            ).split("\n"),
            "signatures": [
                "DEVNAME=/dev/sda",
                "PTTYPE=mbr",
                "",
                "DEVNAME=/dev/loop3",
                "LABEL=a b",
                "UUID=u",
                "TYPE=xfs",
            ],
            "links": ["/dev/disk/by-id/ata-A ../../sda"],
            "loops": ["/sys/block/loop3/loop/backing_file:/tmp/a file"],
            "arrays": MDSTAT.splitlines(),
            "cards": ["eno1 up 1000 full bond0", "eno2 down -1 unknown", "ens3 up -1 unknown"],
            "health": ["/usr/sbin/smartctl", "/dev/sda PASSED", "/dev/sdb FAILED!"],
        }
    )
    assert (found.container, found.machine) == ("", "kvm")
    assert [(disk.serial, disk.names) for disk in found.disks] == [
        ("A", ("/dev/disk/by-id/ata-A",)),
        ("loop:/tmp/a file", ()),
    ]
    assert [disk.signatures for disk in found.disks] == [(Signature("gpt"),), (Signature("xfs", "u", "a b"),)]
    assert found.arrays == (Array("md126", "raid10", 0), Array("md0", "raid1", 1), Array("md9", "inactive", 1))
    assert found.cards == (
        Card("eno1", "up", 1000, "full", "bond0"), Card("eno2", "down", 0, "unknown"), Card("ens3", "up", 0, "unknown"),
    )  # fmt: skip
    assert found.health == {"/dev/sda": "PASSED", "/dev/sdb": "FAILED!"}


def test_an_answer_with_none_of_it_invents_nothing() -> None:
    assert read_hardware({}) == Hardware()


def test_a_container_has_no_hardware_to_be_judged() -> None:
    found = Hardware(
        container="systemd-nspawn", arrays=(Array("md0", "raid1", 1),), cards=(Card("eth0", "up", 10, "half"),)
    )
    assert checks(found) == {}


@pytest.mark.parametrize(
    ("found", "name", "verdict", "holds", "words"),
    [
        (Hardware(), "raid", "pass", False, "no software RAID"),
        (Hardware(arrays=(Array("md0", "raid1", 0),)), "raid", "pass", False, "md0 (raid1) is whole"),
        (Hardware(arrays=(Array("md0", "raid1", 1),)), "raid", "fail", True, "md0 (raid1) lacks 1 of its disks"),
        (Hardware(arrays=(Array("md9", "inactive", 1),)), "raid", "fail", True, "md9 (inactive) lacks 1"),
        (Hardware(cards=(Card("eno1", "up", 10000, "full"),)), "network", "pass", False, "eno1 10000 Mbit/s"),
        (Hardware(cards=(Card("ens3", "up", 0, "unknown"),)), "network", "pass", False, "ens3 up, speed not told"),
        (Hardware(cards=(Card("eno1", "up", 100, "full"),)), "network", "fail", False, "eno1 runs at 100 Mbit/s"),
        (Hardware(cards=(Card("eno1", "up", 1000, "half"),)), "network", "fail", False, "eno1 runs at half duplex"),
        (Hardware(cards=(Card("e1", "down", 0, "unknown", "bond0"),)), "network", "fail", False, "e1 of bond0 is down"),
        (Hardware(cards=(Card("eno2", "down", 0, "unknown"),)), "network", "pass", False, "no card is up"),
        (Hardware(), "disk-health", "unknown", False, "nothing there asks the disks"),
        (Hardware(health={"/dev/sda": "PASSED"}), "disk-health", "pass", False, "/dev/sda: PASSED"),
        (Hardware(health={"/dev/sda": "FAILED!"}), "disk-health", "fail", False, "/dev/sda: FAILED!"),
    ],
)
def test_verdicts(found: Hardware, name: str, verdict: str, holds: bool, words: str) -> None:
    check = checks(found)[name]
    assert (check.verdict, check.holds) == (Verdict(verdict), holds) and words in check.detail
    assert bool(check.hint) is (check.verdict is not Verdict.PASS)


def test_a_home_that_stands_is_warned_of_a_dead_disk_and_not_held() -> None:
    """It must be able to take a new secret while the disk is on its way."""
    found = Hardware(arrays=(Array("md0", "raid1", 1),))
    [raid] = [check for check in judge_hardware("db1", found, (), provisioned=True) if check.name == "raid"]
    assert raid.verdict is Verdict.FAIL and raid.severity is Severity.WARNING and not raid.holds and raid.hint


def test_a_virtual_machine_is_not_asked_for_the_health_of_its_disks() -> None:
    assert set(checks(Hardware(machine="kvm"))) == {"raid"}


@pytest.mark.parametrize(
    ("disks", "verdict", "words"),
    [
        ([DISK], Verdict.PASS, "make xfs for /srv on /dev/sdb"),
        ([Disk("/dev/sdb", serial="S1", signatures=(Signature("xfs", WISH.uuid, LABEL),), mounts=("/srv",))],
         Verdict.PASS, "made, and known again"),
        ([Disk("/dev/sdb", serial="S1", signatures=(Signature("ext4"),))], Verdict.FAIL, "/srv: /dev/sdb (S1) holds"),
        ([Disk("/dev/sdc", serial="S2")], Verdict.FAIL, "there is no disk S1; there are: S2 (/dev/sdc)"),
        ([DISK, Disk("/dev/sda2", kind="part", mounts=("/srv",))], Verdict.FAIL, "/dev/sda2 is mounted there already"),
        ([], Verdict.UNKNOWN, "the host told no disks"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("container", ["", "lxc"])
def test_data_disks_that_the_inventory_names_are_there_and_empty_or_known(
    disks: Sequence[Disk], verdict: Verdict, words: str, container: str
) -> None:
    check: Any = checks(Hardware(container=container, disks=tuple(disks)), WISH)["data-disks"]
    assert check.verdict is verdict and words in check.detail and check.severity is Severity.GATE
