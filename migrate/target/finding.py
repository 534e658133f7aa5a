"""What one look at a service found."""

from collections.abc import Iterable
from dataclasses import dataclass

from migrate.check import Verdict


@dataclass(frozen=True)
class Finding:
    """What one attempt found."""

    verdict: Verdict
    detail: str


def worst(findings: Iterable[Finding]) -> Finding:
    """The verdict of several questions at once: that of the first that failed, else of the first that is unknown, else
    all passed."""
    found = list(findings)
    for verdict in (Verdict.FAIL, Verdict.UNKNOWN):
        for finding in found:
            if finding.verdict is verdict:
                return finding
    return Finding(Verdict.PASS, "; ".join(finding.detail for finding in found))
