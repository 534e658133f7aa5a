"""The edge in the manifest: what its role is told, what is opened, how its certificate is judged."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from migrate.check import CheckResult, Severity, Verdict
from migrate.cli.edges import exit_code
from migrate.errors import ExitCode, OutsideProblem, Unreachable, UsageProblem
from migrate.inventory import Host, Inventory
from migrate.manifest import read_stack
from migrate.ports import Completed, Expected, HttpReply, Shown
from migrate.secret import Secret, Secrets
from migrate.stack import Stack
from migrate.target.authority import Authority
from migrate.target.certificates import CERTIFICATE_UNIT
from migrate.target.checks import ServiceChecks
from migrate.target.edges import CLOSED, Edges
from migrate.target.ownsecrets import AUTHORITY
from migrate.target.variables import provision_variables
from tests.ownsecrets import OWN_SECRETS_OF_TESTS

PLAZA = yaml.safe_load((Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml").read_text())
GIVEN = ("database_password", "cache_password", "media_password", "session_key", "old_home_s3_key")
SECRETS = Secrets({**OWN_SECRETS_OF_TESTS, **{name: Secret(f"value-of-{name}") for name in GIVEN}})
TLS: dict[str, Any] = {"names": ["plaza.test", "www.plaza.test"], "contact": "ops@plaza.test"}
CERTIFICATE = {"name": "certificate", "certificate": {"days_left": 20}}
FRONT_PAGE = {"name": "front-page", "http": {"path": "/"}}
HOSTS = {
    "data": Host("data", "10.0.0.1", ("database", "cache", "media", "mail")),
    "app": Host("app", "10.0.0.2", ("app", "worker")),
    "one": Host("one", "10.0.0.3", ("edge",)), "two": Host("two", "10.0.0.4", ("edge",)),
}  # fmt: skip
INVENTORY = Inventory(Path("hosts.yml"), HOSTS)


def stack_of(tmp_path: Path, site: str = "http://{edge}/", **changes: Any) -> Stack:
    """plaza's manifest with changes of its edge."""
    edge = {**PLAZA["services"]["edge"], **changes}
    path = tmp_path / "stack.yaml"
    path.write_text(yaml.safe_dump({**PLAZA, "site": site, "services": {**PLAZA["services"], "edge": edge}}))
    return read_stack(path)


def told(stack: Stack, host: str = "one") -> dict[str, Any]:
    return dict(provision_variables(stack, INVENTORY, SECRETS).variables["cloudexit_hosts"][host])


def test_without_tls_the_edge_is_what_it_was(tmp_path: Path) -> None:
    one = told(stack_of(tmp_path))
    assert one["edge"]["tls"] == {} and "dehydrated" not in one["packages"]
    assert [rule["port"] for rule in one["firewall"]["rules"]] == [80]


def test_with_tls_its_port_is_open_to_the_same_and_each_edge_knows_the_others(tmp_path: Path) -> None:
    one = told(stack_of(tmp_path, tls=TLS))
    assert {"port": 443, "sources": ["anyone"]} in one["firewall"]["rules"] and "dehydrated" in one["packages"]
    assert one["edge"]["tls"]["others"] == ["10.0.0.4:80"]
    inner = told(stack_of(tmp_path, tls=TLS, open_to=["app"]))["firewall"]["rules"]
    assert inner == [
        {"port": 80, "sources": ["10.0.0.2", "10.0.0.3", "10.0.0.4"]}, {"port": 443, "sources": ["10.0.0.2"]},
    ]  # fmt: skip


