"""`failover`: another host of a group comes to lead a database; and the way back into the group for one that led."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from migrate.action import Action, Outcome, StepContext
from migrate.adapters.ansible import AnsiblePlaybooks
from migrate.adapters.ssh import SshHosts
from migrate.cli.assembly import Undertaking
from migrate.cli.execution import ActionsFor, execute
from migrate.cli.options import DEFAULT_STACK, InventoryPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.errors import UsageProblem
from migrate.inventory import Inventory
from migrate.journal import Journal
from migrate.leads import LEADS, refuse_a_second_inventory
from migrate.planner import failover_plan, rejoin_plan
from migrate.ports import Hosts
from migrate.secret import Secrets
from migrate.stack import ServiceKind
from migrate.target.failover import LeadWritten, Promoted, Rejoined
from migrate.target.parts.postgresql import DEFAULT_PORT
from migrate.target.pools import PoolsRepointed
from migrate.target.provision import Narrowed, Provision
from migrate.target.replicas import GroupState, look_at_group, require_one_leader
from migrate.target.standdown import OthersStoodDown
from migrate.target.succession import Succession, choose

COMMAND = "failover"
MOVED = ("failover.stand-down", "failover.promote", "failover.pools", "failover.lead")
WITHOUT = (
    "use the state folder that the home was provisioned with (--state); or move the database alone, without them "
    "(--without-provision), and give the hosts their secrets when it is led again"
)
"""A rotation that was begun and cannot end, because the lead is gone, must not stand in the way."""


def failover(
    service: Annotated[str, typer.Argument(help="A service of kind postgresql.")],
    stack: Annotated[Path, typer.Option("--stack", help="The manifest.")] = DEFAULT_STACK,
    inventory: InventoryPath = None,
    to: Annotated[str, typer.Option("--to", help="Host that is to lead; the replica that has the most.")] = "",
    old_is_off: Annotated[
        bool, typer.Option("--old-is-off", help="You see to it that hosts which do not answer take no writes.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on although another host has what this one lacks: it is lost.")
    ] = False,
    without_provision: Annotated[
        bool,
        typer.Option("--without-provision", help="End when the app writes there: needs no secrets, tells no host."),
    ] = False,
    rejoin: Annotated[
        str, typer.Option("--rejoin", metavar="HOST", help="Copy this host from the one that leads instead.")
    ] = "",
    state: State = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Has another host lead a database, once all that the one that led has is there. Started again, it goes on."""
    undertaking = Undertaking.read(stack, inventory, state)
    group = _group(undertaking, service)
    refuse_a_second_inventory(undertaking.inventory.path)
    _require_members(undertaking, service, group, to, rejoin, without_provision)
    undertaking.make_ready()
    output, hosts = Output(as_json, verbose, quiet), SshHosts()
    secrets = None if without_provision else undertaking.secrets()
    if rejoin and secrets:
        plan = rejoin_plan(undertaking.stack, undertaking.inventory, service, rejoin)
        execute(COMMAND, plan, undertaking.state, _rejoin_actions(undertaking, secrets, hosts, service), output)
        return
    settings = undertaking.stack.services[service]
    found = look_at_group(hosts, undertaking.inventory.group(settings.group), settings.port or DEFAULT_PORT)
    require_one_leader(found, service)
    heir = to or _unfinished(undertaking, service, found) or choose(found, group[0], service)
    settled = replace(undertaking, inventory=_led_by(undertaking.inventory, settings.group, heir))
    output.say(_words(found, heir, service))
    plan = failover_plan(settled.stack, settled.inventory, service)
    there = Narrowed(tuple(name for name in settled.inventory.hosts if name not in found.away))
    provision = _provision(settled, secrets, hosts, there) if secrets else None
    if provision:
        provision.hold_secrets(WITHOUT)
    else:
        plan = plan.having(MOVED)
    succession = Succession(settled.stack, settled.inventory, hosts, service,
                            off=found.away if old_is_off else {}, accept_loss=accept_loss)  # fmt: skip
    execute(COMMAND, plan, settled.state, _actions(settled, succession, found, provision), output)
    if without_provision:
        output.say("replicas and files on the hosts name the one that led before until: cloudexit provision")


