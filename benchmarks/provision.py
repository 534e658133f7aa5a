"""What provisioning takes: `python benchmarks/provision.py [RUNS]` prints the tables of docs/benchmarks.md.

For each home: fresh disposable hosts, one run, and a second one that finds nothing to change. For the three hosts of
the rehearsal, beside it: what a person would do who installs the same packages on the slowest of them, which is one
`apt-get install`, on a fresh host too. The base image is there before the first counted run.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.adapters.ssh import SshHosts
from migrate.inventory import read_inventory
from migrate.lab import HostSpec, Lab
from migrate.manifest import read_stack

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.homes import CHECKOUT, CONTEXT, PLAZA, STEP, Home, home_on

THREE = "rehearsal"
TEN = {
    "data1": ("database", "cache"), "data2": ("database", "cache"), "app1": ("app", "worker"),
    "app2": ("app", "worker"), "app3": ("app", "worker"), "app4": ("app", "worker"), "edge1": ("edge", "media"),
    "edge2": ("edge", "media"), "ops1": ("mail", "logs", "backup"), "ops2": ("monitor", "packages"),
}  # fmt: skip
INSTALL = (
    "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update && "
    'apt-get -qq -y --no-install-recommends install "$@" >/dev/null'
)
INSTALL_SECONDS = 1200.0


def shapes() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Name -> host -> groups."""
    rehearsal = read_stack(PLAZA).rehearsal
    assert rehearsal
    found = {name: read_inventory(CHECKOUT / "inventories" / name) for name in ("single", "fleet")}
    documented = {name: {h.name: h.groups for h in read.hosts.values()} for name, read in found.items()}
    return {"single": documented["single"], THREE: rehearsal.hosts, "fleet": documented["fleet"], "ten": TEN}


@dataclass(frozen=True)
class Measured:
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    by_hand: float
    """Seconds of the same packages by one apt-get on the host that has the most of them; 0 where not asked for."""


def measured(shape: Mapping[str, tuple[str, ...]], by_hand: bool) -> Measured:
    """On hosts that are made for it and gone afterwards."""
    lab = Lab("bench")
    with tempfile.TemporaryDirectory() as folder, SshHosts() as hosts:
        try:
            lab.up([HostSpec(name, groups) for name, groups in shape.items()])
            home = home_on(lab.write_inventory(Path(folder) / "hosts.yml"), hosts, Path(folder))
            first = home.provision().apply(STEP, CONTEXT).detail
            second = home.drift().apply(STEP, CONTEXT).detail
            seconds = installed_by_hand(lab, home) if by_hand else 0.0
        finally:
            lab.down()
    return Measured(first, second, seconds)


def installed_by_hand(lab: Lab, home: Home) -> float:
    told, _ = home.provision().variables()
    packages = {name: host["packages"] for name, host in told.variables["cloudexit_hosts"].items()}
    slowest = max(packages, key=lambda name: len(packages[name]))
    for name in home.inventory.hosts:
        lab.remove(name)
    lab.up([HostSpec(slowest, home.inventory.hosts[slowest].groups)])
    began = time.monotonic()
    done = home.hosts.run(
        home.inventory.hosts[slowest], ["sh", "-euc", INSTALL, "sh", *packages[slowest]], timeout=INSTALL_SECONDS
    )
    assert done, done
    return time.monotonic() - began


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    Lab("base").prepare()
    print("| home | hosts | first run, median s | second run, median s | tasks that changed in the second |")
    print("| --- | --- | --- | --- | --- |")
    found = {}
    for name, shape in shapes().items():
        found[name] = [measured(shape, by_hand=name == THREE) for _ in range(runs)]
        medians = [
            statistics.median(getattr(one, run)["seconds"] for one in found[name]) for run in ("first", "second")
        ]
        changed = max(one.second["changed"] for one in found[name])
        print(f"| {name} | {len(shape)} | {medians[0]:.0f} | {medians[1]:.0f} | {changed} |", flush=True)
    ratios = [one.first["seconds"] / one.by_hand for one in found[THREE]]
    hands = statistics.median(one.by_hand for one in found[THREE])
    over = statistics.median(ratios)
    print(f"\nThe slowest of the three by hand: {hands:.0f} s; the run on all three over it: {over:.2f}")
    first = {name: statistics.median(one.first["seconds"] for one in all_of) for name, all_of in found.items()}
    print(f"Ten hosts over three: {first['ten'] / first[THREE]:.2f}")
    print("\n| role | seconds on the host where it took longest, first run on three |\n| --- | --- |")
    for role, seconds in sorted(found[THREE][0].first["role_seconds"].items(), key=lambda item: -item[1]):
        print(f"| {role} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
