"""`cloudexit_users` of an inventory: who may sign in, and what is refused before any host is touched."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from migrate.errors import CloudexitError, DocumentProblems
from migrate.inventory import hold_against, on_hosts_of, read_inventory
from migrate.logins import NOT_PEOPLE, Login, login_faults, logins_of
from migrate.manifest import read_stack
from migrate.secret import Secret, Secrets
from migrate.target.variables import provision_variables
from tests.ownsecrets import OWN_SECRETS_OF_TESTS

ROOT = Path(__file__).parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLEEX"
ADA = {"name": "ada", "keys": [f"{KEY} ada@example"], "sudo": True}
GROUPS = ("database", "cache", "media", "worker", "app", "edge", "mail")


def written(folder: Path, users: Any, operator: str = "root") -> Path:
    groups = {group: {"hosts": {"one": None}} for group in GROUPS}
    variables = {"ansible_user": operator, "cloudexit_users": users}
    path = folder / "hosts.yml"
    host = {"one": {"ansible_host": "192.0.2.1"}}
    path.write_text(yaml.safe_dump({"all": {"vars": variables, "hosts": host, "children": groups}}))
    return path


def test_accounts_reach_the_playbooks_and_change_the_digest(tmp_path: Path) -> None:
    inventory = read_inventory(written(tmp_path, [ADA]))
    stack = on_hosts_of(read_stack(ROOT / "examples" / "plaza" / "stack.yaml"), inventory)
    secrets = Secrets({**OWN_SECRETS_OF_TESTS, **{name: Secret(f"value-of-{name}") for name in stack.secrets}})
    told = provision_variables(stack, inventory, secrets)
    host = told.variables["cloudexit_hosts"]["one"]
    assert host["users"] == [{"name": "ada", "keys": [f"{KEY} ada@example"], "sudo": True, "absent": False}]
    gone = read_inventory(written(tmp_path, [{"name": "ada", "state": "absent"}]))
    assert provision_variables(stack, gone, secrets).digest != told.digest


def test_an_account_that_goes_needs_no_keys() -> None:
    entry = [{"name": "ada", "state": "absent"}]
    assert list(login_faults(entry, "root")) == []
    assert logins_of(entry) == (Login("ada", absent=True),)


@pytest.mark.parametrize(
    ("users", "what"),
    [
        ("ada", "not a list of users"),
        (None, "not a list of users"),
        (["ada"], "not a user: 'ada'"),
        ([{"keys": [KEY]}], "not a user"),
        ([{**ADA, "name": "Ada"}], "no name for a user: 'Ada'"),
        ([{**ADA, "name": "a" * 33}], "no name for a user"),
        ([{**ADA, "name": "../x"}], "no name for a user"),
        ([ADA, ADA], "'ada' is named twice"),
        ([{**ADA, "shell": "zsh"}], "unknown field of the user 'ada': shell"),
        ([{**ADA, "sudo": "yes, please"}], "`sudo` of 'ada'"),
        ([{**ADA, "state": "gone"}], "`state` of 'ada' is 'gone'"),
        ([{"name": "ada"}], "'ada' has no keys"),
        ([{"name": "ada", "keys": []}], "'ada' has no keys"),
        ([{"name": "ada", "keys": KEY}], "'ada' has no keys"),
        ([{"name": "ada", "keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}], "no public key of 'ada'"),
        ([{"name": "ada", "keys": [f"{KEY} ada\n{KEY} eve"]}], "no public key of 'ada'"),
        ([{"name": "ada", "keys": [f'command="sh" {KEY}']}], "no public key of 'ada'"),
    ],
)
def test_a_list_of_users_with_a_fault_is_refused_with_its_line(tmp_path: Path, users: Any, what: str) -> None:
    with pytest.raises(DocumentProblems, match=r"hosts\.yml:\d+: all\.vars\.cloudexit_users") as refusal:
        read_inventory(written(tmp_path, users))
    assert what in str(refusal.value) and refusal.value.exit_code == 2


@pytest.mark.parametrize("name", sorted(NOT_PEOPLE))
def test_accounts_of_the_system_are_not_peoples(tmp_path: Path, name: str) -> None:
    with pytest.raises(CloudexitError, match="is an account of the system"):
        read_inventory(written(tmp_path, [{**ADA, "name": name}]))


def test_a_private_key_put_there_by_mistake_is_not_printed(tmp_path: Path) -> None:
    with pytest.raises(CloudexitError) as refusal:
        read_inventory(written(tmp_path, [{**ADA, "keys": ["b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAsecret"]}]))
    assert "secret" not in str(refusal.value)


def test_the_account_that_signs_in_cannot_be_taken_away(tmp_path: Path) -> None:
    with pytest.raises(CloudexitError, match="'ada' is whom this inventory signs in as"):
        read_inventory(written(tmp_path, [{"name": "ada", "state": "absent"}], operator="ada"))


def test_the_user_that_the_app_runs_as_is_not_a_person(tmp_path: Path) -> None:
    stack = read_stack(ROOT / "examples" / "plaza" / "stack.yaml")
    inventory = read_inventory(written(tmp_path, [{**ADA, "name": "plaza"}]))
    with pytest.raises(CloudexitError, match="'plaza' is the user that the app runs as"):
        hold_against(stack, inventory)


@pytest.mark.parametrize("name", ["single", "fleet", "example"])
def test_documented_inventories_fit_the_example_app(name: str) -> None:
    inventory = read_inventory(ROOT / "inventories" / name)
    stack = on_hosts_of(read_stack(ROOT / "examples" / "plaza" / "stack.yaml"), inventory)
    hold_against(stack, inventory)
    secrets = Secrets({**OWN_SECRETS_OF_TESTS, **{secret: Secret(f"value-of-{secret}") for secret in stack.secrets}})
    provision_variables(stack, inventory, secrets)
