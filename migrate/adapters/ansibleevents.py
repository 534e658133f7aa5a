"""Ansible's stream of events, folded into what each host did."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from migrate.ports import HostPlay, PlayResult
from migrate.secret import Secret, Secrets

FAILURE_CHARACTERS = 2000
ROLE_IN_PATH = re.compile(r".*/roles/([^/]+)/")
END_OF_CONNECTION = re.compile(r"EOF on stream; last \d+ lines received:\s*")
"""How Mitogen begins to say that ssh ended, before ssh's own words."""
CONTROL_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def plain_text(text: str) -> str:
    """Without the control sequences of a terminal."""
    return CONTROL_SEQUENCES.sub("", text)


def redacted(secrets: Secrets, text: str) -> str:
    """Without secrets, in the words that Ansible prints: as they are, and as they stand in JSON."""
    escaped = {name: Secret(json.dumps(secret.reveal())[1:-1]) for name, secret in secrets.items()}
    return Secrets(escaped).redact(secrets.redact(text))


@dataclass
class _HostSoFar:
    changed_tasks: list[str] = field(default_factory=list)
    hidden_tasks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    role_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


class EventFold:
    """Takes events in their order; `ended` once Ansible's own summary has come."""

    def __init__(self, expected: Sequence[str], secrets: Secrets, on_task: Callable[[str], None]) -> None:
        self._hosts = {name: _HostSoFar() for name in expected}
        self._secrets = secrets
        self._on_task = on_task
        self._stats: Mapping[str, Mapping[str, int]] | None = None
        self.last_task = ""

    @property
    def ended(self) -> bool:
        return self._stats is not None

    def take(self, event: Mapping[str, Any]) -> bool:
        """Always False: ansible-runner then writes no file for the event, of which a run has hundreds, secrets in them.
        What they say is kept here; ansible-runner's own `stats` stay empty for it, and are not asked."""
        name, data = str(event.get("event", "")), event.get("event_data") or {}
        host = self._hosts.setdefault(data["host"], _HostSoFar()) if data.get("host") else None
        if name == "playbook_on_stats":
            self._stats = data
        elif name == "playbook_on_task_start":
            self._begin_task(_title(data))
        elif host and name in ("runner_on_ok", "runner_on_failed", "runner_on_unreachable"):
            host.role_seconds[_role(data) or "playbook"] += float(data.get("duration") or 0.0)
            self._note_end(host, name, data)
        elif name == "runner_retry":
            self._tell_of_wait(data)
        elif host and name == "runner_item_on_failed":
            host.failures.append(self._failure(data))
        return False

    def _begin_task(self, title: str) -> None:
        if title != self.last_task:
            self.last_task = title
            self._on_task(title)

    def _tell_of_wait(self, data: Mapping[str, Any]) -> None:
        """A task that is tried until it is so says in the last line of its errors how far it is."""
        words = plain_text(str((data.get("res") or {}).get("stderr") or "")).split("\n")
        said = next((line.strip() for line in reversed(words) if line.strip()), "")
        if said:
            self._on_task(redacted(self._secrets, f"{_title(data)} ({data.get('host')}: {said})"))

    def _note_end(self, host: _HostSoFar, name: str, data: Mapping[str, Any]) -> None:
        result = data.get("res") or {}
        if name == "runner_on_ok" and result.get("changed"):
            host.changed_tasks.append(_title(data))
        elif name == "runner_on_ok" and "censored" in result:
            host.hidden_tasks.append(_title(data))
        if name == "runner_on_unreachable" or (name == "runner_on_failed" and not data.get("ignore_errors")):
            host.failures.append(self._failure(data))

    def _failure(self, data: Mapping[str, Any]) -> str:
        result = data.get("res") or {}
        parts = [result.get(key) for key in ("msg", "stderr", "module_stderr", "module_stdout", "censored")]
        words = [str(part).strip() for part in parts if part]
        told = "\n".join(dict.fromkeys(words)) or "no reason given"
        told = END_OF_CONNECTION.sub("the connection ended: ", plain_text(told) + "\n").strip()
        return redacted(self._secrets, f"{_title(data)}: {told.removesuffix(':')}")[:FAILURE_CHARACTERS]

    def result(self, playbook: str, seconds: float) -> PlayResult:
        """A host that was expected and that Ansible never came to counts as failed."""
        slowest: dict[str, float] = {}
        for host in self._hosts.values():
            for role, spent in host.role_seconds.items():
                slowest[role] = round(max(slowest.get(role, 0.0), spent), 3)
        plays = {name: self._play(name, host) for name, host in self._hosts.items()}
        return PlayResult(playbook, plays, round(seconds, 3), slowest)

    def _play(self, name: str, host: _HostSoFar) -> HostPlay:
        stats = self._stats or {}
        missed = bool(self._stats) and name not in stats.get("processed", {})
        failure = "; ".join(host.failures) or ("no task ran on it: the playbook did not include it" if missed else "")
        changed = stats.get("changed", {}).get(name, 0)
        hidden = changed - len(host.changed_tasks)
        if hidden > 0 and host.hidden_tasks:
            changed_tasks = (*host.changed_tasks, f"{hidden} with hidden output, of: {', '.join(host.hidden_tasks)}")
        else:
            changed_tasks = tuple(host.changed_tasks)
        return HostPlay(
            host=name,
            ok=stats.get("ok", {}).get(name, 0),
            changed=changed,
            failed=stats.get("failures", {}).get(name, 0) or int(missed),
            unreachable=bool(stats.get("dark", {}).get(name, 0)),
            changed_tasks=changed_tasks,
            failure=failure,
        )


def _role(data: Mapping[str, Any]) -> str:
    """From the task's file: the event's own `role` is that of an earlier task where a task has none."""
    found = ROLE_IN_PATH.search(str(data.get("task_path") or ""))
    return found.group(1) if found else ""


def _title(data: Mapping[str, Any]) -> str:
    role, task = _role(data), str(data.get("task") or data.get("name") or "")
    return f"{role} : {task}" if role and not task.startswith(f"{role} : ") else task
