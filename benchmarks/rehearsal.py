"""Where the time of a rehearsal goes: `python benchmarks/rehearsal.py [RUNS]` prints the table of docs/benchmarks.md.

Base image, package cache and the old home's image are there before the first counted run: one uncounted run makes them.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parent.parent
STACK = CHECKOUT / "examples" / "plaza" / "stack.yaml"
RUN_SECONDS = 900


def rehearse() -> tuple[float, dict[str, Any]]:
    """Wall seconds of one whole rehearsal, hosts made and torn down, and its report."""
    began = time.monotonic()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("cloudexit")), "rehearse", str(STACK), "--json"],
        capture_output=True, text=True, timeout=RUN_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the rehearsal ended with exit {done.returncode}\n{done.stderr[-3000:]}")
    return time.monotonic() - began, json.loads(done.stdout)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} | {min(values):.1f}–{max(values):.1f}"


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rehearse()
    walls, reports = zip(*(rehearse() for _ in range(runs)), strict=True)
    print(f"| what | median s of {runs} | range |\n| --- | --- | --- |")
    print(f"| whole command, set-up and tear-down included | {spread(list(walls))} |")
    for key, name in (("basic_seconds", "RTO, basic service"), ("drained_seconds", "RTO, queues drained")):
        print(f"| {name} | {spread([report['rto'][key] for report in reports])} |")
    for index, step in enumerate(reports[0]["steps"]):
        print(f"| `{step['id']}` | {spread([report['steps'][index]['seconds'] for report in reports])} |")


if __name__ == "__main__":
    main()
