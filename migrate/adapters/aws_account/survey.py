"""All readers over all regions, side by side."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.calls import Calls
from migrate.adapters.aws_account.reader import Look, Reader
from migrate.adapters.aws_account.readers import READERS
from migrate.assess.observed import GLOBAL, Blindness, Observed, Resource, Unseen

WORKERS = 16
REGIONS_ACTION = "ec2:DescribeRegions"

Progress = Callable[[int, int, str], None]
"""Called with looks that are done, looks altogether, and the one that ended."""


@dataclass
class _Seen:
    resources: list[Resource] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)


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
    asked = tuple(regions) or _regions(calls, seen)
    looks = [
        Look(reader, region, calls)
        for reader in readers
        for region in (asked if reader.regional else (GLOBAL,))
        if not reader.regional or calls.offered(_client_of(reader), region)
    ]
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="assess")
    try:
        futures = {pool.submit(_look, look): look for look in looks}
        for done, future in enumerate(as_completed(futures), start=1):
            resources, unseen = future.result()
            seen.resources += resources
            seen.unseen += unseen
            on_progress(done, len(looks), f"{futures[future].reader.service} in {futures[future].region}")
    finally:
        # Whoever interrupts it does not wait for calls that are under way.
        pool.shutdown(wait=False, cancel_futures=True)
    return Observed(
        account=identity.account,
        caller=identity.arn,
        regions=asked,
        resources=tuple(sorted(seen.resources, key=lambda r: (r.service, r.region, r.kind, r.name))),
        unseen=tuple(sorted(seen.unseen, key=lambda u: (u.region, u.service, u.action, u.about))),
        seconds=time.monotonic() - begun,
    )


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


def _look(look: Look) -> tuple[list[Resource], list[Unseen]]:
    """What one reader saw; resources read before a refusal are kept."""
    resources: list[Resource] = []
    try:
        for resource in look.reader.read(look):
            resources.append(resource)  # noqa: PERF402 - extend() would lose those before the refusal
    except NotSeen as blind:
        if not blind.never_signed_up:
            look.note(blind)
    except (KeyError, TypeError, ValueError) as odd:
        look.note(NotSeen(Blindness.NOT_UNDERSTOOD, f"an answer of another shape: {odd!r}", action=look.last_action))
    return resources, look.unseen
