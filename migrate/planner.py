"""(stack, inventory, facts, history) -> Plan. Pure: the same input gives the same plan, and nothing is asked."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from migrate.facts import Facts
from migrate.forecast.basis import Basis
from migrate.forecast.estimates import estimate_all
from migrate.forecast.history import History
from migrate.forecast.taking import Wanted
from migrate.inventory import Inventory
from migrate.plan import Effect, Phase, Plan, Step
from migrate.stack import ServiceKind, Stack

EXPORT_ORDER = {"backups": 0, "releases": 1, "media": 2, "other": 3}


NOTHING_OBSERVED = Facts()
NOTHING_DONE = History()
NOTHING_MORE = Wanted()


def make_plan(
    stack: Stack,
    inventory: Inventory,
    facts: Facts = NOTHING_OBSERVED,
    history: History = NOTHING_DONE,
    *,
    wanted: Wanted = NOTHING_MORE,
    rehearsal: bool = False,
) -> Plan:
    """The steps that bring the stack to the inventory's hosts, each with its estimate.

    A rehearsal is the same plan with the laboratory's steps around it: hosts come up first, and the old home is
    really switched off before the proof.
    """
    lab = rehearsal and stack.rehearsal is not None
    old_home = lab and stack.rehearsal is not None and stack.rehearsal.old_home is not None
    steps: list[Step] = []
    if lab:
        steps += _lab_steps(old_home)
    steps += _preflight_steps(lab, old_home)
    steps += _export_steps(stack, old_home)
    steps += _provision_steps()
    steps += _restore_steps(stack)
    steps += _start_steps(stack)
    steps += _cutover_steps(stack, old_home)
    steps += _prove_steps(stack, after=[step.id for step in steps if step.phase in (Phase.START, Phase.CUTOVER)])
    estimates = estimate_all(steps, Basis(stack, inventory, facts, history, wanted=wanted))
    return Plan(stack.digest, inventory.digest, estimates)


def failover_plan(stack: Stack, inventory: Inventory, service: str, *, check: bool = True) -> Plan:
    """The steps after which the inventory's lead of a database's group leads it, whoever did before."""
    lead = inventory.lead(stack.services[service].group).name
    steps = [
        Step("failover.stand-down", Phase.CUTOVER, "failover.stand-down", f"nobody but {lead} takes writes",
             Effect.REVERSIBLE, subject=service),
        Step("failover.promote", Phase.CUTOVER, "failover.promote", f"{lead} leads {service}",
             Effect.IRREVERSIBLE, ("failover.stand-down",), lead),
        Step("failover.pools", Phase.CUTOVER, "failover.pools", f"the app's connections lead to {lead}",
             Effect.REVERSIBLE, ("failover.promote",), lead),
        Step("failover.lead", Phase.CUTOVER, "failover.lead", "leads.yml says so",
             Effect.REVERSIBLE, ("failover.promote",), lead),
        Step("failover.provision", Phase.PROVISION, "failover.provision", "every host that answers is told",
             Effect.REVERSIBLE, ("failover.pools", "failover.lead")),
    ]  # fmt: skip
    if check:
        steps.append(
            Step("prove.checks", Phase.PROVE, "prove.checks", "every check of every service", Effect.READ,
                 ("failover.provision",))
        )  # fmt: skip
    return Plan(stack.digest, inventory.digest, tuple(steps))


def rejoin_plan(stack: Stack, inventory: Inventory, service: str, host: str) -> Plan:
    """The step after which a host of a database's group follows the one that leads it."""
    step = Step("failover.rejoin", Phase.RESTORE, "failover.rejoin", f"{host} follows in {service} again",
                Effect.IRREVERSIBLE, subject=host)  # fmt: skip
    return Plan(stack.digest, inventory.digest, (step,))


def _lab_steps(old_home: bool) -> Iterator[Step]:
    yield Step("lab.hosts", Phase.LAB, "lab.hosts", "the new home's disposable hosts boot", Effect.REVERSIBLE)
    if old_home:
        yield Step(
            "lab.old-home", Phase.LAB, "lab.old-home", "the old home lives: S3, database, app, users",
            Effect.REVERSIBLE, ("lab.hosts",),
        )  # fmt: skip
        yield Step(
            "lab.dump", Phase.LAB, "lab.dump", "the old home's own dump job runs; its users go on writing",
            Effect.REVERSIBLE, ("lab.old-home",),
        )  # fmt: skip


def _preflight_steps(lab: bool, old_home: bool) -> Iterator[Step]:
    yield Step(
        "preflight.hosts", Phase.PREFLIGHT, "preflight.hosts", "the new hosts are what we need",
        Effect.READ, ("lab.hosts",) if lab else (),
    )  # fmt: skip
    yield Step(
        "preflight.source", Phase.PREFLIGHT, "preflight.source", "every bucket answers and lets us read",
        Effect.READ, ("lab.dump",) if old_home else (),
    )  # fmt: skip


def _export_steps(stack: Stack, old_home: bool) -> Iterator[Step]:
    """One bucket after the other: what a restore needs first comes first, and each has the whole line."""
    before = "preflight.source"
    for name in sorted(stack.buckets, key=lambda b: (EXPORT_ORDER[stack.buckets[b].holds], b)):
        yield Step(
            f"export.{name}", Phase.EXPORT, "export.bucket", f"every object of {name}, verified as it comes",
            Effect.REVERSIBLE, (before,), subject=name,
        )  # fmt: skip
        before = f"export.{name}"


