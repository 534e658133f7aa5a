"""Exporters: what each host shows the monitor of itself. A home without a monitor has none."""

from collections.abc import Iterator
from typing import Any

import yaml

from migrate.stack import Service, ServiceKind
from migrate.target import watching
from migrate.target.firewall import Opening
from migrate.target.hostview import HostView, bracketed
from migrate.target.parts.part import Part, encoded
from migrate.target.parts.processes import environment_file

FOLDER = "/etc/cloudexit/exporters"
TLS = "/etc/cloudexit/tls"
WEB = f"--web.config.file={FOLDER}/web.yml"
EDGE_STATUS, MEDIA_STATUS = 8090, 8091
"""Loopback ports on which the nginxes show their counters."""
STATEMENT_TIMEOUT_MS = 10_000
SERVER_QUERIES = {
    "cloudexit_replication": {
        "query": "SELECT CASE WHEN NOT pg_is_in_recovery() "
        "OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 "
        "ELSE COALESCE(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0) END AS lag_seconds, "
        "(SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming') AS followers, "
        "CASE WHEN pg_is_in_recovery() THEN 0 ELSE 1 END AS takes_writes, "
        "CASE WHEN pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') "
        "THEN 1 ELSE 0 END AS cut_off",
        "metrics": [
            {"lag_seconds": {"usage": "GAUGE", "description": "How far a replica is behind"}},
            {"followers": {"usage": "GAUGE", "description": "Replicas that stream from this server"}},
            {"takes_writes": {"usage": "GAUGE", "description": "Whether this server takes writes"}},
            {"cut_off": {"usage": "GAUGE", "description": "Whether it is a replica that nothing streams to"}},
        ],
    },
    "cloudexit_slot": {
        "query": "SELECT slot_name AS slot, "
        "CASE WHEN wal_status IN ('unreserved', 'lost') THEN 1 ELSE 0 END AS given_up FROM pg_replication_slots",
        "metrics": [
            {"slot": {"usage": "LABEL", "description": "Slot"}},
            {"given_up": {"usage": "GAUGE", "description": "Whether what a replica has not had is no longer kept"}},
        ],
    },
    "cloudexit_archive": {
        "query": "SELECT COALESCE(max(extract(epoch FROM now() - modification)), 0) AS waiting_seconds "
        "FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'",
        "metrics": [
            {"waiting_seconds": {"usage": "GAUGE", "description": "How long the oldest change waits to be archived"}},
        ],
    },
}


def variables(view: HostView) -> dict[str, Any] | None:
    if not view.hosts_of(ServiceKind.MONITOR):
        return None
    database = view.only(ServiceKind.POSTGRESQL)
    return {
        "services": list(_services(view)),
        "files": [{"name": name, "content": encoded(text)} for name, text in _files(view).items()],
        "database_port": database.port or 5432 if database and view.leads(database) else 0,
    }


def _services(view: HostView) -> Iterator[dict[str, Any]]:
    yield _service("node", "prometheus-node-exporter", [
        WEB, f"--web.listen-address=:{watching.NODE}", "--collector.systemd",
        r"--collector.systemd.unit-include=.+\\.(service|timer)",
        "--collector.textfile.directory=/var/lib/prometheus/node-exporter",
    ])  # fmt: skip
    for kind, port, status in (
        (ServiceKind.EDGE, watching.NGINX_EDGE, EDGE_STATUS),
        (ServiceKind.MEDIA, watching.NGINX_MEDIA, MEDIA_STATUS),
    ):
        if view.only(kind):
            yield _nginx(kind.value, port, f"http://127.0.0.1:{status}/")
    if redis := view.only(ServiceKind.REDIS):
        yield _redis(view, redis)
    yield from _databases(view)
    if view.of(ServiceKind.MONITOR):
        yield _service("blackbox", "prometheus-blackbox-exporter", [
            f"--web.listen-address=127.0.0.1:{watching.BLACKBOX}", f"--config.file={FOLDER}/blackbox.yml",
        ])  # fmt: skip


def _service(
    name: str, program: str, arguments: list[str], environment: str = "", on_debian_12: list[str] | None = None
) -> dict[str, Any]:
    told = {"name": name, "program": program, "arguments": arguments, "environment": environment}
    return told | ({"arguments_on_debian_12": on_debian_12} if on_debian_12 else {})


def _nginx(name: str, port: int, status: str) -> dict[str, Any]:
    """Before its version 1.0 it asks nobody for a certificate, and gives up where nginx does not run yet."""
    return _service(
        f"nginx-{name}",
        "prometheus-nginx-exporter",
        [WEB, f"--web.listen-address=:{port}", f"--nginx.scrape-uri={status}"],
        on_debian_12=[
            f"-web.listen-address=:{port}", "-web.secured-metrics", f"-web.ssl-server-cert={TLS}/host.crt",
            f"-web.ssl-server-key={TLS}/host.key", f"-nginx.scrape-uri={status}",
            "-nginx.retries=1000000", "-nginx.retry-interval=5s",
        ],
    )  # fmt: skip


