"""Data disks on a real host: files of this machine behind loop devices, laid out, refused, and mounted after a boot.

The tests of this module share one host of the fleet and follow each other. An array cannot be tried here: the kernel of
a lab's machine need not have one; see docs/how-to/bare-metal.md."""

import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from migrate.check import CheckResult
from migrate.datadisks import wishes_of
from migrate.ports import PlayResult
from migrate.target.hardware import judge_hardware
from migrate.target.hostfacts import observe
from migrate.target.variables import provision_variables
from tests.homes import Home, changed_tasks, home_on
from tests.lab.conftest import Fleet

pytestmark = pytest.mark.lab
LETTERS = "abc"
BYTES = 400 * 1024**2
LAID_OUT = "storage : Lay out the data disks"


@dataclass(frozen=True)
class LoopDisk:
    file: Path
    device: str

    @property
    def serial(self) -> str:
        return f"loop:{self.file}"

    def digest(self) -> str:
        with self.file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()


@dataclass(frozen=True)
class Bench:
    """A host with disks, and the home that it is of."""

    fleet: Fleet
    host: str
    disks: Mapping[str, LoopDisk]

    @property
    def home(self) -> Home:
        return self.fleet.home

    def says(self, script: str) -> str:
        return self.home.says(self.host, script)

    def wishing(self, *filesystems: Mapping[str, Any], alone: bool = False) -> Home:
        """The home whose inventory has these lines for the host; `alone`: with no other host in it."""
        document = yaml.safe_load(self.home.inventory.path.read_text())
        own = {**document["all"]["hosts"][self.host], "cloudexit_storage": list(filesystems)}
        document["all"]["hosts"] = {**({} if alone else document["all"]["hosts"]), self.host: own}
        if alone:
            document["all"]["children"] = {"app": {"hosts": {self.host: None}}}
        path = self.home.folder / f"storage-{'alone' if alone else 'all'}.yml"
        path.write_text(yaml.safe_dump(document))
        return home_on(path, self.home.hosts, self.home.folder)

    def lay_out(self, *filesystems: Mapping[str, Any]) -> PlayResult:
        """The role by itself."""
        home = self.wishing(*filesystems)
        told = provision_variables(home.stack, home.inventory, home.secrets).variables["cloudexit_hosts"][self.host]
        variables = {f"storage_{name}": value for name, value in told["storage"].items()}
        return self.wishing(*filesystems, alone=True).role("storage", storage_in_container=True, **variables)

    def preflight(self, *filesystems: Mapping[str, Any]) -> CheckResult:
        """What preflight says of these lines."""
        facts = observe(self.home.hosts, self.home.inventory.hosts[self.host], ["rsync"])
        found = list(judge_hardware(self.host, facts.hardware, wishes_of(self.host, list(filesystems))))
        assert [check.name for check in found] == ["data-disks"]  # a container has no other hardware
        return found[0]

    def refusal(self, *filesystems: Mapping[str, Any]) -> str:
        result = self.lay_out(*filesystems)
        assert result.hosts[self.host].failed and result.hosts[self.host].failure.startswith(LAID_OUT), result
        return result.hosts[self.host].failure


@pytest.fixture(scope="module")
def bench(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    host = fleet.home.inventory.group("app")[-1].name
    folder = tmp_path_factory.mktemp("disks")
    disks: dict[str, LoopDisk] = {}
    try:
        for letter in LETTERS:
            file = folder / letter
            with file.open("wb") as content:
                content.truncate(BYTES)
            made = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, text=True, check=False)
            if made.returncode:
                pytest.skip(f"this machine gives no loop device: {made.stderr.strip()}")
            disks[letter] = LoopDisk(file, made.stdout.strip())
        nodes = "".join(f"b {disk.device} 0660 root disk - 7:{disk.device[9:]}\n" for disk in disks.values())
        fleet.home.says(
            host, f"printf '{nodes}' >/etc/tmpfiles.d/disks.conf && systemd-tmpfiles --create --prefix=/dev"
        )
        yield Bench(fleet, host, disks)
        mend = """
            cd /etc/systemd/system && systemctl disable --now data-uploads.mount data.mount
            rm -f data.mount data-uploads.mount /etc/tmpfiles.d/disks.conf; systemctl daemon-reload
            systemctl reset-failed; rm -rf /data"""
        fleet.home.says(host, mend)
    finally:
        for inventory in fleet.home.folder.glob("storage-*.yml"):
            inventory.unlink()  # one inventory a folder, or nobody could say who leads
        for disk in disks.values():
            subprocess.run(["losetup", "--detach", disk.device], check=False)


def wanted(bench: Bench) -> list[dict[str, Any]]:
    """One filesystem inside the other: the first disk is empty, what the second holds is given up."""
    a, b = bench.disks["a"], bench.disks["b"]
    return [
        {"mount": "/data/uploads", "devices": [b.device], "filesystem": "ext4", "overwrite": [b.serial]},
        {"mount": "/data", "devices": [a.serial]},
    ]


