"""Who is let in: by the manifest's text and the inventory, whatever they are, and by the ruleset that follows."""

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.inventory import Host, Inventory
from migrate.manifest import read_stack
from migrate.secret import Secret, Secrets
from migrate.stack import Service, Stack
from migrate.target.firewall import ANYONE, Opening, merged
from migrate.target.hostview import HostView
from migrate.target.variables import firewall_rules
from tests.ownsecrets import OWN_SECRETS_OF_TESTS

ROOT = Path(__file__).parents[2]
PLAZA = read_stack(ROOT / "examples" / "plaza" / "stack.yaml")
NAMES = ("database_password", "cache_password", "media_password", "session_key", "old_home_s3_key")
SECRETS = Secrets({**OWN_SECRETS_OF_TESTS, **{name: Secret(f"value-of-{name}") for name in NAMES}})
PORT, WRITE_PORT, TLS_PORT = 9200, 9201, 9443
GROUPS = ("app", "worker", "watch", "far")


def stack_with(open_to: list[str], writers: list[str]) -> Stack:
    """A process, a media server and an edge with TLS, each open to these."""
    web, media, edge = (PLAZA.services[name].model_dump(exclude_unset=True) for name in ("web", "media", "edge"))
    named = {
        "web": {**web, "port": PORT, "open_to": open_to, "group": "web-hosts"},
        "media": {**media, "write_port": WRITE_PORT, "writers": writers, "group": "media-hosts"},
        "edge": {**edge, "open_to": open_to, "group": "edge-hosts", "tls": {"port": TLS_PORT}},
    }
    services = {name: Service.model_validate(told) for name, told in named.items()}
    return PLAZA.model_copy(update={"services": services})


def ruleset(rules: list[dict[str, Any]]) -> str:
    folder = ROOT / "playbooks" / "roles" / "firewall" / "templates"
    loader = jinja2.FileSystemLoader(folder)
    surroundings = jinja2.Environment(loader=loader, trim_blocks=True, undefined=jinja2.StrictUndefined)  # as Ansible's
    surroundings.tests["search"] = lambda text, wanted: re.search(wanted, text) is not None
    template = surroundings.get_template("nftables.conf.j2")
    return template.render(ansible_managed="", firewall_ssh_port=22, firewall_rules=rules)


def let_in(text: str, port: int) -> set[str]:
    """Who reaches a port by a ruleset."""
    found: set[str] = set()
    for line in text.splitlines():
        if matched := re.fullmatch(rf"\s*(?:ip6? saddr \{{ (.+) \}} )?tcp dport {port} accept", line):
            found |= set(matched[1].split(", ")) if matched[1] else {ANYONE}
    return found


members = st.lists(st.sampled_from(GROUPS), max_size=3, unique=True)
audiences = st.lists(st.sampled_from((*GROUPS, ANYONE)), max_size=3, unique=True)


@settings(max_examples=150)
@given(hosts=st.lists(members, max_size=4), open_to=audiences, writers=audiences)
def test_a_port_is_open_to_the_hosts_of_its_groups_and_to_the_world_only_where_that_is_said(
    hosts: list[list[str]], open_to: list[str], writers: list[str]
) -> None:
    known = {f"h{i}": Host(f"h{i}", f"10.0.0.{i + 1}", tuple(groups)) for i, groups in enumerate(hosts)}
    home = Host("home", "10.0.1.1", ("web-hosts", "media-hosts", "edge-hosts"))
    inventory = Inventory(Path("hosts.yml"), {**known, "home": home})
    text = ruleset(firewall_rules(HostView(stack_with(open_to, writers), inventory, home, SECRETS)))
    for port, audience in ((PORT, open_to), (TLS_PORT, open_to), (WRITE_PORT, writers)):
        expected = {host.address for host in known.values() if set(audience) & set(host.groups)}
        assert let_in(text, port) == ({ANYONE} if ANYONE in audience else expected), port


@pytest.mark.parametrize("sources", [(), ("10.0.0.1",), ("fd00::1", "10.0.0.1"), (ANYONE,)])
def test_an_opening_to_nobody_opens_nothing_and_takes_nothing_from_another(sources: tuple[str, ...]) -> None:
    both = merged([Opening(1, ()), Opening(1, sources), Opening(2, ())])
    assert [(one.port, set(one.sources)) for one in both] == ([(1, set(sources))] if sources else [])
    assert let_in(ruleset([{"port": 1, "sources": list(sources)}]), 1) == set(sources)


def test_what_an_address_lives_by_is_let_in_from_the_host_s_own_network_alone() -> None:
    """A DHCPv6 server's answer comes from another address than was asked: no connection that is known. DHCPv4's clients
    read below the firewall while they have no address, and renew over a connection that is known."""
    lines = [line.strip() for line in ruleset([]).splitlines()]
    assert "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept" in lines
    [icmpv6] = [line for line in lines if line.startswith("icmpv6 type")]
    wanted = {"packet-too-big", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert", "mld-listener-query"}
    assert wanted <= set(icmpv6.replace(",", "").split())
