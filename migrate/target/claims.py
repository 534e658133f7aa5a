"""One command at a time moves a release of a home, from whatever machine it is given.

A state folder's lock keeps out who works beside the same manifest. A colleague has another folder: what both see is the
home, so a claim lies there, on the first host of the release. Its holder renews it with every wave. A command that died
leaves one that ends by itself, and that the same state folder goes on with at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from migrate.errors import CloudexitError, GateHeld, LockHeld
from migrate.inventory import Host
from migrate.ports import Completed, Hosts

CLAIM_MINUTES = 20
"""Longer than an installation may take (15), after which the claim is renewed."""
CLAIM_SECONDS = 30.0
TAKEN = 45
TAKE = f"""
mkdir -p "/srv/$1" && cd "/srv/$1" && exec 9<. && flock -w 10 9 || exit 1
holder=$(cat deploying 2>/dev/null)
if [ -n "$holder" ] && [ "$holder" != "$2" ] && [ -n "$(find deploying -mmin -{CLAIM_MINUTES})" ]; then
  printf '%s, last seen there at %s\\n' "$holder" "$(date -r deploying +%H:%M:%S)"
  exit {TAKEN}
fi
printf '%s\\n' "$2" >.deploying && mv -f .deploying deploying
"""
GIVE_BACK = 'cd "/srv/$1" && exec 9<. && flock -w 10 9 && { [ "$(cat deploying)" != "$2" ] || rm -f deploying; }'


@dataclass(frozen=True)
class Claim:
    """The right of `who` to move the release `name`, kept on `host`."""

    hosts: Hosts
    host: Host
    name: str
    who: str

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raises LockHeld where somebody else has it."""
        self.take()
        try:
            yield
        finally:
            with suppress(CloudexitError):  # it ends by itself
                self._ask(GIVE_BACK)

    def take(self) -> None:
        """Takes the claim, or renews it. Raises LockHeld where somebody else has it, GateHeld, Unreachable."""
        done = self._ask(TAKE)
        if done.exit_status == TAKEN:
            raise LockHeld(
                f"another command moves {self.name}: {done.stdout.strip()}",
                where=self.host.name,
                expected="one deploy or rollback at a time",
                hint=f"wait for it. Where it is dead for certain: rm /srv/{self.name}/deploying on {self.host.name}, or"
                f" wait {CLAIM_MINUTES} minutes",
            )
        if not done:
            raise GateHeld(
                f"the release cannot be claimed: {done.stderr.strip() or done.exit_status}",
                where=f"{self.host.name}:/srv/{self.name}",
                hint="look at the space and the rights of that folder, then run the same command again",
            )

    def _ask(self, script: str) -> Completed:
        return self.hosts.run(self.host, ["sh", "-c", script, "sh", self.name, self.who], timeout=CLAIM_SECONDS)
