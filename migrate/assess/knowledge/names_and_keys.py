"""Names, certificates, keys and secrets."""

from migrate.assess.findings import Hold
from migrate.assess.knowledge.rule import AWS, Rule

NAMES_AND_KEYS = (
    Rule(
        "route53", "zone", Hold.REPLACEABLE, when={"signed": True},
        why="records leave as text; the signing key does not, and a stale DS record makes the whole name vanish",
        instead="own name servers (Knot, NSD) and a second DNS vendor; sign anew after the move",
        lead_hours=48, first="take the DS record out at the registrar and wait for its TTL before the servers change",
        source=f"{AWS}/Route53/latest/DeveloperGuide/dns-configuring-dnssec-disable.html",
    ),
    Rule(
        "route53", "zone", Hold.REPLACEABLE,
        why="records leave as text, except aliases and routing policies, which are the provider's own",
        instead="own name servers (Knot, NSD) and a second DNS vendor",
        lead_hours=48, first="export the zone, lower its TTLs, and load it at a second vendor today",
        source=f"{AWS}/Route53/latest/DeveloperGuide/migrate-dns-domain-in-use.html",
    ),
    Rule(
        "route53domains", "domain", Hold.REPLACEABLE,
        why="a registration moves to another registrar, in days; for 60 days after a change it may be locked",
        instead="a registrar that is not the provider of anything else",
        lead_hours=168, first="unlock, ask for the authorisation code, start the transfer; change name servers before",
        source=f"{AWS}/Route53/latest/DeveloperGuide/domain-transfer-from-route-53.html",
    ),
    Rule(
        "acm", "certificate", Hold.PORTABLE, when={"type": "imported"},
        why="it came from outside: whoever imported it has the private key",
        instead="the same certificate on the edge hosts",
        lead_hours=1, first="find the private key; ACM does not give it back",
        source=f"{AWS}/acm/latest/userguide/import-certificate.html",
    ),
    Rule(
        "acm", "certificate", Hold.PORTABLE, when={"exportable": True},
        why="certificates that were asked for as exportable (since 17 June 2025) leave with their private key",
        instead="the same certificate on the edge hosts",
        lead_hours=1, first="aws acm export-certificate; it renews no more once the account ends",
        source=f"{AWS}/acm/latest/userguide/acm-exportable-certificates.html",
    ),
    Rule(
        "acm", "certificate", Hold.CAPTIVE, when={"type": "private"},
        why="the private authority that signed it stays, and with it the trust of every client that knows only it",
        instead="an authority of your own (step-ca, openssl); every client must be given its root",
        lead_hours=24, first="list the clients that trust the private authority",
        source=f"{AWS}/privateca/latest/userguide/PcaWelcome.html",
    ),
    Rule(
        "acm", "certificate", Hold.CAPTIVE,
        why="the private key never leaves the provider",
        instead="certificates of another authority (ACME), issued while DNS is still yours",
        lead_hours=2, first="issue the same names by ACME with a DNS challenge now; look at CAA records first",
        source=f"{AWS}/acm/latest/userguide/acm-exportable-certificates.html",
    ),
    Rule(
        "kms", "key", Hold.CAPTIVE, when={"origin": "imported"},
        why="its material came from outside, but what KMS encrypted with it opens only in KMS all the same",
        instead="decrypt through KMS while it answers, and encrypt anew with own keys",
        lead_hours=8, first="list what was encrypted with it by the code itself, and decrypt that first",
        source=f"{AWS}/kms/latest/developerguide/importing-keys.html",
    ),
    Rule(
        "kms", "key", Hold.CAPTIVE,
        why="the key never leaves unencrypted: whatever only it opens is lost with the account",
        instead="decrypt through KMS while it answers, and encrypt anew with own keys (age, Vault Transit, OpenBao)",
        lead_hours=24, first="list what the code encrypted with it (columns, backups, tokens); decrypt that first",
        source=f"{AWS}/kms/latest/developerguide/concepts.html",
    ),
    Rule(
        "secretsmanager", "secret", Hold.PORTABLE,
        why="the value can be read out for as long as we are let in",
        instead="secrets of stack.yaml, from the environment or generated; or Vault/OpenBao",
        lead_hours=1, first="export it into an encrypted file that does not lie in this account",
        source=f"{AWS}/secretsmanager/latest/userguide/retrieving-secrets.html",
    ),
    Rule(
        "ssm", "parameter", Hold.PORTABLE,
        why="the value can be read out for as long as we are let in",
        instead="environment of the services in stack.yaml",
        lead_hours=1, first="aws ssm get-parameters-by-path --recursive --with-decryption, into an encrypted file",
        source=f"{AWS}/systems-manager/latest/APIReference/API_GetParametersByPath.html",
    ),
)  # fmt: skip
"""DNS, registrations, certificates, keys, secrets."""