def test_the_name_is_the_sites_where_no_other_is_given(tmp_path: Path) -> None:
    assert told(stack_of(tmp_path, "https://plaza.test/", tls={}))["edge"]["tls"]["names"] == ["plaza.test"]
    for site in ("http://{edge}/", "https://192.0.2.1/", "https://localhost/"):
        with pytest.raises(UsageProblem, match="no name for a certificate"):
            stack_of(tmp_path, site, tls={})


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"tls": {**TLS, "port": 80}}, "another port than its `port`"),
        ({"tls": {**TLS, "port": 22}}, "port 22"),
        ({"tls": {**TLS, "names": ["plaza.test;rm"]}}, "names.0"),
        ({"tls": {**TLS, "directory": "http://ca.test/"}}, "directory"),
        ({"tls": {**TLS, "contact": "$(id)@x"}}, "contact"),
        ({"tls": {**TLS, "authority": "none"}}, "authority"),
        ({"limits": {"strict": {"paths": ["/a b"]}}}, "paths"),
        ({"checks": [CERTIFICATE]}, "needs `tls`"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        stack_of(tmp_path, **changes)
    assert what in str(caught.value)


def test_the_placeholder_is_for_the_sites_names_by_the_homes_authority_and_is_secret(tmp_path: Path) -> None:
    stack = stack_of(tmp_path, tls=TLS)
    given = provision_variables(stack, INVENTORY, SECRETS)
    pem = given.secrets["hosts"].reveal()
    assert "PRIVATE KEY" in pem and "PRIVATE KEY" not in str(given.variables)
    identity = Authority(SECRETS[AUTHORITY]).of_site("one", TLS["names"])
    certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == TLS["names"]
    authority = x509.load_pem_x509_certificate(identity.authority.encode())
    certificate.verify_directly_issued_by(authority)
    assert identity.certificate != Authority(SECRETS[AUTHORITY]).of_site("two", ["plaza.test"]).certificate


@dataclass
class World:
    """What edges show, to who trusts the home's own authority and to who does not."""

    shown: Shown | OutsideProblem
    placeholder: Shown = field(default_factory=lambda: Shown(None, "unknown authority"))
    asked: list[tuple[str, Expected | None]] = field(default_factory=list)

    def get(self, url: str, *, timeout: float, expected: Expected | None = None) -> HttpReply:
        self.asked.append((url, expected))
        return HttpReply(200, {}, b"fine")

    def certificate(self, address: str, port: int, expected: Expected, *, timeout: float) -> Shown:
        if isinstance(self.shown, OutsideProblem):
            raise self.shown
        return self.placeholder if "BEGIN CERTIFICATE" in expected.authorities else self.shown


def judged(tmp_path: Path, world: World, check: dict[str, Any]) -> CheckResult:
    stack = stack_of(tmp_path, tls=TLS, checks=[check])
    nobody: Any = None
    checks = ServiceChecks(stack, INVENTORY, SECRETS, nobody, world, nobody, nobody)
    first, _ = checks.of_service("edge", patient=False)
    return first


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


@pytest.mark.parametrize(
    ("world", "verdict", "detail"),
    [
        (World(Shown(in_days(60))), Verdict.PASS, "60.0 days"),
        (World(Shown(in_days(19))), Verdict.FAIL, "fewer than 20"),
        (World(Shown(None, "unknown"), Shown(in_days(900))), Verdict.FAIL, "none for plaza.test has been issued yet"),
        (World(Shown(None, "certificate has expired")), Verdict.FAIL, "that holds: certificate has expired"),
        (World(Unreachable("refused")), Verdict.UNKNOWN, "refused"),
    ],
)
def test_a_certificate_is_judged_and_only_warns(tmp_path: Path, world: World, verdict: Verdict, detail: str) -> None:
    result = judged(tmp_path, world, CERTIFICATE)
    assert result.verdict is verdict and detail in result.detail
    assert result.severity is Severity.WARNING and not result.holds


def test_pages_of_a_safe_edge_are_asked_by_the_sites_name_at_its_own_address(tmp_path: Path) -> None:
    world = World(Shown(None))
    assert judged(tmp_path, world, FRONT_PAGE)
    url, expected = world.asked[0]
    assert url == "https://10.0.0.3:443/" and expected is not None and expected.name == "plaza.test"
    assert Authority(SECRETS[AUTHORITY]).certificate in expected.authorities


@dataclass
class Shells:
    """ports.Hosts of which only commands are used."""

    away: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    ran: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def run(self, host: Host, command: Any, *, timeout: float = 60.0, **_: Any) -> Completed:
        if host.name in self.away:
            raise Unreachable("no route")
        self.ran.append((host.name, tuple(command)))
        refused = host.name in self.refuses
        return Completed(host.name, "", int(refused), "", "touch: no such folder" if refused else "")


def certified(stack: Stack, shells: Any, shown: Shown, placeholder: Shown | None = None) -> list[CheckResult]:
    nobody: Any = None
    world = World(shown, placeholder or Shown(None, "unknown authority"))
    checks = ServiceChecks(stack, INVENTORY, SECRETS, nobody, world, nobody, nobody)
    return Edges(stack, INVENTORY, shells).certify(checks)


def test_a_site_is_closed_on_every_edge_that_answers_and_the_other_is_named(tmp_path: Path) -> None:
    shells: Any = Shells(away=("one",))
    edges = Edges(stack_of(tmp_path), INVENTORY, shells)
    closed = edges.close()
    assert {r.host: r.verdict for r in closed} == {"one": Verdict.UNKNOWN, "two": Verdict.PASS}
    assert exit_code(closed) == ExitCode.UNREACHABLE and "by SSH" in closed[0].hint
    edges.open()
    assert shells.ran == [("two", ("touch", CLOSED)), ("two", ("rm", "-f", CLOSED))]


def test_an_edge_that_does_not_close_is_a_gate_and_the_hint_is_about_that(tmp_path: Path) -> None:
    shells: Any = Shells(refuses=("two",))
    one, two = Edges(stack_of(tmp_path), INVENTORY, shells).close()
    assert one and two.verdict is Verdict.FAIL and two.detail == "touch: no such folder"
    assert exit_code([one, two]) == ExitCode.GATE and exit_code([one]) == ExitCode.DONE
    assert "ls -ld /etc/cloudexit" in two.hint and CERTIFICATE_UNIT not in two.hint
    asked = certified(stack_of(tmp_path, tls=TLS), shells, Shown(in_days(60)))[1]
    assert f"journalctl -u {CERTIFICATE_UNIT}" in asked.hint


def test_nothing_is_closed_in_silence_where_no_edge_is_known(tmp_path: Path) -> None:
    shells: Any = Shells()
    services = {name: one for name, one in stack_of(tmp_path).services.items() if name != "edge"}
    without = stack_of(tmp_path).model_copy(update={"services": services})
    for edges in (Edges(without, INVENTORY, shells), Edges(stack_of(tmp_path), Inventory(Path("h"), {}), shells)):
        for ask in (edges.close, edges.open):
            with pytest.raises(UsageProblem, match="no host is an edge"):
                ask()


def test_certificates_are_asked_for_where_there_is_tls(tmp_path: Path) -> None:
    shells: Any = Shells(away=("one",))
    with pytest.raises(UsageProblem, match="no edge has `tls`"):
        certified(stack_of(tmp_path), shells, Shown(in_days(60)))
    results = certified(stack_of(tmp_path, tls=TLS, checks=[CERTIFICATE]), shells, Shown(in_days(60)))
    assert [r.verdict.value for r in results] == ["unknown", "pass", "pass", "pass"]
    assert exit_code(results) == ExitCode.UNREACHABLE
    assert shells.ran == [("two", ("systemctl", "start", CERTIFICATE_UNIT))]


@pytest.mark.parametrize("checks", [[FRONT_PAGE], [CERTIFICATE], [CERTIFICATE, FRONT_PAGE]])
def test_the_certificate_itself_is_looked_at_whatever_the_manifest_checks(tmp_path: Path, checks: list[Any]) -> None:
    stack = stack_of(tmp_path, tls=TLS, checks=checks)
    none_yet = certified(stack, Shells(), Shown(None, "unknown"), Shown(in_days(900)))
    said = [r for r in none_yet if "none for plaza.test has been issued yet" in r.detail]
    assert {r.host for r in said} == {"one", "two"} and len(said) == 2
    assert exit_code(none_yet) == ExitCode.GATE
    assert exit_code(certified(stack, Shells(), Shown(in_days(60)))) == ExitCode.DONE


def test_an_edge_without_tls_is_not_asked_for_a_certificate(tmp_path: Path) -> None:
    plain = stack_of(tmp_path)
    inner = plain.services["edge"].model_copy(update={"group": "app", "tls": None})
    stack = stack_of(tmp_path, tls=TLS)
    both = stack.model_copy(update={"services": {**stack.services, "inner": inner}})
    shells = Shells()
    certified(both, shells, Shown(in_days(60)))
    assert {host for host, _ in shells.ran} == {"one", "two"}
