"""Route 53 zones and registrations, ACM certificates, CloudFront."""

from collections.abc import Iterator
from typing import Any

from migrate.adapters.aws_account.answers import NotSeen
from migrate.adapters.aws_account.reader import Look, Reader, Sheet
from migrate.assess.observed import Blindness, Fact, Resource

MOST_PAGES = 100
"""Pages of 300 records that are read of one zone."""
RECORD_FACTS = ("ns_ttl_seconds", "longest_record_ttl_seconds", "aliases")
KEY_TYPES = ("RSA_1024", "RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1")
"""Without a list of them ACM tells of RSA keys up to 2048 bits only, and keeps the others back."""
TYPES = {"IMPORTED": "imported", "AMAZON_ISSUED": "public", "PRIVATE": "private"}


def _route53(look: Look) -> Iterator[Resource]:
    for found in look.pages("route53.list_hosted_zones", "HostedZones", token="NextMarker", asked="Marker"):
        private = bool(found.get("Config", {}).get("PrivateZone"))
        name = found["Name"].rstrip(".")
        sheet = look.sheet("zone", name, private=private, records=found.get("ResourceRecordSetCount", 0))
        _records(look, sheet, found["Id"], found["Name"])
        if not private:
            answer = sheet.ask("signed", "route53.get_dnssec", HostedZoneId=found["Id"].rpartition("/")[2])
            if answer:
                sheet.facts["signed"] = answer["Status"].get("ServeSignature") == "SIGNING"
        yield sheet.resource()


def _records(look: Look, sheet: Sheet, zone: str, apex: str) -> None:
    """TTLs in seconds, and how many records are aliases, which no other vendor understands."""
    following: dict[str, Any] = {}
    longest = aliases = 0
    for _ in range(MOST_PAGES):
        try:
            page = look.ask("route53.list_resource_record_sets", HostedZoneId=zone, **following)
        except NotSeen as blind:
            _unread(sheet, blind)
            return
        for record in page["ResourceRecordSets"]:
            aliases += "AliasTarget" in record
            if record["Name"] == apex and record["Type"] == "NS":
                sheet.facts["ns_ttl_seconds"] = record.get("TTL", 0)
            elif record["Type"] not in ("SOA", "NS"):
                longest = max(longest, record.get("TTL", 0))
        if not page.get("IsTruncated"):
            break
        following = {"StartRecordName": page["NextRecordName"], "StartRecordType": page["NextRecordType"]}
        if "NextRecordIdentifier" in page:
            following["StartRecordIdentifier"] = page["NextRecordIdentifier"]
    else:
        said = f"more than {MOST_PAGES:,} pages of records; the others were not read"
        _unread(sheet, NotSeen(Blindness.NOT_UNDERSTOOD, said, action=look.last_action))
        return
    sheet.facts |= {"longest_record_ttl_seconds": longest, "aliases": aliases}


def _unread(sheet: Sheet, blind: NotSeen) -> None:
    sheet.unseen += [fact for fact in RECORD_FACTS if fact not in sheet.facts]
    sheet.look.note(blind, sheet.name)


ROUTE53 = Reader(
    "route53",
    {
        "route53.list_hosted_zones": "route53:ListHostedZones",
        "route53.list_resource_record_sets": "route53:ListResourceRecordSets",
        "route53.get_dnssec": "route53:GetDNSSEC",
    },
    _route53,
    regional=False,
)


def _domains(look: Look) -> Iterator[Resource]:
    pages = look.pages("route53domains.list_domains", "Domains", token="NextPageMarker", asked="Marker")
    for found in pages:
        expires: Fact = found["Expiry"].date().isoformat() if "Expiry" in found else None
        yield look.sheet(
            "domain", found["DomainName"], locked=bool(found.get("TransferLock")), expires=expires,
            renews=bool(found.get("AutoRenew")),
        ).resource()  # fmt: skip


DOMAINS = Reader(
    "route53domains", {"route53domains.list_domains": "route53domains:ListDomains"}, _domains, regional=False
)


def _acm(look: Look) -> Iterator[Resource]:
    wanted = {"keyTypes": list(KEY_TYPES)}
    for found in look.pages("acm.list_certificates", "CertificateSummaryList", Includes=wanted):
        arn = found["CertificateArn"]
        sheet = look.sheet("certificate", found.get("DomainName", arn), id=arn.rpartition("/")[2])
        if answer := sheet.ask("type exportable users expires", "acm.describe_certificate", CertificateArn=arn):
            certificate = answer["Certificate"]
            sheet.facts |= {
                "type": TYPES.get(certificate.get("Type", ""), certificate.get("Type", "")),
                "exportable": certificate.get("Options", {}).get("Export") == "ENABLED",
                "users": len(certificate.get("InUseBy", ())),
                "expires": certificate["NotAfter"].date().isoformat() if "NotAfter" in certificate else None,
            }
        yield sheet.resource()


ACM = Reader(
    "acm",
    {"acm.list_certificates": "acm:ListCertificates", "acm.describe_certificate": "acm:DescribeCertificate"},
    _acm,
)


def _cloudfront(look: Look) -> Iterator[Resource]:
    pages = look.pages(
        "cloudfront.list_distributions", "DistributionList.Items", token="DistributionList.NextMarker", asked="Marker"
    )
    for found in pages:
        yield look.sheet(
            "distribution", found["Id"], address=found.get("DomainName"),
            names=tuple(found.get("Aliases", {}).get("Items", ())),
            origins=tuple(origin["DomainName"] for origin in found.get("Origins", {}).get("Items", ())),
        ).resource()  # fmt: skip


CLOUDFRONT = Reader(
    "cloudfront", {"cloudfront.list_distributions": "cloudfront:ListDistributions"}, _cloudfront, regional=False
)
