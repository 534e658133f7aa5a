"""The predicted time of each step, and what it rests on."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from migrate.export.archived import Terms
from migrate.facts import Amount, FetchFacts
from migrate.figures import Estimate, Figure, Ground, Limit, rated, sized, weakest
from migrate.forecast import defaults
from migrate.forecast.basis import Basis, named_source
from migrate.forecast.taking import Taken
from migrate.plan import Step

OF_A_NETWORK = ("line", "uplink", "inside")
ALIKE = 3.0
"""A journal's time says something about work that is at most so many times larger or smaller."""
KNOWN_SPREAD = 1.3
"""How far a second run is off the first, 90th percentile over median: assumed, as no step was timed often enough."""
PROBED_SPREAD = 1.4
"""How far a whole bucket is off a sample of some seconds; assumed."""
OF_A_DATABASE = ("restore.dump", "restore.database", "restore.rewrite", "restore.proof")
THAW = "thaw"
"""The figure of a restore out of an archive class: no line and no host makes it shorter."""
THAW_SOURCE = "the provider's user guide, archive retrieval options; requests assumed"
LISTED = "listed"
"""The order in which objects are fetched while the listing goes on; every other waits for its end."""
HOUR = 3600.0
READS_OF_A_TREE = 4
"""MediaPlaced compares every byte before, for what to remove, after, and once more when the runner observes it."""


def estimated(step: Step, basis: Basis) -> Step:
    """The step with its estimate; without one where nothing tells how large its work is."""
    estimate = ESTIMATORS.get(step.kind, _fixed)
    return replace(step, estimate=_with_setup(step, estimate(step, basis)))


def _with_setup(step: Step, estimate: Estimate | None) -> Estimate | None:
    """What the step takes beside its data; a time of the journal and a probe have it already."""
    seconds = defaults.SETUP_SECONDS.get(step.kind)
    if estimate is None or seconds is None or _is_whole(step, estimate):
        return estimate
    setup = Limit("setup", seconds, defaults.SETUP_SPREAD, Ground.ASSUMED, defaults.DRILL, f"{seconds:g} s to set up")
    return Estimate(((setup,), *estimate.stretches))


def _is_whole(step: Step, estimate: Estimate) -> bool:
    return any(limit.figure in (step.id, "fetch") for limit in estimate.stretches[0])


def _fixed(step: Step, basis: Basis) -> Estimate | None:
    known = basis.history.steps.get((step.kind, step.subject))
    if known is not None:
        return _one(_known_limit(step, known.seconds, known.source))
    if step.kind not in defaults.STEP_SECONDS:
        return None
    seconds, spread, source = defaults.STEP_SECONDS[step.kind]
    hosts = _hosts_of_service(step, basis) if step.kind == "start.service" else 1
    formula = f"{seconds:g} s" + (f" x {hosts} hosts" if hosts > 1 else "")
    return _one(Limit(step.kind, seconds * hosts, spread, Ground.ASSUMED, source, formula))


def _hosts_of_service(step: Step, basis: Basis) -> int:
    service = basis.stack.services.get(step.subject)
    return max(1, basis.hosts_of_group.get(service.group, 1)) if service else 1


def _waves(step: Step, basis: Basis) -> Estimate:
    """Hosts are worked on so many at once: the time goes by waves."""
    at_once, seconds, spread, source = defaults.WAVE_SECONDS[step.kind]
    hosts = _hosts_of_release(step, basis) if step.kind == "restore.release" else len(basis.inventory.hosts)
    waves = max(1, math.ceil(hosts / at_once))
    ground = Ground.ASSUMED
    known = basis.history.steps.get((step.kind, step.subject))
    if known is not None:
        seconds, source, ground = known.seconds / math.ceil((known.hosts or 1) / at_once), known.source, Ground.KNOWN
        spread = KNOWN_SPREAD
    formula = f"{hosts} host{'' if hosts == 1 else 's'}, {at_once} at once: {waves} x {seconds:.3g} s"
    return _one(Limit(step.kind, seconds * waves, spread, ground, source, formula))


def _hosts_of_release(step: Step, basis: Basis) -> int:
    groups = basis.stack.hosts_of_release(step.subject)
    return len({host.name for group in groups for host in basis.inventory.group(group)})


