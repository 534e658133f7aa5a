"""What provisioning takes: `python benchmarks/provision.py [RUNS]` prints the table of docs/benchmarks.md.

For each documented inventory: fresh disposable hosts, one run, and a second one that finds nothing to change. The base
image is there before the first counted run.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from migrate.action import Outcome
from migrate.adapters.ssh import SshHosts
from migrate.lab import Lab

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.homes import CONTEXT, STEP, home_on, lab_inventory

SHAPES = ("single", "fleet")


def provision(shape: str, folder: Path) -> tuple[Outcome, Outcome]:
    """The first and the second run on hosts that are made for it and gone afterwards."""
    lab = Lab(f"b{shape[:6]}")
    try:
        path = lab_inventory(lab, shape, folder)
        with SshHosts() as hosts:
            home = home_on(path, hosts, folder)
            return home.provision().apply(STEP, CONTEXT), home.drift().apply(STEP, CONTEXT)
    finally:
        lab.down()


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    Lab("base").prepare()
    print("| inventory | hosts | first run, median s | second run, median s | tasks that changed in the second |")
    print("| --- | --- | --- | --- | --- |")
    for shape in SHAPES:
        outcomes = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                outcomes.append(provision(shape, Path(folder)))
        first, second = ([pair[index].detail for pair in outcomes] for index in (0, 1))
        medians = [statistics.median(detail["seconds"] for detail in details) for details in (first, second)]
        changed = max(detail["changed"] for detail in second)
        print(f"| {shape} | {len(first[0]['hosts'])} | {medians[0]:.0f} | {medians[1]:.0f} | {changed} |")


if __name__ == "__main__":
    main()
