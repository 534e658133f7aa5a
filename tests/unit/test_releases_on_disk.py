"""The small programs by which a host tells how a release stands, and keeps what was proved; run as a host runs them."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import GateHeld
from migrate.inventory import Host
from migrate.ports import Completed
from migrate.target.standing import KEPT, OBSERVE, ReleaseOnHosts
from tests.rolled_home import FIRST, NEW, OLD


def test_a_host_whose_systemd_does_not_answer_is_not_taken_for_one_on_which_nothing_runs(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    asked = ["sh", "-c", OBSERVE, "sh", os.path.relpath(tmp_path, "/srv"), "plaza-web.service"]
    for says, code, status in (("inactive", 0, 0), ("", 0, 1), ("active", 1, 1)):
        (programs / "systemctl").write_text(f"#!/bin/sh\n[ $1 = show ] || exit 1\necho {says}\nexit {code}\n")
        (programs / "systemctl").chmod(0o755)
        paths = {"PATH": f"{programs}:{os.environ['PATH']}"}
        done = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False, env=paths)
        assert done.returncode == status, done


class Blind:
    """ports.Hosts that begins an answer and does not end it."""

    def run(self, host: Host, command: Sequence[str], **_: Any) -> Completed:
        return Completed(host.name, "sh", 1, "provisioned\n", "Failed to connect to bus")


def test_half_an_answer_is_none() -> None:
    blind: Any = Blind()
    host = Host("app1", "192.0.2.1", ("app",))
    with pytest.raises(GateHeld, match="how the release stands cannot be seen: Failed to connect to bus"):
        ReleaseOnHosts(blind, "plaza").look(host, ["plaza-web.service"])


def test_no_prune_takes_away_what_a_host_starts_from(tmp_path: Path) -> None:
    for release in (FIRST, OLD, NEW):
        (tmp_path / "releases" / release.folder_name).mkdir(parents=True)
        (tmp_path / "releases" / release.folder_name / "installed.sha256").write_text(release.sha256)
    (tmp_path / "current").symlink_to(tmp_path / "releases" / NEW.folder_name)
    kept = kept_in(tmp_path, 1, f"{OLD.version} {OLD.sha256}\n", OLD.folder_name)
    assert kept.returncode == 0, kept.stderr
    assert {path.name for path in (tmp_path / "releases").iterdir()} == {OLD.folder_name, NEW.folder_name}


def test_a_history_that_arrives_cut_off_replaces_none_and_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "releases" / OLD.folder_name).mkdir(parents=True)
    (tmp_path / "history").write_text(f"{OLD.version} {OLD.sha256}\n")
    whole = f"{OLD.version} {OLD.sha256}\n{NEW.version} {NEW.sha256}\n"
    for text in ("", whole[:60], whole[:-1]):
        assert kept_in(tmp_path, 2, text, NEW.folder_name).returncode != 0
        assert (tmp_path / "history").read_text() == f"{OLD.version} {OLD.sha256}\n"
        assert (tmp_path / "releases" / OLD.folder_name).is_dir()


def kept_in(home: Path, lines: int, text: str, *folders: str) -> subprocess.CompletedProcess[str]:
    """KEPT as a host runs it, of a release whose folder is `home`."""
    name = os.path.relpath(home, "/srv")
    command = ["sh", "-c", KEPT, "sh", name, str(lines), *folders]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=False)
