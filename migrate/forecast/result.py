"""The nouns of a forecast. `plan --json` is made of them; its JSON Schema and reference page are generated from here.

Times are moments with an offset (RFC 3339) or seconds; sizes are bytes, rates bytes a second, costs US dollars.
"""

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime

from migrate.check import Verdict
from migrate.fields import Part
from migrate.figures import Ground


class Standing(StrEnum):
    """Whether the old home's data is out before the deadline."""

    MET = "met"
    """Nine times in ten, or more often."""
    TIGHT = "tight"
    """In half of all cases at least, and in less than nine of ten."""
    MISSED = "missed"
    """In less than half of all cases."""
    UNKNOWN = "unknown"
    """Cannot be told: the time of a step that it rests on is not known."""


class StepForecast(Part):
    """When a step would run, how late it may, and what can be said of it before it does."""

    id: str
    """Id of the step."""
    begins_seconds: float | None
    """Begins so long after the go, at the median."""
    ends_seconds: float | None
    """Ends so long after the go, at the median."""
    critical: bool
    """Whether a delay of it delays the moment at which users are served, or at which the data is out."""
    last_begin: AwareDatetime | None
    """The last moment at which it can begin and the data is still out by the deadline, nine times in ten; empty where
    the deadline does not bind it."""
    latest_begin: AwareDatetime | None
    """The last moment at which it can begin without the whole being proved later, at the median; empty where a time of
    the plan cannot be told."""
    float_seconds: float | None
    """So much later it may begin without the end of the whole coming later, at the median."""
    rollback: str
    """How it is taken back."""
    unknowable: str
    """What cannot be known before it runs; empty where there is nothing."""


class Finish(Part):
    """When something is reached: seconds after the go, at 10, 50 and 90 percent."""

    what: Literal["out", "up", "proved"]
    """`out`: nothing more is needed of the old home. `up`: every service runs. `proved`: every step is done."""
    p10_seconds: float
    """One in ten ends before."""
    p50_seconds: float
    """The median."""
    p90_seconds: float
    """Nine in ten end before."""
    p50_at: AwareDatetime
    """The median, as a moment."""
    p90_at: AwareDatetime
    """Nine in ten, as a moment."""
    ground: Ground
    """What most of it rests on."""
    critical_path: tuple[str, ...]
    """The steps that it waits for, at the median."""


class LeftBehind(Part):
    """What of a bucket would not be out by the deadline, at the median."""

    bucket: str
    """The bucket."""
    age: str
    """`any age`, or the age of these objects."""
    objects: int
    """Number of objects."""
    bytes: int
    """Their bytes."""


class OrderOutcome(Part):
    """What an order of the export would bring out by the deadline, at the median."""

    order: str
    """The order."""
    whole_buckets: int
    """Buckets that would be out whole."""
    left_objects: int
    """Objects left behind."""
    left_bytes: int
    """Bytes left behind."""
    loses: str
    """What is left behind, in words."""


class Together(Part):
    """More export hosts and a wider line at once."""

    export_hosts: int
    """Export hosts, each with the disk and processor of those that there are."""
    line: float
    """The line of all of them together, bytes a second."""