def _export(step: Step, basis: Basis) -> Estimate | None:
    """What can be read at once comes while the archived objects that are asked for thaw; these come after it."""
    taken = basis.taken(step.subject)
    if taken is None or not taken.is_told:
        return None
    # A line that was observed says more than a drill, which may have had another one.
    # A drill with an old home of its own tells nothing of the line to the real one.
    earlier = basis.history.steps.get((step.kind, step.subject))
    if basis.facts.line is None and taken.thaw is None and earlier and not earlier.own_old_home:
        known = _alike(step, basis, taken.whole.bytes, taken.whole.objects)
        if known:
            return known
    listing = _by_pace(taken.listed, basis.figure("listing"), taken.ground)
    # Beside the fetching, which cannot be faster, or before it.
    before, beside = (((listing,),), ()) if taken.order != LISTED else ((), (listing,))
    ready = (*_fetching(taken, taken.ready, basis), *beside)
    if taken.thaw is None:
        return Estimate((*before, ready))
    thaw = _thaw(taken.thaw, taken.thawed.objects, basis.figure("asks"), listing)
    return Estimate((*before, (*ready, thaw), _fetching(taken, taken.thawed, basis)))


def _thaw(terms: Terms, objects: int, asks: Figure, listing: Limit) -> Limit:
    """The object that is listed last is asked for last; each is asked for once and looked at once at least."""
    typical = (terms.hours_from + terms.hours_to) / 2 * HOUR
    asking = max(listing.seconds, objects / asks.value) + objects / asks.value
    longest = terms.hours_to * HOUR + asking * asks.spread
    formula = f"{terms.lasting} until they are restored + 2 x {objects:,} requests / {asks.value:,.0f} a second"
    return Limit(THAW, typical + asking, longest / (typical + asking), Ground.ASSUMED, THAW_SOURCE, formula)


def _fetching(taken: Taken, amount: Amount, basis: Basis) -> tuple[Limit, ...]:
    fetch, line = taken.bucket.fetch, basis.facts.line
    if fetch and (line is None or line.ground is not Ground.MEASURED):
        return _as_probed(taken, amount, fetch, basis)
    machines, cores = basis.export.hosts, basis.export.cores or defaults.EXPORT_CORES
    requests = amount.objects * taken.requests_each
    processor = requests * defaults.OBJECT_CPU.value + amount.bytes * defaults.BYTE_CPU.value
    disk = basis.figure("disk_write")
    return (
        _by_rate(amount.bytes, basis.line, taken.ground),
        _by_rate(amount.bytes, replace(disk, value=disk.value * machines), taken.ground),
        _by_pace(requests, basis.figure("requests"), taken.ground),
        _by_pace(amount.objects, replace(defaults.LEDGER, value=defaults.LEDGER.value * machines), taken.ground),
        Limit(
            "processor", processor / (machines * cores), defaults.OBJECT_CPU.spread, Ground.ASSUMED,
            defaults.BENCHMARK, f"{processor:,.3g} processor seconds / {machines * cores} cores",
        ),
    )  # fmt: skip


def _as_probed(taken: Taken, amount: Amount, fetch: FetchFacts, basis: Basis) -> tuple[Limit, ...]:
    """Large objects wait for the line, small ones for their number; of the two the slower counts. One host was probed:
    more of them share the uplink, and what the source gives for one bucket."""
    hosts = basis.export.hosts
    several = f" x {hosts} hosts" if hosts > 1 else ""
    requests = amount.objects * taken.requests_each
    by_bytes, by_number = amount.bytes / fetch.rate / hosts, requests / fetch.per_second / hosts
    formula = (
        f"{sized(amount.bytes)} / {sized(fetch.rate)}/s{several}"
        if by_bytes >= by_number
        else f"{requests:,} / {fetch.per_second:,.0f} a second{several}"
    )
    ground = weakest((fetch.ground, taken.ground))
    limits = [Limit("fetch", max(by_bytes, by_number), PROBED_SPREAD, ground, named_source(fetch), formula)]
    if basis.facts.line:
        limits.append(_by_rate(amount.bytes, basis.line, taken.ground))
    elif basis.uplink:
        limits.append(_by_rate(amount.bytes, basis.uplink, taken.ground))
    source = basis.figure("requests")
    limits.append(_by_pace(requests, replace(source, value=max(source.value, fetch.per_second)), taken.ground))
    return tuple(limits)


def _dump(step: Step, basis: Basis) -> Estimate | None:
    """The dump is read whole, sent, and read again at the other end."""
    sizes = basis.database_bytes(step.subject)
    if sizes is None:
        return None
    dump, database = sizes
    known = _alike(step, basis, dump)
    return known or Estimate(
        (
            (_by_rate(dump, basis.figure("inside"), database.ground),),
            (_by_rate(dump, basis.figure("disk_read"), database.ground),),
        )
    )


