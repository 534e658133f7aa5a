"""How a release goes over many hosts: in which order, what happens to a bad one, and what a kill leaves behind."""

import pytest
import yaml

from migrate.action import StepContext
from migrate.adapters.postgresql import PsycopgClient
from migrate.adapters.redis import RedisClient
from migrate.check import ChecksHeld, Verdict
from migrate.errors import GateHeld, Unreachable
from migrate.inventory import Inventory
from migrate.stack import Stack
from migrate.target import rolling
from migrate.target.checks import ServiceChecks
from migrate.target.releasehome import ReleaseHome
from migrate.target.standing import REMEMBERED, Installed, history_with
from migrate.target.waves import waves_of
from tests.homes import PLAZA
from tests.hosts_in_memory import HostsInMemory, Machine, inventory_with
from tests.local_hosts import secrets_of_tests

OLD, FIRST, NEW = (Installed(version, letter * 64) for version, letter in (("1", "a"), ("0", "b"), ("2", "c")))
CONTEXT = StepContext()
BOTH = ("app", "worker")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "STEADY_SECONDS", 0.0)
    monkeypatch.setattr(rolling, "REJOIN_SECONDS", 0.0)


@pytest.fixture(scope="module")
def stack() -> Stack:
    document = yaml.safe_load(PLAZA.read_text())
    for check in document["services"]["web"]["checks"]:
        check["within"] = "10ms"
    return Stack.model_validate(document)


def folder(release: Installed) -> str:
    return f"/srv/plaza/releases/{release.folder_name}"


def machines(*names: str) -> HostsInMemory:
    """Hosts that run the release OLD, with FIRST before it, and have NEW installed."""
    return HostsInMemory({name: Machine(folder(OLD), folder(OLD), (FIRST, OLD), {FIRST, OLD, NEW}) for name in names})


def home_of(stack: Stack, hosts: HostsInMemory, inventory: Inventory | None = None) -> ReleaseHome:
    inventory = inventory or inventory_with(dict.fromkeys(hosts.machines, BOTH))
    checks = ServiceChecks(
        stack, inventory, secrets_of_tests(), hosts, hosts, PsycopgClient(), RedisClient(), sleep=lambda seconds: None
    )
    return ReleaseHome(hosts, checks, stack, inventory, "plaza")


def test_one_host_goes_first_and_the_others_by_thirds(stack: Stack) -> None:
    names = [f"app{number}" for number in range(1, 9)]
    waves = waves_of(stack, "plaza", list(inventory_with(dict.fromkeys(names, BOTH)).hosts.values()))
    assert [len(wave.hosts) for wave in waves] == [1, 3, 3, 1]
    assert waves[0].services == ("worker", "web")


def test_hosts_of_what_others_wait_for_go_before_them(stack: Stack) -> None:
    inventory = inventory_with({"app1": ("app",), "app2": ("app",), "worker1": ("worker",), "worker2": ("worker",)})
    order = [[host.name for host in wave.hosts] for wave in waves_of(stack, "plaza", list(inventory.hosts.values()))]
    assert order == [["worker1"], ["worker2"], ["app1"], ["app2"]]