def _require_members(
    undertaking: Undertaking, service: str, group: list[str], to: str, rejoin: str, without_provision: bool
) -> None:
    for host in filter(None, (to, rejoin)):
        if host not in group:
            raise UsageProblem(f"{host!r} is no host of {service}", where=str(undertaking.inventory.path),
                               expected=", ".join(group))  # fmt: skip
    if rejoin and without_provision:
        raise UsageProblem("--rejoin and --without-provision exclude each other", expected="one of them",
                           hint="a host is copied by a provision of it")  # fmt: skip
    if rejoin == group[0]:
        others = group[1:] or ["another host"]
        line = f"{undertaking.stack.services[service].group}: {others[0] if len(others) == 1 else 'THAT-ONE'}"
        raise UsageProblem(f"{rejoin} leads {service} by the inventory", where=str(undertaking.inventory.path),
                           expected=f"one that is to follow: {', '.join(group[1:]) or 'there is none'}",
                           hint=f"where another one has what counts, write `{line}` into "
                           f"{undertaking.inventory.path.with_name(LEADS)}, give the same command, "
                           "then cloudexit provision")  # fmt: skip


def _words(found: GroupState, heir: str, service: str) -> str:
    server = found.servers.get(heir)
    if server is None or not server.follows or found.leaders:
        return f"{heir} is to lead {service}"
    return f"{heir} is to lead {service}; the newest write that it has was made {server.seconds_behind:,.1f} s ago"


def _group(undertaking: Undertaking, service: str) -> list[str]:
    known = {name: s for name, s in undertaking.stack.services.items() if s.kind is ServiceKind.POSTGRESQL}
    if service not in known:
        raise UsageProblem(f"no service of kind postgresql is called {service!r}", where=str(undertaking.manifest),
                           expected=", ".join(known) or "one in the manifest")  # fmt: skip
    group = known[service].group
    sharing = [name for name, s in undertaking.stack.services.items() if s.group == group and name != service]
    if sharing:
        raise UsageProblem(
            f"{service} shares its group with {', '.join(sharing)}: they would be led by another host too",
            where=str(undertaking.manifest), expected="a group of its own for a database that can fail over",
        )  # fmt: skip
    return [host.name for host in undertaking.inventory.group(group)]


def _led_by(inventory: Inventory, group: str, host: str) -> Inventory:
    return replace(inventory, leads={**inventory.leads, group: host})


def _unfinished(undertaking: Undertaking, service: str, found: GroupState) -> str:
    """Who was to lead by a fail-over of this service that did not end well, and still can: the same command goes on
    with it."""
    if not undertaking.state.journal.exists():
        return ""
    journal = Journal(undertaking.state.journal, read_only=True)
    try:
        runs = [run for run in journal.runs() if run.command == COMMAND]
    finally:
        journal.close()
    if not runs or runs[-1].outcome == "done":
        return ""
    steps = {step["kind"]: step["subject"] for step in runs[-1].plan["steps"]}
    heir = str(steps.get("failover.promote", ""))
    return heir if steps.get("failover.stand-down") == service and heir in found.servers else ""


def _actions(
    undertaking: Undertaking, succession: Succession, found: GroupState, provision: Provision | None
) -> ActionsFor:
    moved: dict[str, Action] = {
        "failover.stand-down": OthersStoodDown(succession),
        "failover.promote": Promoted(succession),
        "failover.pools": PoolsRepointed(succession, tuple(found.away)),
        "failover.lead": LeadWritten(succession),
    }
    if provision is None:
        return lambda stop: moved
    assembled = undertaking.actions()
    return lambda stop: {**assembled(stop), **moved, "failover.provision": provision}


def _rejoin_actions(undertaking: Undertaking, secrets: Secrets, hosts: Hosts, service: str) -> ActionsFor:
    succession = Succession(undertaking.stack, undertaking.inventory, hosts, service)

    def copied(host: str, context: StepContext) -> Outcome:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        narrowed = Narrowed((host,), {"cloudexit_clone": [host], "cloudexit_clone_stamp": stamp})
        step = rejoin_plan(undertaking.stack, undertaking.inventory, service, host).steps[0]
        return _provision(undertaking, secrets, hosts, narrowed).apply(step, context)

    return lambda stop: {"failover.rejoin": Rejoined(succession, copied)}


def _provision(undertaking: Undertaking, secrets: Secrets, hosts: Hosts, narrowed: Narrowed) -> Provision:
    playbooks, checks = AnsiblePlaybooks(undertaking.state.ansible), undertaking.checks(hosts, secrets)
    stack, inventory = undertaking.stack, undertaking.inventory
    return Provision(hosts, playbooks, stack, inventory, secrets, checks, undertaking.who, narrowed=narrowed)


def register(app: typer.Typer) -> None:
    app.command()(failover)
