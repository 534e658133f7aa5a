"""Whether the data is out by the deadline: when to go, when to give up, and what would make it."""

from datetime import datetime

from migrate.forecast.basis import Basis
from migrate.forecast.chain import Chain
from migrate.forecast.draws import Spread
from migrate.forecast.leaving import Exports, left_behind, orders
from migrate.forecast.moments import before
from migrate.forecast.remedies import Remedies, remedies
from migrate.forecast.result import DeadlineForecast, Standing, Together
from migrate.plan import Plan

SAFE = 0.9
EVEN = 0.5
FORLORN = 0.1
UNTOLD = Remedies(None, None, None)


def deadline_forecast(
    plan: Plan, chain: Chain, basis: Basis, out: Spread | None, go_at: datetime, deadline: datetime
) -> DeadlineForecast:
    """`out`: when the data is out; None where that cannot be told."""
    available = (deadline - go_at).total_seconds()
    standing = _standing(out, available)
    even = remedies(chain, basis, available, EVEN) if out else UNTOLD
    safe = remedies(chain, basis, available, SAFE) if out else UNTOLD
    exports = Exports.of(plan, basis, out.at(EVEN), available) if out and standing is Standing.MISSED else None
    return DeadlineForecast(
        deadline=deadline,
        available_seconds=available,
        standing=standing,
        chance=out.share_within(available) if out else None,
        slack_p50_seconds=available - out.at(EVEN) if out else None,
        slack_p90_seconds=available - out.at(SAFE) if out else None,
        go_by=before(deadline, out.at(SAFE)) if out else None,
        even_by=before(deadline, out.at(EVEN)) if out else None,
        give_up_at=before(deadline, out.at(FORLORN)) if out else None,
        binding=chain.binding,
        line=basis.line.value,
        line_p50=even.line,
        line_p90=safe.line,
        export_hosts=basis.export.hosts,
        export_hosts_p50=even.hosts,
        export_hosts_p90=safe.hosts,
        together_p50=_together(even),
        together_p90=_together(safe),
        orders=orders(exports) if exports else (),
        left_behind=left_behind(exports) if exports else (),
    )


def _together(found: Remedies) -> Together | None:
    return Together(export_hosts=found.both[0], line=found.both[1]) if found.both else None


def _standing(out: Spread | None, available: float) -> Standing:
    if out is None:
        return Standing.UNKNOWN
    if out.at(SAFE) <= available:
        return Standing.MET
    return Standing.TIGHT if out.at(EVEN) <= available else Standing.MISSED
