"""`rehearse`: the same plan against disposable hosts, with the old home really switched off in the end."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from migrate.adapters.s3 import Access
from migrate.cli.assembly import Drill, Undertaking
from migrate.cli.execution import execute_locked
from migrate.cli.lab import host_groups
from migrate.cli.options import DEFAULT_STACK, InventoryPath, StackPath, State
from migrate.cli.output import Json, Output, Quiet, Verbose
from migrate.cli.state import StateFolder
from migrate.errors import UsageProblem
from migrate.inventory import Inventory, on_hosts_of, read_inventory
from migrate.journal import Journal, exclusive
from migrate.lab.drill import OLD_GROUP, OLD_HOST, OldHomeRecipe
from migrate.lab.lab import HostSpec, Lab
from migrate.lab.releases import Release
from migrate.manifest import read_stack, require_old_home
from migrate.planner import make_plan
from migrate.runner import Observer
from migrate.secret import load_or_generate
from migrate.stack import Stack

COMMAND = "rehearse"
LAB_NAME_DIGITS = 6


@dataclass(frozen=True)
class RehearsalOptions:
    stack: Path
    shape: Path | None = None
    hosts: int | None = None
    keep: bool = False
    state: Path | None = None
    release: Release | None = None


def rehearse(
    stack: StackPath = DEFAULT_STACK,
    inventory: InventoryPath = None,
    hosts: Annotated[int | None, typer.Option("--hosts", help="Number of disposable hosts.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the hosts up, and say how to reach them.")] = False,
    state: State = None,
    release: Annotated[
        Release | None, typer.Option("--release", help="Debian's release of the new home's hosts; 12 unless told.")
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Rehearses the whole way on disposable hosts; measures RTO and RPO; writes a drill report."""
    carry_out(RehearsalOptions(stack, inventory, hosts, keep, state, release), Output(as_json, verbose, quiet))


def carry_out(options: RehearsalOptions, output: Output, observers: Sequence[Observer] = ()) -> None:
    """Runs the drill, or goes on with the one that was stopped. Hosts of a drill that failed stay for a look."""
    stack = read_stack(options.stack)
    require_old_home(options.stack, stack)
    shape = _shape(stack, options)
    state = StateFolder.beside(options.stack, options.state, drill=True)
    state.create()
    with exclusive(state.lock, COMMAND):
        lab = Lab(lab_name(state), progress=output.say)
        undertaking = _undertaking(options, stack, shape, state, lab)
        if not _goes_on(state, undertaking):
            _start_afresh(lab, state, stack)
            undertaking = _undertaking(options, stack, shape, state, lab)
        actions = undertaking.actions(make_secrets=True)
        execute_locked(COMMAND, undertaking.plan, state, actions, output, observers)
        if options.keep:
            _say_how_to_look(undertaking, lab, output)
        else:
            lab.down()
            output.say("the disposable hosts are gone")


def lab_name(state: StateFolder) -> str:
    """One lab for each state folder, so that drills of different apps do not meet."""
    return f"d{sha256(str(state.root).encode()).hexdigest()[:LAB_NAME_DIGITS]}"


def _shape(stack: Stack, options: RehearsalOptions) -> dict[str, tuple[str, ...]]:
    """Host -> groups: as the given inventory's hosts, or as the manifest says."""
    if options.shape is None:
        return host_groups(stack, options.hosts)
    if options.hosts is not None:
        raise UsageProblem("--hosts and --inventory exclude each other", expected="one of them")
    return {host.name: host.groups for host in read_inventory(options.shape).hosts.values()}


def _undertaking(
    options: RehearsalOptions, stack: Stack, shape: dict[str, tuple[str, ...]], state: StateFolder, lab: Lab
) -> Undertaking:
    specs = [HostSpec(name, groups, release=options.release) for name, groups in shape.items()]
    old = [HostSpec(OLD_HOST, (OLD_GROUP,))] if stack.rehearsal and stack.rehearsal.old_home else []
    addresses = lab.plan([*specs, *old])
    inventory = read_inventory(lab.write_inventory(state.data / "hosts.yml", hosts=list(shape)))
    drill = Drill(lab, specs)
    if stack.rehearsal and stack.rehearsal.old_home:
        manifest = stack.rehearsal.old_home
        # The image outlives a drill, and this secret is in it: so it is kept beside the images.
        lab.root.mkdir(parents=True, exist_ok=True)
        kept = load_or_generate(lab.root / f"old-home-{stack.name}.json", [manifest.secret_key], {})
        recipe = OldHomeRecipe(options.stack.absolute().parent, manifest, lab.root / "cache" / stack.name, kept)
        old_inventory: Inventory = read_inventory(lab.write_inventory(state.data / "old.yml", hosts=[OLD_HOST]))
        access = Access(
            endpoint_url=f"http://{addresses[OLD_HOST]}:{manifest.s3_port}",
            region=stack.source.region,
            access_key_id=manifest.access_key,
            secret_access_key=kept[manifest.secret_key].reveal(),
        )
        drill = replace(drill, recipe=recipe, old_inventory=old_inventory, access=access)
    stack = on_hosts_of(stack, inventory)
    plan = make_plan(stack, inventory, rehearsal=True)
    return Undertaking.assemble(options.stack, stack, inventory, state, plan, drill)


def _goes_on(state: StateFolder, undertaking: Undertaking) -> bool:
    journal = Journal(state.journal)
    unfinished = journal.unfinished(COMMAND, undertaking.plan.digest)
    journal.close()
    return unfinished is not None


def _start_afresh(lab: Lab, state: StateFolder, stack: Stack) -> None:
    """A new drill begins with new hosts. What was exported from a stand-in goes too; a real export is kept."""
    lab.down()
    if stack.rehearsal and stack.rehearsal.old_home and state.archive.exists():
        shutil.rmtree(state.archive)
        state.create()


def _say_how_to_look(undertaking: Undertaking, lab: Lab, output: Output) -> None:
    output.say(f"the app, in a browser of this machine: {undertaking.site}")
    for host in lab.hosts():
        if host.name != OLD_HOST:
            output.say(f"  {host.name} ({', '.join(host.groups)}): cloudexit lab ssh {host.name} --name {lab.name}")
    output.say(f"when you have looked: cloudexit lab down --name {lab.name}")


def register(app: typer.Typer) -> None:
    app.command()(rehearse)
