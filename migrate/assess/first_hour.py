"""What must be done in the first hour: everything whose clock runs from the moment that somebody asks for it."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from migrate.assess.findings import Deed
from migrate.assess.knowledge.rule import ASSUMED, AWS
from migrate.assess.observed import Resource

READ = "read from the account"
"""Source of a clock that is a setting of the account itself."""
NOTICE_HOURS = 30.0
"""The shortest notice on record: from 9 to 10 January 2021, 23:59 PST (stuff.co.za, 2021-02-16)."""
INVENTORY_HOURS = 48.0
"""Until the first report of S3 Inventory, at worst."""
REGISTRAR_HOURS = 168.0
"""A transfer to another registrar: five to seven days."""
RECORD_TTL_SECONDS = 300
"""A record with a longer TTL than this keeps users at the old address when the time comes."""
DUMP_HOURS = 4.0
ARCHIVE_BULK_HOURS = {"GLACIER": 12.0, "DEEP_ARCHIVE": 48.0, "INTELLIGENT_TIERING_ARCHIVE": 48.0}
"""Bulk retrieval, at worst, by storage class; of the archive tiers of intelligent tiering that of the deeper."""


@dataclass(frozen=True)
class Clock:
    """One kind of deed: which resources it is about and how long its clock is on them, in hours."""

    service: str
    what: str
    how: str
    source: str
    """Where the length of the clock comes from."""
    otherwise: str
    hours: Callable[[Resource], float | None]
    """None where there is nothing to do about this resource."""


def first_hour(resources: Sequence[Resource], notice_hours: float = NOTICE_HOURS) -> tuple[Deed, ...]:
    """Deeds, longest clock first; `too_late` says where the clock is longer than the notice, in hours."""
    deeds = (_deed(clock, resources, notice_hours) for clock in CLOCKS)
    return tuple(sorted((deed for deed in deeds if deed), key=lambda deed: -deed.clock_hours))


def _deed(clock: Clock, resources: Iterable[Resource], notice_hours: float) -> Deed | None:
    running = [(r, h) for r in resources if r.service == clock.service and (h := clock.hours(r)) is not None]
    if not running:
        return None
    places = {(r.name, r.region) for r, _ in running}
    regions = Counter(name for name, _ in places)
    found = {f"{r.name} ({r.region})" if regions[r.name] > 1 else r.name: h for r, h in running}
    longest = max(found.values())
    late = longest > notice_hours
    return Deed(
        what=clock.what,
        where=tuple(sorted(found, key=lambda name: (-found[name], name))),
        clock_hours=longest,
        too_late=late,
        otherwise=clock.otherwise if late else "",
        how=clock.how,
        source=clock.source,
    )


def _inventory(bucket: Resource) -> float | None:
    """A bucket whose configurations could not be read counts as one without."""
    if bucket.kind != "bucket" or bucket.facts.get("inventory") or bucket.facts.get("objects") == 0:
        return None
    return INVENTORY_HOURS


def _archived(bucket: Resource) -> float | None:
    sizes = bucket.facts.get("bytes_by_class")
    if not isinstance(sizes, dict):
        return None
    waits = [hours for name, hours in ARCHIVE_BULK_HOURS.items() if sizes.get(name)]
    return max(waits, default=None)


def _name_servers(zone: Resource) -> float | None:
    seconds = zone.whole("ns_ttl_seconds")
    return seconds / 3600 if not zone.facts.get("private") and seconds > RECORD_TTL_SECONDS else None


def _signed(zone: Resource) -> float | None:
    """A zone of which nobody could say whether it is signed is taken for one that is."""
    if zone.kind != "zone" or zone.facts.get("private"):
        return None
    return 24.0 if zone.facts.get("signed") or "signed" in zone.unseen else None


def _records(zone: Resource) -> float | None:
    seconds = zone.whole("longest_record_ttl_seconds")
    return seconds / 3600 if not zone.facts.get("private") and seconds > RECORD_TTL_SECONDS else None


def _where(hours: float, **facts: object) -> Callable[[Resource], float | None]:
    """The same clock for every resource of which one of the values of each fact holds; `kind` is a fact here."""

    def judged(resource: Resource) -> float | None:
        seen = {"kind": resource.kind, **resource.facts}
        return hours if all(seen.get(name) == value for name, value in facts.items()) else None

    return judged


def _database(resource: Resource) -> float | None:
    return DUMP_HOURS if resource.kind in ("instance", "cluster") else None


def _held_certificate(certificate: Resource) -> float | None:
    leaves = certificate.facts.get("type") == "imported" or certificate.facts.get("exportable")
    return None if leaves else 2.0


CLOCKS = (
    Clock(
        "route53domains", "start moving the registrations to another registrar",
        "unlock, take the authorisation code, start the transfer at the new registrar",
        f"{AWS}/Route53/latest/DeveloperGuide/domain-transfer-from-route-53.html",
        "set the name servers of the new home at this registrar at once (of a signed zone only once its DS record has"
        " left the caches); the registration can follow",
        _where(REGISTRAR_HOURS, kind="domain"),
    ),
    Clock(
        "sns", "apply for sender numbers at a second SMS vendor", "registration forms of the new vendor",
        ASSUMED,
        "switch codes to e-mail or an authenticator app while sign-in still works",
        _where(168.0, kind="sms"),
    ),
    Clock(
        "s3", "switch S3 Inventory on, daily, all versions, to a bucket of yours",
        "aws s3api put-bucket-inventory-configuration",
        f"{AWS}/AmazonS3/latest/userguide/configure-inventory.html",
        "list as well (cloudexit export does); count against CloudWatch's NumberOfObjects",
        _inventory,
    ),
    Clock(
        "s3", "ask for the archived objects now, in bulk",
        "cloudexit export s3://BUCKET DEST --restore-archived bulk, or S3 Batch Operations",
        f"{AWS}/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html",
        "ask for the standard tier instead: 12 h for DEEP_ARCHIVE and intelligent tiering, 5 h for GLACIER; dearer",
        _archived,
    ),
    Clock(
        "route53", "lower the TTL of the NS records to 300 s",
        "aws route53 change-resource-record-sets; the TTL at the parent is the registry's and stays",
        READ,
        "put a second DNS vendor's servers into the delegation now, beside the old ones, with the same records (of a"
        " signed zone only once its DS record has left the caches)",
        _name_servers,
    ),
    Clock(
        "route53", "take the DS record out at the registrar (the zone is signed with a key that stays)",
        "registrar's page; then wait for the DS record's TTL: change no name server before, or the name vanishes",
        ASSUMED,
        "do not change name servers before the DS record has left the caches: the name would vanish",
        _signed,
    ),
    Clock(
        "route53", "lower the TTL of the records that will change to 300 s",
        "aws route53 change-resource-record-sets",
        READ,
        "users with the old record come later: keep the old address answering for as long as it is let",
        _records,
    ),
    Clock(
        "kms", "decrypt what the code encrypted through KMS, and encrypt it anew with own keys",
        "aws kms decrypt, by the application's own path; S3, RDS and EBS decrypt by themselves while they are read",
        ASSUMED, "",
        _where(24.0, kind="key"),
    ),
    Clock(
        "cognito-idp", "export all users, and capture passwords at sign-in from now on",
        "aws cognito-idp list-users --user-pool-id POOL; keep a new hash of each password that Cognito has accepted",
        ASSUMED, "",
        _where(24.0, kind="user-pool"),
    ),
    Clock(
        "ses", "make a second mail sender ready: DKIM keys in DNS, an account, the suppression list",
        "publish the second DKIM record beside the first; aws sesv2 list-suppressed-destinations",
        ASSUMED, "",
        _where(24.0, kind="identity"),
    ),
    Clock(
        "ec2", "tell partners and allow-lists the new addresses", "whoever pins the old address",
        ASSUMED, "",
        _where(24.0, kind="address"),
    ),
    Clock(
        "acm", "issue the same certificates elsewhere while DNS is yours",
        "certbot or lego with a DNS challenge (those of a private authority: by one of your own); look at the CAA"
        " records first",
        ASSUMED, "",
        _held_certificate,
    ),
    Clock(
        "secretsmanager", "export the secrets", "aws secretsmanager get-secret-value, into an encrypted file elsewhere",
        ASSUMED, "",
        _where(1.0, kind="secret"),
    ),
    Clock(
        "ssm", "export the parameters", "aws ssm get-parameters-by-path --path / --recursive --with-decryption",
        ASSUMED, "",
        _where(1.0, kind="parameter"),
    ),
    Clock(
        "lambda", "download the code of the functions", "aws lambda get-function: a link that holds for ten minutes",
        ASSUMED, "",
        _where(1.0, kind="function"),
    ),
    Clock(
        "rds", "make a logical dump of each database and bring it out",
        "pg_dump --format=custom with its record: docs/how-to/own-stack.md (mysqldump, mongodump of others); snapshots"
        " cannot leave",
        ASSUMED, "",
        _database,
    ),
)  # fmt: skip
"""Every clock that is known."""
