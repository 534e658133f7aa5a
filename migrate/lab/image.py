"""Images that hosts start from: one base, built once, and frozen hosts on it; each appears whole or not at all."""

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from migrate.errors import GateHeld, Missing, UsageProblem
from migrate.lab.build import Recipe, build_tree
from migrate.lab.command import call
from migrate.lab.files import mounted_below, read_record, remove_tree, write_record
from migrate.lab.lock import held
from migrate.lab.mirror import configured_mirror
from migrate.lab.releases import DEFAULT_RELEASE, Release

BUILD_WAIT_SECONDS = 1200.0
BASE_IMAGE = "base"
SYNC_SECONDS = 300.0


@dataclass(frozen=True)
class FrozenImage:
    """The changes of a stopped host, kept as a layer for others. `layers` are folders, topmost first."""

    name: str
    frozen_from: str
    made_at: str
    layers: tuple[Path, ...]


class Images:
    """The images of one release under a lab root; shared by all labs there. Those of another release than the default
    one are in a folder of their own, so that neither outdates the other."""

    def __init__(
        self,
        root: Path,
        cached_packages: Sequence[str],
        progress: Callable[[str], None],
        release: Release = DEFAULT_RELEASE,
    ) -> None:
        self.release = release
        self.folder = root / "images" / ("" if release is DEFAULT_RELEASE else release.codename)
        self.recipe = Recipe(release, tuple(sorted(set(cached_packages))), progress)
        self.progress = progress
        self._base: Path | None = None

    @property
    def base(self) -> Path:
        """Folder of the base image for the recipe and the apt configuration of now, whether it is there or not."""
        if self._base is None:
            architecture = call(["dpkg", "--print-architecture"]).strip()
            mirror = configured_mirror(architecture, release=self.release)
            recipe = [self.recipe.ingredients(), architecture, list(self.recipe.cached_packages),
                      mirror.sources_text(), mirror.settings_text(for_hosts=True)]  # fmt: skip
            canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            self._base = self.folder / f"{BASE_IMAGE}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"
        return self._base

    def has_base(self) -> bool:
        return (self.base / "image.json").is_file()

    def ensure_base(self) -> Path:
        """The base image, built if it is not there (a minute or so; needs the package mirror). Waits while another
        process builds it. Raises Unreachable or CommandFailed, both retriable."""
        if self.has_base():
            return self.base
        with self._locked("building the base image"):
            if not self.has_base():
                self._sweep()
                self._build_base()
        return self.base

    def layers(self, image: str | None) -> tuple[Path, ...]:
        """Folders that an overlay of this image stands on, topmost first. Raises Missing for an image not there."""
        if image is None or image == BASE_IMAGE:
            return (self.base / "root",)
        frozen = self.frozen(image)
        if frozen is None:
            raise Missing(
                f"no image {image!r}",
                where=str(self.folder),
                expected="an image that `freeze` made on the present base image",
                hint="make it again: its base image may have been replaced",
            )
        return frozen.layers

    def frozen(self, name: str) -> FrozenImage | None:
        """A frozen image, or None when there is none, or when it stands on a base that is no longer the right one."""
        folder = self._frozen_folder(name)
        record = read_record(folder / "image.json")
        if record is None:
            return None
        below = tuple(Path(layer) for layer in record["layers"])
        whole = all(layer.is_dir() for layer in below) and below[-1] == self.base / "root"
        if not whole:
            return None
        return FrozenImage(name, record["frozen_from"], record["made_at"], (folder / "layer", *below))

    def adopt(self, name: str, upper: Path, below: Sequence[Path], frozen_from: str) -> None:
        """Turns the upper layer of a stopped host into image `name`; the layer is moved, not copied."""
        folder = self._frozen_folder(name)
        with self._locked(f"freezing {name}"):
            if self.frozen(name) is not None:
                raise GateHeld(
                    f"there is an image {name!r} already", where=str(folder), hint="remove it first, or choose a name"
                )
            self._remove(folder)
            building = self._new_building_folder()
            call(["sync", "-f", str(upper)], timeout=SYNC_SECONDS)
            upper.rename(building / "layer")
            made_at = datetime.now(UTC).isoformat(timespec="seconds")
            write_record(
                building / "image.json",
                {"frozen_from": frozen_from, "made_at": made_at, "layers": [str(layer) for layer in below]},
            )
            folder.parent.mkdir(parents=True, exist_ok=True)
            building.rename(folder)

    def remove(self, name: str) -> None:
        """Removes a frozen image; nothing happens if it is not there. Raises GateHeld while a host stands on it."""
        with self._locked(f"removing {name}"):
            self._remove(self._frozen_folder(name))

    def _locked(self, purpose: str) -> AbstractContextManager[None]:
        return held(self.folder / "lock", purpose, wait_seconds=BUILD_WAIT_SECONDS, on_wait=self.progress)

    def _frozen_folder(self, name: str) -> Path:
        if not name or name == BASE_IMAGE or not all(c.isalnum() or c in "-_." for c in name) or name[0] in ".-":
            raise UsageProblem(f"not a name for an image: {name!r}", expected="letters, digits, - _ .")
        return self.folder / "frozen" / name

    def _build_base(self) -> None:
        building = self._new_building_folder()
        facts = build_tree(building / "root", building, self.recipe)
        write_record(building / "image.json", {"made_at": datetime.now(UTC).isoformat(timespec="seconds"), **facts})
        call(["sync", "-f", str(building)], timeout=SYNC_SECONDS)
        building.rename(self.base)

    def _new_building_folder(self) -> Path:
        building = self.folder / f".building-{secrets.token_hex(4)}"
        building.mkdir(parents=True)
        return building

    def _sweep(self) -> None:
        """Removes what a killed build left, and images on base images that nothing uses any more."""
        for left in self.folder.glob(".building-*"):
            for point in mounted_below(left):
                call(["umount", "--lazy", str(point)])
            remove_tree(left)
        for old in self.folder.glob(f"{BASE_IMAGE}-*"):
            if old != self.base and not _in_use(old):
                self.progress(f"removing the outdated base image {old.name}")
                self._remove(old)
        for folder in (self.folder / "frozen").glob("*"):
            if self.frozen(folder.name) is None and not _in_use(folder):
                self._remove(folder)

    def _remove(self, folder: Path) -> None:
        if not folder.exists():
            return
        if _in_use(folder):
            raise GateHeld("a host stands on this image", where=str(folder), hint="cloudexit lab down, then again")
        doomed = self.folder / f".building-{folder.name}-{secrets.token_hex(4)}"
        folder.rename(doomed)
        remove_tree(doomed)


def _in_use(folder: Path) -> bool:
    """True while a mounted overlay stands on a layer in this folder."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return any(f"{folder}/" in line for line in mounts.splitlines() if " - overlay " in line)
