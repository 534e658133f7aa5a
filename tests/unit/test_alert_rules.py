"""Every check of a manifest has exactly one alert, whatever the manifest and the inventory are."""

import base64
import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import UsageProblem
from migrate.inventory import Host, Inventory, on_hosts_of
from migrate.manifest import read_stack
from migrate.secret import Secret, Secrets
from migrate.stack import Service, Stack
from migrate.target.alertrules import rules
from migrate.target.hostview import HostView
from migrate.target.ownsecrets import AUTHORITY
from migrate.target.parts import exporters, mail, monitor
from migrate.target.variables import provision_variables
from migrate.target.watching import http_modules, re2_quoted, watched
from tests.ownsecrets import OWN_SECRETS_OF_TESTS

PLAZA = Path(__file__).parents[2] / "examples" / "plaza" / "stack.yaml"
NAMES = ("database_password", "cache_password", "media_password", "session_key", "old_home_s3_key")
WEBHOOK = "http://192.0.2.99/secret-path"
SECRETS = Secrets(
    {**OWN_SECRETS_OF_TESTS, **{name: Secret(f"value-of-{name}") for name in NAMES}, "pager": Secret(WEBHOOK)}
)


PLAZA_STACK = read_stack(PLAZA)


def inventory_of(**hosts: tuple[str, tuple[str, ...]]) -> Inventory:
    return Inventory(Path("hosts.yml"), {n: Host(n, address, groups) for n, (address, groups) in hosts.items()})


FOUR = inventory_of(
    data=("10.0.0.1", ("database", "cache")), app1=("10.0.0.2", ("app", "worker")),
    app2=("10.0.0.4", ("app", "worker")), edge=("10.0.0.3", ("edge", "media", "mail")),
    ops=("10.0.0.9", ("monitor", "logs", "backup", "packages")),
)  # fmt: skip
TWO = Inventory(FOUR.path, {**FOUR.hosts, "data.2": Host("data.2", "10.0.0.5", ("database",))})
"""With a replica."""


def view_of(stack: Stack, host: str, inventory: Inventory = FOUR) -> HostView:
    return HostView(stack, inventory, inventory.hosts[host], SECRETS)


