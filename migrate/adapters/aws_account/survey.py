"""All readers over all regions, side by side."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.calls import Calls
from migrate.adapters.aws_account.reader import ODD, Look, Reader, another_shape
from migrate.adapters.aws_account.readers import READERS
from migrate.assess.observed import GLOBAL, Blindness, Observed, Resource, Unseen

WORKERS = 16
REGIONS_ACTION = "ec2:DescribeRegions"
EVERY_ACCOUNT_HAS = frozenset({"ec2", "iam", "kms", "s3", "sqs"})
"""Services that an account in good standing is always signed up for. One that is suspended is told otherwise: then no
service that calls itself unused is believed."""
SUSPENDED = "the account is not signed up for {}, as every account is: it may be suspended; "
LAST_ANSWERS_SECONDS = 60.0
"""After the time for the whole look: what is still under way then trickles, and is given up."""

Progress = Callable[[int, int, str], None]
"""Called with looks that are done, looks altogether, and the one that ended."""


@dataclass
class _Seen:
    resources: list[Resource] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)
    not_signed_up: list[Unseen] = field(default_factory=list)

    def believed(self) -> tuple[Unseen, ...]:
        """What was not seen, with the services that the account is said not to use where that cannot be true."""
        odd = sorted({unseen.service for unseen in self.not_signed_up} & EVERY_ACCOUNT_HAS)
        doubted = self.not_signed_up if odd else []
        words = SUSPENDED.format(", ".join(odd))
        doubted = [unseen.model_copy(update={"said": words + unseen.said}) for unseen in doubted]
        return tuple(sorted((*self.unseen, *doubted), key=lambda u: (u.region, u.service, u.action, u.about)))


def survey(
    calls: Calls,
    regions: Sequence[str] = (),
    *,
    readers: Sequence[Reader] = READERS,
    on_progress: Progress = lambda done, of, what: None,
) -> Observed:
    """Everything that the credentials let see. Raises Refused or Unreachable where not even the identity is told."""
    begun = time.monotonic()
    identity = calls.identity()
    seen = _Seen()
    asked = tuple(dict.fromkeys(regions)) or _regions(calls, seen)
    looks = [
        Look(reader, region, calls)
        for reader in readers
        for region in (asked if reader.regional else (GLOBAL,))
        if not reader.regional or calls.offered(_client_of(reader), region)
    ]
    _side_by_side(looks, calls.seconds_left + LAST_ANSWERS_SECONDS, seen, on_progress)
    return Observed(
        account=identity.account,
        caller=identity.arn,
        regions=asked,
        resources=tuple(sorted(seen.resources, key=lambda r: (r.service, r.region, r.kind, r.name))),
        unseen=seen.believed(),
        seconds=time.monotonic() - begun,
    )


def _side_by_side(looks: Sequence[Look], seconds: float, seen: _Seen, on_progress: Progress) -> None:
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="assess")
    waiting: dict[Future[list[Resource]], Look] = {}
    try:
        waiting = {pool.submit(_look, look): look for look in looks}
        for done, future in enumerate(as_completed(list(waiting), timeout=seconds), start=1):
            look = waiting.pop(future)
            _keep(seen, look, future.result())
            on_progress(done, len(looks), f"{look.reader.service} in {look.region}")
    except TimeoutError:
        for look in waiting.values():
            look.note(NotSeen(Blindness.NO_ANSWER, "still under way when time was over", action=look.last_action))
            _keep(seen, look, [])
    finally:
        # Whoever interrupts it does not wait for calls that are under way.
        pool.shutdown(wait=False, cancel_futures=True)


def _keep(seen: _Seen, look: Look, resources: Sequence[Resource]) -> None:
    seen.resources += resources
    seen.unseen += look.unseen
    seen.not_signed_up += look.not_signed_up


def _regions(calls: Calls, seen: _Seen) -> tuple[str, ...]:
    """The regions switched on; where that is not told, all that the library knows, and the question stays open."""
    try:
        return calls.regions()
    except NotSeen as blind:
        seen.unseen.append(
            Unseen(service="ec2", region=GLOBAL, action=REGIONS_ACTION, reason=blind.reason, said=blind.said)
        )
        return calls.usual_regions()


def _client_of(reader: Reader) -> str:
    return next(iter(reader.actions)).partition(".")[0]


def _look(look: Look) -> list[Resource]:
    """What one reader saw; resources read before a refusal are kept."""
    resources: list[Resource] = []
    try:
        for resource in look.reader.read(look):
            resources.append(resource)  # noqa: PERF402 - extend() would lose those before the refusal
    except NotSeen as blind:
        look.note(blind)
    except ODD as odd:
        look.note(another_shape(odd, look.last_action))
    return resources
