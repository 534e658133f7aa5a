"""What a forecast stands on, and the figures that follow: observed where something was, assumed where nothing was."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from migrate.facts import BucketFacts, DatabaseFacts, ExportHosts, Facts, Observed, PaceFacts, RateFacts
from migrate.figures import Figure, Ground
from migrate.forecast import defaults
from migrate.forecast.history import History
from migrate.forecast.taking import Taken, Wanted, taken
from migrate.inventory import Inventory
from migrate.plan import SIDE_BY_SIDE
from migrate.stack import Stack


def named_source(observed: Observed) -> str:
    """How a fact says that it was observed, and when."""
    when = f", {observed.at:%Y-%m-%d %H:%M %Z}" if observed.at else ""
    return (observed.source or "file of facts") + when


@dataclass(frozen=True)
class Basis:
    """The planner's input, all of it."""

    stack: Stack
    inventory: Inventory
    facts: Facts = field(default_factory=Facts)
    history: History = field(default_factory=History)
    lanes: int = SIDE_BY_SIDE
    """Steps that run at once, beside those that need the old home."""
    wanted: Wanted = field(default_factory=Wanted)
    """What is to be exported of every bucket, beside what the manifest says of each."""

    def figure(self, name: str) -> Figure:
        """A rate in bytes a second or a pace, from the facts or from the defaults."""
        default = defaults.RATES.get(name) or defaults.PACES[name]
        said: RateFacts | PaceFacts | None = getattr(self.facts, name, None)
        if said is None:
            return default
        value = said.rate if isinstance(said, RateFacts) else said.per_second
        return Figure(name, value, said.ground, named_source(said), said.spread or default.spread)

    @property
    def export(self) -> ExportHosts:
        return self.facts.export or ExportHosts(ground=Ground.ASSUMED, source="one machine, this one")

    @cached_property
    def line(self) -> Figure:
        """From the old home to all export hosts together."""
        one, hosts = self.figure("line"), self.export.hosts
        together = one.value * hosts
        if self.uplink and self.uplink.value < together:
            return replace(self.uplink, name="line", source=f"uplink: {self.uplink.source}")
        source = one.source if hosts == 1 else f"{hosts} x {one.source}"
        return Figure("line", together, one.ground, source, one.spread)

    @cached_property
    def uplink(self) -> Figure | None:
        """What all export hosts together can take in; None where nobody said that it is less than their lines."""
        said = self.facts.uplink
        spread = (said.spread if said else None) or self.figure("line").spread
        return Figure("uplink", said.rate, said.ground, named_source(said), spread) if said else None

    def bucket(self, name: str) -> BucketFacts | None:
        """What is known of a bucket: the facts, or what the journal says that an export of it found."""
        said = self.facts.buckets.get(name)
        known = self.history.steps.get(("export.bucket", name))
        if said is not None or known is None or not known.tells_sizes or known.bytes is None or known.objects is None:
            return said
        return BucketFacts(
            objects=known.objects, bytes=known.bytes, ground=Ground.KNOWN, source=known.source, at=known.at
        )

    def taken(self, name: str) -> Taken | None:
        """What the export takes of a bucket; None where its size is not known."""
        bucket = self.bucket(name)
        return taken(bucket, self.stack.buckets[name], self.wanted) if bucket else None

    def database_bytes(self, name: str) -> tuple[int, Figure] | None:
        """Bytes of the dump, and the figure of the database itself; None where neither is known."""
        said = self.facts.databases.get(name)
        if said is not None:
            return _database_sizes(said)
        known = self.history.steps.get(("restore.dump", name))
        if known is None or not known.tells_sizes or known.bytes is None:
            return None
        size = known.bytes * defaults.DATABASE_OVER_DUMP
        return known.bytes, Figure("database", size, Ground.ASSUMED, f"3 times the dump; {known.source}")

    @cached_property
    def hosts_of_group(self) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for host in self.inventory.hosts.values():
            for group in host.groups:
                counts[group] = counts.get(group, 0) + 1
        return counts


def _database_sizes(said: DatabaseFacts) -> tuple[int, Figure]:
    source = named_source(said)
    if said.bytes is None:
        size = (said.dump_bytes or 0) * defaults.DATABASE_OVER_DUMP
        return said.dump_bytes or 0, Figure("database", size, Ground.ASSUMED, f"3 times the dump; {source}")
    dump = round(said.bytes / defaults.DATABASE_OVER_DUMP) if said.dump_bytes is None else said.dump_bytes
    return dump, Figure("database", said.bytes, said.ground, source)
