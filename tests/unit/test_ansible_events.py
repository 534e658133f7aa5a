"""Ansible's events, folded into what each host did."""

import json
from typing import Any

import pytest

from migrate.adapters.ansibleevents import EventFold, plain_text, redacted
from migrate.secret import Secret, Secrets

SECRETS = Secrets({"password": Secret("hunter2hunter2")})
BASE = "/x/playbooks/roles/base/tasks/main.yml:3"


def event(name: str, host: str = "a", task: str = "Install", path: str = BASE, **rest: Any) -> dict[str, Any]:
    return {"event": name, "event_data": {"host": host, "task": task, "task_path": path, "duration": 1.5, **rest}}


def stats(**counts: dict[str, int]) -> dict[str, Any]:
    every = {name: 1 for hosts in counts.values() for name in hosts}
    return {"event": "playbook_on_stats", "event_data": {"processed": every, **counts}}


def folded(*events: dict[str, Any], expected: tuple[str, ...] = ("a", "b")) -> EventFold:
    fold = EventFold(expected, SECRETS, lambda task: None)
    for one in events:
        assert fold.take(one) is False
    return fold


def test_changed_tasks_and_the_time_of_the_slowest_host_are_kept() -> None:
    fold = folded(
        event("runner_on_ok", res={"changed": True}),
        event("runner_on_ok", host="b", res={"changed": False}, duration=4.0),
        event("runner_on_ok", host="b", task="Mark", path="/x/playbooks/provision.yml:9", role="base", res={}),
        stats(ok={"a": 1, "b": 2}, changed={"a": 1}),
    )
    result = fold.result("provision", 9.0)
    assert result and result.changed == 1 and fold.ended
    assert result.hosts["a"].changed_tasks == ("base : Install",)
    assert result.hosts["b"].changed_tasks == () and result.hosts["b"].ok == 2
    assert result.role_seconds == {"base": 4.0, "playbook": 1.5}


def test_a_checkout_below_a_folder_called_roles_has_the_roles_names_all_the_same() -> None:
    deep = event(
        "runner_on_ok", path="/srv/roles/cloudexit/playbooks/roles/base/tasks/main.yml:3", res={"changed": True}
    )
    result = folded(deep, stats(ok={"a": 1, "b": 1}, changed={"a": 1})).result("provision", 1.0)
    assert result.hosts["a"].changed_tasks == ("base : Install",)


def test_a_change_whose_output_is_hidden_is_still_told() -> None:
    hidden = event("runner_on_ok", task="Write the password", res={"censored": "hidden"})
    result = folded(hidden, stats(ok={"a": 1, "b": 1}, changed={"a": 1})).result("provision", 1.0)
    assert result.hosts["a"].changed_tasks == ("1 with hidden output, of: base : Write the password",)


def test_a_failure_is_told_without_secrets_and_control_sequences() -> None:
    failed = event("runner_on_failed", res={"msg": "\x1b[31mno hunter2hunter2 here\x1b[0m", "stderr": "E: broken"})
    result = folded(failed, stats(failures={"a": 1}, ok={"b": 1})).result("provision", 1.0)
    assert not result and result.hosts["a"].failed == 1
    assert result.hosts["a"].failure == "base : Install: no ••• here\nE: broken"
    assert result.hosts["b"].failed == 0


def test_a_secret_is_taken_out_of_json_too() -> None:
    secrets = Secrets({"quoted": Secret('a"b\\c-longer')})
    text = json.dumps({"msg": f"got {secrets['quoted'].reveal()}"})
    assert redacted(secrets, text) == '{"msg": "got •••"}'


def test_every_failed_item_of_a_loop_is_told() -> None:
    fold = folded(
        event("runner_item_on_failed", res={"msg": "first"}),
        event("runner_on_failed", res={"msg": "All items completed"}),
        stats(failures={"a": 1}, ok={"b": 1}),
    )
    assert "first" in fold.result("provision", 1.0).hosts["a"].failure


def test_a_silent_host_is_unreachable() -> None:
    silent = event("runner_on_unreachable", res={"msg": "Connection timed out", "unreachable": True})
    result = folded(silent, stats(dark={"a": 1}, ok={"b": 1})).result("provision", 1.0)
    assert result.hosts["a"].unreachable and "timed out" in result.hosts["a"].failure and not result


def test_a_host_that_was_expected_and_never_came_is_a_failure() -> None:
    result = folded(stats(ok={"a": 1})).result("provision", 1.0)
    assert not result and result.hosts["b"].failed == 1 and "no task ran on it" in result.hosts["b"].failure


def test_without_a_summary_nothing_has_ended() -> None:
    assert not folded(event("runner_on_failed", res={"msg": "x"})).ended


def test_a_task_that_waits_says_how_far_it_is_without_secrets() -> None:
    said: list[str] = []
    fold = EventFold(("a",), SECRETS, said.append)
    for stderr in ("1/9 kB\n5/9 kB hunter2hunter2\n", ""):
        fold.take(event("runner_retry", task="Wait for it", res={"stderr": stderr}))
    assert said == ["base : Wait for it (a: 5/9 kB •••)"]
    assert not fold.ended


def test_each_task_is_announced_once() -> None:
    told: list[str] = []
    fold = EventFold(("a",), SECRETS, told.append)
    for task in ("Install", "Install", "Start"):
        fold.take({"event": "playbook_on_task_start", "event_data": {"task": task, "task_path": BASE}})
    assert told == ["base : Install", "base : Start"] and fold.last_task == "base : Start"


@pytest.mark.parametrize("text", ["\x1b[0;32mok\x1b[0m\r", "ok", "\x1b[Kok"])
def test_control_sequences_are_taken_out(text: str) -> None:
    assert plain_text(text) == "ok"
