"""What must hold of every plan, whatever the stack, the facts and the hosts."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrate.facts import Amount, BucketFacts, DatabaseFacts, ExportHosts, Facts, RateFacts
from migrate.forecast.basis import Basis
from migrate.forecast.forecast import Occasion, forecast
from migrate.forecast.result import Forecast, Standing
from migrate.forecast.schedule import Network, latest_begins
from migrate.inventory import Inventory
from migrate.plan import Plan
from migrate.planner import make_plan
from migrate.stack import Stack
from tests.plan_cases import GO, after, hosts_of

GB = 10**9
MOMENT = 1e-6
SLOW = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def stack_of(databases: int, trees: int, processes: int) -> Stack:
    """A stack with so many databases, media trees and processes that wait for all of them."""
    check = {"name": "up", "unit": "active"}
    services: dict[str, Any] = {}
    for n in range(databases):
        services[f"database{n}"] = {
            "kind": "postgresql", "group": f"db{n}", "unit": "postgresql.service", "port": 5432, "checks": [check]
        }  # fmt: skip
    for n in range(trees):
        services[f"media{n}"] = {
            "kind": "media", "group": f"store{n}", "unit": "nginx.service", "port": 8080, "write_port": 8081,
            "checks": [check],
        }  # fmt: skip
    before = list(services)
    for n in range(processes):
        services[f"app{n}"] = {
            "kind": "process", "group": "app", "unit": f"app{n}.service", "release": "app", "command": "serve",
            "after": before, "checks": [check],
        }  # fmt: skip
    return Stack.model_validate({
        "name": "any", "site": "http://any/",
        "buckets": {"backups": {"holds": "backups"}, "releases": {"holds": "releases"},
                    **{f"tree{n}": {"holds": "media"} for n in range(trees)}},
        "databases": {f"data{n}": {"service": f"database{n}", "owner": "app", "password": "secret",
                                   "dump": {"bucket": "backups", "pattern": "*"}} for n in range(databases)},
        "media": {f"tree{n}": {"bucket": f"tree{n}", "service": f"media{n}", "password": "secret",
                               "url": "http://any/", "old_urls": []} for n in range(trees)},
        "releases": {"app": {"artifact": {"bucket": "releases", "pattern": "*"}, "user": "app"}},
        "secrets": {"secret": None},
        "services": services,
    })  # fmt: skip


stacks = st.builds(stack_of, st.integers(0, 5), st.integers(0, 4), st.integers(1, 3))
sizes = st.integers(0, 50_000)
gigabits = st.floats(0.01, 100)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Stack, Inventory, Facts]:
    """A stack, hosts for it and facts about all of it."""
    stack = draw(stacks)
    counts = {group: draw(st.integers(1, 30)) for group in stack.groups()}
    facts = Facts(
        buckets={n: BucketFacts(objects=draw(sizes), bytes=draw(sizes) * GB) for n in stack.buckets},
        databases={n: DatabaseFacts(bytes=draw(sizes) * GB) for n in stack.databases},
        line=RateFacts(rate=draw(gigabits) * GB / 8, spread=draw(st.floats(1, 3))),
    )
    return stack, hosts_of(stack, counts, {}), facts


def foretell(situation: tuple[Stack, Inventory, Facts], lanes: int = 4, hours: float = 30) -> tuple[Plan, Forecast]:
    stack, inventory, facts = situation
    plan = make_plan(stack, inventory, facts)
    return plan, forecast(plan, Basis(stack, inventory, facts, lanes=lanes), Occasion(GO, GO, after(hours * 3600)))


@SLOW
@given(situations(), st.integers(1, 8))
def test_no_step_begins_before_what_it_requires(situation: tuple[Stack, Inventory, Facts], lanes: int) -> None:
    plan, found = foretell(situation, lanes)
    rows = {row.id: row for row in found.steps}
    for step in plan.steps:
        begins = rows[step.id].begins_seconds
        assert begins is not None
        assert all((rows[before].ends_seconds or 0) <= begins + 0.01 for before in step.requires)


@SLOW
@given(situations(), st.integers(1, 8))
def test_never_more_steps_at_once_than_lanes(situation: tuple[Stack, Inventory, Facts], lanes: int) -> None:
    plan, found = foretell(situation, lanes)
    spans = [
        (row.begins_seconds or 0.0, row.ends_seconds or 0.0)
        for step, row in zip(plan.steps, found.steps, strict=True)
        if not step.needs_old_home
    ]
    assert all(sum(b <= at < e - 0.01 for b, e in spans) <= lanes for at, _ in spans)


@SLOW
@given(situations(), st.floats(1, 10))
def test_more_bandwidth_never_finishes_later(situation: tuple[Stack, Inventory, Facts], wider: float) -> None:
    """With a lane for every step: with fewer, any list of work can take longer when one piece of it takes less
    (Graham, 1966); the steps that need the old home have a lane of their own and are never bitten by it."""
    stack, inventory, facts = situation
    assert facts.line
    more = facts.model_copy(update={"line": facts.line.model_copy(update={"rate": facts.line.rate * wider})})
    for lanes, reached in ((1, ("out",)), (500, ("out", "up", "proved"))):
        _, narrow = foretell((stack, inventory, facts), lanes)
        _, wide = foretell((stack, inventory, more), lanes)
        for before, now in zip(narrow.finishes, wide.finishes, strict=True):
            if before.what in reached:
                assert now.p10_seconds <= before.p10_seconds * (1 + MOMENT)
                assert now.p50_seconds <= before.p50_seconds * (1 + MOMENT)
                assert now.p90_seconds <= before.p90_seconds * (1 + MOMENT)


def with_remedy(facts: Facts, line: float | None, hosts: int | None) -> Facts:
    """The facts if there were that line, of all hosts together, or that number of hosts like the one that is there."""
    one = facts.export or ExportHosts()
    changed = facts.model_copy(update={"export": one.model_copy(update={"hosts": hosts or one.hosts})})
    if not line or facts.line is None:
        return changed
    wide = facts.line.model_copy(update={"rate": line / (hosts or one.hosts)})
    uplink = facts.uplink and facts.uplink.model_copy(update={"rate": line})
    return changed.model_copy(update={"line": wide, "uplink": uplink})


@SLOW
@given(situations(), st.floats(0.1, 300), st.booleans())
def test_what_is_said_to_make_it_makes_it(
    situation: tuple[Stack, Inventory, Facts], hours: float, has_uplink: bool
) -> None:
    stack, inventory, facts = situation
    if has_uplink and facts.line:
        facts = facts.model_copy(update={"uplink": facts.line})
    _, found = foretell((stack, inventory, facts), hours=hours)
    assert found.deadline
    both = found.deadline.together_p50
    for line, hosts in (
        (found.deadline.line_p50, None),
        (None, found.deadline.export_hosts_p50),
        (both.line if both else None, both.export_hosts if both else None),
    ):
        if line is not None or hosts is not None:
            _, then = foretell((stack, inventory, with_remedy(facts, line, hosts)), hours=hours)
            assert then.deadline
            assert (then.deadline.slack_p50_seconds or 0) >= -1


@SLOW
@given(situations(), st.floats(0.1, 300))
def test_what_is_missed_has_an_answer(situation: tuple[Stack, Inventory, Facts], hours: float) -> None:
    """A verdict and the advice under it never speak of two different things."""
    _, found = foretell(situation, hours=hours)
    assert found.deadline
    if found.deadline.standing is not Standing.MISSED:
        assert not found.deadline.orders
        return
    assert found.deadline.line is not None
    assert found.deadline.line_p50 is None or found.deadline.line_p50 > found.deadline.line
    assert found.deadline.line_p50 != 0
    assert found.deadline.export_hosts_p50 is None or found.deadline.export_hosts_p50 > found.deadline.export_hosts
    assert found.deadline.left_behind
    assert len(found.deadline.orders) == 3


@SLOW
@given(situations(), st.floats(0.1, 300))
def test_no_step_may_begin_later_than_what_waits_for_it_or_than_the_go(
    situation: tuple[Stack, Inventory, Facts], hours: float
) -> None:
    plan, found = foretell(situation, hours=hours)
    assert found.deadline
    rows = {row.id: row for row in found.steps}
    bound = {name: row.last_begin for name, row in rows.items() if row.last_begin}
    assert found.deadline.go_by
    assert abs((min(bound.values()) - found.deadline.go_by).total_seconds()) < 0.01
    for step in plan.steps:
        for before in step.requires:
            if step.id in bound and before in bound:
                assert bound[before] <= bound[step.id]


@SLOW
@given(situations())
def test_out_is_at_p90_never_before_the_median_and_verdicts_follow(situation: tuple[Stack, Inventory, Facts]) -> None:
    _, found = foretell(situation)
    assert found.deadline
    for finish in found.finishes:
        assert finish.p10_seconds <= finish.p50_seconds <= finish.p90_seconds
    missed = (found.deadline.slack_p50_seconds or 0) < 0
    assert (found.deadline.standing is Standing.MISSED) is missed
    assert not (found.deadline.left_behind and not missed)


@SLOW
@given(situations(), st.integers(1, 8))
def test_float_is_what_a_step_can_wait_for_nothing(situation: tuple[Stack, Inventory, Facts], lanes: int) -> None:
    plan, _ = foretell(situation)
    network = Network(plan, lanes)
    durations = [step.estimate.seconds if step.estimate else 0.0 for step in plan.steps]
    timeline = network.place(durations)
    end = max(timeline.ends)
    latest = latest_begins(network, timeline, durations, end)
    assert all(late >= begin - 1e-3 for late, begin in zip(latest, timeline.begins, strict=True))
    assert min(late - begin for late, begin in zip(latest, timeline.begins, strict=True)) < 1e-3


@SLOW
@given(situations(), situations())
def test_the_digest_changes_when_and_only_when_stack_inventory_or_steps_do(
    one: tuple[Stack, Inventory, Facts], other: tuple[Stack, Inventory, Facts]
) -> None:
    bucket = BucketFacts(objects=1, bytes=1, versions=Amount(objects=1, bytes=1))
    seen = other[2].model_copy(update={"buckets": dict.fromkeys(one[0].buckets, bucket), "databases": {}})
    first, again = make_plan(*one), make_plan(one[0], one[1], seen)
    assert first.digest == again.digest
    second = make_plan(*other)
    same = (one[0].digest, one[1].digest) == (other[0].digest, other[1].digest)
    assert (first.digest == second.digest) is same
    fewer = Plan(first.stack_digest, first.inventory_digest, first.steps[:-1])
    assert fewer.digest != first.digest
    told = replace(first.steps[0], title="something else")
    assert Plan(first.stack_digest, first.inventory_digest, (told, *first.steps[1:])).digest != first.digest


@SLOW
@given(situations())
def test_a_kept_plan_is_the_same_plan(situation: tuple[Stack, Inventory, Facts]) -> None:
    plan, _ = foretell(situation)
    assert Plan.from_document(plan.as_document(), "plan.json") == plan
