#!/usr/bin/env python3
"""Build Plaza's release: one tarball that installs on a Debian 12 or 13 host that never reaches a package index.

    build_release.py --out FOLDER --wheels CACHE [--old-home]

Writes FOLDER/plaza-VERSION.tar.gz and prints its path. Any Python from 3.11 on with pip will do. CACHE keeps
the wheels; when it holds all of them, no network is used. The same wheels give the same bytes.

With --old-home, FOLDER gets the wheels that the old home's playbook needs besides (old_home/constraints.txt).

In the tarball: release.json, requirements.txt (every version pinned) and wheels/. To install it:

    python3 -m venv venv
    venv/bin/pip install --no-index --find-links wheels -r requirements.txt
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
APP = HERE / "app"
SOURCES = ("pyproject.toml", "build-constraints.txt", "src")
# Debian 12 has Python 3.11 and glibc 2.36, Debian 13 has Python 3.13 and glibc 2.41.
PYTHONS = ("3.11", "3.13")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")
PIP_SECONDS = 600
# Wheels are compressed already; the earliest time that a zip file can hold.
GZIP_LEVEL = 1
EPOCH = "315532800"


class BuildFailed(Exception):
    """The release cannot be built; the message says what is missing."""


def main() -> int:
    """Exit 0 with the tarball's path on standard output, 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description="Build Plaza's release tarball.")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the tarball goes")
    parser.add_argument("--wheels", type=Path, required=True, metavar="CACHE", help="where wheels are kept")
    parser.add_argument("--old-home", action="store_true", help="put the old home's own wheels into FOLDER too")
    wanted = parser.parse_args()
    try:
        print(build(wanted.out.resolve(), wanted.wheels.resolve()))
        if wanted.old_home:
            pins = read_pins(HERE / "old_home" / "constraints.txt")
            for wheel in fetch(pins, wanted.wheels.resolve() / "old-home", release_target(PYTHONS[0])):
                print(shutil.copy(wheel, wanted.out.resolve()))
    except BuildFailed as error:
        print(f"build_release: {error}", file=sys.stderr)
        return 1
    return 0


def build(out: Path, cache: Path) -> Path:
    """Return the path of the finished tarball; raise BuildFailed."""
    project = tomllib.loads((APP / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    pins = read_pins(APP / "constraints.txt")
    wheels = [*runtime_wheels(pins, cache / "runtime"), own_wheel(name, version, cache)]
    requirements = "".join(f"{pinned}=={number}\n" for pinned, number in [*pins.items(), (name, version)])
    release = {"name": name, "version": version, "python": project["requires-python"]}
    members = {
        "release.json": json.dumps(release).encode() + b"\n",
        "requirements.txt": requirements.encode(),
    }
    members |= {f"wheels/{wheel.name}": wheel.read_bytes() for wheel in wheels}
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{name}-{version}.tar.gz"
    write_tarball(target, members)
    return target


def read_pins(path: Path) -> dict[str, str]:
    """Return version by name, in the order of names; raise BuildFailed for a line that pins nothing."""
    pins = {}
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, separator, version = line.strip().partition("==")
        if not separator:
            raise BuildFailed(f"{path}: {line!r} pins no version; expected NAME==VERSION")
        pins[name] = version
    return dict(sorted(pins.items()))


def runtime_wheels(pins: dict[str, str], folder: Path) -> list[Path]:
    """Return wheels for the first Python, and for the others what is made for one Python alone; raise BuildFailed."""
    first, *others = PYTHONS
    wheels = fetch(pins, folder, release_target(first))
    tag = f"-cp{first.replace('.', '')}-cp"
    bound = {name: pins[name] for name, wheel in zip(pins, wheels, strict=True) if tag in wheel.name}
    for python in others:
        wheels += fetch(bound, folder / python, release_target(python))
    return wheels


def release_target(python: str) -> list[str]:
    """The options that make pip choose wheels for the hosts, not for this machine."""
    options = ["--python-version", python, "--implementation", "cp"]
    for platform in PLATFORMS:
        options += ["--platform", platform]
    return options


def fetch(pins: dict[str, str], folder: Path, options: list[str]) -> list[Path]:
    """Return one wheel for every pin, downloading those that are not there; raise BuildFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [f"{name}=={version}" for name, version in pins.items() if not kept(folder, name, version)]
    if missing:
        command = ["download", "--no-deps", "--only-binary=:all:", *options, "--dest", str(folder), *missing]
        pip(command, f"download {len(missing)} wheels")
    found = [kept(folder, name, version) for name, version in pins.items()]
    return [wheel for wheel in found if wheel is not None]


def kept(folder: Path, name: str, version: str) -> Path | None:
    """The wheel of that name and version in the folder."""
    wanted = (normalised(name), version)
    for wheel in sorted(folder.glob("*.whl")):
        found_name, found_version, _ = wheel.name.split("-", 2)
        if (normalised(found_name), found_version) == wanted:
            return wheel
    return None


def normalised(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def own_wheel(name: str, version: str, cache: Path) -> Path:
    """Return the app's wheel, built anew only when its sources have changed; raise BuildFailed."""
    folder = cache / "own" / source_digest()
    found = kept(folder, name, version)
    if found is not None:
        return found
    builders = cache / "build"
    fetch(read_pins(APP / "build-constraints.txt"), builders, [])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = ["wheel", "--no-deps", "--no-index", "--find-links", str(builders)]
        pip([*command, "--wheel-dir", scratch, str(APP)], "build the app's wheel")
        built = kept(Path(scratch), name, version)
        if built is None:
            raise BuildFailed(f"pip built no wheel of {name} {version} from {APP}")
        folder.mkdir(exist_ok=True)
        return Path(shutil.move(built, folder / built.name))


def source_digest() -> str:
    """A digest over names and bytes of whatever goes into the app's wheel."""
    digest = hashlib.sha256()
    for source in SOURCES:
        top = APP / source
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                data = path.read_bytes()
                digest.update(f"{path.relative_to(APP)}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]


def pip(arguments: list[str], purpose: str) -> None:
    """Run pip with this Python; raise BuildFailed with the end of what it said."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PIP_SECONDS, env=environment)
    except subprocess.CalledProcessError as error:
        said = "\n".join((error.stderr or error.stdout).strip().splitlines()[-8:])
        raise BuildFailed(f"pip could not {purpose}:\n{said}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"pip could not {purpose} within {PIP_SECONDS} s") from error


def write_tarball(target: Path, members: dict[str, bytes]) -> None:
    """Write members in order of name, without times or owners; the file appears whole or not at all."""
    with (
        tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}-", delete=False) as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=GZIP_LEVEL, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, data in sorted(members.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    Path(raw.name).chmod(0o644)
    Path(raw.name).replace(target)


if __name__ == "__main__":
    sys.exit(main())
