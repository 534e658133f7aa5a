"""The manifest's checks of a service, evaluated from the operator's machine on every host of its group."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from migrate.check import CheckResult, Severity, Verdict
from migrate.errors import Interrupted, OutsideProblem
from migrate.inventory import Host, Inventory
from migrate.ports import Expected, Hosts, Http, Postgresql, Redis, Shown
from migrate.secret import Secrets
from migrate.servicechecks import HttpCheck, PostgresqlCheck, RedisCheck, ReplicationCheck, ServiceCheck
from migrate.stack import Service, ServiceKind, Stack
from migrate.target.authority import Authority
from migrate.target.backups import BackupsAsked
from migrate.target.certificates import authorities_of, names_of
from migrate.target.finding import Finding, worst
from migrate.target.hostview import bracketed
from migrate.target.looks import mail_command, mail_finding, marks_command, marks_finding
from migrate.target.ownsecrets import AUTHORITY
from migrate.target.redischecks import redis_findings
from migrate.target.replicas import judge_replication, look_at_group

Proves = Literal["basic", "drained"]
POLL_SECONDS = 0.3
BLIND_SECONDS = 10.0
"""How long we try to look at a host again: a service may be slow to start, the way to its host is there or not."""
ASKING_SECONDS = 10.0
"""What a look by a program on the host may take beside the check's own bound."""
AT_ONCE = 8
DEFAULT_PORTS = {ServiceKind.POSTGRESQL: 5432, ServiceKind.REDIS: 6379}
SHOWN = 200
DAY = 86400.0


