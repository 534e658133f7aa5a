"""Where the hosts' packages come from: the Debian sources of this machine, never a mirror of our own choosing."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from migrate.errors import GateHeld, Unreachable
from migrate.lab.aptsources import AptSource, read_sources
from migrate.lab.command import CommandFailed, call
from migrate.lab.files import write_whole
from migrate.lab.releases import DEFAULT_RELEASE, Release

# A mirror of Debian holds every release, so that a machine of another release finds the hosts' one beside its own.
SUITE_OF_DEBIAN = re.compile(
    r"^(bullseye|bookworm|trixie|forky|duke|sid|stable|oldstable|oldoldstable|testing|unstable)"
    r"(?P<part>-updates|-security|/updates)?$"
)
APT_FOLDER = Path("/etc/apt")
APT_HELPER = "/usr/lib/apt/apt-helper"
# A proxy found by a program of this machine is left out: the program is not in the hosts.
KEPT_SETTINGS = re.compile(
    r"^Acquire::(https?(::(?!.*Auto-?Detect)|$)|Retries|Check-Valid-Until|Check-Date|Max-FutureTime|ForceIPv[46])", re.I
)
SETTING_LINE = re.compile(r'^(?P<name>\S+) "(?P<value>.*)";$')
LOOPBACK = re.compile(r"^(localhost|127\.|\[?::1)")
PROBE_SECONDS = 60.0

Probe = Callable[[str, str], str | None]


@dataclass(frozen=True)
class AptSetting:
    """One setting of apt.conf(5), such as a proxy."""

    name: str
    value: str

    @property
    def is_local_proxy(self) -> bool:
        """A proxy that only this machine itself can reach; hosts go without it."""
        return "::proxy" in self.name.lower() and bool(LOOPBACK.match(urlsplit(self.value).hostname or ""))

    @property
    def file(self) -> Path | None:
        """A certificate file that the setting names."""
        is_file = self.name.lower().endswith(("::cainfo", "::sslcert", "::sslkey")) and self.value.startswith("/")
        return Path(self.value) if is_file else None


@dataclass(frozen=True)
class Mirror:
    """Sources, settings and the files that they name."""

    sources: tuple[AptSource, ...]
    settings: tuple[AptSetting, ...]

    def sources_text(self) -> str:
        """A deb822 .sources file."""
        return "\n".join(_stanza(source) for source in self.sources)

    def settings_text(self, *, for_hosts: bool) -> str:
        """An apt.conf file; the hosts' one leaves out proxies that only this machine can reach."""
        kept = [s for s in self.settings if not (for_hosts and s.is_local_proxy)]
        return "".join(f'{setting.name} "{setting.value}";\n' for setting in kept)

    def files(self) -> list[Path]:
        """Keyrings and certificates that must lie at the same path in a host."""
        named = [path for source in self.sources for path in source.keyrings]
        named += [setting.file for setting in self.settings if setting.file]
        return sorted({path for path in named if path.is_file()})


def candidates(
    architecture: str, apt_folder: Path = APT_FOLDER, *, release: Release = DEFAULT_RELEASE
) -> list[AptSource]:
    """Where the hosts' release may be found, as configured: one URI and one suite each, no duplicates; no network."""
    found: list[AptSource] = []
    for source in read_sources(apt_folder):
        if "main" not in source.components or not source.serves(architecture):
            continue
        matches = [match for match in map(SUITE_OF_DEBIAN.match, source.suites) if match]
        suites = [release.codename + (match["part"] or "").replace("/updates", "-security") for match in matches]
        for uri in source.uris:
            found += [
                replace(source, uris=(resolved,), suites=(suite,), components=("main",))
                for resolved in _resolved(uri)
                for suite in suites
            ]
    return list({(source.uris, source.suites): source for source in reversed(found)}.values())[::-1]


def configured_mirror(
    architecture: str, apt_folder: Path = APT_FOLDER, *, release: Release = DEFAULT_RELEASE
) -> Mirror:
    """What the machine's configuration names, unasked: enough to tell whether an image was made from the same."""
    return Mirror(tuple(candidates(architecture, apt_folder, release=release)), tuple(apt_settings()))


