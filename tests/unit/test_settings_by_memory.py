"""PostgreSQL's and Redis's settings follow the host's memory, and stay when a new kernel leaves some MiB less."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader  # type: ignore[import-untyped]
from ansible.template import Templar, trust_as_template  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

ROLES = Path(__file__).parents[2] / "playbooks" / "roles"
KIB = 1024
SOLD_MIB = (1024, 4096, 8192, 12288, 65536, 262144)
NEEDED: dict[str, dict[str, Any]] = {
    "postgresql": {"postgresql_port": 5432},
    "redis": {"redis_port": 6379, "redis_password": "x"},
}  # fmt: skip


def settings_of(role: str, mem_kib: int, cores: int = 4, **variables: Any) -> str:
    """The settings file of a role on a host with this memory, as Ansible writes it."""
    tasks = yaml.safe_load((ROLES / role / "tasks" / "main.yml").read_text())
    [task] = [task for task in tasks if task["name"] == "Write the settings"]
    meminfo = base64.b64encode(f"MemTotal:       {mem_kib} kB\nMemFree: 1 kB\n".encode()).decode()
    cpuinfo = base64.b64encode("".join(f"processor\t: {i}\n\n" for i in range(cores)).encode()).decode()
    found = {
        "postgresql_machine": {"results": [{"content": meminfo}, {"content": cpuinfo}]},
        "redis_meminfo": {"content": meminfo}, "ansible_managed": "", "ansible_check_mode": False,
    }  # fmt: skip
    own = {name: trust_as_template(value) for name, value in _templates(role, task).items()}
    loader = DataLoader()
    loader.set_basedir(str(ROLES / role / "templates"))
    known = {**yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text()), **own, **found, **NEEDED[role]}
    text = (ROLES / role / "templates" / task["ansible.builtin.template"]["src"]).read_text()
    return str(Templar(loader=loader, variables={**known, **variables}).template(trust_as_template(text)))


def _templates(role: str, task: dict[str, Any]) -> dict[str, str]:
    file = ROLES / role / "vars" / "main.yml"
    named = {**(yaml.safe_load(file.read_text()) if file.exists() else {}), **task["vars"]}
    return {name: value for name, value in named.items() if isinstance(value, str)}


def value_of(text: str, name: str) -> int:
    [line] = [line for line in text.splitlines() if line.replace(" = ", " ").startswith(f"{name} ")]
    return int("".join(letter for letter in line.replace(" = ", " ").split()[1] if letter.isdigit()))


@pytest.mark.parametrize("role", ["postgresql", "redis"])
@pytest.mark.parametrize("sold", SOLD_MIB)
def test_some_memory_less_after_a_kernel_update_changes_no_file(role: str, sold: int) -> None:
    """A kernel takes two to six of a hundred parts for itself; the next one takes a little more or less."""
    texts = {settings_of(role, sold * KIB * left // 1000 + odd) for left in range(937, 986, 8) for odd in (0, 524)}
    assert len(texts) == 1
    explicit = settings_of(role, sold * KIB, redis_max_memory="4242mb", postgresql_memory_mb=4242)
    assert "4242" in explicit


FOLLOWS_REFUSE_LOWER = (
    "max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
    "max_locks_per_transaction",
)  # fmt: skip
"""A standby with a lower value than its primary does not start."""


def test_hosts_of_any_size_may_follow_each_other() -> None:
    """What does not stand in the file is PostgreSQL's own default, the same everywhere."""
    texts = [settings_of("postgresql", mib * KIB, cores) for mib, cores in ((3900, 2), (15_900, 8), (257_000, 96))]
    bounds = [[line for line in text.splitlines() if line.startswith(FOLLOWS_REFUSE_LOWER)] for text in texts]
    assert len(bounds[0]) >= 3 and bounds[0] == bounds[1] == bounds[2]
    workers = [value_of(text, "max_parallel_workers") for text in texts]
    assert workers == [2, 8, value_of(texts[2], "max_worker_processes")]


@settings(max_examples=30)
@given(mib=st.integers(700, 600_000))
def test_the_settings_follow_the_memory_that_there_is(mib: int) -> None:
    buffers = value_of(settings_of("postgresql", mib * KIB), "shared_buffers")
    assert buffers == 8192 or 0.2 * mib <= buffers <= 0.28 * mib
    assert 0.4 * mib <= value_of(settings_of("redis", mib * KIB), "maxmemory") <= 0.56 * mib
