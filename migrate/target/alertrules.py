"""Prometheus rules: one alert for each check of the manifest, and those for what no check sees. Pure, no I/O."""

import json
from collections.abc import Iterator
from typing import Any

from migrate.inventory import Host, Inventory
from migrate.stack import ServiceKind, Stack
from migrate.target.ownsecrets import AUTHORITY
from migrate.target.verdicts import expression
from migrate.target.watching import PAGE, TICKET, Watched, re2_quoted, watched

PASSED = "cloudexit:check_passed"
"""1 where a check passed, 0 where it did not or nobody could look."""
Rule = dict[str, Any]


def rules(stack: Stack, inventory: Inventory, monitor: Host) -> dict[str, Any]:
    """The rules file."""
    checks = watched(stack, inventory)
    groups = {
        "verdicts": [_verdict(one, host) for one in checks for host in one.hosts],
        "checks": [_alert_of(one) for one in checks],
        "hosts": _hosts(),
        "data": [*_data(), *_leaders(stack, inventory), *_backup(stack)],
        "monitor": _monitor(monitor),
    }
    return {"groups": [{"name": name, "rules": found} for name, found in groups.items()]}


def _verdict(one: Watched, host: Host) -> Rule:
    labels = {"service": one.service, "check": one.check.name, "host": host.name, "severity": one.severity}
    return {"record": PASSED, "expr": expression(one, host), "labels": labels}


def _labels(**labels: str) -> str:
    return ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())


def _alert_of(one: Watched) -> Rule:
    labels = _labels(service=one.service, check=one.check.name)
    return {
        "alert": one.name,
        "expr": f"{PASSED}{{{labels}}} == 0",
        "for": f"{round(one.check.within * 1000)}ms",
        "labels": {"severity": one.severity},
        "annotations": {
            "summary": f"{one.name} does not pass on {{{{ $labels.host }}}}",
            "look": f"journalctl -u {one.asked.unit} -n 50",
        },
    }


def _rule(alert: str, expr: str, wait: str, severity: str, summary: str, **labels: str) -> Rule:
    return {
        "alert": alert, "expr": expr, "for": wait, "labels": {"severity": severity, **labels},
        "annotations": {"summary": summary},
    }  # fmt: skip


REAL = 'fstype!~"tmpfs|ramfs|squashfs|devtmpfs|fuse.*",mountpoint!~"/run.*|/proc.*|/sys.*|/dev.*"'
ON = "on {{ $labels.host }}"


def _hosts() -> list[Rule]:
    free = f"node_filesystem_avail_bytes{{{REAL}}}"
    share = f"{free} / node_filesystem_size_bytes{{{REAL}}}"
    failed = 'sum by (host, device) (node_md_disks{state="failed"})'
    active = 'sum by (host, device) (node_md_disks{state="active"})'
    return [
        _rule("host: down", 'up{job="node"} == 0', "30s", PAGE, "{{ $labels.host }} does not answer the monitor"),
        _rule("host: disk full soon", f"({share} < 0.25) and predict_linear({free}[6h], 86400) < 0", "30m", TICKET,
              f"{{{{ $labels.mountpoint }}}} {ON} is full within a day, as it grows now"),
        _rule("host: disk nearly full", f"{share} < 0.05", "5m", PAGE,
              f"{{{{ $labels.mountpoint }}}} {ON} has less than 5% left"),
        _rule("host: inodes nearly gone",
              f"node_filesystem_files_free{{{REAL}}} / (node_filesystem_files{{{REAL}}} > 0) < 0.05", "5m", PAGE,
              f"{{{{ $labels.mountpoint }}}} {ON} can hold hardly one more file"),
        _rule("host: filesystem read only", f"node_filesystem_readonly{{{REAL}}} == 1", "5m", PAGE,
              f"{{{{ $labels.mountpoint }}}} {ON} takes no writes"),
        _rule("host: raid degraded",
              f"{failed} > 0 or max by (host, device) (node_md_disks_required) - {active} > 0", "1m", PAGE,
              f"the array {{{{ $labels.device }}}} {ON} lacks a disk: one more, and its data are gone"),
        _rule("host: memory short", "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.05", "10m", TICKET,
              f"less than 5% of the memory is left {ON}"),
        _rule("host: clock off", "abs(time() - node_time_seconds) > 60", "5m", TICKET,
              f"the clock {ON} is more than a minute from the monitor's"),
        _rule("host: unit failed", 'node_systemd_unit_state{state="failed"} == 1', "2m", TICKET,
              f"{{{{ $labels.name }}}} {ON} has failed"),
        _rule("host: reboot required", "cloudexit_reboot_required == 1", "1h", TICKET,
              f"updates {ON} wait for a restart that nothing makes by itself"),
        _rule("host: certificate expires", 'probe_ssl_earliest_cert_expiry{job="certificates"} - time() < 14 * 86400',
              "1h", TICKET, f"the certificate {ON} ends within 14 days: cloudexit secrets rotate {AUTHORITY}, "
              "then cloudexit provision --rotate-secrets"),
        _rule("host: certificate refused", 'probe_success{job="certificates"} == 0 and on (host) up{job="node"} == 1',
              "10m", TICKET, f"no TLS connection by the home's own authority {ON}"),
    ]  # fmt: skip


