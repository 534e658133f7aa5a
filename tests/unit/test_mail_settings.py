"""How fast Postfix sends, by where it sends to."""

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

MAIL = Path(__file__).parents[2] / "playbooks" / "roles" / "mail"
TOLD = {
    "ansible_managed": "", "mail_host_name": "ops1.plaza.example", "mail_domain": "plaza.example", "mail_clients": [],
    "mail_postmaster": "ada@plaza.example", "mail_port": 25,
}  # fmt: skip


def settings_with(relay: dict[str, Any]) -> dict[str, str]:
    """Postfix's main.cf by name; the last line of a name is the one that counts."""
    surroundings = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # as Ansible's
    template = surroundings.from_string((MAIL / "templates" / "main.cf.j2").read_text())
    defaults = yaml.safe_load((MAIL / "defaults" / "main.yml").read_text())
    lines = template.render(**defaults, **TOLD, mail_relay=relay).splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(" =") for line in lines if " =" in line)}


@pytest.mark.parametrize("port", [587, 465])
def test_a_relay_is_not_sent_to_as_slowly_as_a_stranger_s_server(port: int) -> None:
    straight = settings_with({})
    assert (straight["relayhost"], straight["smtp_destination_rate_delay"]) == ("", "1s")
    relayed = settings_with({"host": "smtp.relay.example", "port": port})
    assert relayed["relayhost"] == f"[smtp.relay.example]:{port}"
    assert relayed.get("smtp_destination_rate_delay", "0s") == "0s"
