"""The edge before the world: certificates by a real ACME authority, HTTP/2, limits, a closed door, a host that dies.

The tests of this module share the fleet, follow each other, and put its edges back to plain HTTP at their end.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event

import pytest

from migrate.adapters.http import HttpxClient
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.check import CheckResult
from migrate.edge import Limits, StrictLimit, Tls
from migrate.errors import Unreachable
from migrate.inventory import Host
from migrate.lab import HostSpec
from migrate.ports import Expected
from migrate.secret import Secret
from migrate.servicechecks import CertificateCheck, ServiceCheck
from migrate.target.authority import Authority, new_authority
from migrate.target.certificates import CERTIFICATE_UNIT
from migrate.target.checks import ServiceChecks
from migrate.target.ownsecrets import AUTHORITY
from migrate.target.provision import MARKER
from tests.homes import Home
from tests.lab.conftest import Fleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
CA = "ca"
NAME = "plaza.test"
LIFE = 75
"""Seconds that a certificate lives; the last third begins after 50."""
SILENCE = 3.0
"""Seconds for which a host of the app may be silent."""
PEBBLE = {
    "listenAddress": "0.0.0.0:14000", "managementListenAddress": "0.0.0.0:15000", "certificate": "/etc/pebble.crt",
    "privateKey": "/etc/pebble.key", "httpPort": 80, "tlsPort": 443, "certificateValidityPeriod": LIFE,
}  # fmt: skip
START = (
    "systemd-run --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=1"
    " pebble -config /etc/pebble.json"
)
PACKAGES = "apt-get -qq update && apt-get -qq install --no-install-recommends pebble curl >/dev/null"
ROOT = "curl -sS --fail --retry 20 --retry-connrefused --retry-delay 1 --cacert /etc/directory.crt https://{ca}:15000/roots/0"


@dataclass(frozen=True)
class Site:
    """The fleet with TLS at its edges, and a host outside that is authority and client."""

    fleet: Fleet
    home: Home
    ca: Host
    authorities: str
    """The authority's root, and who vouches for its own server."""

    @property
    def edges(self) -> list[Host]:
        return self.home.inventory.group("edge")

    @property
    def apps(self) -> list[Host]:
        return self.home.inventory.group("app")

    @property
    def expected(self) -> Expected:
        """Issued, or not yet."""
        return Expected(NAME, self.authorities + Authority(self.home.secrets[AUTHORITY]).certificate)

    def outside(self, script: str) -> str:
        """What a shell on the host outside prints; the site's name leads to the first edge there."""
        return said(self.home, self.ca, script)

    def serial(self, edge: Host) -> str:
        """Serial number of what an edge shows."""
        ask = f"openssl s_client -connect {edge.address}:443 -servername {NAME} </dev/null 2>/dev/null"
        return self.outside(f"{ask} | openssl x509 -noout -serial")

    def checked(self) -> list[CheckResult]:
        stack, inventory, secrets, hosts = self.home.stack, self.home.inventory, self.home.secrets, self.home.hosts
        checks = ServiceChecks(stack, inventory, secrets, hosts, HttpxClient(), PsycopgClient(), RedisClient())
        return checks.of_service("edge", patient=False)

    def issue(self) -> None:
        """By the role's own unit, on all edges at once."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda edge: self.home.says(edge.name, f"systemctl start {CERTIFICATE_UNIT}"), self.edges))


@dataclass
class Load:
    """What became of requests made one after the other, by several clients, each over a connection of its own."""

    answers: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0


@contextmanager
def under_load(site: Site, clients: int = 3) -> Iterator[Load]:
    load, over = Load(), Event()

    def ask(edge: Host) -> None:
        client = HttpxClient()
        while not over.is_set():
            began = time.monotonic()
            try:
                reply = client.get(f"https://{edge.address}/", timeout=20, expected=site.expected)
                load.answers.append(reply.status)
            except Unreachable as fault:
                load.faults.append(str(fault))
            load.slowest = max(load.slowest, time.monotonic() - began)
            over.wait(0.05)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(ask, site.edges[number % len(site.edges)]) for number in range(clients)]
        try:
            yield load
        finally:
            over.set()
        for one in running:
            one.result()


def said(home: Home, host: Host, script: str) -> str:
    done = home.hosts.run(host, ["bash", "-c", script], timeout=120)
    assert done, done
    return done.stdout.strip()


def authority_outside(fleet: Fleet) -> tuple[Host, str]:
    """A host outside the home that runs pebble; its own certificate, and the root of what it issues."""
    fleet.lab.up([HostSpec(CA, ())])
    home, lab = fleet.home, fleet.lab
    address = lab.get(CA).address
    ca = Host(CA, str(address), (), private_key=lab.private_key, known_hosts=lab.known_hosts)
    identity = Authority(Secret(new_authority())).identity(ca)
    leads = home.inventory.group("edge")[0].address
    files = {
        "/etc/directory.crt": identity.authority, "/etc/pebble.crt": identity.certificate,
        "/etc/pebble.key": identity.key.reveal(), "/etc/pebble.json": json.dumps({"pebble": PEBBLE}),
    }  # fmt: skip
    for path, text in files.items():
        assert home.hosts.run(ca, ["sh", "-c", f"umask 077; cat >{path}"], stdin=text.encode())
    said(home, ca, f"echo {leads} {NAME} >>/etc/hosts; {PACKAGES}")
    said(home, ca, START)
    root = said(home, ca, f"{ROOT.format(ca=address)} | tee /etc/issued.crt")
    not_yet = Authority(home.secrets[AUTHORITY]).certificate
    assert home.hosts.run(ca, ["sh", "-c", "cat /etc/issued.crt - >/etc/site.crt"], stdin=not_yet.encode())
    return ca, f"{identity.authority}{root}\n"


def with_tls(home: Home, directory: str, authorities: str) -> Home:
    edge = home.stack.services["edge"]
    told = {
        "tls": Tls(names=(NAME,), contact="ops@plaza.test", directory=directory, authority=authorities, hsts=300),
        "limits": Limits(answer_within=SILENCE, strict=StrictLimit(paths=("/login",), a_minute=10, burst=2)),
        "checks": (*edge.checks[:1], ServiceCheck(name="certificate", certificate=CertificateCheck(days_left=0))),
    }
    services = {**home.stack.services, "edge": edge.model_copy(update=told)}
    return replace(home, stack=home.stack.model_copy(update={"services": services}))


@pytest.fixture(scope="module")
def site(fleet: Fleet) -> Iterator[Site]:
    marker = fleet.home.says(fleet.home.inventory.group("edge")[0].name, f"cat {MARKER}")
    try:
        yield made_safe(fleet, marker)
    finally:
        made_plain_again(fleet, marker)


def made_safe(fleet: Fleet, marker: str) -> Site:
    ca, authorities = authority_outside(fleet)
    home = with_tls(fleet.home, f"https://{ca.address}:14000/dir", authorities)
    made = Site(fleet, home, ca, authorities)
    assert home.play(limit=[edge.name for edge in made.edges], cloudexit_marker=marker)
    units = {"app": "plaza-web", "media": "nginx-media", "edge": "nginx-edge"}
    for host in home.inventory.hosts.values():
        wanted = [unit for group, unit in units.items() if group in host.groups]
        home.says(host.name, f"systemctl start {' '.join(wanted)}" if wanted else "true")
    for app in made.apps:
        home.says(app.name, "until ss -Hltn | grep -q ':8000 '; do sleep 0.1; done")
    return made


def made_plain_again(fleet: Fleet, marker: str) -> None:
    names = [edge.name for edge in fleet.home.inventory.group("edge")]
    fleet.lab.remove(CA)
    for name in names:
        fleet.home.says(name, "systemctl disable -q --now edge-certificate.timer; rm -f /etc/nginx/edge-site.pem")
    assert fleet.home.play(limit=names, cloudexit_marker=marker)


def test_before_the_first_certificate_the_site_answers_and_the_check_says_that_there_is_none(site: Site) -> None:
    results = site.checked()
    front_page, certificate = ([r for r in results if r.name.endswith(n)] for n in ("front-page", "certificate"))
    assert all(front_page) and len(front_page) == len(site.edges), front_page
    assert len(certificate) == len(site.edges) and not any(certificate)
    assert all(f"none for {NAME} has been issued yet" in r.detail for r in certificate), certificate
    assert not any(r.holds for r in certificate)


def test_each_edge_gets_its_certificate_though_the_authority_asks_the_first_only(site: Site) -> None:
    site.issue()
    assert all(site.checked()), site.checked()
    serials = {site.serial(edge) for edge in site.edges}
    assert len(serials) == len(site.edges)
    site.issue()
    assert {site.serial(edge) for edge in site.edges} == serials, "renewed before the last third"


def test_keys_are_for_those_who_need_them(site: Site) -> None:
    for edge in site.edges:
        listed = "find /var/lib/edge-acme /etc/nginx/edge-site.pem -type f -printf '%m %u %g %p\n'"
        found = site.home.says(edge.name, listed)
        served = [line for line in found.splitlines() if line.endswith("edge-site.pem")]
        assert served == ["640 root www-data /etc/nginx/edge-site.pem"]
        others = set(found.splitlines()) - set(served)
        assert any(line.endswith("account_key.pem") for line in others)
        assert {line.split(" ")[0] for line in others} == {"600"}
        assert site.home.says(edge.name, "stat -c %a /var/lib/edge-acme") == "700"


def test_browsers_are_led_to_https_and_get_http_2(site: Site) -> None:
    curl = "curl -sS --cacert /etc/issued.crt -o /dev/null -w '%{http_version} %{http_code} %{redirect_url}'"
    assert site.outside(f"{curl} --http2 https://{NAME}/").split() == ["2", "200"]
    assert site.outside(f"{curl} 'http://{NAME}/a?b=c'").startswith(f"1.1 308 https://{NAME}/a?b=c")
    assert site.outside(f"{curl} -H 'Host: other.test' http://{NAME}/").startswith(f"1.1 308 https://{NAME}/")
    headers = site.outside(f"curl -sSI --cacert /etc/issued.crt https://{NAME}/").lower()
    assert "strict-transport-security: max-age=300" in headers and "x-content-type-options: nosniff" in headers
    assert "server: nginx\r" in headers
    old = f"openssl s_client -tls1_1 -cipher ALL:@SECLEVEL=0 -connect {site.edges[0].address}:443 </dev/null 2>&1"
    assert "alert protocol version" in site.outside(f"{old} || true")


def test_who_asks_too_much_is_told_to_wait_and_others_are_served(site: Site) -> None:
    flood = f"curl -s --parallel --parallel-max 50 --cacert /etc/site.crt -o /dev/null 'https://{NAME}/?[1-900]'"
    with under_load(site, clients=1) as load:
        codes = site.outside(f"{flood} -w '%{{http_code}}\\n' | sort | uniq -c")
    found = {int(code): int(count) for count, code in (line.split() for line in codes.splitlines())}
    assert set(found) == {200, 429} and found[200] >= 200, found
    assert not load.faults and set(load.answers) == {200}, load
    signs_in = f"curl -s --cacert /etc/site.crt -o /dev/null -w '%{{http_code}} ' 'https://{NAME}/login?[1-8]'"
    time.sleep(2)
    assert "429" not in site.outside(signs_in)
    assert site.outside(f"{signs_in} -d name=ada").split()[3:] == ["429"] * 5


def test_a_closed_door_says_so_in_the_form_that_was_asked_for(site: Site) -> None:
    [first, *_] = site.edges
    page = f"curl -s -i --cacert /etc/site.crt https://{NAME}/"
    site.home.says(first.name, "touch /etc/cloudexit/maintenance")
    try:
        for_people, for_programs = site.outside(page), site.outside(f"{page} -H 'Accept: application/json'")
        media = site.outside(f"{page}media/x")
    finally:
        site.home.says(first.name, "rm /etc/cloudexit/maintenance")
    for answer in (for_people, for_programs, media):
        assert answer.startswith("HTTP/2 503") and "retry-after: 120" in answer and "no-store" in answer, answer
    assert "<h1>Closed for maintenance</h1>" in for_people and "text/html" in for_people
    assert json.loads(for_programs.splitlines()[-1])["error"] == "Closed for maintenance"
    assert "application/json" in for_programs
    assert site.outside(page).startswith("HTTP/2 200")


def test_without_any_host_behind_it_the_edge_still_answers_in_its_own_words(site: Site) -> None:
    page = f"curl -s -i --cacert /etc/site.crt https://{NAME}/"
    for app in site.apps:
        site.home.says(app.name, "systemctl stop plaza-web")
    try:
        answer = site.outside(page)
    finally:
        for app in site.apps:
            site.home.says(app.name, "systemctl start plaza-web; until ss -Hltn | grep -q ':8000 '; do sleep 0.1; done")
    assert answer.startswith("HTTP/2 503") and "Not available right now" in answer and "retry-after: 10" in answer
    assert site.outside(page).startswith("HTTP/2 200"), "hosts that had failed are not asked again"


def test_renewal_replaces_the_certificate_while_requests_go_on(site: Site) -> None:
    before = {edge.name: site.serial(edge) for edge in site.edges}
    first = site.edges[0]
    pid = site.home.says(first.name, "systemctl show -P MainPID nginx-edge")
    with under_load(site) as load, ThreadPoolExecutor() as pool:
        list(pool.map(lambda edge: renewed_in_its_last_third(site, edge), site.edges))
        time.sleep(1)
    assert not load.faults and set(load.answers) == {200}, load
    assert all(site.serial(edge) != before[edge.name] for edge in site.edges)
    assert site.home.says(first.name, "systemctl show -P MainPID nginx-edge") == pid, "it was restarted, not reloaded"


def renewed_in_its_last_third(site: Site, edge: Host) -> None:
    ends = HttpxClient().certificate(edge.address, 443, site.expected, timeout=5).until
    assert ends is not None
    time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds() - LIFE / 3 + 1))
    site.home.says(edge.name, f"systemctl start {CERTIFICATE_UNIT}")


def test_an_app_host_that_dies_or_falls_silent_loses_no_get(site: Site) -> None:
    killed, silent = site.apps[:2]
    with under_load(site) as load:
        time.sleep(1)
        site.home.says(killed.name, "systemctl kill -s KILL plaza-web")
        site.home.says(killed.name, "until systemctl is-active -q plaza-web; do sleep 0.1; done; sleep 1")
        site.fleet.lab.cut_off(silent.name)
        try:
            time.sleep(3 * SILENCE)
            during = len(load.answers)
        finally:
            site.fleet.lab.up([HostSpec(silent.name, silent.groups)])
    assert not load.faults and set(load.answers) == {200}, load
    assert during > 20 and load.slowest < SILENCE + 5, load.slowest
    print(f"{len(load.answers)} requests while one host died and one fell silent, the slowest {load.slowest:.1f} s")
