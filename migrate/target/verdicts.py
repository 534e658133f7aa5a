"""By which figures of the exporters the monitor judges a check: 1 where it passes, else 0. Pure, no I/O."""

import json
from collections.abc import Callable, Mapping

from migrate.inventory import Host
from migrate.servicechecks import CHECK_KINDS
from migrate.target.watching import Watched

MAIL_UNITS = r"postfix(@-)?\.service"
"""On Debian 12 the one with @ runs, and the other (`oneshot`) is over once it has started; on 13 the other runs."""


def expression(one: Watched, host: Host) -> str:
    """1 or 0, and 0 where no figure came: a check that could not be asked has not passed."""
    kind = next(kind for kind in CHECK_KINDS if getattr(one.check, kind) is not None)
    return f"({BY_KIND[kind](one, host)}) or vector(0)"


def _labels(**labels: str) -> str:
    return ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())


def _http(one: Watched, host: Host) -> str:
    return f"max(probe_success{{{_labels(service=one.service, check=one.check.name, host=host.name)}}})"


def _postgresql(one: Watched, host: Host) -> str:
    labels = _labels(service=one.service, check=one.check.name, host=host.name)
    return f'max({{__name__=~"cloudexit_check_.+_passed",{labels}}})'


def _unit_state(unit: str, host: Host) -> str:
    return f"max(node_systemd_unit_state{{{_labels(host=host.name, name=unit, state='active')}}})"


def _unit(one: Watched, host: Host) -> str:
    return _unit_state(one.asked.unit, host)


def _mail(one: Watched, host: Host) -> str:
    labels = f"{_labels(host=host.name, state='active', type='forking')},name=~{json.dumps(MAIL_UNITS)}"
    return f"max(node_systemd_unit_state{{{labels}}})"


def _redis(one: Watched, host: Host) -> str:
    check = one.check.redis
    assert check
    here = _labels(host=host.name)
    figures = [f"max(redis_up{{{here}}})"]
    if check.list is not None:
        # A list that is empty is no key at all, and has no figure.
        length = f"max(redis_key_size{{{_labels(host=host.name, key=check.list)}}})"
        figures.append(f"({length} <= bool {check.at_most} or vector(1))")
    if check.saved_within:
        age = f"(time() - max(redis_rdb_last_save_timestamp_seconds{{{here}}}) <= bool {check.saved_within:g})"
        quiet = f"(max(redis_rdb_changes_since_last_save{{{here}}}) == bool 0)"
        figures += [f"max(redis_rdb_last_bgsave_status{{{here}}})", f"clamp_max({age} + {quiet}, 1)"]
    if check.in_step_within:
        figures += _in_step(one, host, check.in_step_within)
    return " * ".join(figures)


def _in_step(one: Watched, host: Host, within: float) -> list[str]:
    here = _labels(host=host.name)
    if host.name == one.hosts[0].name:
        return [f"(max(redis_connected_slaves{{{here}}}) >= bool {len(one.hosts) - 1})"]
    silent = f"max(redis_master_last_io_seconds_ago{{{here}}})"
    return [f"max(redis_master_link_up{{{here}}})", f"({silent} <= bool {within:g})"]


def _replication(one: Watched, host: Host) -> str:
    check = one.check.replication
    assert check
    if not one.others:
        return "vector(1)"
    followers = f"(max(cloudexit_replication_followers{{{_labels(host=host.name)}}}) >= bool {len(one.others)})"
    lags = [f"max(cloudexit_replication_lag_seconds{{{_labels(host=other.name)}}})" for other in one.others]
    return " * ".join([followers, *(f"({lag} <= bool {check.at_most:g})" for lag in lags)])


def _backup(one: Watched, host: Host) -> str:
    """The repository is served, no change waits too long to get there, and the last full backup is young enough."""
    check = one.check.backup
    assert check
    figures = [_unit_state(one.asked.unit, host)]
    if check.newest_moment_within:
        figures.append(f"(max(cloudexit_archive_waiting_seconds) <= bool {check.newest_moment_within:g})")
    if check.full_within:
        oldest = f"min(cloudexit_backup_full_timestamp_seconds{{{_labels(host=host.name)}}})"
        figures.append(f"(time() - {oldest} <= bool {check.full_within:g})")
    return " * ".join(figures)


def _certificate(one: Watched, host: Host) -> str:
    check = one.check.certificate
    assert check
    expiry = f"min(probe_ssl_earliest_cert_expiry{{{_labels(service=one.service, host=host.name)}}})"
    return f"({expiry} - time() > bool {check.days_left * 86400:g})"


BY_KIND: Mapping[str, Callable[[Watched, Host], str]] = {
    "http": _http,
    "postgresql": _postgresql,
    "redis": _redis,
    "replication": _replication,
    "smtp": _mail,
    "logs": _unit,
    "backup": _backup,
    "unit": _unit,
    "certificate": _certificate,
}
