"""Memory and speed of the listing and the ledger: `python benchmarks/listing.py [--keys N]`.

Prints the table of docs/benchmarks-export.md: a first run that fetches N empty objects, and a second one that finds
nothing changed. Memory is the sum of the resident sets of the command and its workers, sampled ten times a second.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from export import PROFILES, Cost, Profile, clients, nginx, run
from export_server import serving

OURS = "cloudexit export"
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--keys", type=int, default=1_000_000)
    arguments.add_argument("--tools", type=Path, default=Path.home() / ".cache/cloudexit-bench")
    arguments.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where the archive is written")
    asked = arguments.parse_args()
    work = Path(tempfile.mkdtemp(prefix="cloudexit-listing-", dir="/dev/shm"))
    dest = Path(tempfile.mkdtemp(prefix="cloudexit-listing-", dir=asked.folder))
    try:
        with serving(Profile("keys", asked.keys, 0), work / "server", nginx(asked.tools / "nginx")) as served:
            print("| run | wall s | CPU s | keys/s | CPU µs a key | peak memory MiB |\n" + "| --- " * 6 + "|")
            for client in clients(asked.tools, served.plain, served.certificate, PROFILES["small"]):
                if OURS not in client.name:
                    continue
                cost = run(client, dest / "copy", {**ENVIRONMENT, "HOME": str(work)})
                if not isinstance(cost, Cost):
                    sys.exit(f"{client.name}: {cost}")
                name = "again, nothing changed" if client.again else "first, everything fetched"
                print(f"| {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {asked.keys / cost.wall:.0f} |"
                      f" {cost.cpu / asked.keys * 1e6:.0f} | {cost.memory / 2**20:.0f} |", flush=True)  # fmt: skip
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(dest, ignore_errors=True)


if __name__ == "__main__":
    main()
