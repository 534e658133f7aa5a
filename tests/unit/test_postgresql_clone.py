"""A copy of the server that leads takes the place of what was there, wherever the last try was broken off."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

TASKS = Path(__file__).parents[2] / "playbooks" / "roles" / "postgresql" / "tasks" / "clone.yml"


def told(word: str) -> dict[str, Any]:
    """The task of clone.yml whose name begins so."""
    [task] = [task for task in yaml.safe_load(TASKS.read_text()) if task["name"].startswith(word)]
    command: dict[str, Any] = task["ansible.builtin.command"]
    return command


def put_in_place(data: Path) -> None:
    """As the task does it: not at all where there is no copy."""
    command = told("Put the copy in")
    places = {"{{ postgresql_data }}": str(data), "{{ postgresql_aside }}": f"{data}.aside"}
    assert command["removes"] == "{{ postgresql_data }}.clone"
    if Path(f"{data}.clone").exists():
        subprocess.run([places.get(word, word) for word in command["argv"]], check=True)


@pytest.mark.parametrize("left", ["nothing done", "the old data aside", "all done", "the old data lost"])
def test_the_copy_takes_the_place_of_the_data_from_wherever_it_was_broken_off(tmp_path: Path, left: str) -> None:
    data, clone, aside = tmp_path / "main", tmp_path / "main.clone", tmp_path / "main.aside"
    content = {
        "nothing done": {data: "old", clone: "new"},
        "the old data aside": {aside: "old", clone: "new"},
        "all done": {aside: "old", data: "new"},
        "the old data lost": {clone: "new"},
    }[left]
    for folder, text in content.items():
        folder.mkdir()
        (folder / "PG_VERSION").write_text(text)
    put_in_place(data)
    assert (data / "PG_VERSION").read_text() == "new"
    assert not clone.exists()
    assert left == "the old data lost" or (aside / "PG_VERSION").read_text() == "old"


def test_only_a_copy_that_is_not_whole_is_made_again() -> None:
    """The manifest is the last file that pg_basebackup writes."""
    assert told("Begin to copy the server")["creates"] == "{{ postgresql_data }}.clone/backup_manifest"


SYSTEMD = """#!/bin/sh
echo "$(basename "$0") $*" >>{folder}/asked
case "$*" in is-active*) cat {folder}/state ;; esac
"""


def run_on_a_host(task: str, folder: Path, state: str) -> subprocess.CompletedProcess[str]:
    """The task's script beside a folder `main.clone`, where systemd says of the unit that it is in this state."""
    binaries = folder / "bin"
    binaries.mkdir()
    for name in ("systemctl", "systemd-run"):
        (binaries / name).write_text(SYSTEMD.format(folder=folder))
        (binaries / name).chmod(0o755)
    (folder / "state").write_text(f"{state}\n")
    shell, options, script, *_ = told(task)["argv"]
    script = script.replace("seq 150", "seq 2").replace("/run/cloudexit-clone.log", str(folder / "log"))
    return subprocess.run(
        [shell, options, script, "sh", str(folder / "main.clone"), "--property=RuntimeMaxSec=1800", "--", "copy"],
        capture_output=True, text=True, check=False, env={"PATH": f"{binaries}:/usr/bin:/bin"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "begun"),
    [("active", False), ("activating", False), ("deactivating", False), ("failed", True), ("inactive", True)],
)
def test_a_copy_that_is_being_written_is_left_alone_and_what_is_left_of_one_goes(
    tmp_path: Path, state: str, begun: bool
) -> None:
    (tmp_path / "main.clone").mkdir()
    done = run_on_a_host("Begin to copy the server", tmp_path, state)
    assert done.returncode == 0 and (done.stdout == "begun\n") is begun
    assert (tmp_path / "main.clone").exists() is not begun
    last = (tmp_path / "asked").read_text().splitlines()[-1]
    assert not begun or (last.startswith("systemd-run --quiet --unit=cloudexit-clone ") and last.endswith(" -- copy"))


@pytest.mark.parametrize(
    ("state", "manifest", "status"),
    [("active", False, 75), ("inactive", True, 0), ("failed", False, 1), ("inactive", False, 1)],
    ids=["is waited for", "is whole", "failed", "ended without a word"],
)
def test_a_copy_is_waited_for_until_it_is_whole_or_will_never_be(
    tmp_path: Path, state: str, manifest: bool, status: int
) -> None:
    (tmp_path / "main.clone").mkdir()
    (tmp_path / "log").write_text("10/20 kB\nno space left\n")
    if manifest:
        (tmp_path / "main.clone" / "backup_manifest").touch()
    done = run_on_a_host("Wait for the copy", tmp_path, state)
    assert done.returncode == status
    assert done.stderr == "10/20 kB\nno space left\n"


def test_no_secret_is_on_the_command_line_of_the_copy() -> None:
    words = " ".join(told("Begin to copy the server")["argv"])
    assert "passfile=" in words and "password=" not in words and "postgresql_replication_password" not in words


def test_what_a_restore_to_a_moment_left_does_not_have_a_replica_lead_by_itself() -> None:
    """recovery_target_action = 'promote' in the settings of a lead is in every copy of it."""
    role = TASKS.parents[1]
    pattern = yaml.safe_load((role / "vars" / "main.yml").read_text())["postgresql_restored"]
    left = """# Do not edit this file manually!
work_mem = '64MB'
restore_command = 'pgbackrest --stanza=database archive-get %f "%p"'
recovery_target_time = '2026-11-29 11:21:26+00'
recovery_target_action = 'promote'"""
    assert re.sub(pattern, "", left) == "# Do not edit this file manually!\nwork_mem = '64MB'\n"
    for file, place in (("clone", ".clone/"), ("lead", "/")):
        tasks = yaml.safe_load((role / "tasks" / f"{file}.yml").read_text())
        [task] = [task["ansible.builtin.replace"] for task in tasks if "ansible.builtin.replace" in task]
        path = "{{ postgresql_data }}" + place + "postgresql.auto.conf"
        assert task == {"path": path, "regexp": "{{ postgresql_restored }}"}
