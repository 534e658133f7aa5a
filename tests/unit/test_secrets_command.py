"""`cloudexit secrets`: where each comes from, a new value for one, and no value on any stream."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from migrate.secret import load_or_generate
from migrate.target.ownsecrets import AUTHORITY, BACKUP, DKIM, OWN_SECRETS
from tests.drill import CLOUDEXIT, PLAZA

NAMES = ("database_password", "cache_password", "media_password", "session_key", "old_home_s3_key")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A manifest beside which secrets are kept."""
    path = tmp_path / "stack.yaml"
    shutil.copy(PLAZA, path)
    (tmp_path / ".cloudexit").mkdir(mode=0o700)
    load_or_generate(kept_at(path), NAMES, {"session_key": "x"}, OWN_SECRETS)
    return path


def kept_at(stack: Path) -> Path:
    return stack.with_name(".cloudexit") / "secrets.json"


def kept(stack: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(kept_at(stack).read_text())
    return found


def secrets(*words: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(CLOUDEXIT), "secrets", *map(str, words)], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_where_each_secret_comes_from_is_listed_and_no_value(stack: Path) -> None:
    done = secrets("list", stack, "--json", PLAZA_SECRET_KEY="value-from-outside")
    found = {entry["name"]: entry["from"] for entry in json.loads(done.stdout)["secrets"]}
    assert found["session_key"] == "the environment: PLAZA_SECRET_KEY"
    assert found["database_password"] == found[AUTHORITY] == "kept in the state folder"
    page = secrets("list", stack, PLAZA_SECRET_KEY="value-from-outside")
    shown = done.stdout + done.stderr + page.stdout + page.stderr
    assert [v for v in (*kept(stack).values(), "value-from-outside") if v in shown] == []
    assert page.stdout.count("\n") == len(found)


@pytest.mark.parametrize("name", ["database_password", AUTHORITY])
def test_a_kept_secret_gets_a_new_value_and_the_others_stay(stack: Path, name: str) -> None:
    before = kept(stack)
    done = secrets("rotate", name, "--stack", stack)
    assert done.returncode == 0 and "--rotate-secrets" in done.stderr
    after = kept(stack)
    assert {n for n in after if after[n] != before.get(n)} == {name}
    assert after[name] not in done.stdout + done.stderr and kept_at(stack).stat().st_mode & 0o777 == 0o600


def test_one_secret_alone_can_be_made_before_the_first_provision(stack: Path) -> None:
    """A signing key, whose record takes a day to be seen."""
    shutil.rmtree(kept_at(stack).parent)
    assert secrets("rotate", DKIM, "--stack", stack).returncode == 0
    assert set(kept(stack)) == {DKIM} and "PRIVATE KEY" in kept(stack)[DKIM]
    assert secrets("rotate", BACKUP, "--stack", stack).returncode == 3


def test_a_secret_that_others_give_is_not_changed_here(stack: Path) -> None:
    before = kept(stack)
    done = secrets("rotate", "session_key", "--stack", stack, PLAZA_SECRET_KEY="value-from-outside")
    assert done.returncode == 2 and "PLAZA_SECRET_KEY" in done.stderr
    assert secrets("rotate", "nothing", "--stack", stack).returncode == 2
    held = secrets("rotate", BACKUP, "--stack", stack)
    assert held.returncode == 3 and "noise" in held.stderr
    assert kept(stack) == before
