"""The pools of connections on the app's hosts lead to the host that leads: the app need not be told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from migrate.action import Outcome, StepContext
from migrate.check import Verdict
from migrate.errors import GateHeld
from migrate.inventory import Host
from migrate.plan import Step
from migrate.target.parts.pooler import databases_text
from migrate.target.succession import Succession

POOL_FILE = PurePosixPath("/etc/pgbouncer/databases.ini")


@dataclass(frozen=True)
class PoolsRepointed:
    """Pools of connections on the app's hosts lead to the host that leads: the app need not be told."""

    succession: Succession
    without: Sequence[str] = ()
    """Hosts that are away; provisioning tells them when they are back."""

    def verify(self, step: Step, context: StepContext) -> Verdict:
        told = [self._run(host, ["cat", str(POOL_FILE)]) == self._text for host in self._hosts()]
        return Verdict.PASS if all(told) else Verdict.FAIL

    def apply(self, step: Step, context: StepContext) -> Outcome:
        """Raises GateHeld where a pool does not take it up."""
        script = f'umask 027; cat >"{POOL_FILE}.new"; chown postgres:postgres "{POOL_FILE}.new"; '
        script += (
            f'chmod 0640 "{POOL_FILE}.new"; mv "{POOL_FILE}.new" "{POOL_FILE}"; systemctl reload pgbouncer.service'
        )
        for host in self._hosts():
            done = self.succession.hosts.run(host, ["sh", "-euc", script], stdin=self._text.encode())
            if not done:
                raise GateHeld(f"the pool does not take it up: {done.stderr.strip()}", where=host.name)
        return Outcome({"hosts": [host.name for host in self._hosts()]})

    @property
    def _text(self) -> str:
        return databases_text(self.succession.settings, self.succession.inventory)

    def _hosts(self) -> list[Host]:
        if not self.succession.settings.pool_port:
            return []
        groups = self.succession.settings.open_to
        found = {host.name: host for group in groups for host in self.succession.inventory.group(group)}
        return [host for name, host in found.items() if name not in self.without]

    def _run(self, host: Host, command: Sequence[str]) -> str:
        return self.succession.hosts.run(host, command).stdout
