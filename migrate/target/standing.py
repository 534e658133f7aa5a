"""How a release stands on one host: its folders, the one that runs next, and those that were proved before it.

`/srv/NAME/current` is what units start from. `/srv/NAME/history` names what was proved on this home, oldest first:
its last line is what the home runs, the line before is where a rollback goes. `/srv/NAME/switching` is there from
before `current` moves until the units that run from it have passed their gates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from migrate.errors import GateHeld
from migrate.inventory import Host
from migrate.ports import Completed, Hosts
from migrate.target.closing import TABLE
from migrate.target.restarting import DUE

LOOK_SECONDS = 20.0
PRUNE_SECONDS = 120.0
KEEP = 5
"""Releases that stay on a host, the one that runs among them."""
REMEMBERED = 100
"""Lines of the history: more than releases, so that one of long ago is known for what it is."""
OBSERVE = f"""
[ ! -e /etc/cloudexit/provisioned ] || echo provisioned
! nft list table {TABLE} 2>/dev/null | grep -q expires || echo closed
if cd "/srv/$1" 2>/dev/null; then
  [ ! -L current ] || echo "current $(readlink current)"
  [ ! -e switching ] || echo switching
  [ ! -e history ] || sed "s/^/proved /" history
  for record in releases/*/installed.sha256; do
    [ ! -e "$record" ] || echo "installed $(basename "$(dirname "$record")") $(cat "$record")"
  done
fi
shift
for unit; do
  state=$(systemctl show -P ActiveState "$unit") && [ -n "$state" ] || exit 1
  echo "unit $unit $state $(systemctl is-enabled "$unit" 2>/dev/null)"
  [ ! -e "{DUE}/.$unit.well" ] || echo "was_well $unit"
done
"""
"""A host whose systemd does not answer has not said that nothing runs there."""
MARK = 'touch "/srv/$1/switching"'
SWITCH = 'cd "/srv/$1" && touch switching && ln -sfn "$2" .current && mv -fT .current current'
"""A rename of a finished link: there is no moment without `current`."""
SETTLED = 'rm -f "/srv/$1/switching"'
KEPT = """
cd "/srv/$1" && cat >.history && [ "$(wc -l <.history)" -eq "$2" ] || exit 1
sync .history && mv -f .history history && rm -f switching || exit 1
current=$(basename "$(readlink current)")
shift 2
for folder in releases/*; do
  keep=; for kept in "$current" "$@"; do [ "releases/$kept" != "$folder" ] || keep=1; done
  [ -n "$keep" ] || { rm -f -- "$folder/installed.sha256" && rm -rf -- "$folder"; }
done
"""
"""A text that is cut off on its way, with the command that sent it, replaces nothing. What units start from stays in
any case, and a folder that is half gone counts as none."""


@dataclass(frozen=True)
class Installed:
    """One release in a folder of its own: another archive of the same version is another release."""

    version: str
    sha256: str

    @property
    def folder_name(self) -> str:
        return f"{self.version}-{self.sha256[:8]}"


@dataclass(frozen=True)
class Standing:
    """What was seen on one host."""

    provisioned: bool
    current: str
    switching: bool
    history: tuple[Installed, ...]
    """What was proved, oldest first."""
    installed: frozenset[str]
    """SHA-256 of the archives whose folders are whole."""
    wanted: frozenset[str]
    """Units that run, try to, or start at every boot: those that a switch restarts."""
    active: frozenset[str]
    """Units that run."""
    closed: bool = False
    """Whether a command that ended half-way has left its ports closed, for some minutes at most."""
    was_well: frozenset[str] = frozenset()
    """Units that served until they were restarted with other files, and have not passed since."""

    @property
    def proved(self) -> Installed | None:
        """What the host is to run, as far as it was proved."""
        return self.history[-1] if self.history else None

    @property
    def serves(self) -> bool:
        """Whether all that is to run there runs, and no command left the host half-way, or its ports closed."""
        return not self.switching and not self.closed and self.wanted <= self.active


class ReleaseOnHosts:
    """Looks at and moves one release, `name`, on hosts. Every method raises Unreachable or Refused."""

    def __init__(self, hosts: Hosts, name: str) -> None:
        self._hosts = hosts
        self.name = name

    def folder(self, release: Installed) -> str:
        return f"/srv/{self.name}/releases/{release.folder_name}"

    def look(self, host: Host, units: Sequence[str]) -> Standing:
        """Raises GateHeld where the host cannot tell."""
        done = self._hosts.run(host, ["sh", "-c", OBSERVE, "sh", self.name, *units], timeout=LOOK_SECONDS)
        if not done:
            raise GateHeld(
                f"how the release stands cannot be seen: {done.stderr.strip() or done.exit_status}",
                where=host.name,
                expected="systemd to tell which units run",
                hint="look at it there: systemctl status; then run the same command again",
            )
        return _standing(done)

    def runs_next(self, standing: Standing, release: Installed) -> bool:
        """Whether units of the host start from this release, and those that ran have passed their gates with it."""
        there = standing.current == self.folder(release) and release.sha256 in standing.installed
        return there and not standing.switching

    def mark(self, host: Host) -> None:
        """The host is being switched from now on."""
        self._must(host, self._hosts.run(host, ["sh", "-c", MARK, "sh", self.name]))

    def switch(self, host: Host, folder: str) -> None:
        """`current` names the folder from one moment to the next, and the host is marked as being switched."""
        self._must(host, self._hosts.run(host, ["sh", "-c", SWITCH, "sh", self.name, folder]))

    def settle(self, host: Host) -> None:
        """The host is not being switched any more."""
        self._must(host, self._hosts.run(host, ["sh", "-c", SETTLED, "sh", self.name]))

    def keep(self, host: Host, history: Sequence[Installed]) -> None:
        """Writes what was proved, and takes every release away but the last few of it."""
        text = "".join(f"{one.version} {one.sha256}\n" for one in history)
        folders = [one.folder_name for one in history[-KEEP:]]
        command = ["sh", "-c", KEPT, "sh", self.name, str(len(history)), *folders]
        self._must(host, self._hosts.run(host, command, stdin=text.encode(), timeout=PRUNE_SECONDS))

    def _must(self, host: Host, done: Completed) -> None:
        if not done:
            raise GateHeld(
                f"the release could not be switched: {done.stderr.strip() or done.exit_status}",
                where=f"{host.name}:/srv/{self.name}",
                hint="look at the space and the rights of that folder, then run the same command again",
            )


def _standing(done: Completed) -> Standing:
    said: dict[str, list[list[str]]] = {}
    for line in done.stdout.splitlines():
        word, *rest = line.split()
        said.setdefault(word, []).append(rest)
    return Standing(
        provisioned="provisioned" in said,
        current=_first_word(said.get("current")),
        switching="switching" in said,
        closed="closed" in said,
        history=tuple(Installed(*words) for words in said.get("proved", []) if len(words) == 2),
        installed=frozenset(words[-1] for words in said.get("installed", []) if len(words) == 2),
        wanted=frozenset(words[0] for words in said.get("unit", []) if _is_wanted(words[1:])),
        active=frozenset(words[0] for words in said.get("unit", []) if words[1:2] == ["active"]),
        was_well=frozenset(words[0] for words in said.get("was_well", []) if words),
    )


def _first_word(lines: list[list[str]] | None) -> str:
    return lines[0][0] if lines and lines[0] else ""


def _is_wanted(states: Sequence[str]) -> bool:
    """A unit that crashes and is started again is `activating` most of the time."""
    return any(state in ("active", "activating", "reloading", "enabled") for state in states)


def history_with(history: Sequence[Installed], release: Installed) -> tuple[Installed, ...]:
    """The history when this release has been proved: it is the last, and stands there once."""
    return (*(one for one in history if one != release), release)[-REMEMBERED:]


def as_document(release: Installed) -> dict[str, Any]:
    return {"version": release.version, "sha256": release.sha256}