def debian_mirror(
    architecture: str,
    apt_folder: Path = APT_FOLDER,
    *,
    release: Release = DEFAULT_RELEASE,
    probe: Probe | None = None,
) -> Mirror:
    """The sources that answer and say that they are Debian's; raises GateHeld when none is configured, and
    Unreachable (retriable) when none of those configured answers."""
    asked = candidates(architecture, apt_folder, release=release)
    if not asked:
        raise GateHeld(
            f"apt of this machine knows no source of Debian {release.codename}",
            where=str(apt_folder),
            expected=f"an enabled http(s) source with suite {release.codename} and component main, for {architecture}",
            hint=f"add one to {apt_folder}/sources.list.d; the hosts of the lab get their packages from it",
        )
    release_file_of = probe or release_file
    kept: dict[str, AptSource] = {}
    for source in asked:
        codename = codename_of_debian(release_file_of(source.uris[0], source.suites[0]) or "")
        if codename in release.suites:
            kept.setdefault(codename, source)
    if release.codename not in kept:
        raise Unreachable(
            f"no configured package mirror answers as Debian {release.codename}",
            where=", ".join(sorted({source.uris[0] for source in asked})),
            expected=f"a release file with Origin Debian and Codename {release.codename}",
            hint="see whether `apt-get update` works on this machine",
        )
    return Mirror(tuple(kept[name] for name in release.suites if name in kept), tuple(apt_settings()))


def codename_of_debian(stated: str) -> str:
    """Codename that a release file states, or nothing when its origin is not Debian."""
    fields = dict(re.findall(r"^(Origin|Codename|Label): *(.*?) *$", stated, re.M))
    return str(fields.get("Codename", "")) if fields.get("Origin") == "Debian" else ""


def release_file(uri: str, suite: str) -> str | None:
    """The release file of a suite, fetched with apt's own proxies and credentials; None when it does not come."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("InRelease", "Release"):
            target = Path(folder) / name
            address = f"{uri.rstrip('/')}/dists/{suite}/{name}"
            try:
                call([APT_HELPER, "-o", "APT::Sandbox::User=root", "download-file", address, str(target)],
                     timeout=PROBE_SECONDS)  # fmt: skip
            except CommandFailed:
                continue
            return target.read_text(encoding="utf-8", errors="replace")
    return None


def apt_settings() -> Iterator[AptSetting]:
    """Settings of this machine's apt that a host needs to reach the same mirror; proxies of the environment, too."""
    named = set()
    for line in call(["apt-config", "dump"]).splitlines():
        match = SETTING_LINE.match(line)
        if match and match["value"] and KEPT_SETTINGS.match(match["name"]):
            named.add(match["name"].lower())
            yield AptSetting(match["name"], match["value"])
    for scheme in ("http", "https"):
        value = os.environ.get(f"{scheme}_proxy", "")
        if value and f"acquire::{scheme}::proxy" not in named:
            yield AptSetting(f"Acquire::{scheme}::Proxy", value)


def credentials(apt_folder: Path = APT_FOLDER) -> Sequence[Path]:
    """apt's files of credentials (auth.conf, auth.conf.d); they go into the image as they are, mode 0600."""
    files = [apt_folder / "auth.conf", *sorted((apt_folder / "auth.conf.d").glob("*"))]
    return [path for path in files if path.is_file()]


def write_build_files(mirror: Mirror, folder: Path) -> tuple[Path, Path]:
    """Writes the sources and the settings for a build; returns both paths."""
    sources, settings = folder / "debian.sources", folder / "apt.conf"
    write_whole(sources, mirror.sources_text())
    write_whole(settings, mirror.settings_text(for_hosts=False))
    return sources, settings


def _resolved(uri: str) -> list[str]:
    if uri.startswith(("http://", "https://")):
        return [uri]
    if uri.startswith("mirror+file:"):
        listed = Path("/" + uri.removeprefix("mirror+file:").lstrip("/"))
        lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
        first_words = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
        return [word for word in first_words if word.startswith(("http://", "https://"))]
    return []


def _stanza(source: AptSource) -> str:
    signed_by = source.signed_by
    if "\n" in signed_by:
        signed_by = "\n" + "\n".join(f" {line.strip() or '.'}" for line in signed_by.splitlines())
    fields = {
        "Types": "deb",
        "URIs": " ".join(source.uris),
        "Suites": " ".join(source.suites),
        "Components": " ".join(source.components),
        **({"Signed-By": signed_by} if signed_by else {}),
        **source.options,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items())
