"""Where a rollback goes after a deploy or a rollback that did not come to its end. Pure, no I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from migrate.target.standing import Installed, Standing

History = tuple[Installed, ...]


@dataclass(frozen=True)
class Attempt:
    """The last deploy or rollback of a release from this state folder, which did not end in success."""

    release: Installed
    """What was to run."""
    goes_back: bool
    taken_back: bool
    """It came to its end in another way: its release was not healthy, and what was switched was taken back."""

    def aim(self, history: History) -> Installed | None:
        """Where a rollback goes now that the home's history is this; None where the attempt has no say in it."""
        if self.goes_back:
            on_its_way = history[-1:] if self.taken_back else history[-2:]
            return self.release if self.release in on_its_way else None
        if self.taken_back or not history or self.release == history[-1]:
            return None
        return history[-1]


def history_of(standings: Mapping[str, Standing], folder_of: Callable[[Installed], str]) -> History:
    """What was proved on the home, oldest first. A host that came later knows less. Where a command died while it
    noted what it had proved, the history counts that ends with what every host runs."""
    known = [standing for standing in standings.values() if standing.history]
    ends = [one.history for one in known if _all_run(known, folder_of(one.history[-1]))]
    return max(ends or [one.history for one in known], key=len, default=())


def is_between(standings: Mapping[str, Standing], folder: str) -> bool:
    """Whether any host is between two releases, or starts from another folder than this. A host that has only joined
    starts from none, and never did."""
    found = standings.values()
    return any(one.switching or (one.current != folder and (one.current or one.history)) for one in found)


def _all_run(standings: Sequence[Standing], folder: str) -> bool:
    return all(one.current == folder and not one.switching for one in standings)
