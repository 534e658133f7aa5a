"""The manifest's checks: retried within their bound, `unknown` where nobody could look."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from migrate.check import Severity, Verdict
from migrate.errors import Interrupted, OutsideProblem, Refused, Unreachable
from migrate.inventory import Host, Inventory
from migrate.ports import Expected, HttpReply, Shown
from migrate.secret import Secret
from migrate.target.checks import ServiceChecks
from tests.local_hosts import GROUPS, LocalHosts, inventory_of_one, secrets_of_tests, stack_with


@dataclass
class World:
    """Answers of http, postgresql and redis, each a list that is used up to its last entry; what they were asked."""

    answers: list[Any]
    asked: list[Any] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def _next(self, *asked: Any) -> Any:
        self.asked.append(asked)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OutsideProblem):
            raise answer
        return answer

    def get(self, url: str, *, timeout: float, expected: Expected | None = None) -> HttpReply:
        answer: HttpReply = self._next(url, timeout, expected) if expected else self._next(url, timeout)
        return answer

    def certificate(self, address: str, port: int, expected: Expected, *, timeout: float) -> Shown:
        answer: Shown = self._next(address, port, expected)
        return answer

    def query(
        self, port: int, database: str, user: str, password: Secret, sql: str, *, timeout: float
    ) -> list[tuple[Any, ...]]:
        answer: list[tuple[Any, ...]] = self._next(port, database, user, password.reveal(), sql, timeout)
        return answer

    def ping(self, port: int, password: Secret, *, timeout: float, tls: bool = False) -> bool:
        return bool(self._next("ping", port, password.reveal()))

    def list_length(self, port: int, password: Secret, key: str, *, timeout: float, tls: bool = False) -> int:
        return int(self._next("length", port, password.reveal(), key))

    def key_count(self, port: int, password: Secret, *, timeout: float, tls: bool = False) -> int:
        return int(self._next("keys"))

    def info(self, port: int, password: Secret, *, timeout: float, tls: bool = False) -> dict[str, Any]:
        said: dict[str, Any] = self._next("info", tls)
        return said

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass
class Tunnels:
    """ports.Hosts of which only tunnels are used; a port leads to itself plus 10000."""

    problem: OutsideProblem | None = None
    opened: list[tuple[str, int]] = field(default_factory=list)

    @contextmanager
    def tunnel(self, host: Host, port: int) -> Iterator[int]:
        if self.problem:
            raise self.problem
        self.opened.append((host.name, port))
        yield port + 10000


def reply(status: int = 200, body: bytes = b"fine") -> HttpReply:
    return HttpReply(status, {}, body)


def checks_of(world: World, hosts: Any, service: str, *checks: dict[str, Any], **changes: Any) -> ServiceChecks:
    stack = stack_with(**{f"services__{service}__checks": list(checks)}, **changes)
    inventory = inventory_of_one("192.0.2.7")
    return ServiceChecks(stack, inventory, secrets_of_tests(), hosts, world, world, world, world.sleep)


HTTP = {"name": "healthy", "http": {"path": "/healthz", "contains": "fine"}, "within": "3s"}
SQL = {"name": "answers", "postgresql": {"database": "plaza", "query": "SELECT true"}, "within": "3s"}
QUEUE = {"name": "drained", "redis": {"cache": "plaza", "list": "jobs", "at_most": 2}, "within": "3s"}


def test_the_first_attempt_is_made_at_once() -> None:
    world, tunnels = World([reply()]), Tunnels()
    [result] = checks_of(world, tunnels, "media", HTTP).of_service("media")
    assert (result.verdict, result.attempts, result.host) == (Verdict.PASS, 1, "here")
    assert world.slept == [] and world.asked == [("http://127.0.0.1:18080/healthz", 5.0)]
    assert tunnels.opened == [("here", 8080)]


def test_a_check_is_repeated_until_it_passes() -> None:
    world = World([Unreachable("refused"), reply(502), reply(200, b"soon"), reply()])
    [result] = checks_of(world, Tunnels(), "media", HTTP).of_service("media")
    assert result and result.attempts == 4 and len(world.slept) == 3


def test_waiting_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([reply(503, b"no database")])
    began = time.monotonic()
    clock = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: began + next(clock))
    [result] = checks_of(world, Tunnels(), "media", HTTP).of_service("media")
    assert result.verdict is Verdict.FAIL and result.holds
    assert 2 <= result.attempts <= 4
    assert "/healthz answers 503, not 200: no database" in result.detail
    assert "journalctl -u nginx-media.service" in result.hint


def test_an_impatient_evaluation_makes_one_attempt() -> None:
    world = World([reply(503), reply()])
    [result] = checks_of(world, Tunnels(), "media", HTTP).of_service("media", patient=False)
    assert not result and result.attempts == 1 and world.slept == []


def test_what_nobody_could_look_at_is_unknown() -> None:
    world = World([reply()])
    [result] = checks_of(world, Tunnels(Unreachable("no SSH")), "media", HTTP).of_service("media", patient=False)
    assert result.verdict is Verdict.UNKNOWN and result.holds and "SSH" in result.hint
    assert world.asked == []


def test_a_service_that_does_not_answer_failed() -> None:
    world = World([Unreachable("connection refused")])
    [result] = checks_of(world, Tunnels(), "media", HTTP).of_service("media", patient=False)
    assert result.verdict is Verdict.FAIL and result.detail == "connection refused"


def test_an_edge_is_asked_at_its_public_address() -> None:
    world, tunnels = World([reply()]), Tunnels()
    checks_of(world, tunnels, "edge", HTTP).of_service("edge")
    assert world.asked == [("http://192.0.2.7/healthz", 5.0)] and tunnels.opened == []


def test_text_that_must_be_there() -> None:
    [result] = checks_of(World([reply(200, b"else")]), Tunnels(), "media", HTTP).of_service("media", patient=False)
    assert not result and "does not contain 'fine'" in result.detail


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [([(True,)], "pass"), ([(False,)], "fail"), ([(1,)], "fail"), ([(None,)], "fail"), ([], "fail")],
)
def test_a_query_must_say_true(rows: list[tuple[Any, ...]], verdict: str) -> None:
    world = World([rows])
    [result] = checks_of(world, Tunnels(), "database", SQL).of_service("database", patient=False)
    assert result.verdict == verdict
    assert world.asked == [(15432, "plaza", "plaza", "right-horse", "SELECT true", 5.0)]


def test_a_refused_sign_in_is_a_failure() -> None:
    world = World([Refused("sign-in refused")])
    [result] = checks_of(world, Tunnels(), "database", SQL).of_service("database", patient=False)
    assert (result.verdict, result.detail) == (Verdict.FAIL, "sign-in refused")


@pytest.mark.parametrize(("length", "verdict"), [(0, "pass"), (2, "pass"), (3, "fail")])
def test_a_queue_has_a_longest_length(length: int, verdict: str) -> None:
    world = World([length])
    [result] = checks_of(world, Tunnels(), "cache", QUEUE).of_service("cache", patient=False)
    assert result.verdict == verdict and world.asked == [("length", 16379, "right-horse", "jobs")]


def test_a_cache_is_pinged() -> None:
    world = World([True])
    [result] = checks_of(world, Tunnels(), "cache", {"name": "up", "redis": {"cache": "plaza"}}).of_service("cache")
    assert result and world.asked == [("ping", 16379, "right-horse")]


UNIT = {"name": "runs", "unit": "active", "within": "1s"}


@pytest.mark.parametrize(
    ("script", "verdict"), [("echo active", "pass"), ("echo failed; exit 3", "fail"), ("echo activating", "fail")]
)
def test_a_unit_is_asked_on_its_host(local_hosts: LocalHosts, script: str, verdict: str) -> None:
    (local_hosts.programs / "systemctl").write_text(f"#!/bin/sh\n{script}\n")
    [result] = checks_of(World([0]), local_hosts, "media", UNIT).of_service("media", patient=False)
    assert result.verdict == verdict and "nginx-media.service is" in result.detail
    local_hosts.down = True
    [result] = checks_of(World([0]), local_hosts, "media", UNIT).of_service("media", patient=False)
    assert result.verdict is Verdict.UNKNOWN


def test_every_host_of_the_group_is_looked_at_but_data_where_it_is() -> None:
    world, tunnels = World([reply()]), Tunnels()
    checks = checks_of(world, tunnels, "media", HTTP)
    two = {name: Host(name, f"192.0.2.{n}", GROUPS) for n, name in enumerate(("one", "two"))}
    checks = ServiceChecks(
        checks.stack, Inventory(Path("hosts.yml"), two), checks.secrets, checks.hosts, world, world, world
    )
    assert [result.host for result in checks.of_service("media")] == ["one", "two"]
    world.answers = [[(True,)]]
    stack = stack_with(services__database__checks=[SQL])
    checks = ServiceChecks(stack, checks.inventory, checks.secrets, checks.hosts, world, world, world)
    assert [result.host for result in checks.of_service("database")] == ["one"]


def test_a_query_is_asked_where_its_data_lives() -> None:
    world, tunnels = World([0]), Tunnels()
    stack = stack_with(services__media__group="media", services__media__checks=[QUEUE])
    two = {"data": Host("data", "192.0.2.1", ("database", "cache")), "web": Host("web", "192.0.2.2", ("media", "edge"))}
    hosts: Any = tunnels
    checks = ServiceChecks(
        stack, Inventory(Path("hosts.yml"), two), secrets_of_tests(), hosts, world, world, world, world.sleep
    )
    [result] = checks.of_service("media")
    assert result and result.host == "data" and tunnels.opened == [("data", 6379)]


def test_checks_are_chosen_by_what_they_prove() -> None:
    world = World([reply(200, b"fine")])
    later = {**HTTP, "name": "later", "proves": "drained", "severity": "warning"}
    checks = checks_of(world, Tunnels(), "media", HTTP, later)
    assert [result.name for result in checks.of_service("media", proves="basic")] == ["media: healthy"]
    [result] = checks.of_service("media", proves="drained")
    assert result.name == "media: later" and result.severity is Severity.WARNING
    assert len(checks.of_service("media")) == 2


def test_waiting_ends_when_it_is_cancelled() -> None:
    checks = checks_of(World([reply(503)]), Tunnels(), "media", HTTP)
    cancelled: Callable[[], bool] = lambda: True  # noqa: E731
    with pytest.raises(Interrupted):
        checks.of_service("media", cancelled=cancelled)


def test_all_checks_come_in_the_order_of_starting() -> None:
    class Everything(World):
        def query(self, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
            return [(True,)]

    world = Everything([reply()])
    stack = stack_with(
        services__database__checks=[SQL], services__cache__checks=[{"name": "up", "redis": {"cache": "plaza"}}],
        services__media__checks=[HTTP], services__edge__checks=[HTTP], services__media__after=["edge"],
    )  # fmt: skip
    checks = ServiceChecks(stack, inventory_of_one(), secrets_of_tests(), Tunnels(), world, world, world)  # type: ignore[arg-type]
    names = [result.name for result in checks.of_all()]
    assert names.index("edge: healthy") < names.index("media: healthy") and len(names) == 4
