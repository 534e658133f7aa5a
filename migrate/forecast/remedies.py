"""What would make the deadline: a wider line, more export hosts, or both; every other figure stays as it is."""

from collections.abc import Callable
from dataclasses import dataclass

from migrate.forecast.basis import Basis
from migrate.forecast.chain import Chain
from migrate.forecast.draws import Scale

MOST_HOSTS = 256
WIDEST = 1e21
"""Bytes a second: wider than any line, of any number of hosts."""
ANY = 0.0
"""The line that it takes where none is too narrow: something else is all that holds it up."""
NARROWEST = 1.0
EXACT = 1.0005
"""How near the answer is to the narrowest line that does."""


@dataclass(frozen=True)
class Remedies:
    """With which the data is out in time in a share of the draws; None where it is not enough, however much of it."""

    line: float | None
    """Bytes a second, from the old home to all export hosts together; 0 where the line does not matter."""
    hosts: int | None
    """Export hosts, each with the line, disk and processor of those that there are, behind the uplink that there is."""
    both: tuple[int, float] | None
    """The fewest hosts with which some line is enough, and the narrowest such line; where neither alone is enough."""


def remedies(chain: Chain, basis: Basis, available: float, share: float) -> Remedies:
    """`available`: seconds until the deadline; `share`: of the draws, from 0 to 1."""
    is_in_time = _Test(chain, basis, available, share)
    line = is_in_time.narrowest_line(basis.export.hosts)
    hosts = _fewest(lambda count: is_in_time.of_hosts(count))
    if line is not None or hosts is not None:
        return Remedies(line, hosts, None)
    together = _fewest(lambda count: is_in_time.of_line(WIDEST, count))
    wide = is_in_time.narrowest_line(together) if together else None
    return Remedies(None, None, (together, wide) if together and wide is not None else None)


@dataclass(frozen=True)
class _Test:
    """Whether the data is out in time with another line or other hosts."""

    chain: Chain
    basis: Basis
    available: float
    share: float

    def of_hosts(self, hosts: int) -> bool:
        one, uplink = self.basis.figure("line").value, self.basis.uplink
        together = min(one * hosts, uplink.value) if uplink else one * hosts
        return self._is_met({"line": self.basis.line.value / together, **self._by_hosts(hosts)})

    def of_line(self, rate: float, hosts: int) -> bool:
        """`rate`: of all hosts together, uplink included."""
        uplink = self.basis.uplink
        scale = {"line": self.basis.line.value / rate, "uplink": uplink.value / rate if uplink else 1.0}
        return self._is_met({**scale, **self._by_hosts(hosts)})

    def narrowest_line(self, hosts: int) -> float | None:
        now = self.basis.line.value
        if not self.of_line(WIDEST, hosts):
            return None
        if self.of_line(NARROWEST, hosts):
            return ANY
        low, high = _around(now, lambda rate: self.of_line(rate, hosts))
        while high / low > EXACT:
            middle = (low * high) ** 0.5
            low, high = (low, middle) if self.of_line(middle, hosts) else (middle, high)
        return high

    def _by_hosts(self, hosts: int) -> Scale:
        fewer = self.basis.export.hosts / hosts
        return dict.fromkeys(("disk_write", "ledger", "fetch", "processor"), fewer)

    def _is_met(self, scale: Scale) -> bool:
        return self.chain.out(scale).at(self.share) <= self.available


def _around(now: float, is_enough: Callable[[float], bool]) -> tuple[float, float]:
    """A line that is not enough and one that is, from the line that there is by doubling: few questions where the
    answer is near. The first may be enough where any line is."""
    low = high = now
    if is_enough(now):
        while low > NARROWEST and is_enough(low := max(NARROWEST, low / 2)):
            high = low
        return low, high
    while not is_enough(high := min(WIDEST, high * 2)):
        low = high
    return low, high


def _fewest(is_enough: Callable[[int], bool]) -> int | None:
    """By halving: more hosts never take longer."""
    if not is_enough(MOST_HOSTS):
        return None
    low, high = 0, MOST_HOSTS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
