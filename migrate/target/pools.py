"""The pools of connections on the app's hosts lead to the host that leads: the app need not be told."""

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld
from migrate.inventory import Host
from migrate.plan import Step
from migrate.target.parts.pooler import databases_text
from migrate.target.sidebyside import Answer, answers_and_faults_of
from migrate.target.succession import POLL_SECONDS, Succession

TAKEN_UP_SECONDS = 10.0
OUTPUT = "==="
LOOK = f"""
cd /
cat /etc/pgbouncer/databases.ini
for what in DATABASES SERVERS; do
  echo "{OUTPUT}"
  runuser -u postgres -- env PGCONNECT_TIMEOUT=5 \\
    psql -X --csv -h /run/postgresql -p "$1" -U pgbouncer -d pgbouncer -c "SHOW $what"
done
"""
WRITE = """
file=/etc/pgbouncer/databases.ini
umask 027
cat >"$file.new"
chown postgres:postgres "$file.new"
chmod 0640 "$file.new"
mv "$file.new" "$file"
systemctl "$1" pgbouncer.service
"""
TAKE_UP, CUT = "reload-or-restart", "restart"
"""A reload leaves sessions with the server that they have; after a restart nobody writes there any more."""


@dataclass(frozen=True)
class PoolsRepointed:
    """Pools on the app's hosts lead to the host that leads, and have no connection to another one."""

    succession: Succession
    without: Sequence[str] = ()
    """Hosts that are away. A server there may run on: sessions with it are cut."""

    def verify(self, step: Step, context: StepContext) -> Verdict:
        leads = self._on_every_host(self._leads_there)
        return Verdict.PASS if all(leads.values()) else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where a pool does not take it up, Unreachable where a host is away: once all others have."""
        return Outcome({"hosts": self._on_every_host(self._repointed)})

    def _on_every_host(self, act: Callable[[Host], Answer]) -> dict[str, Answer]:
        answers, faults = answers_and_faults_of(self._hosts(), act)
        for fault in faults.values():
            raise fault
        return answers

    def _repointed(self, host: Host) -> str:
        for how in (CUT,) if self.without else (TAKE_UP, CUT):
            done = self.succession.hosts.run(host, ["sh", "-euc", WRITE, "sh", how], stdin=self._text.encode())
            if not done:
                raise GateHeld(f"the pool does not take it up: {done.stderr.strip()}", where=host.name)
            end = time.monotonic() + TAKEN_UP_SECONDS
            while time.monotonic() < end:
                if self._leads_there(host):
                    return how
                self.succession.sleep(POLL_SECONDS)
        raise GateHeld(
            f"the pool does not lead to {self.succession.lead.name}", where=host.name,
            expected="every connection of pgbouncer to go there", hint="journalctl -u pgbouncer -n 50 on it",
        )  # fmt: skip

    def _leads_there(self, host: Host) -> bool:
        """By the file that it will start with, by what it has in memory, and by the connections that it has."""
        done = self.succession.hosts.run(host, ["sh", "-euc", LOOK, "sh", str(self.succession.settings.pool_port)])
        if not done:
            return False
        text, databases, servers = done.stdout.split(f"{OUTPUT}\n")
        return (
            text == self._text
            and all(self._is_lead(row["host"], row["port"]) for row in _rows(databases) if row["name"] != "pgbouncer")
            and all(self._is_lead(row["addr"], row["port"]) for row in _rows(servers))
        )

    def _is_lead(self, address: str, port: str) -> bool:
        return (address, port) == (self.succession.lead.address, str(self.succession.port))

    @property
    def _text(self) -> str:
        return databases_text(self.succession.stack, self.succession.inventory, self.succession.service)

    def _hosts(self) -> list[Host]:
        if not self.succession.settings.pool_port:
            return []
        groups = self.succession.settings.open_to
        found = {host.name: host for group in groups for host in self.succession.inventory.group(group)}
        return [host for name, host in found.items() if name not in self.without]


def _rows(text: str) -> list[Mapping[str, str]]:
    return list(csv.DictReader(text.splitlines()))
