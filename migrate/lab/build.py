"""Builds the tree of the base image: Debian with systemd and sshd, and the packages of the stack in apt's cache."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.lab.command import call
from migrate.lab.files import place_file
from migrate.lab.mirror import (
    Mirror,
    credentials,
    debian_mirror,
    write_build_files,
)
from migrate.lab.releases import Release

RECIPE_VERSION = 2
BUILD_SECONDS = 1500.0
BASE_PACKAGES = (
    "acl", "ca-certificates", "curl", "dbus", "iproute2", "nftables", "openssh-server", "procps", "python3",
    "python3-apt", "python3-venv", "rsync", "sudo", "systemd", "systemd-sysv", "tzdata",
)  # fmt: skip
STACK_PACKAGES = (
    "logrotate", "nginx", "postgresql", "python3-packaging", "python3-passlib", "python3-psycopg2", "redis-server",
    "unattended-upgrades",
)  # fmt: skip
MASKED_UNITS = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "console-getty.service", "dpkg-db-backup.timer",
    "e2scrub_all.timer", "fstrim.timer", "getty@.service", "systemd-pstore.service", "systemd-logind.service",
)  # fmt: skip
ENABLED_UNITS = ("ssh.service", "systemd-networkd.service", "systemd-networkd-wait-online.service")
DPKG_SETTINGS = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/info/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
"""
APT_SETTINGS = """\
APT::Install-Recommends "false";
APT::Periodic::Enable "0";
Acquire::Languages "none";
Binary::apt::APT::Keep-Downloaded-Packages "true";
APT::Keep-Downloaded-Packages "true";
"""
SSHD_SETTINGS = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
MaxSessions 100
UseDNS no
"""
OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
TRUSTED_KEYRINGS = Path("/etc/apt/trusted.gpg.d")
# Dies with its parent and takes every process and mount of the build along, so that kill -9 leaves only a folder.
IN_A_SANDBOX = (
    "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What varies between base images: the release, and the packages that wait in apt's cache."""

    release: Release
    cached_packages: Sequence[str]
    progress: Callable[[str], None]

    def ingredients(self) -> dict[str, Any]:
        """Everything that is typed here and goes into an image."""
        return {
            "version": RECIPE_VERSION,
            "release": self.release.codename,
            "packages": BASE_PACKAGES,
            "masked": MASKED_UNITS,
            "enabled": ENABLED_UNITS,
            "settings": [DPKG_SETTINGS, APT_SETTINGS, SSHD_SETTINGS],
        }


def build_tree(root: Path, workspace: Path, recipe: Recipe) -> dict[str, Any]:
    """Fills `root`; returns facts for the image's record. Raises GateHeld (no mirror configured), Unreachable or
    CommandFailed (retriable). Takes about a minute, and about 600 MB."""
    architecture = call(["dpkg", "--print-architecture"]).strip()
    recipe.progress(f"asking the configured package mirrors for Debian {recipe.release.codename}")
    mirror = debian_mirror(architecture, release=recipe.release)
    suites = [source.suites[0] for source in mirror.sources]
    recipe.progress(f"building the base image ({', '.join(suites)}), once for all hosts: about a minute")
    _debootstrap(root, workspace, mirror, architecture, recipe)
    _configure(root, mirror)
    return {"architecture": architecture, "suites": suites, "cached_packages": list(recipe.cached_packages)}


def _debootstrap(root: Path, workspace: Path, mirror: Mirror, architecture: str, recipe: Recipe) -> None:
    sources, settings = write_build_files(mirror, workspace)
    dpkg_settings, apt_settings = workspace / "dpkg.cfg", workspace / "apt-hosts.conf"
    dpkg_settings.write_text(DPKG_SETTINGS, encoding="utf-8")
    apt_settings.write_text(APT_SETTINGS, encoding="utf-8")
    settings_of_build = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"'
    download = (
        f'rm -f "$1"/var/cache/apt/archives/*.deb; {settings_of_build} apt-get --quiet --yes '
        f"--no-install-recommends --download-only install {' '.join(recipe.cached_packages)}"
    )
    hooks = [f'--setup-hook=install -D -m 0600 {path} "$1{path}"' for path in credentials()]
    hooks += [f"--customize-hook={download}"] if recipe.cached_packages else []
    command = [
        *IN_A_SANDBOX, "mmdebstrap", "--mode=root", "--variant=apt", "--format=directory", "--quiet",
        f"--architectures={architecture}", f"--include={','.join(BASE_PACKAGES)}",
        f"--dpkgopt={dpkg_settings}", f"--aptopt={settings}", f"--aptopt={apt_settings}",
        "--skip=cleanup/apt/lists,cleanup/apt/cache", *hooks, recipe.release.codename, str(root), str(sources),
    ]  # fmt: skip
    call(
        command,
        timeout=BUILD_SECONDS,
        environment={"TMPDIR": str(workspace)},
        hint="see whether `apt-get update` works on this machine; then run the command again",
    )


def _configure(root: Path, mirror: Mirror) -> None:
    _hand_over_apt(root, mirror)
    for folder in ("usr/share/man/man1", "usr/share/man/man7"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    place_file(root / "etc/ssh/sshd_config.d/10-lab.conf", SSHD_SETTINGS)
    for name in ("etc/default/locale", "etc/locale.conf"):  # from Debian 13 on, a boot makes a link of the former
        place_file(root / name, "LANG=C.UTF-8\n")
    place_file(root / "etc/hostname", "")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    call(["systemctl", f"--root={root}", "mask", *MASKED_UNITS])
    call(["systemctl", f"--root={root}", "enable", *ENABLED_UNITS])
    certificates = sorted(OWN_CERTIFICATES.rglob("*.crt"))
    for certificate in certificates:
        _copy_same_path(root, certificate)
    if certificates:
        call([*IN_A_SANDBOX, "chroot", str(root), "update-ca-certificates"], timeout=120)
    call([*IN_A_SANDBOX, "chroot", str(root), "apt-cache", "gencaches"], timeout=120)
    place_file(root / "etc/machine-id", "")


def _hand_over_apt(root: Path, mirror: Mirror) -> None:
    """The hosts' apt asks the same mirrors, in the same way, as this machine's."""
    place_file(root / "etc/apt/apt.conf.d/98lab", mirror.settings_text(for_hosts=True))
    place_file(root / "etc/apt/apt.conf.d/99mmdebstrap", APT_SETTINGS)
    for path in mirror.files():
        _copy_same_path(root, path)
    for keyring in TRUSTED_KEYRINGS.glob("*"):
        if keyring.is_file():
            _copy_same_path(root, keyring)


def _copy_same_path(root: Path, path: Path) -> None:
    target = root / path.relative_to("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o644)