@dataclass(frozen=True)
class ServiceChecks:
    """Evaluates checks. Internal ports are reached through a tunnel, an edge at its public address; databases and
    caches are signed in to as the app signs in. `unknown` is said where we could not look."""

    stack: Stack
    inventory: Inventory
    secrets: Secrets
    hosts: Hosts
    http: Http
    postgresql: Postgresql
    redis: Redis
    sleep: Callable[[float], None] = time.sleep

    def of_service(
        self,
        service: str,
        *,
        proves: Proves | None = None,
        patient: bool = True,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[CheckResult]:
        """One result a check and host; all checks, or those that prove `basic` or `drained`.

        A patient evaluation repeats a check until it passes or its `within` is over, the other makes one attempt.
        Raises Interrupted when cancelled."""
        found = self.stack.services[service]
        return [
            self._evaluate(service, check, host, patient, cancelled)
            for check in found.checks
            if proves is None or check.proves == proves
            for host in self._hosts_of(found, check)
        ]

    def of_host(
        self, service: str, host: Host, *, patient: bool = True, cancelled: Callable[[], bool],
        hopeless: Callable[[], bool] = lambda: False,
    ) -> list[CheckResult]:  # fmt: skip
        """The checks that prove `basic` on one host of the service, one after the other until one holds. Nothing is
        waited for any more once it is `hopeless`, and nothing at all where it is not `patient`. Raises Interrupted when
        cancelled."""
        found = self.stack.services[service]
        results: list[CheckResult] = []
        for check in (check for check in found.checks if check.proves == "basic"):
            asked = self._hosts_of(found, check)
            where = host if host in asked else asked[0]
            results.append(self._evaluate(service, check, where, patient, cancelled, hopeless))
            if results[-1].holds:
                break
        return results

    def of_all(
        self, *, proves: Proves | None = None, patient: bool = True, cancelled: Callable[[], bool] = lambda: False
    ) -> list[CheckResult]:
        """Every check of every service, side by side; the results in the order in which services start."""
        names = self.stack.services_in_order()
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            asked = [
                pool.submit(self.of_service, name, proves=proves, patient=patient, cancelled=cancelled)
                for name in names
            ]
            return [result for answer in asked for result in answer.result()]

    def secrets_redacted(self, text: str) -> str:
        """A text of a host, such as a log, without the stack's secrets."""
        return self.secrets.redact(text)

    def _asked(self, service: Service, check: ServiceCheck) -> Service:
        """The service that a check speaks to: a worker's check may ask the cache about the worker's queue."""
        if check.postgresql:
            return self.stack.services[self.stack.databases[check.postgresql.database].service]
        if check.redis:
            return self.stack.services[self.stack.caches[check.redis.cache].service]
        return service

    def _hosts_of(self, service: Service, check: ServiceCheck) -> list[Host]:
        """A query is asked where the data is, the first host; everything else on every host."""
        group = self.inventory.group(self._asked(service, check).group)
        if check.redis and (check.redis.saved_within or check.redis.in_step_within):
            return group
        one_answers = check.postgresql or check.redis or check.logs or check.backup or check.replication
        return group[:1] if one_answers else group

    def _evaluate(
        self,
        service: str,
        check: ServiceCheck,
        host: Host,
        patient: bool,
        cancelled: Callable[[], bool],
        hopeless: Callable[[], bool] = lambda: False,
    ) -> CheckResult:
        began = time.monotonic()
        attempts = 0
        while True:
            attempts += 1
            finding = self._attempt(self.stack.services[service], check, host)
            elapsed = time.monotonic() - began
            patience = min(check.within, BLIND_SECONDS) if finding.verdict is Verdict.UNKNOWN else check.within
            if finding.verdict is Verdict.PASS or not patient or elapsed + POLL_SECONDS > patience or hopeless():
                break
            if cancelled():
                raise Interrupted(f"stopped while waiting for {service}", hint="the same command goes on from here")
            self.sleep(POLL_SECONDS)
        result = CheckResult(
            f"{service}: {check.name}", finding.verdict, finding.detail, host=host.name,
            severity=Severity(check.severity), seconds=elapsed, attempts=attempts,
            facts={"proves": check.proves, "service": service},
        )  # fmt: skip
        return result if result else replace(result, hint=self._hint(service, host, finding.verdict))

    def _hint(self, service: str, host: Host, verdict: Verdict) -> str:
        if verdict is Verdict.UNKNOWN:
            return f"we could not look: can {host.name} be reached by SSH?"
        return f"look at it on {host.name}: journalctl -u {self.stack.services[service].unit} -n 50"

    def _attempt(self, service: Service, check: ServiceCheck, host: Host) -> Finding:
        if check.unit:
            return self._ask_unit(service, check, host)
        if service.tls and (check.http or check.certificate):
            return self._ask_by_tls(service, service.tls.port, check, host)
        if check.smtp:
            command = mail_command(_port(service), check.timeout)
            return self._ask_host(host, command, check, partial(mail_finding, check=check.smtp))
        if check.logs:
            command = marks_command(list(self.inventory.hosts))
            return self._ask_host(host, command, check, partial(marks_finding, check=check.logs))
        if check.backup:
            return Finding(*BackupsAsked(self.stack, self.inventory, self.hosts).verdict(check.backup))
        if check.http and service.kind is ServiceKind.EDGE:
            return self._ask_http(check.http, f"http://{_authority(host.address, service.port or 80)}", check.timeout)
        if check.replication:
            return self._ask_replicas(service, check.replication)
        with ExitStack() as stack:
            try:
                port = stack.enter_context(self.hosts.tunnel(host, _port(self._asked(service, check))))
            except OutsideProblem as problem:
                return Finding(Verdict.UNKNOWN, _first_line(problem))
            if check.http:
                return self._ask_http(check.http, f"http://127.0.0.1:{port}", check.timeout)
            if check.postgresql:
                return self._ask_postgresql(check.postgresql, port, check.timeout)
            assert check.redis
            return self._ask_redis(check.redis, host, port, check.timeout)

    def _ask_unit(self, service: Service, check: ServiceCheck, host: Host) -> Finding:
        try:
            done = self.hosts.run(host, ["systemctl", "is-active", service.unit], timeout=check.timeout)
        except OutsideProblem as problem:
            return Finding(Verdict.UNKNOWN, _first_line(problem))
        said = done.stdout.strip() or done.stderr.strip()
        return Finding(Verdict.PASS if said == check.unit else Verdict.FAIL, f"{service.unit} is {said}")

    def _ask_by_tls(self, service: Service, port: int, check: ServiceCheck, host: Host) -> Finding:
        """An edge is asked by the site's name at its own address, wherever the name points to by now. What it shows
        before its first certificate is good for its answers, not as a certificate."""
        expected = Expected(names_of(self.stack, service)[0], authorities_of(service))
        of_home = Authority(self.secrets[AUTHORITY]).certificate
        placeholder = replace(expected, authorities=expected.authorities + of_home)
        if check.http:
            base = f"https://{bracketed(host.address)}:{port}"
            return self._ask_http(check.http, base, check.timeout, placeholder)
        assert check.certificate

        try:
            shown = self.http.certificate(host.address, port, expected, timeout=check.timeout)
            if shown.fault and self.http.certificate(host.address, port, placeholder, timeout=check.timeout).until:
                shown = Shown(None, f"none for {expected.name} has been issued yet")
        except OutsideProblem as problem:
            return Finding(Verdict.UNKNOWN, _first_line(problem))
        return _judged(shown, check.certificate.days_left)

    def _ask_host(
        self, host: Host, command: Sequence[str], check: ServiceCheck, judged: Callable[[str], Finding]
    ) -> Finding:
        """A program on the host looks; where it could not, nobody knows."""
        try:
            done = self.hosts.run(host, command, timeout=check.timeout + ASKING_SECONDS)
        except OutsideProblem as problem:
            return Finding(Verdict.UNKNOWN, _first_line(problem))
        if not done:
            said = (done.stderr.strip().splitlines() or ["no word"])[-1][:SHOWN]
            return Finding(Verdict.UNKNOWN, f"the look failed with {done.exit_status}: {said}")
        return judged(done.stdout)

    def _ask_http(self, check: HttpCheck, base: str, timeout: float, expected: Expected | None = None) -> Finding:
        try:
            reply = self.http.get(f"{base}{check.path}", timeout=timeout, expected=expected)
        except OutsideProblem as problem:
            return Finding(Verdict.FAIL, _first_line(problem))
        if reply.status != check.status:
            shown = " ".join(self.secrets.redact(reply.body.decode("utf-8", "replace"))[:SHOWN].split())
            return Finding(Verdict.FAIL, f"{check.path} answers {reply.status}, not {check.status}: {shown}")
        if check.contains is not None and check.contains not in reply.body.decode("utf-8", "replace"):
            return Finding(Verdict.FAIL, f"{check.path} does not contain {check.contains!r}")
        return Finding(Verdict.PASS, f"{check.path} answers {reply.status}, {len(reply.body):,} bytes")

    def _ask_postgresql(self, check: PostgresqlCheck, port: int, timeout: float) -> Finding:
        database = self.stack.databases[check.database]
        password = self.secrets[database.password]
        try:
            rows = self.postgresql.query(port, check.database, database.owner, password, check.query, timeout=timeout)
        except OutsideProblem as problem:
            return Finding(Verdict.FAIL, _first_line(problem))
        if not rows or not rows[0] or rows[0][0] is not True:
            answer = repr(rows[0][0]) if rows and rows[0] else "no row"
            return Finding(Verdict.FAIL, f"{check.query}: {answer}, not true")
        return Finding(Verdict.PASS, f"{check.query}: true")

    def _ask_replicas(self, service: Service, check: ReplicationCheck) -> Finding:
        lead, *others = self.inventory.group(service.group)
        if not others:
            return Finding(Verdict.PASS, "the group has one host")
        try:
            state = look_at_group(self.hosts, [lead, *others], _port(service))
        except OutsideProblem as problem:
            return Finding(Verdict.UNKNOWN, _first_line(problem))
        return Finding(*judge_replication(state, lead.name, [host.name for host in others], check.at_most))

    def _ask_redis(self, check: RedisCheck, host: Host, port: int, timeout: float) -> Finding:
        cache = self.stack.caches[check.cache]
        service, password = self.stack.services[cache.service], self.secrets[cache.password]
        try:
            if check.saved_within or check.in_step_within:
                said = self.redis.info(port, password, timeout=timeout, tls=service.tls_only)
                group = self.inventory.group(service.group)
                return worst(redis_findings(check, said, leads=host == group[0], replicas=len(group) - 1))
            if check.list is None:
                answers = self.redis.ping(port, password, timeout=timeout, tls=service.tls_only)
                return Finding(Verdict.PASS if answers else Verdict.FAIL, "PING")
            length = self.redis.list_length(port, password, check.list, timeout=timeout, tls=service.tls_only)
        except OutsideProblem as problem:
            # A server that does not answer has not failed to save: nobody could look.
            blind = check.saved_within or check.in_step_within
            return Finding(Verdict.UNKNOWN if blind else Verdict.FAIL, _first_line(problem))
        fits = length <= check.at_most
        return Finding(Verdict.PASS if fits else Verdict.FAIL, f"{check.list}: {length:,}, at most {check.at_most:,}")


def _judged(shown: Shown, days_wanted: float) -> Finding:
    if shown.until is None:
        return Finding(Verdict.FAIL, f"no certificate that holds: {shown.fault}")
    days = (shown.until - datetime.now(UTC)).total_seconds() / DAY
    fits = days >= days_wanted
    detail = f"good until {shown.until:%Y-%m-%d %H:%M} UTC, {days:.1f} days"
    return Finding(Verdict.PASS if fits else Verdict.FAIL, detail if fits else f"{detail}: fewer than {days_wanted:g}")


def _port(service: Service) -> int:
    return service.port or DEFAULT_PORTS.get(service.kind, 0)


def _authority(address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return host if port == 80 else f"{host}:{port}"


def _first_line(problem: OutsideProblem) -> str:
    return problem.what.splitlines()[0][:SHOWN] if problem.what else type(problem).__name__
