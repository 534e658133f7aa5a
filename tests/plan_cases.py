"""A file of tests/plans/ as the planner's input: stack, hosts, facts, deadline; and what must follow from it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml

from migrate.export.scope import parse_deadline
from migrate.facts import Facts
from migrate.forecast.basis import Basis
from migrate.forecast.cost import Wanted
from migrate.forecast.forecast import Occasion, forecast
from migrate.forecast.result import Forecast
from migrate.inventory import Host, Inventory
from migrate.plan import SIDE_BY_SIDE, Plan
from migrate.planner import make_plan
from migrate.stack import Stack

PLANS = Path(__file__).parent / "plans"
GO = datetime(2026, 11, 20, 3, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    basis: Basis
    plan: Plan
    forecast: Forecast
    expected: dict[str, Any]


def stack_named(name: str) -> Stack:
    """A stack of tests/plans/stacks/."""
    return Stack.model_validate(yaml.safe_load((PLANS / "stacks" / f"{name}.yaml").read_text()))


def hosts_of(stack: Stack, counts: dict[str, int], variables: dict[str, Any]) -> Inventory:
    """So many hosts for each group of the stack, one where no number is given."""
    named = [(group, f"{group}{number}") for group in stack.groups() for number in range(1, counts.get(group, 1) + 1)]
    first = ip_address("192.0.2.1")
    hosts = {name: Host(name, str(first + index), (group,)) for index, (group, name) in enumerate(named)}
    return Inventory(Path("hosts.yml"), hosts, merged=dict.fromkeys(hosts, variables))


def read_case(path: Path) -> Case:
    content = yaml.safe_load(path.read_text())
    said = content["stack"]
    stack = stack_named(said) if isinstance(said, str) else Stack.model_validate(said)
    inventory = hosts_of(stack, content.get("hosts", {}), content.get("variables", {}))
    facts = Facts.model_validate(content.get("facts", {}))
    basis = Basis(stack, inventory, facts, lanes=content.get("lanes", SIDE_BY_SIDE))
    plan = make_plan(stack, inventory, facts)
    deadline = parse_deadline(content["deadline"], GO) if "deadline" in content else None
    wanted = Wanted(**content.get("wanted", {}))
    return Case(basis, plan, forecast(plan, basis, Occasion(GO, GO, deadline, wanted)), content["expect"])


def after(seconds: float) -> datetime:
    return GO + timedelta(seconds=seconds)