def group_of(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return next(group["rules"] for group in found["groups"] if group["name"] == name)


@pytest.fixture(scope="module")
def stack() -> Stack:
    return PLAZA_STACK


def test_every_check_of_plaza_has_one_alert_under_its_own_name_for_as_long_as_it_may_take(stack: Stack) -> None:
    alerts = group_of(rules(stack, FOUR, FOUR.hosts["ops"]), "checks")
    document = yaml.safe_load(PLAZA.read_text())["services"]
    named = {f"{name}: {check['name']}" for name, service in document.items() for check in service["checks"]}
    assert Counter(alert["alert"] for alert in alerts) == Counter(named)
    waits = {alert["alert"]: alert["for"] for alert in alerts}
    assert waits["worker: queue-drained"] == "120000ms"
    assert waits["web: healthy"] == "60000ms"


def test_a_check_is_looked_at_on_every_host_that_the_gate_looks_at(stack: Stack) -> None:
    verdicts = group_of(rules(stack, FOUR, FOUR.hosts["ops"]), "verdicts")
    hosts: dict[str, list[str]] = {}
    for verdict in verdicts:
        labels = verdict["labels"]
        hosts.setdefault(f"{labels['service']}: {labels['check']}", []).append(labels["host"])
    assert hosts["web: healthy"] == ["app1", "app2"]
    assert hosts["worker: running"] == ["app1", "app2"]
    assert hosts["worker: queue-drained"] == ["data"]
    assert hosts["database: answers"] == ["data"]


names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
check_bodies = st.sampled_from([
    {"http": {"path": "/a?b=1", "contains": 'say "a.b" (c) \\ $1'}}, {"unit": "active"},
    {"postgresql": {"database": "plaza", "query": "SELECT true;"}}, {"redis": {"cache": "plaza"}},
    {"redis": {"cache": "plaza", "list": 'jobs:"x"', "at_most": 7}},
])  # fmt: skip
checks = st.builds(
    lambda name, body, severity, within: {"name": name, "severity": severity, "within": within, **body},
    names, check_bodies, st.sampled_from(["gate", "warning"]), st.floats(0.5, 900),
)  # fmt: skip
check_lists = st.lists(checks, min_size=1, max_size=5, unique_by=lambda check: str(check["name"]))


@settings(max_examples=40)
@given(st.dictionaries(names, check_lists, max_size=5))
def test_any_manifest_has_as_many_alerts_as_checks_and_prometheus_is_told_to_look_for_each(
    generated: dict[str, list[dict[str, Any]]],
) -> None:
    plaza = PLAZA_STACK
    web = plaza.services["web"]
    added = {
        f"x{name}": Service.model_validate({**web.model_dump(), "checks": found}) for name, found in generated.items()
    }
    stack = plaza.model_copy(update={"services": {**plaza.services, **added}})
    found = rules(stack, FOUR, FOUR.hosts["ops"])
    alerts = group_of(found, "checks")
    expected = [f"{name}: {check.name}" for name, service in stack.services.items() for check in service.checks]
    assert [alert["alert"] for alert in alerts] == expected
    looked_at = {(v["labels"]["service"], v["labels"]["check"]) for v in group_of(found, "verdicts")}
    assert {f"{service}: {check}" for service, check in looked_at} == set(expected)
    severities = {one.name: {"gate": "page", "warning": "ticket"}[one.check.severity] for one in watched(stack, FOUR)}
    assert {alert["alert"]: alert["labels"]["severity"] for alert in alerts} == severities
    assert len(http_modules(stack, FOUR)) == sum(one.check.http is not None for one in watched(stack, FOUR))


def test_text_with_signs_of_regular_expressions_is_matched_as_it_stands() -> None:
    assert re2_quoted("a.b (c) $1 \\") == r"a\.b \(c\) \$1 \\"


def test_exporters_are_open_to_the_monitor_alone_and_never_to_anyone(stack: Stack) -> None:
    hosts = provision_variables(stack, FOUR, SECRETS).variables["cloudexit_hosts"]
    rules_of = {name: {r["port"]: r["sources"] for r in host["firewall"]["rules"]} for name, host in hosts.items()}
    assert rules_of["data"] == {
        5432: ["10.0.0.2", "10.0.0.4"], 6379: ["10.0.0.2", "10.0.0.4"],
        9100: ["10.0.0.9"], 9121: ["10.0.0.9"], 9187: ["10.0.0.9"], 9188: ["10.0.0.9"], 8432: ["10.0.0.9"],
    }  # fmt: skip
    assert rules_of["edge"][8080] == ["10.0.0.3", "10.0.0.9"]
    assert sorted(rules_of["ops"]) == [3142, 8432, 19532]


def test_a_home_without_a_monitor_has_no_exporter_and_no_hole_in_a_firewall_for_one(stack: Stack) -> None:
    three = Inventory(Path("hosts.yml"), {n: h for n, h in FOUR.hosts.items() if n != "ops"})
    hosts = provision_variables(on_hosts_of(stack, three), three, SECRETS).variables["cloudexit_hosts"]
    for host in hosts.values():
        assert host["exporters"] is None
        assert not any("exporter" in package for package in host["packages"])
        assert not any(9000 < rule["port"] < 9999 for rule in host["firewall"]["rules"])


def test_all_on_one_host_opens_nothing_for_the_monitor(stack: Stack) -> None:
    one = inventory_of(home1=("10.0.0.1", ("database", "cache", "app", "worker", "edge", "media", "mail", "monitor")))
    assert list(exporters.openings(view_of(stack, "home1", one))) == []


def test_secret_addresses_stand_in_the_secret_part_alone(stack: Stack) -> None:
    told = {**stack.model_dump(exclude_unset=True), "alerts": {"webhook": "pager", "heartbeat": "pager"}}
    view = view_of(Stack.model_validate(told), "ops")
    told_openly = monitor.variables(view)
    assert told_openly
    assert WEBHOOK not in "".join(base64.b64decode(told_openly[key]).decode() for key in ("settings", "rules"))
    text = yaml.safe_load(base64.b64decode(monitor.secrets(view)["alertmanager"]))
    assert {r["name"]: r["webhook_configs"][0]["url"] for r in text["receivers"]} == dict.fromkeys(
        ("page", "ticket", "heartbeat"), WEBHOOK
    )
    for host in ("data", "ops"):
        assert "value-of-cache_password" not in json.dumps(exporters.variables(view_of(stack, host)))


def test_mail_needs_somebody_who_sends_it(stack: Stack) -> None:
    services = {name: service for name, service in stack.services.items() if name != "mail"}
    alerts = Stack.model_fields["alerts"].annotation
    told = stack.model_copy(update={"services": services, "alerts": alerts(email="ops@example.net")})
    with pytest.raises(UsageProblem, match="nothing sends mail"):
        monitor.secrets(view_of(told, "ops"))


def mailed(stack: Stack, host: str, **alerts: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What Alertmanager is told of mail: for all of it, and for each receiver."""
    kind = Stack.model_fields["alerts"].annotation
    assert kind
    told = stack.model_copy(update={"alerts": kind(email="ops@example.net", **alerts)})
    text = yaml.safe_load(base64.b64decode(monitor.secrets(view_of(told, host))["alertmanager"]))
    return text["global"], [one for receiver in text["receivers"] for one in receiver.get("email_configs", [])]


def test_alerts_go_to_the_home_s_own_mail_host_encrypted_and_with_its_name_checked(stack: Stack) -> None:
    for_all, receivers = mailed(stack, "ops")
    assert for_all == {
        "smtp_smarthost": "10.0.0.3:25", "smtp_from": "alerts@plaza.example", "smtp_require_tls": True,
    }  # fmt: skip
    tls = {"ca_file": "/etc/cloudexit/tls/authority.crt", "server_name": "edge"}
    assert [one["tls_config"] for one in receivers] == [tls, tls]
    assert mailed(stack, "ops", sender="me@plaza.example")[0]["smtp_from"] == "me@plaza.example"


def test_alerts_go_to_another_mail_server_encrypted_by_the_authorities_of_the_world(stack: Stack) -> None:
    for_all, receivers = mailed(stack, "ops", smarthost="smtp.example.net:587")
    assert for_all == {
        "smtp_smarthost": "smtp.example.net:587", "smtp_from": "alerts@example.net", "smtp_require_tls": True,
    }  # fmt: skip
    assert len(receivers) == 2 and not any("tls_config" in one for one in receivers)


@pytest.mark.parametrize(("alerts", "let_in"), [
    ({"email": "ops@example.net"}, True),
    ({"email": "ops@example.net", "smarthost": "smtp.example.net:587"}, False),
    ({}, False),
])  # fmt: skip
def test_the_mail_host_takes_mail_from_the_monitor_where_it_sends_any(
    stack: Stack, alerts: dict[str, str], let_in: bool
) -> None:
    kind = Stack.model_fields["alerts"].annotation
    assert kind
    view = view_of(stack.model_copy(update={"alerts": kind(**alerts)}), "edge")
    told = mail.variables(view)
    assert told
    assert told["clients"] == ["10.0.0.2/32", "10.0.0.4/32", *(["10.0.0.9/32"] if let_in else []), "10.0.0.3/32"]
    opened = {address for one in exporters.openings(view) if one.port == 25 for address in one.sources}
    assert opened == ({"10.0.0.9"} if let_in else set())


def test_two_monitors_are_refused(stack: Stack) -> None:
    two = Inventory(Path("hosts.yml"), {**FOUR.hosts, "ops2": Host("ops2", "10.0.0.10", ("monitor",))})
    with pytest.raises(UsageProblem, match="ops and ops2"):
        monitor.variables(view_of(stack, "ops", two))


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool comes with Debian's package prometheus")
def test_prometheus_takes_the_rules_and_the_settings(stack: Stack, tmp_path: Path) -> None:
    told = monitor.variables(view_of(stack, "ops"))
    assert told
    for name in ("rules", "settings"):
        (tmp_path / f"{name}.yml").write_bytes(base64.b64decode(told[name]))
    for what in (["rules", "rules.yml"], ["config", "--syntax-only", "settings.yml"]):
        subprocess.run(["promtool", "check", *what], cwd=tmp_path, check=True)


def test_the_runbook_names_every_alert_that_is_no_checks(stack: Stack) -> None:
    page = (PLAZA.parents[2] / "docs" / "how-to" / "monitor.md").read_text()
    table = page.split("| alert |", 1)[1].split("\n\n", 1)[0]
    told: set[str] = set()
    for line in table.splitlines()[2:]:
        [first, *others] = re.findall(r"`([^`]+)`", line.split(" | ")[0])
        told |= {first, *(f"{first.split(':')[0]}: {other}" if ":" not in other else other for other in others)}
    groups = [group for group in rules(stack, TWO, TWO.hosts["ops"])["groups"] if group["name"] != "checks"]
    known = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert told - {"SERVICE: CHECK"} == known


def test_who_is_told_that_a_certificate_expires_is_told_what_makes_a_new_one(stack: Stack) -> None:
    """Not a provision alone: certificates follow from the day on which the authority was made."""
    found = {rule["alert"]: rule for rule in group_of(rules(stack, FOUR, FOUR.hosts["ops"]), "hosts")}
    told = found["host: certificate expires"]["annotations"]["summary"]
    assert f"cloudexit secrets rotate {AUTHORITY}, then cloudexit provision --rotate-secrets" in told


def test_backups_are_judged_by_what_waits_and_by_the_last_full_one(stack: Stack) -> None:
    verdicts = group_of(rules(stack, FOUR, FOUR.hosts["ops"]), "verdicts")
    [restorable] = [v for v in verdicts if v["labels"]["check"] == "restorable"]
    assert "max(cloudexit_archive_waiting_seconds) <= bool 600" in restorable["expr"]
    assert 'time() - min(cloudexit_backup_full_timestamp_seconds{host="ops"}) <= bool 691200' in restorable["expr"]


@pytest.mark.parametrize(
    ("alert", "expression", "wait"),
    [
        ("two servers take writes", r'sum(cloudexit_replication_takes_writes{host=~"data|data\\.2"}) > 1', "15s"),
        ("replica cut off", "cloudexit_replication_cut_off == 1", "2m"),
        ("replica given up", "cloudexit_slot_given_up == 1", "1m"),
    ],
)
def test_what_endangers_a_database_of_two_hosts_is_a_page(stack: Stack, alert: str, expression: str, wait: str) -> None:
    [rule] = [r for r in group_of(rules(stack, TWO, TWO.hosts["ops"]), "data") if r["alert"] == f"database: {alert}"]
    assert (rule["expr"], rule["for"], rule["labels"]["severity"]) == (expression, wait, "page")


def test_the_leads_of_each_database_are_counted_by_themselves_where_there_could_be_two(stack: Stack) -> None:
    other = stack.services["database"].model_copy(update={"group": "cache"})
    told = stack.model_copy(update={"services": {**stack.services, "second": other}})
    alerts = group_of(rules(told, TWO, TWO.hosts["ops"]), "data")
    assert [r["labels"]["service"] for r in alerts if r["alert"].endswith("servers take writes")] == ["database"]


def test_every_figure_of_a_rule_about_replication_is_one_that_the_exporter_is_told_to_give(stack: Stack) -> None:
    given = {
        f"{name}_{figure}"
        for name, asked in exporters.SERVER_QUERIES.items() for metric in asked["metrics"] for figure in metric
    }  # fmt: skip
    text = json.dumps(rules(stack, TWO, TWO.hosts["ops"]))
    named = set(re.findall(r"cloudexit_(?:replication|archive|slot)_\w+", text))
    assert len(named) >= 6 and named <= given
    assert all(f" AS {figure}" in asked["query"] for asked in exporters.SERVER_QUERIES.values()
               for metric in asked["metrics"] for figure in metric)  # fmt: skip


def test_an_array_that_lacks_a_disk_is_a_page_once(stack: Stack) -> None:
    [rule] = [
        r for r in group_of(rules(stack, FOUR, FOUR.hosts["ops"]), "hosts") if r["alert"] == "host: raid degraded"
    ]
    failed, missing = rule["expr"].split(" or ")
    assert failed == 'sum by (host, device) (node_md_disks{state="failed"}) > 0'
    active = 'sum by (host, device) (node_md_disks{state="active"})'
    assert missing == f"max by (host, device) (node_md_disks_required) - {active} > 0"
    assert rule["labels"]["severity"] == "page"
