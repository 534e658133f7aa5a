"""What the zone must hold, from manifest, inventory and key alone; and what the mail host is told."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from migrate.documents import read_yaml
from migrate.errors import DocumentProblems, UsageProblem
from migrate.inventory import Host, Inventory
from migrate.manifest import read_stack
from migrate.secret import Secret, Secrets
from migrate.stack import Stack
from migrate.target.hostview import HostView
from migrate.target.parts import mail
from migrate.target.records import Records, mail_records
from tests.ownsecrets import OWN_SECRETS_OF_TESTS

PLAZA = Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml"
RELAY = {"host": "smtp.relay.example", "user": "plaza", "password": "session_key"}
SECRETS = Secrets({**OWN_SECRETS_OF_TESTS, "session_key": Secret("value-of-session_key")})
POST = {"post1": "192.0.2.51", "post_2": "2001:db8::2"}


def stack_of(**changes: Any) -> Stack:
    document = read_stack(PLAZA).model_dump(mode="json")
    document["services"]["mail"]["mail"].update(changes)
    return Stack.model_validate(document)


def inventory_of(**addresses: str) -> Inventory:
    hosts = {name: Host(name, address, ("mail",)) for name, address in addresses.items()}
    return Inventory(Path("hosts.yml"), {**hosts, "app": Host("app", "10.0.0.2", ("app", "worker"))})


def records(inventory: Inventory | None = None, **changes: Any) -> Records:
    return mail_records(stack_of(**changes), inventory or inventory_of(**POST), SECRETS)


def values(found: Records) -> dict[tuple[str, str], str]:
    return {(record.name, record.type): record.value for record in found.zone}


def test_spf_names_every_mail_host_and_each_name_leads_to_its_host_and_back() -> None:
    found = records()
    texts = values(found)
    assert texts["plaza.example", "TXT"] == "v=spf1 ip4:192.0.2.51 ip6:2001:db8::2 ~all"
    assert texts["post1.plaza.example", "A"] == "192.0.2.51"
    assert texts["post-2.plaza.example", "AAAA"] == "2001:db8::2"
    assert texts["post1.plaza.example", "TXT"] == "v=spf1 ip4:192.0.2.51 -all"
    assert next((record.name, record.value) for record in found.reverse) == (
        "51.2.0.192.in-addr.arpa",
        "post1.plaza.example.",
    )


def test_the_published_key_is_the_public_half_of_the_signing_key_in_strings_that_a_zone_takes() -> None:
    found = records(selector="home2")
    [record] = [record for record in found.zone if record.name == "home2._domainkey.plaza.example"]
    tags = dict(tag.split("=", 1) for tag in record.value.split("; "))
    key = load_pem_private_key(SECRETS["cloudexit_dkim"].reveal().encode(), None).public_key()
    assert base64.b64decode(tags.pop("p")) == key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert tags == {"v": "DKIM1", "k": "rsa"}
    assert "".join(record.strings) == record.value and len(record.strings) == 2
    assert max(map(len, record.strings)) <= 255
    assert record.line == f'{record.name}. IN TXT ( "{record.strings[0]}" "{record.strings[1]}" )'
    shown = json.dumps(found.as_document())
    secret_lines = SECRETS["cloudexit_dkim"].reveal().splitlines()[1:-1]
    assert not any(line in shown for line in secret_lines)


def test_dmarc_begins_with_reports_to_the_postmaster() -> None:
    assert values(records())["_dmarc.plaza.example", "TXT"] == "v=DMARC1; p=none; rua=mailto:ada@plaza.example"


def test_with_a_relay_the_zone_names_what_the_relay_asks_for_and_no_host_of_ours() -> None:
    found = records(relay={**RELAY, "spf": "include:spf.relay.example"})
    assert values(found)["plaza.example", "TXT"] == "v=spf1 include:spf.relay.example ~all"
    assert found.reverse == () and not any(record.type in ("A", "AAAA") for record in found.zone)
    assert any("is missing" in advice for advice in records(relay=RELAY).advice)


def test_an_address_that_the_world_does_not_see_is_said() -> None:
    found = records(inventory_of(post1="10.0.0.5"))
    assert any(advice.startswith("10.0.0.5 (post1) is no address of the open internet") for advice in found.advice)
    assert not any("9.9.9.9" in advice for advice in records(inventory_of(post1="9.9.9.9")).advice)


def test_without_mail_in_the_manifest_there_is_nothing_to_print() -> None:
    stack = stack_of()
    without = {name: service for name, service in stack.services.items() if name != "mail"}
    with pytest.raises(UsageProblem, match="no service of kind mail"):
        mail_records(stack.model_copy(update={"services": without}), inventory_of(**POST), SECRETS)


def test_the_mail_host_takes_mail_from_the_hosts_of_the_app_and_itself_alone() -> None:
    inventory = inventory_of(**POST)
    told = mail.variables(HostView(stack_of(), inventory, inventory.hosts["post1"], SECRETS))
    assert told is not None and told["clients"] == ["10.0.0.2/32", "192.0.2.51/32"]
    assert (told["name"], told["relay"]) == ("post1.plaza.example", {})
    assert mail.variables(HostView(stack_of(), inventory, inventory.hosts["app"], SECRETS)) is None


def test_the_account_at_a_relay_travels_as_a_secret() -> None:
    inventory = inventory_of(**POST)
    view = HostView(stack_of(relay=RELAY), inventory, inventory.hosts["post1"], SECRETS)
    assert mail.secrets(view)["relay_login"] == "plaza:value-of-session_key"
    assert "value-of-session_key" not in json.dumps(mail.variables(view))
    assert "libsasl2-modules" in mail.packages(view)


@pytest.mark.parametrize("name", ["post.1", "-post", "p" * 64])
def test_a_host_whose_name_cannot_stand_in_a_domain_is_refused(name: str) -> None:
    inventory = Inventory(Path("hosts.yml"), {name: Host(name, "192.0.2.1", ("mail",))})
    with pytest.raises(UsageProblem, match="no name for a mail server"):
        mail_records(stack_of(), inventory, SECRETS)


@pytest.mark.parametrize(
    ("before", "after", "field", "words"),
    [
        ("domain: plaza.example", "domain: plaza", "services.mail.mail.domain", ""),
        ("postmaster: ada@plaza.example", "postmaster: ada", "services.mail.mail.postmaster", ""),
        ("smtp: {queue_at_most: 1000}", "unit: active, smtp: {}", "services.mail.checks.0", "exactly one"),
        ("open_to: [app, worker]\n    # What", "open_to: [anyone]\n    # What", "services.mail", "not to anyone"),
        ("    mail: {domain", "    # mail: {domain", "services.mail", "needs `port` and `mail`"),
        ("postmaster: ada@plaza.example}", "postmaster: ada@plaza.example, relay: {host: a.example, user: u, "
         "password: nothing}}", "services.mail.mail.relay.password", "no secret"),
        ("smtp: {queue_at_most: 1000}", "logs: {}", "services.mail", "for services of kind logs"),
    ],
)  # fmt: skip
def test_what_could_not_be_carried_out_is_named_by_its_field(
    tmp_path: Path, before: str, after: str, field: str, words: str
) -> None:
    text = PLAZA.read_text()
    assert text.count(before) == 1, before
    path = tmp_path / "stack.yaml"
    path.write_text(text.replace(before, after))
    assert read_yaml(path)
    with pytest.raises((DocumentProblems, UsageProblem)) as problem:
        read_stack(path)
    assert field in str(problem.value) and words in str(problem.value)
