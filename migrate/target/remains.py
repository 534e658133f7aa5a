"""What a PostgreSQL server that does not run has on its disk: how far it had come, and how it ended."""

from dataclasses import dataclass

from migrate.errors import GateHeld
from migrate.inventory import Host
from migrate.ports import Hosts
from migrate.target.timelines import bytes_of, end_of_record

READ_SECONDS = 180.0
"""Reading WAL from the last checkpoint on: 4 GB of it at most, but for a server that could not keep up."""
FIND = """
set -eu
cd /
version=
for file in /etc/postgresql/*/main/conf.d/cloudexit.conf; do
  version=${file#/etc/postgresql/}
  version=${version%%/*}
done
data=/var/lib/postgresql/$version/main
unit=postgresql@$version-main.service
bin=/usr/lib/postgresql/$version/bin
"""
"""Where the cluster lies that the role writes settings for; of two versions the newer one."""
READ = (
    FIND
    + r"""
as_postgres() { runuser -u postgres -- env LC_ALL=C "$@"; }
state=$(systemctl is-active "$unit" || true)
echo "unit: $state"
[ ! -e "$data/standby.signal" ] || echo "held: yes"
[ -e "$data/PG_VERSION" ] || exit 0
control=$(as_postgres "$bin/pg_controldata" "$data")
echo "$control"
redo=$(echo "$control" | sed -n 's/^Latest checkpoint.s REDO WAL file: *//p' | cut -c 9-24)
segments=$(ls "$data/pg_wal" | grep -E '^[0-9A-F]{24}$' | sort)
newest=$(echo "$segments" | tail -n 1 | cut -c 1-8)
first=$(echo "$segments" | awk -v t="$newest" -v r="$redo" 'substr($0, 1, 8) == t && substr($0, 9) >= r' | head -n 1)
start=$(echo "$first" | cut -c 9-16)/$(echo "$first" | cut -c 23-24)000000
timeline=$((0x$newest))
echo "Timeline of the newest WAL: $timeline"
last=$(as_postgres "$bin/pg_waldump" -p "$data/pg_wal" -t "$timeline" -s "$start" 2>/dev/null \
  | sed -n 's|^.*len (rec/tot): *[0-9]*/ *\([0-9]*\),.*, lsn: \([0-9A-F/]*\),.*$|\2 \1|p' | tail -n 1)
echo "Last record: $last"
[ ! -e "$data/pg_wal/$newest.history" ] || sed 's/^/History: /' "$data/pg_wal/$newest.history"
"""
)
"""The control file knows the last checkpoint. What came after it, whether the server was stopped or died, is found by
reading the WAL from there to its last whole record: what a client was told is committed is in it."""


@dataclass(frozen=True)
class Remains:
    """A server that does not run. `position` is where its last record ends, in bytes since the cluster began."""

    host: str
    runs: bool
    """Whether its unit is up all the same: a server that starts, or that nobody can sign in to."""
    held: bool
    """Whether it would take no writes if it were started."""
    ended: str = ""
    """What the control file calls its state; empty where there are no data."""
    timeline: int = 0
    position: int = 0
    history: str = ""
    """Where earlier timelines ended, as PostgreSQL keeps it."""
    known_to_end: bool = True
    """Whether the WAL could be read to its end. If not, `position` is in the last checkpoint: there may be more."""

    @property
    def is_down(self) -> bool:
        """Whether it takes no writes, and will take none after a boot."""
        return not self.runs and (self.held or not self.ended)


def remains_of(hosts: Hosts, host: Host) -> Remains:
    """What a stopped server has. Raises GateHeld where that cannot be read, Unreachable where the host is away."""
    done = hosts.run(host, ["sh", "-c", READ], timeout=READ_SECONDS)
    if not done:
        raise GateHeld(
            f"what the stopped server has cannot be read: {done.stderr.strip() or done.exit_status}", where=host.name,
            expected="pg_controldata to read its data folder",
            hint="start it, or cut the host off, then: cloudexit failover … --old-is-off",
        )  # fmt: skip
    return read_remains(host.name, done.stdout)


def read_remains(host: str, text: str) -> Remains:
    """From what READ prints."""
    lines = [line.partition(":") for line in text.splitlines()]
    told = {name: value.strip() for name, _, value in lines}
    history = "\n".join(value.strip() for name, _, value in lines if name == "History")
    runs = told["unit"] not in ("inactive", "failed")
    if "Database cluster state" not in told:
        return Remains(host, runs, "held" in told)
    checkpoint = bytes_of(told["Latest checkpoint location"])
    replayed = bytes_of(told.get("Minimum recovery ending location", "0/0"))
    start, _, length = (told["Last record"] or "0/0 0").partition(" ")
    return Remains(
        host, runs, "held" in told, told["Database cluster state"], int(told["Timeline of the newest WAL"]),
        max(checkpoint + 1, replayed, end_of_record(bytes_of(start), int(length))), history,
        bytes_of(start) >= checkpoint,
    )  # fmt: skip
