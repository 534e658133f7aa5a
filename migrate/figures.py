"""Figures and what they rest on: sizes and rates as people write them, the ground of a number, the time of a step."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

BITS_A_BYTE = 8
NORMAL_P90 = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""

WORTH_A_WORD = 0.02
"""A stretch with less of the time than this is left out of an estimate's formula."""

QUANTITY = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([kKMGTP]?)(i?)(B|bit)?(/s)?")
POWERS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


class Ground(StrEnum):
    """What a number rests on, from the best to the weakest."""

    MEASURED = "measured"
    """Observed: a probe minutes ago, a metric, a count."""
    KNOWN = "known"
    """From the journal of an earlier run or drill."""
    STATED = "stated"
    """Said by the operator in inventory or facts, and not observed."""
    ASSUMED = "assumed"
    """A default, named."""


def weakest(grounds: Sequence[Ground]) -> Ground:
    """A result is no better than the weakest of what it was made from."""
    order = list(Ground)
    return max(grounds, key=order.index, default=Ground.ASSUMED)


def no_truth_value(value: object) -> object:
    """YAML's `true` and `yes` are no number, though Python counts them as 1."""
    if isinstance(value, bool):
        raise ValueError(f"not a number: {str(value).lower()}")
    return value


def parse_size(value: object) -> object:
    """Bytes of `70TB` (1000 each), `64GiB` (1024 each), `1_500` or a number."""
    if not isinstance(value, str):
        return no_truth_value(value)
    match = QUANTITY.fullmatch(value.strip())
    if not match or match[4] == "bit" or match[5]:
        raise ValueError(f"not a size: {value!r}; write 70TB, 64GiB or a number of bytes")
    return round(_number(match))


def parse_rate(value: object) -> object:
    """Bytes per second of `5.2Gbit/s`, `650MB/s`, `200MiB/s` or a number."""
    if not isinstance(value, str):
        return no_truth_value(value)
    match = QUANTITY.fullmatch(value.strip())
    if not match or not match[4] or not match[5]:
        raise ValueError(f"not a rate: {value!r}; write 5.2Gbit/s, 650MB/s or bytes a second")
    return _number(match) / (BITS_A_BYTE if match[4] == "bit" else 1)


def _number(match: re.Match[str]) -> float:
    base = 1024 if match[3] else 1000
    number = float(match[1].replace("_", "")) * float(base) ** POWERS[match[2]]
    if not math.isfinite(number):
        raise ValueError("too many digits")
    return number


MOST_BYTES = 10**21
"""A zettabyte: more than any store holds, and little enough to reckon with."""
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0, le=MOST_BYTES)]
"""Bytes."""
Rate = Annotated[float, BeforeValidator(parse_rate), Field(ge=1, le=1e15, allow_inf_nan=False)]
"""Bytes per second."""
Pace = Annotated[float, BeforeValidator(no_truth_value), Field(ge=1e-6, le=1e12, allow_inf_nan=False)]
"""Things per second."""
Count = Annotated[int, BeforeValidator(no_truth_value), Field(ge=0, le=10**15)]
"""A number of things."""


@dataclass(frozen=True)
class Figure:
    """A number, what it rests on, and how far it may be off: `spread` is the 90th percentile over the median of the
    time that follows from it."""

    name: str
    value: float
    ground: Ground
    source: str
    spread: float = 1.0


@dataclass(frozen=True)
class Limit:
    """How long a stretch of work takes if this figure alone holds it up."""

    figure: str
    seconds: float
    spread: float
    ground: Ground
    source: str
    formula: str


@dataclass(frozen=True)
class Estimate:
    """The predicted time of a step: stretches one after the other, each as long as the slowest of its limits."""

    stretches: tuple[tuple[Limit, ...], ...]

    @property
    def binding(self) -> tuple[Limit, ...]:
        """Of each stretch the limit that holds it up."""
        return tuple(max(limits, key=lambda limit: limit.seconds) for limits in self.stretches)

    @property
    def seconds(self) -> float:
        """The median."""
        return sum(limit.seconds for limit in self.binding)

    @property
    def p90_seconds(self) -> float:
        """The 90th percentile, each limit's own: never less for more of any figure."""
        return sum(max(limit.seconds * limit.spread for limit in limits) for limits in self.stretches)

    @property
    def ground(self) -> Ground:
        """That of the limit in which most of the time lies, or of a weaker one with a quarter of it."""
        heavy = [limit.ground for limit in self.binding if limit.seconds * 4 >= self.seconds]
        return weakest(heavy)

    @property
    def formula(self) -> str:
        """Of the stretches that matter."""
        return " + ".join(dict.fromkeys(limit.formula for limit in self._heavy))

    @property
    def source(self) -> str:
        return "; ".join(dict.fromkeys(limit.source for limit in self._heavy))

    @property
    def _heavy(self) -> list[Limit]:
        return [limit for limit in self.binding if limit.seconds >= WORTH_A_WORD * self.seconds]

    def as_document(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 3),
            "p90_seconds": round(self.p90_seconds, 3),
            "ground": self.ground.value,
            "formula": self.formula,
            "source": self.source,
            "stretches": [[asdict(limit) for limit in limits] for limits in self.stretches],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Estimate":
        """Raises KeyError, TypeError or ValueError where the document is no estimate."""
        return cls(
            tuple(
                tuple(Limit(**{**limit, "ground": Ground(limit["ground"])}) for limit in limits)
                for limits in document["stretches"]
            )
        )


def drawn(spread: float, normal: float) -> float:
    """A factor of a lognormal distribution with median 1 and `spread` as its 90th percentile."""
    return math.exp(math.log(spread) / NORMAL_P90 * normal)


def sized(count: float) -> str:
    """Bytes in the largest decimal unit that leaves a number above one: `70.0 TB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def rated(bytes_a_second: float) -> str:
    """A line's rate in bits: `5.2 Gbit/s`."""
    bits, unit = _bits(bytes_a_second)
    return f"{bits:.1f} {unit}"


def rated_up(bytes_a_second: float) -> str:
    """A rate that is needed, in bits: what is shown is never less than it. 777.9 MB/s are `6.3 Gbit/s`."""
    bits, unit = _bits(bytes_a_second)
    return f"{math.ceil(round(bits * 10, 6)) / 10:.1f} {unit}"


def _bits(bytes_a_second: float) -> tuple[float, str]:
    bits = bytes_a_second * BITS_A_BYTE
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if bits < 1000:
            return bits, unit
        bits /= 1000
    return bits, "Gbit/s"
