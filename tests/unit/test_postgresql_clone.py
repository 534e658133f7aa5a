"""A copy of the server that leads takes the place of what was there, wherever the last try was broken off."""

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
    assert told("Copy the server")["creates"] == "{{ postgresql_data }}.clone/backup_manifest"
    [task] = [task for task in yaml.safe_load(TASKS.read_text()) if task["name"].startswith("Remove what an")]
    assert task["ansible.builtin.command"]["creates"].endswith("/{{ item.unless }}")
    assert {"folder": "clone", "unless": "backup_manifest"} in task["loop"]
