"""The same question to every host at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from migrate.errors import CloudexitError
from migrate.inventory import Host, Inventory

AT_ONCE = 16
Answer = TypeVar("Answer")


def on_every_host(inventory: Inventory, ask: Callable[[Host], Answer]) -> dict[str, Answer]:
    """Answers by host, in the inventory's order; raises the first host's error once all have answered."""
    answers, faults = answers_and_faults(inventory, ask)
    for fault in faults.values():
        raise fault
    return answers


def answers_and_faults(
    inventory: Inventory, ask: Callable[[Host], Answer]
) -> tuple[dict[str, Answer], dict[str, CloudexitError]]:
    """Answers of the hosts that gave one, and what hindered the others: one bad host hides nothing."""
    return answers_and_faults_of(list(inventory.hosts.values()), ask)


def answers_and_faults_of(
    hosts: Sequence[Host], ask: Callable[[Host], Answer]
) -> tuple[dict[str, Answer], dict[str, CloudexitError]]:
    """As `answers_and_faults`, of some hosts."""
    answers: dict[str, Answer] = {}
    faults: dict[str, CloudexitError] = {}
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, max(1, len(hosts)))) as pool:
        asked = {host.name: pool.submit(ask, host) for host in hosts}
        for name, answer in asked.items():
            try:
                answers[name] = answer.result()
            except CloudexitError as fault:
                faults[name] = fault
    return answers, faults
