"""The nouns of an assessment: findings, deeds, leaks, stops, and the verdict. The report is made of nothing else."""

from enum import StrEnum

from migrate.assess.observed import Noun, Resource, Unseen
from migrate.errors import ExitCode


class Hold(StrEnum):
    """How tightly the provider holds something."""

    PORTABLE = "portable"
    REPLACEABLE = "replaceable"
    CAPTIVE = "captive"


class Finding(Noun):
    """One resource, judged."""

    resource: Resource
    """What it is about."""
    hold: Hold
    """`portable`: leaves as it is. `replaceable`: something on the new hosts takes over. `captive`: cannot leave."""
    why: str
    """Why it is of this class."""
    instead: str
    """What replaces it on the new hosts, or what to do instead where it cannot leave."""
    lead_hours: float
    """Working time until the replacement stands, in hours: assumed, for one engineer who has done it before."""
    first: str
    """What to do first."""
    source: str
    """Where the fact comes from; `assumed` is a default of ours."""
    answer: str = ""
    """What the manifest says about it, word for word; empty where it says nothing."""

    @property
    def unanswered(self) -> bool:
        return self.hold is Hold.CAPTIVE and not self.answer


class Deed(Noun):
    """Something to do in the first hour, because its clock runs whether or not anyone looks at it."""

    what: str
    """What to do."""
    where: tuple[str, ...]
    """On which resources."""
    clock_hours: float
    """How long it takes from the moment it is asked for until it is of use, in hours."""
    too_late: bool
    """Whether the clock is longer than the notice: do it all the same, and do `otherwise` too."""
    otherwise: str
    """What to do where the clock is longer than the notice; empty where nothing more can be done."""
    how: str
    """The command or the place."""
    source: str
    """Where the length of the clock comes from: a page of the provider, `read from the account`, or `assumed`: ours."""


class LeakKind(StrEnum):
    """What would leak, or be wrong, on the other side."""

    PUBLIC_BUCKET = "public bucket"
    LISTABLE_BUCKET = "listable bucket"
    POSITION = "position in an image"
    SOFT_DELETED = "deleted rows that are still there"
    MEDIA_OF_DELETED = "media of deleted rows"
    PROVIDER_HOST = "hard-coded provider host"


class Leak(Noun):
    """Something that a migration would carry over or publish, and should not."""

    kind: LeakKind
    """What it is."""
    where: str
    """Bucket, file, or table and column."""
    found: int
    """How many."""
    looked_at: int | None = None
    """Out of how many that were looked at; none where everything was."""
    detail: str
    """What was seen: names, never contents."""
    first: str
    """What to do about it."""


class Stop(Noun):
    """What happens when a vendor says no."""

    vendor: str
    """Name in the manifest, or the service of the account."""
    does: str
    """What the vendor is for."""
    provider: str
    """Who it is."""
    effect: str
    """What users notice."""
    after: str
    """When they notice."""
    services: tuple[str, ...]
    """Services of the manifest that stop: those that need it, and those that wait for them."""
    checks: tuple[str, ...]
    """Checks that fail, `service: check`."""
    journeys: tuple[str, ...]
    """Users' ways that end."""
    held: int
    """Resources of this vendor in the account."""
    instead: str
    """Who takes over, by the manifest; empty where nobody is arranged."""
    lead_hours: float
    """Time until another vendor serves, in hours: assumed."""
    first: str
    """What to do first."""
    declared: bool
    """Whether the manifest knows this vendor; of others it cannot be told what stops."""
    asked: bool
    """Whether `--without` named it."""


class Fault(Noun):
    """Something that the manifest says and the account does not bear out."""

    where: str
    """File, line and field."""
    what: str
    """What is wrong."""
    expected: str
    """What would be right."""


class Conclusion(StrEnum):
    """The verdict."""

    FREE = "free to leave"
    HELD = "held"
    UNKNOWN = "not known"
    WRONG_MANIFEST = "the manifest is wrong"

    @property
    def exit_code(self) -> ExitCode:
        return {
            Conclusion.FREE: ExitCode.DONE,
            Conclusion.HELD: ExitCode.GATE,
            Conclusion.UNKNOWN: ExitCode.UNREACHABLE,
            Conclusion.WRONG_MANIFEST: ExitCode.USAGE,
        }[self]


class Totals(Noun):
    """Counts of the whole report."""

    resources: int
    """Resources seen."""
    portable: int
    """Findings that are portable."""
    replaceable: int
    """Findings that are replaceable."""
    captive: int
    """Findings that are captive."""
    unanswered: int
    """Captive findings to which the manifest has no answer."""
    unseen: int
    """Questions that got no answer."""
    buckets: int
    """Buckets seen."""
    buckets_of_unknown_size: int = 0
    """Of these, buckets whose size was not told; they are not in `objects` and `bytes`."""
    objects: int
    """Objects in them, by their metrics; versions and unfinished uploads count too."""
    bytes: int
    """Bytes in them, by their metrics."""


class Assessment(Noun):
    """The whole report: what `cloudexit assess --json` prints."""

    format: int = 1
    """Version of this document; a change of meaning changes it."""
    at: str
    """When the account was looked at, ISO 8601, UTC."""
    account: str
    """Account number."""
    caller: str
    """Identity that looked."""
    regions: tuple[str, ...]
    """Regions that were asked."""
    silent_regions: tuple[str, ...]
    """Regions of which at least one service did not answer."""
    seconds: float
    """How long the look took."""
    notice_hours: float
    """Length of the notice that clocks are held against, in hours."""
    stack: str
    """The manifest that answers were taken from; empty where there was none."""
    verdict: Conclusion
    """`free to leave`: everything was seen and everything captive has an answer. `held`: something captive has none.
    `not known`: something could not be looked at. `the manifest is wrong`: it names what does not exist."""
    exit_code: int
    """Exit code of the command, see docs/reference/exit-codes.md."""
    because: tuple[str, ...]
    """The reasons for the verdict."""
    totals: Totals
    """Counts."""
    first_hour: tuple[Deed, ...]
    """What to do in the first hour, longest clock first."""
    findings: tuple[Finding, ...]
    """Every resource, tightest hold first."""
    leaks: tuple[Leak, ...]
    """What would leak, or be wrong, on the other side."""
    not_looked_for: tuple[str, ...]
    """Leaks that were not looked for, and the option that looks."""
    vendors: tuple[Stop, ...]
    """Each vendor's no, and what stops."""
    unused_answers: tuple[str, ...]
    """Answers of the manifest that fit nothing in the account."""
    faults: tuple[Fault, ...]
    """What the manifest says and the account does not bear out."""
    unseen: tuple[Unseen, ...]
    """What could not be seen. Not the same as `there is none`."""