def test_a_good_release_is_proved_on_every_host_and_what_was_long_before_goes(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert hosts.restarted == ["app1 worker", "app1 web", "app2 worker", "app2 web"]
    assert home_of(stack, hosts).verdict(NEW) is Verdict.PASS
    assert all(one.history == (FIRST, OLD, NEW) and not one.closed for one in hosts.machines.values())
    assert home_of(stack, hosts).release_before() == OLD


def test_the_history_has_an_end_and_each_release_stands_there_once() -> None:
    many = tuple(Installed(str(number), "d" * 64) for number in range(REMEMBERED))
    assert history_with(many, NEW) == (*many[1:], NEW)
    assert history_with((OLD, NEW), OLD) == (NEW, OLD)


def test_a_home_has_moved_on_from_a_release_that_it_ran_before(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home = home_of(stack, hosts)
    assert [home.has_moved_on_from(one) for one in (FIRST, OLD, NEW)] == [True, False, False]
    hosts.machines["app2"].wanted = hosts.machines["app1"].wanted = False
    assert not home.has_moved_on_from(FIRST)


def test_a_release_that_is_bad_on_the_first_host_touches_no_other(stack: Stack) -> None:
    hosts = machines("app1", "app2", "app3")
    hosts.is_bad = lambda host, runs: runs == folder(NEW)
    with pytest.raises(ChecksHeld) as held:
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert held.value.what.startswith("plaza 2 is not healthy and was taken back, now app1 runs 1-aaaaaaaa: app1: web:")
    assert "last words of 2-cccccccc" in held.value.hint
    assert {line.split()[0] for line in hosts.restarted} == {"app1"}
    assert home_of(stack, hosts).verdict(OLD) is Verdict.PASS


def test_a_release_that_is_bad_on_a_later_host_is_taken_back_from_all(stack: Stack) -> None:
    hosts = machines("app1", "app2", "app3", "app4")
    hosts.is_bad = lambda host, runs: host == "app3" and runs == folder(NEW)
    with pytest.raises(ChecksHeld, match="now app3 runs 1-aaaaaaaa, app2 runs 1-aaaaaaaa, app1 runs 1-aaaaaaaa"):
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert not [line for line in hosts.restarted if line.startswith("app4")]
    assert all(one.runs == folder(OLD) for one in hosts.machines.values())
    assert home_of(stack, hosts).verdict(OLD) is Verdict.PASS


def test_a_host_that_is_ill_with_both_releases_stays_closed_and_is_named(stack: Stack) -> None:
    hosts = machines("app1", "app2", "app3")
    hosts.is_bad = lambda host, runs: host == "app2"
    with pytest.raises(ChecksHeld) as held:
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert "now app1 runs 1-aaaaaaaa; still to be mended: app2: web: healthy" in held.value.what
    assert [name for name, one in hosts.machines.items() if one.closed] == ["app2"]


def test_the_last_host_that_answers_is_not_taken_back(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    hosts.is_bad = lambda host, runs: host == "app2"
    with pytest.raises(ChecksHeld, match=r"could not be taken back.*app1: it stays as it is, for no other host"):
        home_of(stack, hosts).roll(NEW, CONTEXT)
    assert hosts.machines["app1"].runs == folder(NEW) and not hosts.machines["app1"].closed


def test_a_host_that_is_lost_stops_the_roll_and_the_next_one_goes_on(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home = home_of(stack, hosts)
    standings = home.look
    hosts.lost = set()

    def lose_second(host: str, runs: str) -> bool:
        hosts.lost = {"app2"}
        return False

    hosts.is_bad = lose_second
    with pytest.raises(Unreachable):
        home.roll(NEW, CONTEXT)
    hosts.lost, hosts.is_bad = set(), lambda host, runs: False
    assert [one.proved for one in standings().values()] == [OLD, OLD]
    hosts.restarted.clear()
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert hosts.restarted == ["app2 worker", "app2 web"]


def test_a_single_host_is_not_closed_for_nobody_else_would_answer(stack: Stack) -> None:
    hosts = machines("app1")
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert home_of(stack, hosts).verdict(NEW) is Verdict.PASS


def test_a_host_on_which_nothing_runs_is_switched_and_left_so(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    for one in hosts.machines.values():
        one.wanted = False
    home_of(stack, hosts).roll(NEW, CONTEXT)
    assert hosts.restarted == []
    assert home_of(stack, hosts).verdict(NEW) is Verdict.PASS


def test_a_roll_that_dies_anywhere_is_ended_by_the_next_and_the_site_stays_open(stack: Stack) -> None:
    whole = machines("app1", "app2", "app3")
    home_of(stack, whole).roll(NEW, CONTEXT)
    for call in range(1, whole.calls + 1):
        hosts = machines("app1", "app2", "app3")
        hosts.dies_at = call
        with pytest.raises(KeyboardInterrupt):
            home_of(stack, hosts).roll(NEW, CONTEXT)
        home_of(stack, hosts).roll(NEW, CONTEXT)
        assert home_of(stack, hosts).verdict(NEW) is Verdict.PASS, call
        assert all(one.runs == folder(NEW) and not one.closed for one in hosts.machines.values()), call


def test_a_roll_that_dies_anywhere_and_turns_out_bad_goes_back_to_what_was_proved(stack: Stack) -> None:
    call = 0
    while True:
        call += 1
        hosts = machines("app1", "app2")
        hosts.dies_at = call
        with pytest.raises(KeyboardInterrupt):
            home_of(stack, hosts).roll(NEW, CONTEXT)
        if hosts.restarted[-1:] == ["app2 web"]:
            break
        hosts.is_bad = lambda host, runs: host == "app2" and runs == folder(NEW)
        with pytest.raises(ChecksHeld, match="app1 runs 1-aaaaaaaa"):
            home_of(stack, hosts).roll(NEW, CONTEXT)
        assert all(one.runs == one.current == folder(OLD) for one in hosts.machines.values()), call
    assert call > 10


def test_a_rollback_takes_the_last_release_out_of_what_was_proved(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    home = home_of(stack, hosts)
    home.roll(home.release_before(), CONTEXT)
    assert all(one.history == (FIRST,) and one.runs == folder(FIRST) for one in hosts.machines.values())
    with pytest.raises(GateHeld, match="no release of plaza before"):
        home_of(stack, hosts).release_before()


def test_a_rollback_names_the_host_that_never_had_the_release(stack: Stack) -> None:
    hosts = machines("app1", "app2")
    hosts.machines["app2"].installed.discard(FIRST)
    with pytest.raises(GateHeld, match="plaza 0 is not installed there") as held:
        home_of(stack, hosts).refuse_without(FIRST)
    assert held.value.where == "app2"