def _data() -> list[Rule]:
    return [
        _rule("database: replica behind", "cloudexit_replication_lag_seconds > 60", "5m", PAGE,
              f"the replica {ON} is more than a minute behind"),
        _rule("database: replica cut off", "cloudexit_replication_cut_off == 1", "2m", PAGE,
              f"the replica {ON} gets nothing from the server that leads"),
        _rule("database: replica given up", "cloudexit_slot_given_up == 1", "1m", PAGE,
              f"{{{{ $labels.slot }}}} {ON}: what that replica has not had is no longer kept; it must be made anew"),
        _rule("database: connections nearly gone",
              "sum by (host) (pg_stat_activity_count) / max by (host) (pg_settings_max_connections) > 0.9", "5m", PAGE,
              f"nine of ten connections {ON} are taken"),
        _rule("cache: memory nearly gone", "redis_memory_used_bytes / (redis_memory_max_bytes > 0) > 0.9", "5m", PAGE,
              f"nine tenths of Redis's memory {ON} are taken"),
        _rule("cache: snapshot failed", "redis_rdb_last_bgsave_status == 0", "5m", TICKET,
              f"Redis {ON} cannot write its snapshot"),
    ]  # fmt: skip


def _leaders(stack: Stack, inventory: Inventory) -> Iterator[Rule]:
    """A server that stood down stops before the other is promoted: no look ever sees two, unless there are two."""
    for name, service in stack.services.items():
        hosts = [host.name for host in inventory.group(service.group)]
        if service.kind is not ServiceKind.POSTGRESQL or len(hosts) < 2:
            continue
        those = json.dumps("|".join(map(re2_quoted, hosts)))
        takers = f"sum(cloudexit_replication_takes_writes{{host=~{those}}})"
        yield _rule("database: two servers take writes", f"{takers} > 1", "15s", PAGE,
                    f"{{{{ $value }}}} of {', '.join(hosts)} take writes: what goes to all but one is lost",
                    service=name)  # fmt: skip


def _backup(stack: Stack) -> Iterator[Rule]:
    if any(service.kind is ServiceKind.BACKUP for service in stack.services.values()):
        yield _rule("backup: changes are not archived", "increase(pg_stat_archiver_failed_count[15m]) > 0", "5m", PAGE,
                    f"the database {ON} cannot hand its changes to the repository")  # fmt: skip


def _monitor(monitor: Host) -> list[Rule]:
    here = {"host": monitor.name}
    unseen = 'up{job!="node"} == 0 and on (host) (up{job="node"} == 1)'
    return [
        _rule("monitor: blind", unseen, "2m", TICKET, f"the exporter {{{{ $labels.job }}}} {ON} does not answer"),
        _rule("monitor: database unseen", "pg_up == 0", "2m", TICKET, f"PostgreSQL {ON} lets the exporter not in"),
        _rule("monitor: settings refused", "prometheus_config_last_reload_successful == 0", "5m", TICKET,
              "Prometheus runs with old settings: it refused the new ones", **here),
        _rule("monitor: a rule fails", "increase(prometheus_rule_evaluation_failures_total[5m]) > 0", "5m", TICKET,
              "a rule cannot be reckoned: its alert is silent", **here),
        _rule("monitor: alerts do not leave",
              "increase(alertmanager_notifications_failed_total[5m]) > 0 "
              "or prometheus_notifications_alertmanagers_discovered < 1",
              "5m", PAGE, "alerts cannot be delivered", **here),
        # Always fires: whoever gets it every minute knows that the monitor lives.
        _rule("monitor: alive", "vector(1)", "0s", "none", "the monitor is alive", **here),
    ]  # fmt: skip