def test_a_wrong_serial_number_is_refused_before_anything_is_written_on_any_disk(bench: Bench) -> None:
    a = bench.disks["a"]
    told = bench.refusal({"mount": "/data", "devices": [a.serial]}, {"mount": "/more", "devices": ["WD-NONE"]})
    assert "no disk was touched; /more: there is no disk WD-NONE; there are: " in told and a.serial in told
    assert a.file.stat().st_blocks == 0
    assert bench.home.run(bench.host, "test", "-e", "/data").exit_status == 1
    assert bench.preflight({"mount": "/data", "devices": [a.serial]}).detail == f"make xfs for /data on {a.device}"
    assert bench.preflight({"mount": "/data", "devices": ["WD-NONE"]}).holds


def test_a_disk_that_holds_anything_is_refused_and_keeps_every_byte(bench: Bench) -> None:
    b, c = bench.disks["b"], bench.disks["c"]
    bench.says(f"mkswap {b.device}")
    with c.file.open("r+b") as content:
        content.seek(-5, 2)
        content.write(b"!")
    before = (b.digest(), c.digest())
    told = bench.refusal({"mount": "/data", "devices": [b.device]}, {"mount": "/more", "devices": [c.device]})
    assert f"/data: {b.device} ({b.serial}) holds something: swap" in told
    assert "holds something: swap" in bench.preflight({"mount": "/data", "devices": [b.device]}).detail
    assert f"/more: {c.device} ({c.serial}) holds something: data of no known kind" in told
    other = bench.refusal({"mount": "/data", "devices": [b.device, c.device], "raid": 1, "overwrite": [b.serial]})
    assert f"{c.device} ({c.serial}) holds something" in other
    assert (b.digest(), c.digest()) == before


def test_a_dry_run_says_what_would_be_done_and_does_none_of_it(bench: Bench) -> None:
    foreseen = changed_tasks(bench.wishing(*wanted(bench)).play(check=True, limit=[bench.host]))
    assert {LAID_OUT, "storage : Write their mounts"} <= set(foreseen[bench.host])
    assert bench.disks["a"].file.stat().st_blocks == 0
    assert bench.home.run(bench.host, "test", "-e", "/data").exit_status == 1


def test_disks_are_laid_out_and_mounted_and_a_second_run_changes_nothing(bench: Bench) -> None:
    marker = bench.says("cat /etc/cloudexit/provisioned")
    made = changed_tasks(bench.wishing(*wanted(bench)).play(limit=[bench.host], cloudexit_marker=marker))
    assert LAID_OUT in made[bench.host]
    found = bench.says("findmnt -nro TARGET,SOURCE,FSTYPE /data; findmnt -nro TARGET,SOURCE,FSTYPE /data/uploads")
    a, b = bench.disks["a"], bench.disks["b"]
    assert found.splitlines() == [f"/data {a.device} xfs", f"/data/uploads {b.device} ext4"]
    assert "noatime" in bench.says("findmnt -nro OPTIONS /data")
    bench.says("echo kept >/data/one && echo kept >/data/uploads/two && sync")
    assert changed_tasks(bench.lay_out(*wanted(bench))) == {}
    assert bench.preflight(*wanted(bench)).detail == "made, and known again"
    assert bench.says("cat /data/one /data/uploads/two") == "kept\nkept"


def test_a_disk_that_somebody_uses_is_refused_even_where_it_is_given_up(bench: Bench, tmp_path: Path) -> None:
    """The mount is one of this machine's own, which the host cannot see: the kernel says so all the same."""
    c = bench.disks["c"]
    subprocess.run(["mkfs.ext4", "-q", "-F", c.device], check=True)
    subprocess.run(["mount", c.device, tmp_path], check=True)
    try:
        told = bench.refusal({"mount": "/more", "devices": [c.device], "overwrite": [c.serial]})
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert "holds something: in use, ext4, and is in use; unmount it" in told


def test_what_was_made_for_one_mount_is_not_given_to_another(bench: Bench) -> None:
    bench.says("systemctl stop data-uploads.mount")
    b = bench.disks["b"]
    told = bench.refusal({"mount": "/more", "devices": [b.device], "overwrite": [b.serial]})
    assert "made here for another mount or host" in told
    assert bench.lay_out(*wanted(bench)) and bench.says("cat /data/uploads/two") == "kept"


def test_a_boot_mounts_them_before_anything_else_starts(bench: Bench) -> None:
    bench.fleet.lab.reboot(bench.host)
    assert bench.says("cat /data/one /data/uploads/two") == "kept\nkept"
    assert "local-fs.target" in bench.says("systemctl show -p Before --value data.mount")


def test_a_host_boots_without_its_data_disk_and_nothing_is_written_in_its_place(bench: Bench) -> None:
    bench.says("sed -i '1d' /etc/tmpfiles.d/disks.conf")
    bench.fleet.lab.reboot(bench.host)
    assert bench.home.run(bench.host, "systemctl", "is-active", "data.mount").stdout.strip() == "failed"
    assert bench.home.run(bench.host, "runuser", "-u", "nobody", "--", "touch", "/data/lost").exit_status == 1
    assert bench.says("systemctl is-active ssh.service") == "active"
