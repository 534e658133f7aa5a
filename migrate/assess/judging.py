"""Resources in, findings out: each is judged by the first rule that fits, and held against the manifest's answers."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from migrate.assess.findings import Finding, Hold
from migrate.assess.knowledge import ASSUMED, RULES, Rule
from migrate.assess.observed import Resource
from migrate.stack import Vendor

TIGHTNESS = {Hold.CAPTIVE: 0, Hold.REPLACEABLE: 1, Hold.PORTABLE: 2}
OTHER_NAMES = {"cognito": "cognito-idp", "sesv2": "ses", "s3api": "s3"}
"""What people call a service -> what it is called here."""
UNKNOWN_WAY = (
    "nothing is known here of this kind",
    "look at it by hand",
    8.0,
    "say what stands on it, and write an answer into the manifest",
)


def service_name(name: str) -> str:
    """A service by the name that findings use."""
    return OTHER_NAMES.get(name, name)


def judge(
    resources: Iterable[Resource],
    answers: Mapping[str, str],
    vendors: Mapping[str, Vendor],
    rules: Sequence[Rule] = RULES,
) -> tuple[Finding, ...]:
    """Findings, tightest first. A kind that no rule knows is captive: it is never taken for harmless."""
    findings = [_finding(resource, _rule_of(resource, rules), answers, vendors) for resource in resources]
    return tuple(
        sorted(findings, key=lambda f: (TIGHTNESS[f.hold], f.resource.service, f.resource.region, f.resource.name))
    )


def unused_answers(findings: Iterable[Finding], answers: Iterable[str]) -> tuple[str, ...]:
    """Answers whose glob fits nothing that was found."""
    addresses = [finding.resource.address for finding in findings]
    return tuple(glob for glob in answers if not any(_fits(glob, address) for address in addresses))


def _rule_of(resource: Resource, rules: Sequence[Rule]) -> Rule:
    fitting = next((rule for rule in rules if rule.fits(resource)), None)
    if fitting:
        return fitting
    why, instead, lead_hours, first = UNKNOWN_WAY
    return Rule(resource.service, resource.kind, Hold.CAPTIVE, why, instead, lead_hours, first, ASSUMED)


def _finding(resource: Resource, rule: Rule, answers: Mapping[str, str], vendors: Mapping[str, Vendor]) -> Finding:
    return Finding(
        resource=resource,
        hold=rule.hold,
        why=rule.why,
        instead=rule.instead,
        lead_hours=rule.lead_hours,
        first=rule.first,
        source=rule.source,
        answer=_answer(resource, answers) or _arranged(resource, vendors),
    )


def _answer(resource: Resource, answers: Mapping[str, str]) -> str:
    return next((text for glob, text in answers.items() if _fits(glob, resource.address)), "")


def _arranged(resource: Resource, vendors: Mapping[str, Vendor]) -> str:
    """Who takes over from the provider of this service, by `vendors`."""
    return next((v.instead for v in vendors.values() if service_name(v.provider) == resource.service and v.instead), "")


def _fits(glob: str, address: str) -> bool:
    service, slash, name = glob.partition("/")
    return fnmatchcase(address, f"{service_name(service)}{slash}{name}" if slash else f"{service_name(service)}/*")
