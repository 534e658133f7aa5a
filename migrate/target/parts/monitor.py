"""Monitor: Prometheus, what it asks of whom, its rules, and where Alertmanager sends what fires."""

from collections.abc import Iterator
from typing import Any

import yaml

from migrate.errors import UsageProblem
from migrate.inventory import Host
from migrate.stack import Service, ServiceKind
from migrate.target import watching
from migrate.target.alertrules import rules
from migrate.target.hostview import HostView, bracketed
from migrate.target.parts.part import Part, encoded
from migrate.target.watching import exporter_ports, url_of, watched

INTERVAL = "cloudexit_watch_interval"
"""Inventory variable: seconds between two looks."""
TLS = "/etc/cloudexit/tls"
CLIENT = {"ca_file": f"{TLS}/authority.crt", "cert_file": f"{TLS}/host.crt", "key_file": f"{TLS}/host.key"}
BLACKBOX = f"127.0.0.1:{watching.BLACKBOX}"


def variables(view: HostView) -> dict[str, Any] | None:
    service = view.only(ServiceKind.MONITOR)
    if service is None:
        return None
    hosts = view.inventory.group(service.group)
    if len(hosts) > 1:
        raise UsageProblem(
            f"{' and '.join(host.name for host in hosts)} are both in the group {service.group!r} of the monitor",
            where=str(view.inventory.path), expected="one host", hint="take one of them out of the group",
        )  # fmt: skip
    return {
        "unit": service.unit,
        "port": service.port or 9090,
        "settings": _text(_prometheus(view, service)),
        "rules": _text(rules(view.stack, view.inventory, view.host)),
    }


def secrets(view: HostView) -> dict[str, Any]:
    return {"alertmanager": _text(_alertmanager(view))}


def _text(content: Any) -> str:
    return encoded(yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True))


def _prometheus(view: HostView, service: Service) -> dict[str, Any]:
    seconds = int(view.own_variables.get(INTERVAL, 15))
    interval = f"{seconds}s"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": f"{min(seconds, 10)}s",
                   "evaluation_interval": interval},
        "rule_files": ["rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{watching.ALERTMANAGER}"]}]}]},
        "scrape_configs": [
            _own("prometheus", service.port or 9090, view),
            _own("alertmanager", watching.ALERTMANAGER, view),
            _own("blackbox", watching.BLACKBOX, view),
            *_exporters(view),
            _probes("checks", list(_http_checks(view))),
            _probes("certificates", list(_certificates(view))),
        ],
    }  # fmt: skip


def _own(job: str, port: int, view: HostView) -> dict[str, Any]:
    return {
        "job_name": job,
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"host": view.host.name}}],
    }


def _exporters(view: HostView) -> Iterator[dict[str, Any]]:
    jobs: dict[str, list[dict[str, Any]]] = {}
    for host in view.inventory.hosts.values():
        for job, port in exporter_ports(view.stack, view.inventory, host):
            target = {"targets": [f"{bracketed(host.address)}:{port}"], "labels": {"host": host.name}}
            jobs.setdefault(job, []).append(target)
    for job, targets in jobs.items():
        yield {"job_name": job, "scheme": "https", "tls_config": CLIENT, "static_configs": targets}


def _http_checks(view: HostView) -> Iterator[dict[str, Any]]:
    for one in watched(view.stack, view.inventory):
        for host in one.hosts if one.check.http else ():
            assert one.check.http
            url = url_of(one, one.check.http, host, view.host)
            yield _probe(one.module, url, host=host.name, service=one.service, check=one.check.name)


def _certificates(view: HostView) -> Iterator[dict[str, Any]]:
    for host in view.inventory.hosts.values():
        yield _probe("certificate", f"{bracketed(host.address)}:{watching.NODE}", host=host.name)


def _probe(module: str, target: str, **labels: str) -> dict[str, Any]:
    return {"targets": [BLACKBOX], "labels": {"__param_module": module, "__param_target": target, **labels}}


def _probes(job: str, targets: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "job_name": job,
        "metrics_path": "/probe",
        "static_configs": targets,
        "relabel_configs": [{"source_labels": ["__param_target"], "target_label": "instance"}],
    }


def _alertmanager(view: HostView) -> dict[str, Any]:
    alerts = view.stack.alerts
    mail = {"smtp_smarthost": _smarthost(view), "smtp_from": _sender(view), "smtp_require_tls": True}
    beat = [{"url": view.secrets[alerts.heartbeat].reveal(), "send_resolved": False}] if alerts.heartbeat else []
    return {
        **({"global": mail} if alerts.email else {}),
        "route": {
            "receiver": "page", "group_by": ["host", "service"],
            "group_wait": "10s", "group_interval": "1m", "repeat_interval": "4h",
            "routes": [
                {"receiver": "heartbeat", "matchers": ['alertname="monitor: alive"'],
                 "group_wait": "0s", "group_interval": "1m", "repeat_interval": "1m"},
                {"receiver": "ticket", "matchers": ['severity="ticket"'],
                 "group_wait": "5m", "group_interval": "1h", "repeat_interval": "24h"},
            ],
        },
        "inhibit_rules": [
            # A host that is down is one message, not one for each thing that ran on it.
            {"source_matchers": ['alertname="host: down"'],
             "target_matchers": ['alertname!~"host: down|monitor: alive"'], "equal": ["host"]},
        ],
        "receivers": [
            _receiver(view, "page"), _receiver(view, "ticket"),
            {"name": "heartbeat", **({"webhook_configs": beat} if beat else {})},
        ],
    }  # fmt: skip


def _receiver(view: HostView, name: str) -> dict[str, Any]:
    alerts = view.stack.alerts
    found: dict[str, Any] = {"name": name}
    if alerts.email:
        subject = f"{name}: {{{{ .CommonLabels.service }}}} {{{{ .CommonLabels.host }}}} {{{{ .Status }}}}"
        mail: dict[str, Any] = {"to": alerts.email, "send_resolved": True, "headers": {"Subject": subject}}
        if alerts.by_own_mail:  # asked for by its address, and has the home's own certificate
            mail["tls_config"] = {"ca_file": CLIENT["ca_file"], "server_name": _own_mail(view)[0].name}
        found["email_configs"] = [mail]
    if alerts.webhook:
        found["webhook_configs"] = [{"url": view.secrets[alerts.webhook].reveal(), "send_resolved": True}]
    return found


def _sender(view: HostView) -> str:
    alerts = view.stack.alerts
    own = _own_mail(view)[1].mail if alerts.by_own_mail else None
    return alerts.sender or f"alerts@{own.domain if own else str(alerts.email).rpartition('@')[2]}"


def _smarthost(view: HostView) -> str:
    if not view.stack.alerts.by_own_mail:
        return view.stack.alerts.smarthost or ""
    host, service = _own_mail(view)
    address = "127.0.0.1" if host.name == view.host.name else bracketed(host.address)
    return f"{address}:{service.port or 25}"


def _own_mail(view: HostView) -> tuple[Host, Service]:
    """The host that sends the home's mail, and its service. Raises UsageProblem where there is none."""
    services = view.everywhere(ServiceKind.MAIL)
    hosts = [(host, service) for _, service in services for host in view.inventory.group(service.group)]
    if not hosts:
        raise UsageProblem(
            "alerts are to be mailed, and nothing sends mail", where="alerts.email",
            expected="alerts.smarthost, or a service of kind mail with a host",
        )  # fmt: skip
    return hosts[0]


PART = Part(
    "monitor", variables, secrets, packages=lambda view: ("prometheus", "prometheus-alertmanager"),
)  # fmt: skip
