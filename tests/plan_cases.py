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
from migrate.forecast.forecast import Occasion, forecast
from migrate.forecast.result import Forecast
from migrate.forecast.taking import Wanted
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
    named = {f"{g}{n}": (g,) for g in stack.groups() for n in range(1, counts.get(g, 1) + 1)}
    return inventory_of(named, dict.fromkeys(named, variables))


def inventory_of(groups: dict[str, tuple[str, ...]], variables: dict[str, dict[str, Any]]) -> Inventory:
    """`groups`: host -> the groups that it is in."""
    first = ip_address("192.0.2.1")
    hosts = {name: Host(name, str(first + index), tuple(of)) for index, (name, of) in enumerate(groups.items())}
    return Inventory(Path("hosts.yml"), hosts, merged={name: variables.get(name, {}) for name in hosts})


def stack_of_case(content: dict[str, Any]) -> Stack:
    """`stack`: its name in tests/plans/stacks/, or all of it; `manifest`: what stands otherwise there, by section."""
    said = content["stack"]
    document = said if isinstance(said, dict) else yaml.safe_load((PLANS / "stacks" / f"{said}.yaml").read_text())
    for section, parts in content.get("manifest", {}).items():
        for name, fields in parts.items():
            document[section][name] = {**document[section].get(name, {}), **fields}
    return Stack.model_validate(document)


def read_case(path: Path) -> Case:
    content = yaml.safe_load(path.read_text())
    stack = stack_of_case(content)
    inventory = (
        inventory_of(content["inventory"], content.get("host_variables", {}))
        if "inventory" in content
        else hosts_of(stack, content.get("hosts", {}), content.get("variables", {}))
    )
    facts = Facts.model_validate(content.get("facts", {}))
    wanted = Wanted(**content.get("wanted", {}))
    basis = Basis(stack, inventory, facts, lanes=content.get("lanes", SIDE_BY_SIDE), wanted=wanted)
    plan = make_plan(stack, inventory, facts, wanted=wanted)
    deadline = parse_deadline(content["deadline"], GO) if "deadline" in content else None
    return Case(basis, plan, forecast(plan, basis, Occasion(GO, GO, deadline)), content["expect"])


def after(seconds: float) -> datetime:
    return GO + timedelta(seconds=seconds)
