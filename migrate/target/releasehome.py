"""One release of the app on all hosts that run it."""

from collections.abc import Mapping

from migrate.action import StepContext
from migrate.check import Verdict
from migrate.errors import CloudexitError, GateHeld
from migrate.inventory import Host, Inventory
from migrate.ports import Hosts
from migrate.stack import Stack
from migrate.target.attempts import Attempt, History, history_of, is_between
from migrate.target.checks import ServiceChecks
from migrate.target.claims import Claim
from migrate.target.restarting import Restarting
from migrate.target.rolling import Rolling
from migrate.target.sidebyside import answers_and_faults, on_every_host
from migrate.target.standing import Installed, ReleaseOnHosts, Standing, history_with
from migrate.target.waves import services_on


class ReleaseHome:
    """Where the release `name` runs, what runs there, and how another comes to run there."""

    def __init__(
        self, hosts: Hosts, checks: ServiceChecks, stack: Stack, inventory: Inventory, name: str, who: str
    ) -> None:
        """`who`: what tells one operator's state folder from another's."""
        groups = set(stack.hosts_of_release(name))
        chosen = {host.name: host for host in inventory.hosts.values() if groups & set(host.groups)}
        self.target = Inventory(inventory.path, chosen, inventory.variables)
        self._hosts = hosts
        self._checks = checks
        self._stack = stack
        self._name = name
        self._there = ReleaseOnHosts(hosts, name)
        self._who = who

    @property
    def claim(self) -> Claim:
        """Keeps other commands out; it lies on the first host of the release."""
        return Claim(self._hosts, next(iter(self.target.hosts.values())), self._name, self._who)

    def look(self) -> dict[str, Standing]:
        """How it stands on every host."""
        return on_every_host(self.target, lambda host: self._there.look(host, self._units(host)))

    def look_where_they_answer(self) -> tuple[dict[str, Standing], dict[str, CloudexitError]]:
        """How it stands on the hosts that say so, and what hindered the others."""
        return answers_and_faults(self.target, lambda host: self._there.look(host, self._units(host)))

    def verdict(self, release: Installed) -> Verdict:
        """`pass` when every host runs this release, and it was proved there."""
        found = self.look().values()
        there = all(one.proved == release and self._there.runs_next(one, release) for one in found)
        return Verdict.PASS if there else Verdict.FAIL

    def refuse_bare_hosts(self) -> None:
        """Raises GateHeld where a host was never provisioned: no unit there would start from the release."""
        bare = [name for name, standing in self.look().items() if not standing.provisioned]
        if bare:
            raise GateHeld(
                "the host is not provisioned, so nothing there can run a release",
                where=", ".join(bare),
                expected="every host of the release to be provisioned",
                hint="cloudexit provision, then this command again",
            )

    def release_before(self, attempt: Attempt | None = None) -> Installed:
        """Where a rollback goes: what was proved last where a deploy did not come to its end, as the hosts or the
        `attempt` of this machine tell; else what was proved before that. Raises GateHeld where there is none."""
        standings = self.look()
        history = self._history(standings)
        aim = attempt.aim(history) if attempt else None
        if aim:
            return aim
        if history and is_between(standings, self._there.folder(history[-1])):
            return history[-1]
        if len(history) < 2:
            raise GateHeld(
                f"there is no release of {self._name} before the one that runs",
                where=", ".join(standings),
                expected="two releases that were proved on this home",
                hint="deploy an archive: cloudexit deploy ARCHIVE",
            )
        return history[-2]

    def refuse_without(self, release: Installed) -> None:
        """Raises GateHeld where a host has not got a release: one that came later never had it."""
        missing = [name for name, standing in self.look().items() if release.sha256 not in standing.installed]
        if missing:
            raise GateHeld(
                f"{self._name} {release.version} is not installed there",
                where=", ".join(missing),
                expected="the release before on every host",
                hint="deploy its archive: cloudexit deploy ARCHIVE",
            )

    def has_moved_on_from(self, release: Installed) -> bool:
        """Whether a home that runs has proved another release after this one."""
        standings = self.look()
        return release in self._history(standings)[:-1] and any(one.wanted for one in standings.values())

    def wanted(self, service: str) -> bool:
        """Whether a service runs on any host, or is to."""
        unit = self._stack.services[service].unit
        return any(unit in standing.wanted for standing in self.look().values())

    def roll(self, release: Installed, context: StepContext) -> Mapping[str, Mapping[str, float]]:
        """Switches in waves, and keeps what was proved. Raises ChecksHeld once a bad release was taken back, LockHeld
        where somebody else is at it. The claim is left to who asked for the roll."""
        self.claim.take()
        standings = self.look()
        hosts = list(self.target.hosts.values())
        before = self._history(standings)
        proved = before[-1] if before else None
        gates = Restarting(self._stack, self._hosts, self._checks, context)
        rolling = Rolling(gates, self._there, proved, self.claim.take)
        rolling.roll(standings, hosts, release)
        history = _history_after(before, release)
        on_every_host(self.target, lambda host: self._there.keep(host, history))
        return rolling.document()

    def _history(self, standings: Mapping[str, Standing]) -> History:
        return history_of(standings, self._there.folder)

    def _units(self, host: Host) -> list[str]:
        return [self._stack.services[name].unit for name in services_on(self._stack, self._name, host)]


def _history_after(history: History, release: Installed) -> History:
    """A release that goes back to the one before takes the last out; any other is added."""
    return history[:-1] if history[-2:-1] == (release,) else history_with(history, release)