def _database(rate: str, of_dump: bool) -> Callable[[Step, Basis], Estimate | None]:
    def estimate(step: Step, basis: Basis) -> Estimate | None:
        sizes = basis.database_bytes(step.subject)
        if sizes is None:
            return None
        dump, database = sizes
        known = _alike(step, basis, dump)
        return known or _one(_by_rate(dump if of_dump else database.value, basis.figure(rate), database.ground))

    return estimate


def _backup(step: Step, basis: Basis) -> Estimate | None:
    """Every database of the home, one after the other."""
    sizes = [basis.database_bytes(name) for name in basis.stack.databases]
    told = [database for found in sizes if found is not None for database in found[1:]]
    if not told or len(told) < len(sizes):
        return None
    ground = weakest([figure.ground for figure in told])
    return _one(_by_rate(sum(figure.value for figure in told), basis.figure("database_backup"), ground))


def _cache(step: Step, basis: Basis) -> Estimate | None:
    known = basis.history.steps.get((step.kind, step.subject))
    said = basis.facts.caches.get(step.subject)
    if said is None:
        return _one(_known_limit(step, known.seconds, known.source)) if known else None
    inside, disk = basis.figure("inside"), basis.figure("disk_read")
    return Estimate(((_by_rate(said.bytes, inside, said.ground),), (_by_rate(said.bytes, disk, said.ground),)))


def _media(step: Step, basis: Basis) -> Estimate | None:
    """One host after the other: what is missing is sent, and every byte there is read and compared."""
    media = basis.stack.media[step.subject]
    bucket = basis.bucket(media.bucket)
    if bucket is None:
        return None
    known = _alike(step, basis, bucket.bytes)
    if known:
        return known
    hosts = max(1, basis.hosts_of_group.get(basis.stack.services[media.service].group, 1))
    reads = READS_OF_A_TREE * hosts
    return Estimate(
        (
            (_by_rate(bucket.bytes * hosts, basis.figure("inside"), bucket.ground),),
            (_by_rate(bucket.bytes * reads, basis.figure("disk_read"), bucket.ground),),
        )
    )


def _alike(step: Step, basis: Basis, size: float, objects: int | None = None) -> Estimate | None:
    """What the journal says of the same step, in proportion, where its work was of about this size: in bytes, and in
    objects where they are counted."""
    known = basis.history.steps.get((step.kind, step.subject))
    if known is None:
        return None
    ratios = [_ratio(size, known.bytes or _dump_then(step, basis))]
    if objects is not None:
        ratios.append(_ratio(objects, known.objects))
    if not all(1 / ALIKE <= ratio <= ALIKE for ratio in ratios):
        return None
    return _one(_known_limit(step, known.seconds * max(ratios), known.source))


def _ratio(now: float, then: float | None) -> float:
    """Nothing was ever like nothing."""
    return now / then if then else 0.0


def _dump_then(step: Step, basis: Basis) -> int | None:
    """Of the steps of a database, which are recorded without bytes, the dump's."""
    dump = basis.history.steps.get(("restore.dump", step.subject))
    return dump.bytes if dump and step.kind in OF_A_DATABASE else None


def _known_limit(step: Step, seconds: float, source: str) -> Limit:
    return Limit(step.id, seconds, KNOWN_SPREAD, Ground.KNOWN, source, f"{seconds:.1f} s as it went then")


def _by_rate(size: float, rate: Figure, size_ground: Ground) -> Limit:
    shown = rated(rate.value) if rate.name in OF_A_NETWORK else f"{sized(rate.value)}/s"
    return Limit(
        rate.name, size / rate.value, rate.spread, weakest((rate.ground, size_ground)),
        f"{rate.name.replace('_', ' ')}: {rate.source}", f"{sized(size)} / {shown}",
    )  # fmt: skip


def _by_pace(count: int, pace: Figure, count_ground: Ground) -> Limit:
    return Limit(
        pace.name, count / pace.value, pace.spread, weakest((pace.ground, count_ground)),
        f"{pace.name}: {pace.source}", f"{count:,} / {pace.value:,.0f} a second",
    )  # fmt: skip


def _one(*limits: Limit) -> Estimate:
    return Estimate((limits,))


ESTIMATORS: Mapping[str, Callable[[Step, Basis], Estimate | None]] = {
    **dict.fromkeys(defaults.WAVE_SECONDS, _waves),
    "export.bucket": _export,
    "restore.dump": _dump,
    "restore.database": _database("database_load", of_dump=True),
    "restore.rewrite": _database("database_rewrite", of_dump=False),
    "restore.proof": _database("database_proof", of_dump=False),
    "restore.cache": _cache,
    "restore.media": _media,
    "restore.backup": _backup,
}


def estimate_all(steps: Iterable[Step], basis: Basis) -> tuple[Step, ...]:
    return tuple(estimated(step, basis) for step in steps)
