"""What is done to data disks: cases as data, and the rule that no input leads to touching what nobody gave up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.datadisks import (
    LABEL,
    Disk,
    Folder,
    Layout,
    Signature,
    Wish,
    disks_of,
    lay_out,
    outermost,
    storage_faults,
    unit_of,
    wishes_of,
)
from migrate.inventory import read_inventory

SRV = Wish("db1", "/srv", ("S1",))
MIRROR = Wish("db1", "/srv", ("S1", "S2"), raid="1")
EMPTY = Disk("/dev/sdb", serial="S1", names=("/dev/disk/by-id/ata-S1", "0x5000"), size=4 * 10**12)
OTHER = replace(EMPTY, path="/dev/sdc", serial="S2", names=("/dev/disk/by-id/ata-S2",))
OURS = replace(EMPTY, signatures=(Signature("xfs", SRV.uuid, LABEL),), blank=False)
MEMBER = replace(
    EMPTY, signatures=(Signature("linux_raid_member", MIRROR.array_uuid, f"db1:{LABEL}-srv"),), blank=False, busy=True,
    parts=("/dev/md127",),
)  # fmt: skip
MEMBERS = (MEMBER, replace(MEMBER, path=OTHER.path, serial="S2", names=OTHER.names))
ARRAY = Disk("/dev/md127", kind="raid1")
STANDS = replace(ARRAY, signatures=OURS.signatures, blank=False, mounts=("/srv",), busy=True)


def told(wish: Wish, *serials: str) -> Wish:
    return replace(wish, overwrite=serials)


def acts(layout: Layout) -> list[str]:
    assert not layout.refusals, layout.refusals
    return [str(act) for act in layout.acts]


@pytest.mark.parametrize(
    ("wish", "disks", "expected"),
    [
        (SRV, [EMPTY], ["make xfs for /srv on /dev/sdb"]),
        (replace(SRV, devices=("/dev/sdb",)), [EMPTY], ["make xfs for /srv on /dev/sdb"]),
        (replace(SRV, devices=("/dev/disk/by-id/ata-S1",)), [EMPTY], ["make xfs for /srv on /dev/sdb"]),
        (replace(SRV, devices=("0x5000",)), [EMPTY, OTHER], ["make xfs for /srv on /dev/sdb"]),
        (SRV, [OURS], []),
        (SRV, [replace(OURS, mounts=("/srv",), busy=True)], []),
        (told(SRV, "S1"), [OURS], []),
        (told(SRV, "S1"), [replace(OURS, signatures=(*OURS.signatures, Signature("gpt")))], []),
        (told(SRV, "S1"), [replace(EMPTY, blank=False)], ["wipe /dev/sdb", "make xfs for /srv on /dev/sdb"]),
        (
            told(SRV, "S1"),
            [replace(EMPTY, signatures=(Signature("gpt"),), parts=("/dev/sdb1",), blank=False)],
            ["wipe /dev/sdb", "make xfs for /srv on /dev/sdb"],
        ),
        (
            MIRROR,
            [EMPTY, OTHER],
            [
                "make /dev/md/cloudexit-srv, RAID 1, of /dev/sdb, /dev/sdc",
                "wipe /dev/md/cloudexit-srv",
                "make xfs for /srv on /dev/md/cloudexit-srv",
            ],
        ),
        (MIRROR, [*MEMBERS, ARRAY], ["make xfs for /srv on /dev/md127"]),
        (MIRROR, [*MEMBERS, STANDS], []),
        (MIRROR, [MEMBER, STANDS], []),
        (MIRROR, [MEMBER, replace(MEMBERS[1], parts=()), STANDS], []),
        (told(MIRROR, "S1", "S2"), [MEMBER, STANDS], []),
        (
            told(MIRROR, "S1", "S2"),
            [*MEMBERS, replace(ARRAY, blank=False)],
            ["wipe /dev/md127", "make xfs for /srv on /dev/md127"],
        ),
    ],
)
def test_what_is_done(wish: Wish, disks: Sequence[Disk], expected: list[str]) -> None:
    assert acts(lay_out([wish], disks, {})) == expected


@pytest.mark.parametrize(
    ("wish", "disks", "words"),
    [
        (SRV, [], "there is no disk S1; there are: none"),
        (SRV, [OTHER], "there is no disk S1; there are: S2 (/dev/sdc)"),
        (SRV, [EMPTY, replace(EMPTY, path="/dev/sdc")], "S1 is the name of several disks: /dev/sdb, /dev/sdc"),
        (SRV, [replace(EMPTY, signatures=(Signature("ext4", "u"),))], "holds something: ext4; where all of it may go"),
        (SRV, [replace(EMPTY, signatures=(Signature("gpt"),))], "`overwrite: [S1]`"),
        (SRV, [replace(EMPTY, signatures=(Signature("linux_raid_member"),))], "holds something: linux_raid_member"),
        (SRV, [replace(EMPTY, signatures=(Signature("LVM2_member"),))], "holds something: LVM2_member"),
        (SRV, [replace(EMPTY, signatures=(Signature("swap"),), busy=True)], "holds something: in use, swap"),
        (SRV, [replace(EMPTY, parts=("/dev/sdb1",))], "holds something: parts: /dev/sdb1"),
        (SRV, [replace(EMPTY, mounts=("/old",), busy=True)], "holds something: mounted at /old"),
        (SRV, [replace(EMPTY, blank=False)], "holds something: data of no known kind"),
        (told(SRV, "S1"), [replace(EMPTY, mounts=("/",), busy=True)], "and is in use; unmount it"),
        (told(SRV, "S1"), [replace(EMPTY, busy=True)], "and is in use"),
        (told(SRV, "S2"), [EMPTY, OTHER], "`overwrite` names what is none of its disks: S2"),
        (replace(SRV, devices=("/dev/sdb",)), [replace(EMPTY, serial="", blank=False)], "by hand: wipefs --all"),
        (told(SRV, "S1"), [replace(OURS, signatures=(Signature("xfs", "else", LABEL),))], "made here for another"),
        (replace(SRV, filesystem="ext4"), [OURS], "/dev/sdb is its own, with xfs on it; ext4 is wanted"),
        (told(replace(SRV, filesystem="ext4"), "S1"), [OURS], "ext4 is wanted"),
        (SRV, [replace(OURS, mounts=("/mnt",))], "/dev/sdb is its own, and mounted at /mnt"),
        (SRV, [replace(EMPTY, read_only=True)], "/dev/sdb can only be read"),
        (SRV, [replace(EMPTY, kind="part")], "/dev/sdb is a part, not a disk"),
        (replace(SRV, devices=("/dev/sr0",)), [Disk("/dev/sr0", kind="rom")], "is a rom, not a disk"),
        (MIRROR, [EMPTY], "there is no disk S2"),
        (MIRROR, [EMPTY, replace(OTHER, blank=False)], "/dev/sdc (S2) holds something"),
        (told(MIRROR, "S1"), [EMPTY, replace(OTHER, blank=False)], "/dev/sdc (S2) holds"),
        (MIRROR, [MEMBER, OTHER, ARRAY], "its array is there, without /dev/sdc"),
        (told(MIRROR, "S1", "S2"), [MEMBER, OTHER, ARRAY], "its array is there, without /dev/sdc"),
        (MIRROR, [replace(MEMBER, serial="S8", names=()), OTHER, STANDS], "on none of the disks that are named"),
        (MIRROR, [replace(MEMBER, serial="S8", names=()), EMPTY, OTHER, STANDS], "on none of the disks that are named"),
        (MIRROR, [MEMBER, ARRAY], "there is no disk S2"),
        (MIRROR, [MEMBER], "there is no disk S2"),
        (MIRROR, [MEMBER, replace(STANDS, signatures=(Signature("xfs", "else", LABEL),))], "there is no disk S2"),
        (MIRROR, [replace(MEMBER, signatures=(Signature("linux_raid_member", "u"),)), STANDS], "there is no disk S2"),
        (MIRROR, [MEMBER, replace(STANDS, mounts=("/mnt",))], "/dev/md127 is its own, and mounted at /mnt"),
        (MIRROR, [MEMBER, OTHER, STANDS], "its array is there, without /dev/sdc"),
        (MIRROR, MEMBERS, "not all of it runs"),
        (MIRROR, [MEMBER, replace(MEMBERS[1], parts=()), ARRAY], "not all of it runs"),
        (MIRROR, [*MEMBERS, replace(ARRAY, blank=False)], "/dev/md127 (no serial number) holds something"),
        (replace(MIRROR, devices=("S1", "/dev/sdb")), [EMPTY], "/dev/sdb is named twice"),
    ],
)  # fmt: skip
def test_what_is_refused(wish: Wish, disks: Sequence[Disk], words: str) -> None:
    layout = lay_out([wish], disks, {})
    assert layout.acts == () and len(layout.refusals) == 1
    assert layout.refusals[0].startswith("/srv: ") and words in layout.refusals[0], layout.refusals


def test_one_refusal_keeps_every_disk_as_it_is() -> None:
    layout = lay_out([SRV, Wish("db1", "/data", ("NO-SUCH",))], [EMPTY, OTHER], {})
    assert layout.acts == () and len(layout.refusals) == 1


def test_two_mounts_cannot_share_a_disk_under_two_of_its_names() -> None:
    layout = lay_out([SRV, Wish("db1", "/data", ("/dev/sdb",))], [EMPTY], {})
    assert layout.acts == () and layout.refusals == ("/data: /dev/sdb is named twice",)


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        (Folder(filled=True), "files lie in that folder"),
        (Folder(source="/dev/sdz", filled=True), "/dev/sdz is mounted there already"),
    ],
)
def test_a_mount_hides_no_files_and_no_other_disk(folder: Folder, words: str) -> None:
    layout = lay_out([SRV], [EMPTY], {"/srv": folder})
    assert layout.acts == () and words in layout.refusals[0]
    assert acts(lay_out([SRV], [OURS], {"/srv": Folder(source="/dev/sdb", filled=True)})) == []


signatures = st.builds(
    Signature,
    st.sampled_from(["xfs", "ext4", "gpt", "swap", "linux_raid_member", "LVM2_member"]),
    st.sampled_from(["", "else", SRV.uuid, MIRROR.array_uuid]),
    st.sampled_from(["", "", LABEL, "db1:cloudexit-srv"]),
)


def disk_at(path: str, kind: str, *serials: str) -> st.SearchStrategy[Disk]:
    return st.builds(
        Disk, path=st.just(path), kind=st.sampled_from([kind] * 9 + ["part"]), serial=st.sampled_from(serials),
        parts=st.sampled_from([(), (), (), ("/dev/sdb1",), ("/dev/md127",)]), blank=st.booleans(),
        read_only=st.sampled_from([False] * 9 + [True]), signatures=st.lists(signatures, max_size=2).map(tuple),
        mounts=st.sampled_from([(), (), (), ("/srv",), ("/",)]), busy=st.sampled_from([False, False, True]),
    )  # fmt: skip


disks = st.tuples(
    disk_at("/dev/sdb", "disk", "S1", "S1", ""), disk_at("/dev/sdc", "loop", "S2"),
    disk_at("/dev/md127", "raid1", ""),
).map(list)  # fmt: skip
choices = st.sampled_from(
    [
        ("none", ("S1",), ()), ("none", ("S1",), ("S1",)), ("none", ("/dev/sdb",), ("",)), ("none", ("S2",), ("S2",)),
        ("1", ("S1", "S2"), ()), ("1", ("S1", "S2"), ("S1",)),
        ("1", ("S1", "S2"), ("S1", "S2")),
    ]
)  # fmt: skip


def wish_at(mount: str) -> st.SearchStrategy[Wish]:
    return st.builds(
        lambda choice, kind: Wish("db1", mount, choice[1], choice[0], kind, overwrite=choice[2]),
        choices, st.sampled_from(["xfs", "ext4"]),
    )  # fmt: skip


wishes = st.one_of(
    wish_at("/srv").map(lambda wish: [wish]),
    wish_at("/srv").map(lambda wish: [wish]),
    st.tuples(wish_at("/srv"), wish_at("/data")).map(list),
)


@settings(max_examples=800, deadline=None)
@given(wishes, disks)
def test_no_disk_that_holds_anything_is_touched_unless_its_serial_number_is_told(
    wishes: list[Wish], disks: list[Disk]
) -> None:
    layout = lay_out(wishes, disks, {})
    known = {disk.path: disk for disk in disks}
    assert not (layout.acts and layout.refusals)
    fresh = {act.wish.array for act in layout.acts if act.kind == "array"}
    for act in layout.acts:
        for path in set(act.paths) - fresh:
            disk = known[path]
            below = [member for member in disks if path in member.parts] if disk.kind == "raid1" else [disk]
            told_all = all(one.serial and one.serial in act.wish.overwrite for one in below)
            assert not disk.holds or (told_all and not disk.busy and not disk.mounts and not disk.was_made_here)
            assert not disk.bears(act.wish.uuid) and not disk.read_only and disk.kind != "part"


@settings(max_examples=800, deadline=None)
@given(wishes, disks)
def test_what_was_made_is_known_again(wishes: list[Wish], disks: list[Disk]) -> None:
    """The disks as they are after the acts: nothing is left to do."""
    singles = [wish for wish in wishes if wish.raid == "none"]
    layout = lay_out(singles, disks, {})
    made = {act.paths[0]: act.wish for act in layout.acts if act.kind == "filesystem"}
    after = [
        replace(
            disk, signatures=(Signature(made[disk.path].filesystem, made[disk.path].uuid, LABEL),), blank=False,
            parts=(), mounts=(made[disk.path].mount,), busy=True,
        )
        if disk.path in made
        else disk
        for disk in disks
    ]  # fmt: skip
    assert layout.refusals or lay_out(singles, after, {}).acts == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"mount": "srv"}, "no folder to mount at: 'srv'"),
        ({"mount": "/srv/"}, "no folder to mount at: '/srv/'"),
        ({"mount": "/"}, "no folder to mount at: '/'"),
        ({"mount": "/srv/../etc"}, "no folder to mount at"),
        ({"mount": "/etc/x"}, "/etc/x belongs to the system"),
        ({"mount": "/var"}, "/var belongs to the system"),
        ({"mount": 5}, "not a filesystem"),
        ({"devices": []}, "/srv has 0 disks and raid none"),
        ({"devices": ["A", "B"]}, "/srv has 2 disks and raid none"),
        ({"devices": ["A"], "raid": 1}, "/srv has 1 disks and raid 1"),
        ({"devices": ["A", "B"], "raid": 10}, "/srv has 2 disks and raid 10"),
        ({"devices": [12345]}, "12345 is no text"),
        ({"devices": "A"}, "`devices` of /srv is no list"),
        ({"devices": ["A", "A"], "raid": 1}, "the disk A is named twice"),
        ({"raid": 5}, "`raid` of /srv is '5'"),
        ({"filesystem": "zfs"}, "`filesystem` of /srv is 'zfs'"),
        ({"options": "noatime; rm"}, "`options` of /srv are"),
        ({"overwrite": ["/dev/sdb"]}, "`overwrite` of /srv names a path: /dev/sdb"),
        ({"overwrite": True}, "`overwrite` of /srv is no list"),
        ({"disks": ["A"]}, "unknown field of /srv: disks"),
    ],
)  # fmt: skip
def test_a_wrong_line_of_the_inventory_is_told(change: Mapping[str, Any], fault: str) -> None:
    found = [what for what, _ in storage_faults([{"mount": "/srv", "devices": ["A"], **change}])]
    assert len(found) == 1 and fault in found[0], found


def test_good_lines_have_no_faults_and_outer_mounts_come_first() -> None:
    value = [
        {"mount": "/srv/media", "devices": ["A", "B"], "raid": 1},
        {"mount": "/srv", "devices": ["C"], "filesystem": "ext4", "overwrite": ["C"]},
        {"mount": "/var/lib/postgresql", "devices": ["D", "E", "F", "G"], "raid": 10, "options": "noatime,nodev"},
    ]
    assert list(storage_faults(value)) == []
    found = wishes_of("db1", value)
    assert [wish.mount for wish in found] == ["/srv", "/srv/media", "/var/lib/postgresql"]
    assert [wish.raid for wish in found] == ["none", "1", "10"]
    assert [wish.mount for wish in outermost(found)] == ["/srv", "/var/lib/postgresql"]
    assert next(storage_faults([value[0], value[0]]))[0] == "/srv/media is named twice"
    assert next(storage_faults({"mount": "/srv"}))[0] == "not a list of filesystems"


def test_a_fault_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(
        "all:\n  hosts:\n    db1:\n      ansible_host: 192.0.2.1\n"
        "      cloudexit_storage:\n        - {mount: /srv, devices: [0123]}\n"
    )
    with pytest.raises(Exception, match=r"hosts\.yml:5: .*cloudexit_storage: `devices` of /srv: 83 is no text"):
        read_inventory(path)


@pytest.mark.parametrize(
    ("mount", "unit"),
    [
        ("/srv", "srv.mount"),
        ("/srv/media", "srv-media.mount"),
        ("/srv/my-data_2", "srv-my\\x2ddata_2.mount"),
    ],
)
def test_a_mount_has_the_unit_that_systemd_would_name(mount: str, unit: str) -> None:
    assert unit_of(mount) == unit


def test_an_answer_of_lsblk_is_read_with_all_that_lies_on_a_disk() -> None:
    found = disks_of(
        {
            "blockdevices": [
                {
                    "path": "/dev/sda", "type": "disk", "size": 1000, "ro": False, "serial": "A", "wwn": "0x1",
                    "fstype": None, "uuid": None, "label": None, "pttype": "gpt", "mountpoints": [None],
                    "children": [
                        {
                            "path": "/dev/sda1", "type": "part", "size": 500, "ro": False, "serial": None, "wwn": None,
                            "fstype": "ext4", "uuid": "u", "label": "root", "pttype": "gpt", "mountpoints": ["/"],
                        }
                    ],
                },
                {"path": "/dev/loop0", "type": "loop", "size": 5, "ro": True},
            ]
        },
        {"/dev/sda": ["/dev/disk/by-id/ata-A"]},
        {"/dev/loop0": "/tmp/file"},
    )  # fmt: skip
    disk, part, loop = found
    assert (disk.serial, disk.names, disk.parts) == ("A", ("0x1", "/dev/disk/by-id/ata-A"), ("/dev/sda1",))
    assert disk.holds == ("parts: /dev/sda1", "gpt")
    assert part.mounts == ("/",) and Signature("ext4", "u", "root") in part.signatures
    assert (loop.serial, loop.read_only, loop.holds) == ("loop:/tmp/file", True, ())
