"""What happens when a vendor says no: to users, and to the services, checks and journeys of the manifest."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from migrate.assess.findings import Stop
from migrate.assess.judging import service_name
from migrate.assess.observed import Resource
from migrate.errors import UsageProblem
from migrate.stack import Service, ServiceKind, Stack, Vendor

ADDRESS = re.compile(r"\{([a-z][a-z0-9_-]*)\}")


@dataclass(frozen=True)
class Duty:
    """What a kind of vendor does for us, and how its no is felt. `lead_hours` are assumed, until another serves."""

    effect: str
    after: str
    lead_hours: float
    first: str


DUTIES: Mapping[str, Duty] = {
    "email": Duty(
        "no confirmation, no password reset, no notice reaches anyone",
        "at once", 24, "a second sender with own DKIM keys, and the suppression list, before the first one is gone",
    ),
    "sms": Duty(
        "codes for sign-in by telephone do not arrive: those members are locked out",
        "at once", 168, "offer an authenticator app while they can still sign in; apply at a second vendor",
    ),
    "dns": Duty(
        "the name stops resolving: site, API and mail are gone at once for everyone whose cache runs out",
        "within the records' TTL", 48, "the same zone at a second vendor, in the delegation, before anything else",
    ),
    "registrar": Duty(
        "name servers cannot be changed; on a hold the name leaves the registry's zone",
        "within the TTL at the registry", 168, "another registrar, or a second name under another registry",
    ),
    "payments": Duty(
        "no charge and no refund; subscriptions lapse",
        "at the next charge", 336, "export customers and mandates; ask the processor for its transfer to another",
    ),
    "push": Duty(
        "no notice reaches the telephones",
        "at once", 24, "keys of APNs and FCM in own hands; the device tokens in the own database",
    ),
    "app-store": Duty(
        "no installation and no update; installed apps go on until the API changes under them",
        "at once for new members", 168, "let the web carry it: a site that installs on the telephone, a compatible API",
    ),
    "cdn": Duty(
        "media and pages come from the origin alone, which must bear it; names that end in the CDN's are dead",
        "within the records' TTL", 8, "a cache on the own edge hosts; names of your own for all content",
    ),
    "identity": Duty(
        "nobody can sign in anew; sessions go on until their tokens run out",
        "within the tokens' lifetime", 48, "export users; own sign-in with a new password by mail, while mail works",
    ),
    "certificates": Duty(
        "what ends TLS there ends; a certificate that is not renewed runs out",
        "with the load balancer", 2, "the same names by ACME, while DNS is yours",
    ),
    "other": Duty("what the manifest says needs it", "at once", 24, "ask who else can do it"),
}  # fmt: skip
PROVIDES: Mapping[str, str] = {
    "ses": "email",
    "sns": "sms",
    "route53": "dns",
    "route53domains": "registrar",
    "cloudfront": "cdn",
    "cognito-idp": "identity",
    "acm": "certificates",
}
"""Services of the account that are vendors as well -> what for."""


def stops(stack: Stack | None, resources: Sequence[Resource], without: Sequence[str]) -> tuple[Stop, ...]:
    """What stops with each vendor, those of `without` first. Raises UsageProblem for a name that nobody has."""
    declared = dict(stack.vendors) if stack else {}
    known = {service_name(vendor.provider) for vendor in declared.values()}
    wanted = {_canonical(name, declared) for name in without}
    found = [_declared(name, vendor, stack, resources, wanted) for name, vendor in declared.items() if stack]
    for service, duty in PROVIDES.items():
        held = _held(service, resources)
        if service not in known and (held or service in wanted):
            found.append(_undeclared(service, duty, held, asked=service in wanted))
    return tuple(sorted(found, key=lambda stop: not stop.asked))


def require_vendors(stack: Stack | None, without: Sequence[str]) -> None:
    """Raises UsageProblem for a name of `without` that neither the manifest nor we know."""
    for name in without:
        _canonical(name, stack.vendors if stack else {})


def _canonical(name: str, declared: Mapping[str, Vendor]) -> str:
    """The vendor's name, or the service that `name` means."""
    if name in declared:
        return name
    service = service_name(name.lower())
    if service in PROVIDES or any(service_name(vendor.provider) == service for vendor in declared.values()):
        return service
    raise UsageProblem(
        f"no vendor is called {name!r}",
        where="--without",
        expected=", ".join(sorted({*declared, *(v.provider for v in declared.values()), *PROVIDES})),
        hint="write it into the manifest, under `vendors`",
    )


def _declared(name: str, vendor: Vendor, stack: Stack, resources: Sequence[Resource], wanted: Iterable[str]) -> Stop:
    duty = DUTIES[vendor.does]
    stopped = _with_those_that_wait(stack, vendor.services)
    return Stop(
        vendor=name,
        does=vendor.does,
        provider=vendor.provider,
        effect=duty.effect,
        after=duty.after,
        services=stopped,
        checks=tuple(f"{service}: {check.name}" for service in stopped for check in stack.services[service].checks),
        journeys=_ended_journeys(stack, vendor, stopped),
        held=_held(service_name(vendor.provider), resources),
        instead=vendor.instead,
        lead_hours=duty.lead_hours,
        first=duty.first,
        declared=True,
        asked=name in wanted or service_name(vendor.provider) in wanted,
    )


def _undeclared(service: str, does: str, held: int, *, asked: bool) -> Stop:
    duty = DUTIES[does]
    return Stop(
        vendor=service, does=does, provider=service, effect=duty.effect, after=duty.after, services=(), checks=(),
        journeys=(), held=held, instead="", lead_hours=duty.lead_hours, first=duty.first, declared=False, asked=asked,
    )  # fmt: skip


def _held(service: str, resources: Sequence[Resource]) -> int:
    return sum(resource.service == service for resource in resources)


def _with_those_that_wait(stack: Stack, needing: Sequence[str]) -> tuple[str, ...]:
    """Services that need the vendor, and all that stand on them, in the order of their start."""
    stopped, before = set(needing), -1
    while len(stopped) != before:
        before = len(stopped)
        groups = {stack.services[name].group for name in stopped}
        for name, service in stack.services.items():
            upstream = {service.upstream} if service.upstream else set()
            if stopped & {*service.after, *upstream} or groups & _spoken_to(service):
                stopped.add(name)
    return tuple(name for name in stack.services_in_order() if name in stopped)


def _spoken_to(service: Service) -> set[str]:
    """Groups whose address stands in a service's environment or command: `{cache}`."""
    return {group for text in (*service.environment.values(), service.command or "") for group in ADDRESS.findall(text)}


def _ended_journeys(stack: Stack, vendor: Vendor, stopped: Sequence[str]) -> tuple[str, ...]:
    """Those that name the vendor; and all of them where the service stops that every user comes through."""
    if any(stack.services[name].kind is ServiceKind.EDGE for name in stopped):
        return tuple(stack.journeys)
    return tuple(name for name in stack.journeys if name in vendor.journeys)
