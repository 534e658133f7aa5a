"""What a machine needs to hold the lab, and what this one lacks."""

import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from migrate.check import CheckResult, ChecksHeld, Severity, Verdict
from migrate.errors import CloudexitError
from migrate.lab.command import SYSTEM_FOLDERS, CommandFailed, call
from migrate.lab.launcher import launcher_of_this_machine
from migrate.lab.mirror import APT_FOLDER, candidates
from migrate.lab.network import reachable_resolvers
from migrate.lab.releases import DEFAULT_RELEASE, Release

DEBIAN_PACKAGES: tuple[str, ...] = tuple(
    line.strip()
    for line in files("migrate.lab").joinpath("packages.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
)
PROGRAM_OF_PACKAGE = {
    "iproute2": "ip",
    "mmdebstrap": "mmdebstrap",
    "nftables": "nft",
    "openssh-client": "ssh-keygen",
    "rsync": "rsync",
    "systemd-container": "systemd-nspawn",
}
NEEDED_FREE_BYTES = 4 * 1024**3
PROBE_RULES = """
table ip cloudexit_probe {
    chain way_out {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.0.0.0/24 masquerade
    }
}
"""


def doctor(root: Path, release: Release = DEFAULT_RELEASE) -> list[CheckResult]:
    """Everything that a lab of this release asks of this machine, each with its verdict and, where it is lacking,
    what to do. Reads, and tries an overlay in a mount namespace of its own; changes nothing."""
    results = [_root(), *(_program(package) for package in DEBIAN_PACKAGES)]
    ready = all(results)
    for name, look in (("overlay", lambda: _overlay(root)), ("packet filter", _packet_filter)):
        results.append(_looked(name, look) if ready else _not_looked(name))
    results += [_looked("control groups", _control_groups), _free_disk(root), _mirror(release), _resolvers()]
    return results


def require(root: Path, release: Release = DEFAULT_RELEASE) -> None:
    """Raises ChecksHeld (a GateHeld) with everything that this machine lacks to hold the lab."""
    results = doctor(root, release)
    if any(result.holds for result in results):
        raise ChecksHeld("this machine cannot hold the lab yet", results)


def _root() -> CheckResult:
    if os.geteuid() == 0:
        return CheckResult("root", Verdict.PASS, "runs as root")
    return CheckResult("root", Verdict.FAIL, "not root", "run the command with sudo")


def _program(package: str) -> CheckResult:
    program = PROGRAM_OF_PACKAGE[package]
    found = shutil.which(program, path=SYSTEM_FOLDERS)
    if found:
        return CheckResult(f"package {package}", Verdict.PASS, found)
    return CheckResult(f"package {package}", Verdict.FAIL, f"no {program}", f"apt-get install {package}")


def _overlay(root: Path) -> CheckResult:
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".probe-") as folder:
        for part in ("lower", "upper", "work", "merged"):
            (Path(folder) / part).mkdir()
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work,redirect_dir=on"
        call(["unshare", "--mount", "mount", "-t", "overlay", "-o", options, "probe", f"{folder}/merged"])
    return CheckResult("overlay", Verdict.PASS, f"overlay mounts work under {root}")


def _packet_filter() -> CheckResult:
    call(["nft", "--check", "-f", "-"], stdin=PROBE_RULES)
    return CheckResult("packet filter", Verdict.PASS, "nftables can translate addresses")


def _control_groups() -> CheckResult:
    return CheckResult("control groups", Verdict.PASS, type(launcher_of_this_machine()).__name__)


def _free_disk(root: Path) -> CheckResult:
    there = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    detail = f"{free / 1024**3:.1f} GiB free at {there}"
    if free >= NEEDED_FREE_BYTES:
        return CheckResult("disk", Verdict.PASS, detail)
    needed = f"{NEEDED_FREE_BYTES / 1024**3:.0f} GiB"
    return CheckResult("disk", Verdict.FAIL, detail, f"free {needed}, or set CLOUDEXIT_LAB_ROOT to a larger disk")


def _mirror(release: Release) -> CheckResult:
    if not shutil.which("dpkg"):
        return CheckResult("package mirror", Verdict.FAIL, "no dpkg", "the lab needs Debian or one of its children")
    architecture = call(["dpkg", "--print-architecture"]).strip()
    suites = sorted({source.suites[0] for source in candidates(architecture, release=release)})
    if suites:
        return CheckResult("package mirror", Verdict.PASS, f"apt knows {', '.join(suites)}")
    hint = f"add a source with suite {release.codename} and component main to {APT_FOLDER}/sources.list.d"
    return CheckResult("package mirror", Verdict.FAIL, f"apt knows no source of Debian {release.codename}", hint)


def _resolvers() -> CheckResult:
    if reachable_resolvers():
        return CheckResult("name servers", Verdict.PASS, "hosts can reach this machine's name servers")
    hint = "name a resolver other than this machine itself in /etc/resolv.conf, if hosts must reach the network"
    return CheckResult("name servers", Verdict.FAIL, "only this machine itself", hint, severity=Severity.WARNING)


def _looked(name: str, look: Callable[[], CheckResult]) -> CheckResult:
    hints = {
        "overlay": "set CLOUDEXIT_LAB_ROOT to a folder on ext4, xfs or tmpfs; in Docker: --privileged and a volume",
        "packet filter": "the kernel needs nf_tables with NAT: modprobe nft_masq; in Docker: --privileged",
    }
    try:
        return look()
    except CommandFailed as fault:
        return CheckResult(name, Verdict.FAIL, fault.what, hints.get(name, ""))
    except CloudexitError as fault:
        return CheckResult(name, Verdict.FAIL, fault.what, fault.hint)


def _not_looked(name: str) -> CheckResult:
    return CheckResult(name, Verdict.UNKNOWN, "not tried: see above", severity=Severity.WARNING)
