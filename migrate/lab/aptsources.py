"""The machine's own apt configuration, parsed: one-line and deb822 sources, as sources.list(5) describes them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ONE_LINE = re.compile(
    r"^(?P<type>deb|deb-src)\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<rest>.*)$"
)
APT_FILE_NAME = re.compile(r"^[A-Za-z0-9_.-]+$")
OPTION_NAMES = {"arch": "Architectures", "signed-by": "Signed-By"}


@dataclass(frozen=True)
class AptSource:
    """One stanza or line: every URI serves every suite. `options` are deb822 fields other than those named here."""

    where: str
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    architectures: tuple[str, ...] = ()
    signed_by: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def keyrings(self) -> tuple[Path, ...]:
        """Keyring files named by Signed-By; none when it is a key itself, or fingerprints."""
        if "BEGIN PGP" in self.signed_by:
            return ()
        return tuple(Path(part) for part in re.split(r"[\s,]+", self.signed_by) if part.startswith("/"))

    def serves(self, architecture: str) -> bool:
        return not self.architectures or architecture in self.architectures


def read_sources(apt_folder: Path) -> list[AptSource]:
    """Enabled binary sources under /etc/apt (or a folder like it), in apt's order of files."""
    found: list[AptSource] = []
    main = apt_folder / "sources.list"
    parts = sorted((apt_folder / "sources.list.d").glob("*")) if (apt_folder / "sources.list.d").is_dir() else []
    for path in [main, *parts]:
        if not path.is_file() or not APT_FILE_NAME.match(path.name):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".list":
            found.extend(parse_one_line(text, str(path)))
        elif path.suffix == ".sources":
            found.extend(parse_deb822(text, str(path)))
    return found


def parse_one_line(text: str, where: str) -> Iterator[AptSource]:
    """Sources of a sources.list; lines that apt would not understand are left out."""
    for number, line in enumerate(text.splitlines(), start=1):
        match = ONE_LINE.match(line.split("#", 1)[0].strip())
        if match is None or match["type"] != "deb":
            continue
        fields = dict(_options(match["options"] or ""))
        yield AptSource(
            where=f"{where}:{number}",
            uris=(match["uri"],),
            suites=(match["suite"],),
            components=tuple(match["rest"].split()),
            architectures=tuple(fields.pop("Architectures", "").split()),
            signed_by=fields.pop("Signed-By", ""),
            options=fields,
        )


def _options(text: str) -> Iterator[tuple[str, str]]:
    for option in text.split():
        name, sign, value = option.partition("=")
        if sign:
            deb822_name = OPTION_NAMES.get(name, "-".join(part.capitalize() for part in name.split("-")))
            yield deb822_name, value.replace(",", " ")


def parse_deb822(text: str, where: str) -> Iterator[AptSource]:
    """Sources of a .sources file; stanzas that are disabled, or only for sources of programs, are left out."""
    for line, fields in _stanzas(text):
        enabled = fields.pop("Enabled", "yes").lower() not in {"no", "false", "without", "off", "disable", "0"}
        if not enabled or "deb" not in fields.pop("Types", "").split():
            continue
        yield AptSource(
            where=f"{where}:{line}",
            uris=tuple(fields.pop("Uris", "").split()),
            suites=tuple(fields.pop("Suites", "").split()),
            components=tuple(fields.pop("Components", "").split()),
            architectures=tuple(fields.pop("Architectures", "").split()),
            signed_by=fields.pop("Signed-By", "").strip(),
            options=fields,
        )


def _stanzas(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    fields: dict[str, str] = {}
    first_line, last_name = 0, ""
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield first_line, fields
            fields, last_name = {}, ""
        elif line[0] in " \t":
            if last_name:
                fields[last_name] += f"\n{line.strip()}"
        else:
            name, _, value = line.partition(":")
            last_name = "-".join(part.capitalize() for part in name.strip().split("-"))
            first_line = first_line if fields else number
            fields[last_name] = value.strip()