class DeadlineForecast(Part):
    """Whether the data is out by the deadline, and what would make it so."""

    deadline: AwareDatetime
    """The moment at which the old home ends."""
    available_seconds: float
    """From the go to the deadline."""
    standing: Standing
    """Whether it is met."""
    chance: float | None
    """Share of the draws in which it is met, from 0 to 1."""
    slack_p50_seconds: float | None
    """What is left at the median; negative where it is missed."""
    slack_p90_seconds: float | None
    """What is left in nine of ten cases; negative where it is missed."""
    go_by: AwareDatetime | None
    """The last moment to begin with nine chances in ten."""
    even_by: AwareDatetime | None
    """The last moment to begin with an even chance."""
    give_up_at: AwareDatetime | None
    """From here on everything is out in less than one case in ten: choose what stays."""
    binding: str
    """What holds the export up most."""
    line: float | None
    """The line that was reckoned with, bytes a second."""
    line_p50: float | None
    """The line with which it is met in half of all cases; 0 where the line does not matter, empty where no line is wide
    enough."""
    line_p90: float | None
    """The line with which it is met in nine of ten cases; 0 where the line does not matter, empty where no line is wide
    enough."""
    export_hosts: int
    """Export hosts that were reckoned with."""
    export_hosts_p50: int | None
    """Export hosts with which it is met in half of all cases; empty where no number is enough."""
    export_hosts_p90: int | None
    """Export hosts with which it is met in nine of ten cases; empty where no number is enough."""
    together_p50: Together | None
    """Where neither a line nor hosts alone are enough: with both at once it is met in half of all cases; empty where
    that is not enough either, or where one of the two is."""
    together_p90: Together | None
    """The same for nine of ten cases."""
    orders: tuple[OrderOutcome, ...]
    """Orders of the export, where it is missed."""
    left_behind: tuple[LeftBehind, ...]
    """What stays under the present order, where it is missed."""


class CostLine(Part):
    """One line of the bill of the old provider."""

    what: str
    """What is paid for."""
    usd: float | None
    """US dollars, list price; empty where it cannot be told."""
    formula: str
    """How it was reckoned."""
    source: str
    """Where the price comes from."""
    ground: Ground
    """What the amount rests on."""


class ArchivedForecast(Part):
    """Objects that must be restored at the old provider before they can be read, and what a tier of that takes."""

    bucket: str
    """The bucket."""
    storage_class: str
    """Their storage class."""
    objects: int
    """Number of objects."""
    bytes: int
    """Their bytes."""
    tier: str
    """A tier in which they can be restored."""
    hours: float
    """Hours until they can be read, at the latest."""
    asked_for: bool
    """Whether this plan has them restored in this tier, waits and fetches them (`restore_archived` of the manifest);
    otherwise it leaves them there."""
    ask_by: AwareDatetime | None
    """The last moment to ask for them, with the time to fetch them by this line; empty without a deadline."""


class Stays(Part):
    """What of a bucket nobody asked for, and what would bring it along."""

    bucket: str
    """The bucket."""
    what: str
    """Archived objects and their class, or versions that are not current."""
    objects: int | None
    """Number of objects; empty where it is not known."""
    bytes: int | None
    """Their bytes; empty where they are not known."""
    how: str
    """The line of the manifest that would bring them along."""
    breaks: bool
    """Whether the export stays incomplete without them, and the run stops there."""


class RoomLine(Part):
    """What the hosts of a group need of something, against what they have."""

    where: str
    """Groups that these hosts serve, with a plus between them; `export` for the machine that fetches."""
    hosts: int
    """Hosts that serve just these groups."""
    short_hosts: int
    """How many of them are known to have too little."""
    resource: str
    """disk, files, memory, cores or ports."""
    needed: float
    """Bytes or number, on each host, with headroom."""
    there: float | None
    """Bytes or number on the host that has least; empty where nobody said."""
    verdict: Verdict
    """`fail` where one host or more is short, `unknown` where of one or more nobody said what is there."""
    formula: str
    """How the need was reckoned."""
    source: str
    """What says how much is there."""
    ground: Ground | None
    """What the amount that is there rests on."""
    worst_host: str
    """The host that has least; empty where all are known to have the same."""


class PointOfNoReturn(Part):
    """The moment after which the old home cannot take the users back."""

    step: str
    """The step behind which it lies; empty where no step of this plan is irreversible."""
    what: str
    """What makes it so."""
    before: str
    """What rollback means before it."""
    after: str
    """What rollback means after it."""


