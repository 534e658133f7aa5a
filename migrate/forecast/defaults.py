"""The figures that stand where nothing was observed: each named, with where it comes from.

`spread` is the 90th percentile over the median of the time that follows; where no source states one it is a guess of
ours, wide on purpose.
"""

from collections.abc import Mapping

from migrate.figures import Figure, Ground

GIB = 2**30
MEGABYTE = 1e6
DRILL = "README: a drill of examples/plaza on three small hosts"
BENCHMARK = "docs/benchmarks-export.md: small and large objects over TLS"


def _assumed(name: str, value: float, spread: float, source: str) -> tuple[str, Figure]:
    return name, Figure(name, value, Ground.ASSUMED, source, spread)


RATES: Mapping[str, Figure] = dict(
    (
        _assumed("line", 125 * MEGABYTE, 1.4, "a port of 1 Gbit/s, wholly ours"),
        _assumed("inside", 125 * MEGABYTE, 1.3, "a port of 1 Gbit/s at each new host"),
        _assumed("disk_write", 200 * MEGABYTE, 1.3, "one disk, sequential"),
        _assumed("disk_read", 200 * MEGABYTE, 1.3, "one disk, sequential"),
        _assumed("database_load", 15 * MEGABYTE, 2.0, "pg_restore with indexes and ANALYZE, bytes of the dump"),
        _assumed("database_rewrite", 40 * MEGABYTE, 2.0, "every text column read once, bytes of the database"),
        _assumed("database_backup", 50 * MEGABYTE, 2.0, "pgBackRest, two processes, zstd; bytes of the database"),
        _assumed("database_proof", 80 * MEGABYTE, 1.6, "counts and pg_amcheck --heapallindexed, bytes of the database"),
    )
)
"""Bytes a second."""

PACES: Mapping[str, Figure] = dict(
    (
        _assumed("requests", 5500, 1.2, "the provider's least promise for one partitioned prefix"),
        _assumed("listing", 8000, 1.3, "pages of 1,000 keys, eight a second"),
        _assumed("asks", 160, 1.5, "eight requests at once for archived objects, 50 ms each"),
    )
)
"""Things a second."""

OBJECT_CPU = Figure("processor", 0.38e-3, Ground.ASSUMED, BENCHMARK, 1.3)
"""Processor seconds for each object, its bytes apart."""
BYTE_CPU = Figure("processor", 3.6 / GIB, Ground.ASSUMED, BENCHMARK, 1.3)
"""Processor seconds for each byte: TLS, MD5 and SHA-256."""
LEDGER = Figure("ledger", 13_700, Ground.ASSUMED, "docs/benchmarks-export.md: 73 µs an object in the one loop", 1.2)
"""Objects a second that one export host names and records, however many cores it has."""
EXPORT_CORES = 2
"""Cores of an export host that nobody has described: the machine of the benchmark."""

WAVE_SECONDS: Mapping[str, tuple[int, float, float, str]] = {
    "preflight.hosts": (16, 1.7, 2.0, DRILL),
    "provision.hosts": (20, 56.0, 1.6, DRILL),
    "restore.release": (20, 23.0, 1.6, DRILL),
    "prove.drift": (20, 18.0, 1.6, DRILL),
}
"""Kind -> hosts at once, seconds a wave of so many hosts, spread, source."""

STEP_SECONDS: Mapping[str, tuple[float, float, str]] = {
    "preflight.source": (1.1, 2.0, DRILL),
    "start.service": (2.0, 2.5, DRILL),
    "start.drained": (60.0, 3.0, "bound of a check that waits for a queue; what the queue holds is not known before"),
    "cutover.lag": (1.0, 2.0, DRILL),
    "cutover.switch-off": (1.4, 2.0, DRILL),
    "prove.checks": (5.0, 2.0, DRILL),
    "prove.journey": (5.0, 2.0, DRILL),
    "prove.objects": (1.0, 2.0, DRILL),
    "lab.hosts": (4.0, 2.0, DRILL),
    "lab.old-home": (30.0, 3.0, DRILL),
    "lab.dump": (4.0, 2.0, DRILL),
}
"""Kind -> seconds, spread, source."""

SETUP_SECONDS: Mapping[str, float] = {
    "export.bucket": 0.5,
    "restore.dump": 1.4,
    "restore.database": 3.9,
    "restore.rewrite": 2.7,
    "restore.proof": 2.7,
    "restore.cache": 1.7,
    "restore.media": 2.0,
    "restore.backup": 3.0,
}
"""Kind -> what such a step takes with next to no data: connecting, asking, starting. From the same drill."""
SETUP_SPREAD = 1.6

DATABASE_OVER_DUMP = 3.0
"""Bytes of a database over bytes of its compressed dump, where only one of the two is known; assumed."""
OWN_SPREAD = 1.1
"""What a step varies by for itself, beside the figures that it shares with others; assumed."""
