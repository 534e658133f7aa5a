"""Hosts that are made of nothing but what a release does to them: links, units, closed ports."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from migrate.errors import Unreachable
from migrate.inventory import Host, Inventory
from migrate.ports import Completed, Expected, HttpReply
from migrate.target import claims, restarting, services, standing
from migrate.target.standing import Installed


@dataclass
class Machine:
    current: str
    runs: str
    history: tuple[Installed, ...]
    installed: set[Installed]
    switching: bool = False
    closed: bool = False
    wanted: bool = True
    crashes: bool = False
    """Its units are waited for by systemd, to be started once more."""
    full: bool = False
    """No space is left on its disk."""
    holder: str = ""
    """Who has claimed the release there."""
    due: list[str] = field(default_factory=list)
    """Units that live with other files than they started with."""
    was_well: set[str] = field(default_factory=set)
    """Units that served until they were restarted with those, and have not passed since."""
    mute: bool = False
    """Its systemd does not answer."""


@dataclass
class HostsInMemory:
    """ports.Hosts and ports.Http over machines that run a release. `is_bad(host, folder)` answers with 500."""

    machines: dict[str, Machine]
    is_bad: Callable[[str, str], bool] = lambda host, folder: False
    lost: set[str] = field(default_factory=set)
    restarted: list[str] = field(default_factory=list)
    calls: int = 0
    dies_at: int = 0
    """The call under which the operator's own process dies; 0: none."""

    def run(
        self, host: Host, command: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0,
        as_user: str | None = None,
    ) -> Completed:  # fmt: skip
        if host.name in self.lost:
            raise Unreachable("no SSH: timed out", where=host.name)
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        machine = self.machines[host.name]
        if machine.full and list(command)[:3] == ["sh", "-c", standing.SWITCH]:
            return Completed(host.name, "sh", 1, "", "ln: .current: No space left on device")
        if machine.mute and list(command)[2:3] == [standing.OBSERVE]:
            return Completed(host.name, "sh", 1, "", "Failed to connect to bus")
        if list(command)[2:3] == [claims.TAKE] and machine.holder not in ("", command[-1]):
            return Completed(host.name, "sh", claims.TAKEN, machine.holder, "")
        if command[0] == "systemctl" and command[1] in ("is-active", "is-enabled") and not machine.wanted:
            return Completed(host.name, "systemctl", 3, "inactive", "")
        said = self._answer(host.name, machine, list(command), stdin.decode())
        return Completed(host.name, " ".join(command[:2]), 0, said, "")

    def _answer(self, name: str, machine: Machine, command: list[str], stdin: str) -> str:
        match command:
            case ["sh", "-c", standing.OBSERVE, _, _, *units]:
                return "\n".join(_observed(machine, units))
            case ["sh", "-c", claims.TAKE, *_, who]:
                machine.holder = who
            case ["sh", "-c", claims.GIVE_BACK, *_, who]:
                machine.holder = "" if machine.holder == who else machine.holder
            case ["sh", "-c", standing.MARK, *_]:
                machine.switching = True
            case ["sh", "-c", standing.SWITCH, _, _, folder]:
                machine.current, machine.switching = folder, True
            case ["sh", "-c", standing.SETTLED, *_]:
                machine.switching = False
            case ["sh", "-c", standing.KEPT, *_]:
                machine.history = tuple(Installed(*line.split()) for line in stdin.splitlines())
                started_from = {one for one in machine.installed if machine.current.endswith(one.folder_name)}
                machine.installed &= {*machine.history, *started_from}
                machine.switching = False
            case ["sh", "-c", restarting.AGE, *_]:
                return "0\n1000"
            case ["sh", "-c", restarting.RESTART, _, unit]:
                machine.runs = machine.current
                self.restarted.append(f"{name} {unit.removeprefix('plaza-').removesuffix('.service')}")
            case ["sh", "-c", restarting.WAS_WELL, _, *units]:
                machine.was_well.update(units)
            case ["sh", "-c", restarting.TAKEN_UP, _, *units]:
                machine.was_well.difference_update(units)
                machine.due = [unit for unit in machine.due if unit not in units]
            case ["systemctl", "show", *_]:
                return "NRestarts=0\nActiveState=active"
            case ["systemctl", "is-active" | "is-enabled", *_] | ["sh", "-c", services.ENABLE, *_]:
                return "active"
            case ["systemctl", "start", _]:
                machine.runs, machine.wanted = machine.current, True
            case ["systemctl", "stop", _]:
                machine.wanted = False
            case ["nft", *_]:
                machine.closed = "closed" in stdin
                assert not all(one.closed for one in self.machines.values()), "nobody answers any more"
            case ["journalctl", *_]:
                return f"last words of {machine.runs.rsplit('/', 1)[-1]}"
            case _:
                raise AssertionError(command)
        return ""

    @contextmanager
    def tunnel(self, host: Host, port: int) -> Iterator[int]:
        yield list(self.machines).index(host.name)

    def get(self, url: str, *, timeout: float, expected: Expected | None = None) -> HttpReply:
        name = list(self.machines)[int(url.split(":")[2].split("/")[0])]
        return HttpReply(500 if self.is_bad(name, self.machines[name].runs) else 200, {}, b"")

    def put(self, host: Host, local: Path, remote: PurePosixPath, *, mode: int = 0o600) -> None:
        raise AssertionError("a roll copies nothing")

    def mirror_tree(self, host: Host, local: Path, remote: PurePosixPath, *, owner: str, timeout: float) -> None:
        raise AssertionError("a roll copies nothing")


def _observed(machine: Machine, units: Sequence[str]) -> Iterator[str]:
    yield "provisioned"
    if machine.current:
        yield f"current {machine.current}"
    if machine.switching:
        yield "switching"
    if machine.closed:
        yield "closed"
    yield from (f"proved {one.version} {one.sha256}" for one in machine.history)
    yield from (f"installed {one.folder_name} {one.sha256}" for one in machine.installed)
    running = "activating" if machine.crashes else "active"
    state = f"{running} enabled" if machine.wanted else "inactive disabled"
    yield from (f"unit {unit} {state}" for unit in units)
    yield from (f"was_well {unit}" for unit in machine.was_well)


def inventory_with(groups: Mapping[str, tuple[str, ...]]) -> Inventory:
    """Host -> its groups."""
    hosts = {name: Host(name, f"192.0.2.{index}", of) for index, (name, of) in enumerate(groups.items(), 1)}
    return Inventory(Path("hosts.yml"), hosts)
