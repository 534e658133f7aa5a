"""Backups, as data: what can be restored, who keeps what, and what is said where nobody could look."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from migrate.check import Verdict
from migrate.cli.recover import moment_of
from migrate.errors import DocumentProblems, GateHeld, OutsideProblem, Unreachable, UsageProblem
from migrate.inventory import Host, Inventory
from migrate.manifest import read_stack
from migrate.planner import make_plan
from migrate.ports import Completed
from migrate.secret import Secret, Secrets
from migrate.servicechecks import BackupCheck
from migrate.target.backups import BackupsAsked, full_backup_is_young, moment_is_young, stands_apart
from migrate.target.recovery import Recovery, backup_before
from migrate.target.repository import SWITCH_SLACK, Holdings, NewestMoment, read_holdings, read_newest_moment
from migrate.target.variables import provision_variables
from tests.homes import PLAZA
from tests.ownsecrets import OWN_SECRETS_OF_TESTS

STACK = read_stack(PLAZA)
SECRETS = Secrets({**OWN_SECRETS_OF_TESTS, **{name: Secret(f"value-of-{name}") for name in STACK.secrets}})
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
SEGMENT = "0000000100000000000000"
STATE: dict[str, Any] = {
    "now": NOON.timestamp(), "archives": True, "in_recovery": False, "timeout": 60, "last": f"{SEGMENT}05",
    "began": 1.0, "last_ended_at": None, "waiting": 0, "waiting_since": None,
}  # fmt: skip
INFO: dict[str, Any] = {
    "name": "database",
    "status": {"code": 0, "message": "ok"},
    "db": [{"id": 1, "version": "13"}, {"id": 2, "version": "15"}],
    "archive": [{"id": "13-1", "max": f"{SEGMENT}FF"}, {"id": "15-2", "max": f"{SEGMENT}05"}],
    "backup": [
        {"label": "20260103F", "type": "full", "error": False, "info": {"size": 100}, "database": {"id": 2},
         "timestamp": {"start": 0, "stop": int((NOON - timedelta(days=7)).timestamp())}},
        {"label": "20260103F_20260109I", "type": "incr", "error": False, "info": {"size": 200}, "database": {"id": 2},
         "timestamp": {"start": 0, "stop": int((NOON - timedelta(days=1)).timestamp())}},
        {"label": "20260103F_20260110I", "type": "incr", "error": True, "info": {"size": 200}, "database": {"id": 2},
         "timestamp": {"start": 0, "stop": int(NOON.timestamp())}},
    ],
}  # fmt: skip


def seconds_back(**changes: Any) -> float | None:
    behind = read_newest_moment(json.dumps({**STATE, **changes})).behind
    return behind.total_seconds() if behind is not None else None


def before_noon(seconds: float) -> float:
    return NOON.timestamp() - seconds


@pytest.mark.parametrize(
    ("changes", "back"),
    [
        ({"last_ended_at": before_noon(3)}, 3),
        ({"last_ended_at": before_noon(9000)}, 60 + SWITCH_SLACK),
        ({"last_ended_at": before_noon(9000), "began": before_noon(8000)}, 9000),
        ({"waiting": 4, "waiting_since": before_noon(600), "last_ended_at": before_noon(630)}, 630),
        ({"waiting": 4, "waiting_since": before_noon(600), "last_ended_at": before_noon(9000)}, 660 + SWITCH_SLACK),
        ({"waiting": 4, "waiting_since": before_noon(600)}, None),
        ({"timeout": 0, "last_ended_at": before_noon(9000)}, 9000),
        ({}, None),
    ],
    ids=[
        "a segment that has just ended says more than the timeout",
        "a quiet night loses nothing",
        "what was written before a restart is not sent until something is written after it",
        "what waits is not restorable",
        "what waits after a quiet night is as young as a segment can be",
        "nothing is certain where nothing is known to have gone",
        "without a timeout only ended segments count",
        "nothing was ever archived",
    ],
)
def test_the_newest_moment_is_what_is_certain(changes: dict[str, Any], back: float | None) -> None:
    assert seconds_back(**changes) == back


@pytest.mark.parametrize(("change", "why"), [({"in_recovery": True}, "standby"), ({"archives": False}, "archive_mode")])
def test_a_server_that_archives_nothing_is_not_asked_for_a_moment(change: dict[str, Any], why: str) -> None:
    with pytest.raises(OutsideProblem, match=why):
        seconds_back(**change)


def holdings(**changes: Any) -> Holdings:
    return read_holdings(json.dumps([{**INFO, **changes}]), "database")


def test_what_the_repository_holds_is_that_of_its_newest_cluster_and_without_failed_backups() -> None:
    found = holdings()
    assert (found.newest_wal, found.fault) == (f"{SEGMENT}05", "")
    assert [backup.label for backup in found.backups] == ["20260103F", "20260103F_20260109I"]
    assert found.newest_full and found.newest_full.stopped_at == NOON - timedelta(days=7)
    assert {backup.version for backup in found.backups} == {"15"}
    assert holdings(status={"code": 2, "message": "no valid backups"}).fault == "no valid backups"


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"name": "database"}]', "null"])
def test_an_answer_that_makes_no_sense_is_none(text: str) -> None:
    with pytest.raises(OutsideProblem, match="makes no sense"):
        read_holdings(text, "database")


def test_a_full_backup_is_held_against_its_bound() -> None:
    assert full_backup_is_young(holdings(), timedelta(days=8), NOON) == (
        False, "full backup of 2026-01-03 12:00:00+00:00",
    )  # fmt: skip
    assert full_backup_is_young(holdings(), timedelta(days=6), NOON)[0]
    assert full_backup_is_young(holdings(backup=[]), timedelta(days=8), NOON) == (True, "no full backup")


def test_a_backup_of_the_cluster_before_an_upgrade_can_be_restored_and_is_not_one_of_the_cluster_now() -> None:
    upgraded = holdings(
        db=[*INFO["db"], {"id": 3, "version": "17"}], archive=[*INFO["archive"], {"id": "17-3", "max": ""}]
    )
    assert full_backup_is_young(upgraded, timedelta(days=8), NOON) == (True, "no full backup")
    assert moment_is_young(moment(1, ""), upgraded, timedelta(minutes=10))[0]
    assert backup_before(upgraded, NOON).version == "15"


def moment(back: float, segment: str = f"{SEGMENT}05", waiting: int = 0) -> NewestMoment:
    return NewestMoment(NOON - timedelta(seconds=back), NOON, waiting, segment)


def test_the_newest_moment_is_held_against_its_bound_and_said() -> None:
    within = timedelta(minutes=10)
    assert moment_is_young(moment(65), holdings(), within) == (False, "restorable up to 2026-01-10 11:58:55+00:00")
    fault, words = moment_is_young(moment(3600, waiting=9), holdings(), within)
    assert fault and words == "restorable up to 2026-01-10 11:00:00+00:00, 3,600 s back, 9 segments of WAL wait"


def test_what_the_server_calls_archived_must_be_in_the_repository() -> None:
    fault, words = moment_is_young(moment(1, f"{SEGMENT}06"), holdings(), timedelta(minutes=10))
    assert fault and f"{SEGMENT}06 is archived, says the server" in words
    assert not moment_is_young(moment(1, f"00000002{SEGMENT[8:]}05"), holdings(), timedelta(minutes=10))[0]


def test_without_a_backup_no_moment_can_be_restored() -> None:
    assert moment_is_young(moment(1), holdings(backup=[]), timedelta(minutes=10))[0]


def test_copies_on_the_machine_that_they_are_copies_of_do_not_stand_apart() -> None:
    db, ops = Host("db1", "192.0.2.1", ()), Host("ops1", "192.0.2.5", ())
    assert stands_apart(ops, [db]) == (False, "kept on ops1, apart from db1")
    fault, words = stands_apart(db, [db, ops])
    assert fault and "they go with it" in words


class Silent:
    """Hosts of which one does not answer; the others say what the repository holds."""

    def __init__(self, silent: str) -> None:
        self.silent = silent

    def run(self, host: Host, command: list[str], **options: Any) -> Completed:
        if host.name == self.silent:
            raise Unreachable("no answer", where=host.name)
        said = json.dumps([INFO]) if "info" in command else "success"
        return Completed(host.name, " ".join(command), 0, said, "")


def inventory(**hosts: tuple[str, ...]) -> Inventory:
    numbered = enumerate(hosts.items(), start=1)
    return Inventory(Path("hosts.yml"), {n: Host(n, f"192.0.2.{i}", groups) for i, (n, groups) in numbered})


FLEET = inventory(
    db1=("database", "cache"), db2=("database",), app=("app", "worker"), edge=("edge", "media", "mail"), ops=("backup",)
)


@pytest.mark.parametrize("silent", ["ops", "db1"])
def test_where_nobody_answers_nothing_is_known(silent: str) -> None:
    asked = BackupsAsked(STACK, FLEET, Silent(silent))  # type: ignore[arg-type]
    verdict, words = asked.verdict(BackupCheck(newest_moment_within=600))
    assert verdict is Verdict.UNKNOWN and words == f"{silent}: no answer"


def test_a_fault_that_was_found_is_not_hidden_by_a_host_that_is_silent() -> None:
    asked = BackupsAsked(STACK, FLEET, Silent("db1"))  # type: ignore[arg-type]
    verdict, words = asked.verdict(BackupCheck(newest_moment_within=600, full_within=1.0))
    assert verdict is Verdict.FAIL and "older than" in words


def test_the_repository_and_every_host_of_the_database_are_told_of_each_other_and_of_nobody_else() -> None:
    given = provision_variables(STACK, FLEET, SECRETS)
    told = {name: host["pgbackrest"] for name, host in given.variables["cloudexit_hosts"].items()}
    private = {name: own.get("pgbackrest") for name, own in json.loads(given.secrets["hosts"].reveal()).items()}
    rules = {name: host["firewall"]["rules"] for name, host in given.variables["cloudexit_hosts"].items()}
    assert told["app"] is told["edge"] is private["app"] is private["edge"] is None
    assert told["ops"]["is_repository"] and not told["ops"]["own_stanza"]
    assert [host["name"] for host in told["ops"]["stanzas"][0]["hosts"]] == ["db1", "db2"]
    assert told["db2"]["own_stanza"] == "database" and told["db2"]["repository"]["name"] == "ops"
    assert private["ops"] == {"cipher_pass": SECRETS["cloudexit_backup"].reveal()}
    assert private["db1"] == private["db2"] == {"cipher_pass": ""}
    assert {"port": 8432, "sources": ["192.0.2.1", "192.0.2.2"]} in rules["ops"]
    assert [rule for rule in rules["db2"] if rule["port"] == 8432] == [{"port": 8432, "sources": ["192.0.2.5"]}]


def test_on_one_machine_no_port_is_opened_for_backups() -> None:
    one = inventory(home=("database", "cache", "app", "worker", "edge", "media", "mail", "backup"))
    host = provision_variables(STACK, one, SECRETS).variables["cloudexit_hosts"]["home"]
    assert host["pgbackrest"]["is_repository"] and host["pgbackrest"]["own_stanza"] == "database"
    assert 8432 not in [rule["port"] for rule in host["firewall"]["rules"]]


def test_a_home_without_a_host_for_backups_gets_none_of_it() -> None:
    without = inventory(data=("database", "cache"), app=("app", "worker"), edge=("edge", "media", "mail"))
    hosts = provision_variables(STACK, without, SECRETS).variables["cloudexit_hosts"]
    assert [host["pgbackrest"] for host in hosts.values()] == [None] * 3


def test_a_second_repository_is_refused() -> None:
    two = inventory(db=("database",), ops1=("backup",), ops2=("backup",))
    with pytest.raises(UsageProblem, match="more than one repository"):
        provision_variables(STACK, two, SECRETS)


def test_the_first_backup_is_made_when_everything_is_proved_and_before_the_service_starts() -> None:
    steps = {step.id: step for step in make_plan(STACK, FLEET).steps}
    assert steps["restore.backup.backup"].requires == ("provision.hosts", "restore.database.plaza.proof")
    assert "restore.backup.backup" in steps["start.backup"].requires


def test_a_moment_is_reached_from_the_newest_backup_that_ended_before_it() -> None:
    assert backup_before(holdings(), NOON).label == "20260103F_20260109I"
    assert backup_before(holdings(), None).label == "20260103F_20260109I"
    assert backup_before(holdings(), NOON - timedelta(days=1)).label == "20260103F"
    with pytest.raises(GateHeld, match="the oldest backup was made after that moment"):
        backup_before(holdings(), NOON - timedelta(days=8))
    with pytest.raises(GateHeld, match="there is no backup"):
        backup_before(holdings(backup=[]), None)


@pytest.mark.parametrize(("service", "on"), [("cache", "ops"), ("database", "app"), ("database", "nowhere")])
def test_only_hosts_that_may_read_the_repository_rebuild_a_cluster(service: str, on: str) -> None:
    with pytest.raises(UsageProblem, match=f"'{service}'|'{on}'"):
        Recovery(STACK, FLEET, Silent("")).recover(service, on, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["yesterday", "2026-01-10T12:00:00", "2999-01-10T12:00:00Z", ""])
def test_what_is_no_moment_of_the_past_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        moment_of(text)


def test_moments_are_read_with_their_zone() -> None:
    assert moment_of("2026-01-10T13:00:00+01:00") == NOON
    assert moment_of("newest") is None


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("kind: backup\n", "kind: monitor\n", "a backup check is for a service of kind backup"),
        ("backup: {apart: true}", "backup: {}", "one of newest_moment_within, full_within, apart"),
        ("port: 8432\n", "port: 8432\n    full_backups_kept: 0\n", "greater than or equal to 1"),
    ],
)
def test_a_manifest_that_asks_for_no_backup_is_refused(tmp_path: Path, old: str, new: str, what: str) -> None:
    text = PLAZA.read_text()
    assert old in text
    (tmp_path / "stack.yaml").write_text(text.replace(old, new))
    with pytest.raises(DocumentProblems) as refused:
        read_stack(tmp_path / "stack.yaml")
    assert what in str(refused.value)
