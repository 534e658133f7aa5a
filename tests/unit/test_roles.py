"""What the roles say of themselves: every variable has a description, and the stated defaults are those that hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted((Path(__file__).parents[2] / "playbooks" / "roles").iterdir())


def options(role: Path) -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    found: dict[str, dict[str, Any]] = document["argument_specs"]["main"]["options"]
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_defaults_of_a_role_are_the_documented_ones(role: Path) -> None:
    file = role / "defaults" / "main.yml"
    defaults = yaml.safe_load(file.read_text()) if file.exists() else {}
    assert defaults == {name: option["default"] for name, option in options(role).items() if "default" in option}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_of_a_role_is_described_and_either_required_or_has_a_default(role: Path) -> None:
    for name, option in options(role).items():
        assert name.startswith(f"{role.name}_"), name
        assert option["description"].endswith("."), name
        assert option.get("required", False) is ("default" not in option), name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_task_goes_on_after_an_error(role: Path) -> None:
    for file in role.rglob("*.yml"):
        assert "ignore_errors" not in file.read_text(), file


def tasks_below(found: Any) -> Iterator[dict[str, Any]]:
    for task in found if isinstance(found, list) else []:
        yield task
        for key in ("block", "rescue", "always"):
            yield from tasks_below(task.get(key))


def test_a_statement_that_sets_a_password_is_in_no_log_of_the_database_slow_or_failed() -> None:
    quiet = "-c log_min_duration_statement=-1 -c log_min_error_statement=panic -c log_statement=none"
    asked = []
    for role in ROLES:
        file = role / "vars" / "main.yml"
        variables = yaml.safe_load(file.read_text()) if file.exists() else {}
        for path in (role / "tasks").glob("*.yml"):
            for task in tasks_below(yaml.safe_load(path.read_text())):
                user = task.get("community.postgresql.postgresql_user", {})
                if "password" in user:
                    asked.append(task["name"])
                    name = str(user.get("connect_params")).strip("{} ")
                    assert variables[name] == {"options": quiet}, task["name"]
                    assert task["no_log"] and task["diff"] is False, task["name"]
    assert len(asked) == 2