class Prediction(Part):
    """What Ansible's check mode says of a host. A prediction: tasks that follow from others are not seen by it."""

    host: str
    """The host."""
    changes: int | None
    """Tasks that would change something; empty where the host could not be asked."""
    tasks: tuple[str, ...]
    """Their names."""
    problem: str
    """Why it could not be told."""


class LaneOutcome(Part):
    """When every service would run with so many steps at once, at the median of each step."""

    lanes: int
    """Steps at once, beside those that need the old home."""
    up_seconds: float
    """Until every service runs."""


class Simulation(Part):
    """The plan carried out in thought in a worse world: drawn times, hosts that fail, hours in which the source gives
    less; seconds after the go."""

    runs: int
    """Runs that were simulated."""
    seed: int
    """The same seed gives the same runs."""
    failures: float
    """Failures in a run, on average."""
    throttled_hours: float
    """Share of hours in which the source gave less."""
    out_p10_seconds: float
    """Data out: one in ten before."""
    out_p50_seconds: float
    """Data out: the median."""
    out_p90_seconds: float
    """Data out: nine in ten before."""
    up_p10_seconds: float
    """Every service runs: one in ten before."""
    up_p50_seconds: float
    """Every service runs: the median."""
    up_p90_seconds: float
    """Every service runs: nine in ten before."""
    proved_p10_seconds: float
    """Everything proved: one in ten before."""
    proved_p50_seconds: float
    """Everything proved: the median."""
    proved_p90_seconds: float
    """Everything proved: nine in ten before."""


class Forecast(Part):
    """Everything that a plan says beside its steps."""

    made_at: AwareDatetime
    """When it was made."""
    go_at: AwareDatetime
    """The moment from which it counts."""
    method: str
    """How the distributions were made."""
    export_hosts: int
    """Export hosts that were reckoned with. `run` drives one; more are worked by hand."""
    lanes: int
    """Steps that run at once, beside those that need the old home."""
    oldest_fact: AwareDatetime | None
    """When the oldest of the facts about the old home that it rests on was observed; empty where none says when."""
    finishes: tuple[Finish, ...]
    """out, up and proved; those that can be told."""
    more_lanes: tuple[LaneOutcome, ...]
    """What more steps at once would change; empty where they change little, or where it cannot be told."""
    simulation: Simulation | None = None
    """Of `--simulate`."""
    untold: tuple[str, ...]
    """Steps whose time cannot be told, and that something of the above rests on."""
    deadline: DeadlineForecast | None
    """Empty where no deadline was given."""
    steps: tuple[StepForecast, ...]
    """In the plan's order."""
    cost: tuple[CostLine, ...]
    """The bill of the old provider."""
    archived: tuple[ArchivedForecast, ...]
    """Objects that must be asked for, by tier."""
    stays: tuple[Stays, ...]
    """What this plan leaves at the old home even if everything goes well."""
    bill_usd: float | None
    """Egress and requests together; archived objects apart, as a tier is to be chosen. Empty where no size is known."""
    room: tuple[RoomLine, ...]
    """What the hosts need against what they have."""
    point_of_no_return: PointOfNoReturn
    """Where the way back ends."""
    predictions: tuple[Prediction, ...] = ()
    """Of `--predict`."""

    @property
    def holds(self) -> list[str]:
        """Why this plan must not be carried out as it is; empty where nothing speaks against it."""
        reasons = []
        if self.deadline and self.deadline.standing in (Standing.MISSED, Standing.UNKNOWN):
            reasons.append(f"the deadline: {self.deadline.standing}")
        reasons += [f"{row.bucket}: {row.what} would not be fetched" for row in self.stays if row.breaks]
        reasons += [f"{line.where}: {_short(line)}" for line in self.room if line.verdict is Verdict.FAIL]
        return reasons


def _short(line: RoomLine) -> str:
    what = "ports that are taken or wanted twice" if line.resource == "ports" else f"too little {line.resource}"
    return f"{what} on {line.short_hosts} of {line.hosts} hosts" if line.hosts > 1 else what