def _redis(view: HostView, redis: Service) -> dict[str, Any]:
    lists = watching.lists_asked(view.stack, _name_of(view, redis))
    keys = [f"--check-single-keys={','.join(f'db0={key}' for key in lists)}"] if lists else []
    by_tls = [f"--tls-ca-cert-file={TLS}/authority.crt"] if redis.tls_only else []
    return _service("redis", "prometheus-redis-exporter", [
        f"--web.listen-address=:{watching.REDIS}", f"--redis.addr={_redis_address(view, redis)}",
        f"--tls-server-cert-file={TLS}/host.crt", f"--tls-server-key-file={TLS}/host.key",
        f"--tls-server-ca-cert-file={TLS}/authority.crt", *by_tls, *keys,
    ])  # fmt: skip


def _redis_address(view: HostView, redis: Service) -> str:
    """By TLS at the address that the host's certificate is for."""
    port = redis.port or 6379
    return f"rediss://{bracketed(view.host.address)}:{port}" if redis.tls_only else f"redis://127.0.0.1:{port}"


def _databases(view: HostView) -> Iterator[dict[str, Any]]:
    for name, service in view.of(ServiceKind.POSTGRESQL):
        port = service.port or 5432
        yield _database("postgresql", port, "postgres", watching.POSTGRESQL, [])
        for index, database in enumerate(watching.databases_asked(view.stack, name)):
            own_port = watching.POSTGRESQL_CHECKS + index
            only_checks = ["--disable-default-metrics", "--disable-settings-metrics"]
            yield _database(f"postgresql-{database}", port, database, own_port, only_checks)


def _database(name: str, port: int, database: str, listens: int, arguments: list[str]) -> dict[str, Any]:
    # Over the socket, as the system user that the exporters run as: no password exists.
    source = (
        f"user=prometheus host=/run/postgresql port={port} dbname={database} sslmode=disable "
        f"statement_timeout={STATEMENT_TIMEOUT_MS}"
    )
    return _service(name, "prometheus-postgres-exporter", [
        WEB, f"--web.listen-address=:{listens}", f"--extend.query-path={FOLDER}/{name}.yml", *arguments,
    ], f"DATA_SOURCE_NAME={source}")  # fmt: skip


def _name_of(view: HostView, service: Service) -> str:
    return next(name for name, known in view.services.items() if known is service)


def _files(view: HostView) -> dict[str, str]:
    web = {"tls_server_config": {
        "cert_file": f"{TLS}/host.crt", "key_file": f"{TLS}/host.key",
        "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": f"{TLS}/authority.crt",
    }}  # fmt: skip
    found: dict[str, Any] = {"web.yml": web}
    for name, _ in view.of(ServiceKind.POSTGRESQL):
        found["postgresql.yml"] = SERVER_QUERIES
        for database, checks in watching.databases_asked(view.stack, name).items():
            asked = {f"cloudexit_check_{i}": _query(service, c.name, c.postgresql.query)
                     for i, (service, c) in enumerate(checks) if c.postgresql}  # fmt: skip
            found[f"postgresql-{database}.yml"] = asked
    if view.of(ServiceKind.MONITOR):
        modules = watching.http_modules(view.stack, view.inventory)
        own = {"ca_file": f"{TLS}/authority.crt", "cert_file": f"{TLS}/host.crt", "key_file": f"{TLS}/host.key"}
        certificate = {"prober": "tcp", "timeout": "5s", "tcp": {"tls": True, "tls_config": own}}
        found["blackbox.yml"] = {"modules": {**modules, "certificate": certificate}}
    return {name: yaml.safe_dump(content, sort_keys=False, width=1000) for name, content in found.items()}


def _query(service: str, check: str, query: str) -> dict[str, Any]:
    """A check's SELECT as a figure: 1 where its first value is true. A value that is no truth value gives no figure."""
    asked = f"WITH checked (passed) AS ({query.strip().rstrip(';')}) SELECT"
    verdict = "CASE WHEN (SELECT passed FROM checked LIMIT 1) IS TRUE THEN 1 ELSE 0 END AS passed"
    return {
        "query": f"{asked} {verdict}, '{service}' AS service, '{check}' AS \"check\"",
        "metrics": [
            {"passed": {"usage": "GAUGE", "description": "Whether the check passes"}},
            {"service": {"usage": "LABEL", "description": "Service"}},
            {"check": {"usage": "LABEL", "description": "Check"}},
        ],
    }


def secrets(view: HostView) -> dict[str, Any]:
    caches = [cache for cache in view.stack.caches.values() if cache.service in view.services]
    texts = [environment_file({"REDIS_PASSWORD": view.secrets[cache.password].reveal()}) for cache in caches[:1]]
    return {"environments": {"redis": texts[0]} if texts else {}}


def packages(view: HostView) -> list[str]:
    return [*sorted({service["program"] for service in _services(view)}), "dbus"]


def masked_units(view: HostView) -> list[str]:
    return [f"{service['program']}.service" for service in _services(view)]


def openings(view: HostView) -> Iterator[Opening]:
    monitors = sorted({host.address for host in view.hosts_of(ServiceKind.MONITOR) if host.name != view.host.name})
    if not monitors:
        return  # the only monitor is this host, and what a host sends to itself arrives
    ports = {port for _, port in watching.exporter_ports(view.stack, view.inventory, view.host)}
    asked = {service.port for service in view.services.values() if any(check.http for check in service.checks)}
    mailed = view.of(ServiceKind.MAIL) if view.stack.alerts.by_own_mail else []
    mail = {service.port or 25 for _, service in mailed}
    for port in sorted(port for port in ports | asked | mail if port):
        yield Opening(port, tuple(monitors))


PART = Part("exporters", variables, secrets, packages, masked_units, openings)