def _provision_steps() -> Iterator[Step]:
    yield Step(
        "provision.hosts", Phase.PROVISION, "provision.hosts", "packages, users, firewall, services on every host",
        Effect.REVERSIBLE, ("preflight.hosts",),
    )  # fmt: skip


def _restore_steps(stack: Stack) -> Iterator[Step]:
    for name, release in stack.releases.items():
        yield _restore(f"release.{name}", "restore.release", f"release {name} is installed", name,
                       "provision.hosts", f"export.{release.artifact.bucket}")  # fmt: skip
    for name, database in stack.databases.items():
        yield from _database_steps(name, database.dump.bucket, bool(stack.media))
    for name, cache in stack.caches.items():
        yield _restore(f"cache.{name}", "restore.cache", f"snapshot of {name}, vetted and loaded", name,
                       "provision.hosts", f"export.{cache.snapshot.bucket}")  # fmt: skip
    for name, media in stack.media.items():
        yield _restore(f"media.{name}", "restore.media", f"media of {media.bucket}, every digest compared", name,
                       "provision.hosts", f"export.{media.bucket}")  # fmt: skip
    proofs = [f"restore.database.{name}.proof" for name in stack.databases]
    for name, service in stack.services.items():
        if service.kind is ServiceKind.BACKUP:
            yield _restore(f"backup.{name}", "restore.backup", "first backup of the new home, by the new home", name,
                           "provision.hosts", *proofs)  # fmt: skip


def _database_steps(name: str, bucket: str, has_media: bool) -> Iterator[Step]:
    base = f"database.{name}"
    yield _restore(f"{base}.dump", "restore.dump", f"the dump of {name} is vetted and brought over", name,
                   "provision.hosts", f"export.{bucket}")  # fmt: skip
    yield _restore(f"{base}.load", "restore.database", f"{name} is rebuilt beside, then takes its name", name,
                   f"restore.{base}.dump")  # fmt: skip
    if has_media:
        yield _restore(f"{base}.rewrite", "restore.rewrite", f"old media addresses in {name} become the new one",
                       name, f"restore.{base}.load")  # fmt: skip
    proved = _restore(f"{base}.proof", "restore.proof", f"{name} is proved: counts, indexes, sequences, keys", name,
                      f"restore.{base}.rewrite" if has_media else f"restore.{base}.load")  # fmt: skip
    yield replace(proved, effect=Effect.READ)


def _restore(part: str, kind: str, title: str, subject: str, *requires: str) -> Step:
    return Step(f"restore.{part}", Phase.RESTORE, kind, title, Effect.REVERSIBLE, tuple(requires), subject)


def _start_steps(stack: Stack) -> Iterator[Step]:
    for name in stack.services_in_order():
        service = stack.services[name]
        requires = [f"start.{before}" for before in service.after]
        requires += _restored_before(stack, name) or ["provision.hosts"]
        yield Step(
            f"start.{name}", Phase.START, "start.service", f"{name} starts and is healthy",
            Effect.REVERSIBLE, tuple(requires), subject=name,
        )  # fmt: skip
    yield Step(
        "start.drained", Phase.START, "start.drained", "queues have caught up",
        Effect.READ, tuple(f"start.{name}" for name in stack.services),
    )  # fmt: skip


def _restored_before(stack: Stack, service: str) -> list[str]:
    """What must be restored, and proved, before a service may start."""
    found = [f"restore.database.{n}.proof" for n, d in stack.databases.items() if d.service == service]
    found += [f"restore.cache.{n}" for n, c in stack.caches.items() if c.service == service]
    found += [f"restore.media.{n}" for n, m in stack.media.items() if m.service == service]
    if stack.services[service].kind is ServiceKind.BACKUP:
        found.append(f"restore.backup.{service}")
    if stack.services[service].kind is ServiceKind.PROCESS:
        found.append(f"restore.release.{stack.services[service].release}")
    return found


def _cutover_steps(stack: Stack, old_home: bool) -> Iterator[Step]:
    started = ("start.drained",)
    for name in (n for n, database in stack.databases.items() if database.watermarks):
        yield Step(
            f"cutover.lag.{name}", Phase.CUTOVER, "cutover.lag", f"what {name} would lose if the old home ended now",
            Effect.READ, started, subject=name,
        )  # fmt: skip
        started = (f"cutover.lag.{name}",)
    if old_home:
        yield Step(
            "cutover.switch-off", Phase.CUTOVER, "cutover.switch-off", "the old home is cut off and stopped",
            Effect.IRREVERSIBLE, started,
        )  # fmt: skip


def _prove_steps(stack: Stack, after: Iterable[str]) -> Iterator[Step]:
    yield Step("prove.checks", Phase.PROVE, "prove.checks", "every check of every service", Effect.READ, tuple(after))
    for name in stack.journeys:
        yield Step(
            f"prove.journey.{name}", Phase.PROVE, "prove.journey", f"the journey of a {name}, step by step",
            Effect.READ, ("prove.checks",), subject=name,
        )  # fmt: skip
    yield Step(
        "prove.drift", Phase.PROVE, "prove.drift", "a second provisioning changes nothing",
        Effect.READ, ("prove.checks", *(f"prove.journey.{name}" for name in stack.journeys)),
    )  # fmt: skip
    yield Step(
        "prove.objects", Phase.PROVE, "prove.objects", "every object is accounted for",
        Effect.READ, ("prove.checks",),
    )  # fmt: skip
