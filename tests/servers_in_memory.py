"""A group of PostgreSQL servers, and pools in front of it, made of nothing but what a fail-over asks and does."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from migrate.errors import Unreachable
from migrate.inventory import Host, Inventory
from migrate.ports import Completed
from migrate.target import failover, pools, remains, replicas, standdown
from migrate.target.timelines import position_of


@dataclass
class Server:
    """Its WAL is so many bytes; the last `record` of them are one record."""

    leads: bool = False
    runs: bool = True
    held: bool = False
    received: int = 1000
    timeline: int = 1
    record: int = 10
    crashed: bool = False
    history: str = ""
    under_way: list[int] = field(default_factory=list)
    """Bytes that reach it, one portion at each look, for as long as it streams."""
    starts: bool = True
    """Whether it can be started."""
    long_stops: int = 0
    """So many commands end without an answer before it has stopped."""
    checkpoints: int = 0


@dataclass
class Pool:
    """What pgbouncer has on disk and in memory (the address that it leads to), and where its sessions are."""

    file: str
    memory: str
    sessions: set[str] = field(default_factory=set)
    keeps_sessions: bool = False
    """Whether sessions outlive a reload: those with a server that runs on."""
    restarts: int = 0


@dataclass
class GroupInMemory:
    """ports.Hosts over servers. A server that leads is followed by all that run; where it has a `line` to one, what it
    writes is under way to that one for as many looks."""

    servers: Mapping[str, Server]
    pools: Mapping[str, Pool] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    calls: int = 0
    dies_at: int = 0
    """The call under which the operator's own process dies, and what is under way with it; 0: none."""
    asked: list[str] = field(default_factory=list)

    def run(
        self, host: Host, command: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0,
        as_user: str | None = None,
    ) -> Completed:  # fmt: skip
        self.asked.append(host.name)
        if host.name in self.away:
            raise Unreachable("no SSH: timed out", where=host.name)
        self.calls += 1
        if self.calls == self.dies_at:
            for server in self.servers.values():
                server.under_way.clear()
            raise KeyboardInterrupt
        if host.name in self.pools:
            return self._pool(host.name, self.pools[host.name], list(command), stdin.decode())
        server = self.servers[host.name]
        match list(command):
            case [*_, "psql", "-X", "-q", "-At", "-v", _, "-p", _, "-d", _, "-f", "-"] if (
                stdin == replicas.STATE.encode()
            ):
                if not server.runs:
                    return Completed(host.name, "psql", 2, "", "psql: error: connection refused")
                return Completed(host.name, "psql", 0, self._state(host.name, server), "")
            case [*_, "-c", query] if "pg_promote" in query:
                self._promote(server)
                return Completed(host.name, "psql", 0, "t\n", "")
            case [*_, "-c", "CHECKPOINT"]:
                assert server.runs and server.leads
                server.checkpoints += 1
                return Completed(host.name, "psql", 0, "CHECKPOINT\n", "")
            case ["sh", "-c", script, *_] if server.long_stops and "systemctl stop" in script:
                server.long_stops -= 1
                server.runs, server.held = False, script == standdown.STAND_DOWN and not server.long_stops
                raise Unreachable("no end within its bound", where=host.name)
            case ["sh", "-c", failover.ASIDE]:
                return Completed(host.name, "sh", 0, "/var/lib/postgresql/15/main.put-aside-20260101T000000Z\n", "")
            case ["sh", "-c", script, *_]:
                return Completed(host.name, "sh", 0, self._script(script, server), "")
        raise AssertionError(command)

    def _script(self, script: str, server: Server) -> str:
        match script:
            case standdown.STAND_DOWN:
                server.runs, server.held = False, True
                return f"{position_of(server.received - server.record)}\n"
            case standdown.STOP:
                server.runs = False
            case standdown.HOLD_DOWN:
                server.runs, server.held = False, True
            case standdown.STAND_UP:
                server.runs, server.held, server.leads = True, False, True
            case standdown.START_TO_FOLLOW:
                server.runs, server.held, server.leads = server.starts, True, False
            case remains.READ:
                return self._remains(server)
            case _:
                raise AssertionError(script)
        return ""

    def _pool(self, name: str, pool: Pool, command: list[str], stdin: str) -> Completed:
        match command:
            case ["sh", "-euc", pools.LOOK, _, port]:
                servers = "".join(f"{address},5432\n" for address in sorted(pool.sessions))
                databases = f"name,host,port\npgbouncer,,{port}\nplaza,{pool.memory},5432\n"
                said = f"{pool.file}{pools.OUTPUT}\n{databases}{pools.OUTPUT}\naddr,port\n{servers}"
                return Completed(name, "sh", 0, said, "")
            case ["sh", "-euc", pools.WRITE, _, how]:
                pool.file, pool.memory = stdin, stdin.partition("host=")[2].partition(" ")[0]
                if how == pools.CUT or not pool.keeps_sessions:
                    pool.sessions = {pool.memory} if pool.sessions else set()
                pool.restarts += how == pools.CUT
                return Completed(name, "sh", 0, "", "")
        raise AssertionError(command)

    def _state(self, name: str, server: Server) -> str:
        streams = any(other.leads and other.runs for other in self.servers.values() if other is not server)
        if not server.leads and server.under_way:
            server.received += server.under_way.pop(0)
        return json.dumps(
            {
                "follows": not server.leads, "timeline": server.timeline, "history": server.history or None,
                "position": server.received, "received": 0 if server.leads else server.received,
                "replayed_at": None if server.leads else 100.0, "now": 103.5,
                "streams": not server.leads and (streams or bool(server.under_way)),
                "followers": [
                    {"name": other, "state": "streaming", "bytes": 0, "seconds": 0}
                    for other, one in self.servers.items()
                    if server.leads and other != name and not one.leads and one.runs and other not in self.away
                ],
            }
        )  # fmt: skip

    def _promote(self, server: Server) -> None:
        if not server.leads:
            server.history = f"{server.history}{server.timeline}\t{position_of(server.received)}\tno reason\n"
            server.leads, server.timeline = True, server.timeline + 1
            server.held = False

    def _remains(self, server: Server) -> str:
        last = position_of(server.received - server.record)
        checkpoint = "0/10" if server.crashed else last
        ended = ("in production" if server.leads else "in archive recovery") if server.crashed else "shut down"
        lines = [
            f"unit: {'active' if server.runs else 'inactive'}", *(["held: yes"] if server.held else []),
            f"Database cluster state:               {ended}", f"Latest checkpoint location:           {checkpoint}",
            "Minimum recovery ending location:     0/0", f"Timeline of the newest WAL: {server.timeline}",
            f"Last record: {last} {server.record}",
        ]  # fmt: skip
        return "\n".join((*lines, *(f"History: {line}" for line in server.history.splitlines())))

    @property
    def leading(self) -> list[str]:
        """Who takes writes, or would after a boot of its host."""
        return [name for name, server in self.servers.items() if server.leads and not server.held]

    def put(self, host: Host, local: Path, remote: PurePosixPath, *, mode: int = 0o600) -> None:
        raise AssertionError("a fail-over copies nothing")

    def mirror_tree(self, host: Host, local: Path, remote: PurePosixPath, *, owner: str, timeout: float) -> None:
        raise AssertionError("a fail-over copies nothing")

    def tunnel(self, host: Host, port: int) -> AbstractContextManager[int]:
        raise AssertionError("a fail-over needs no tunnel")


def inventory_led_by(lead: str, servers: Mapping[str, Server], path: Path = Path("hosts.yml")) -> Inventory:
    hosts = {name: Host(name, f"192.0.2.{number}", ("database",)) for number, name in enumerate(servers, 21)}
    hosts.update({f"app{n}": Host(f"app{n}", f"192.0.2.3{n}", ("app", "worker")) for n in (1, 2)})
    return Inventory(path, hosts, leads={"database": lead})
