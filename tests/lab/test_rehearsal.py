"""One whole rehearsal by the command itself: what its report must hold, and what is true on the hosts it leaves."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.drill import PLAZA, Drill, cloudexit

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def rows(drill: Drill, kind: str) -> list[dict[str, object]]:
    return [row for row in drill.report["steps"] if row["kind"] == kind]


def on(drill: Drill, host: str, command: str) -> "subprocess.CompletedProcess[str]":
    argv = drill.lab.ssh_argv(host)
    return subprocess.run([*argv, command], capture_output=True, text=True, timeout=60, check=False)


def test_everything_was_proved(undisturbed: Drill) -> None:
    assert undisturbed.report["proved"] is True
    assert undisturbed.report["exit_code"] == 0
    waited = {row["id"] for row in undisturbed.report["steps"] if row["outcome"] != "done"}
    assert waited <= {"start.database", "start.cache", "start.mail"}, (
        "only what provisioning has started may be found running"
    )


def test_every_object_is_accounted_for(undisturbed: Drill) -> None:
    for bucket, counts in undisturbed.report["objects"].items():
        assert counts["verified"] == counts["listed"] > 0, bucket
        assert counts["quarantined"] == counts["archived"] == counts["unverified"] == 0
    assert undisturbed.report["objects"]["plaza-media"]["listed"] >= 2000


def test_the_community_is_as_large_as_promised(undisturbed: Drill) -> None:
    proof = next(row for row in undisturbed.report["steps"] if row["id"] == "restore.database.plaza.proof")
    record = next(Path(p) for p in _dump_records(undisturbed))
    tables = json.loads(record.read_text())["tables"]
    assert tables["public.users"] >= 500
    assert tables["public.posts"] >= 10_000
    assert tables["public.likes"] + tables["public.follows"] >= 30_000
    assert tables["public.images"] >= 1_000
    assert proof["detail"]["rows"] == sum(tables.values())


def _dump_records(drill: Drill) -> list[Path]:
    folder = drill.state / "rehearsal" / "archive" / "plaza-backups" / "objects" / "postgresql"
    return sorted(folder.glob("*.dump.json"), reverse=True)


def test_old_addresses_were_found_and_rewritten(undisturbed: Drill) -> None:
    rewritten = undisturbed.report["rewritten"]["plaza"]
    assert rewritten["values"] == sum(rewritten["rewritten"].values()) > 1000
    assert rewritten["rewritten"]["public.images.url"] >= 1000


def test_recovery_is_measured_basic_before_drained(undisturbed: Drill) -> None:
    rto = undisturbed.report["rto"]
    assert 0 < rto["basic_seconds"] <= rto["drained_seconds"]


def test_the_loss_is_what_was_written_after_the_dump(undisturbed: Drill) -> None:
    lag = undisturbed.report["rpo"]["plaza"]["lag"]
    assert lag["rows_missing"] > 0, "the old home's users went on writing"
    assert lag["newest_missing"]
    taken_at = json.loads(_dump_records(undisturbed)[0].read_text())["taken_at"]
    assert lag["newest_missing"] > taken_at[:19]


def test_the_old_home_is_off(undisturbed: Drill) -> None:
    old = undisturbed.lab.get("old")
    assert old.state.value == "stopped"
    assert undisturbed.lab.is_cut_off("old")


def test_checks_and_the_journey_passed_with_the_old_home_off(undisturbed: Drill) -> None:
    off = next(row for row in undisturbed.report["steps"] if row["id"] == "cutover.switch-off")
    late = [row for row in undisturbed.report["steps"] if row["phase"] == "prove"]
    assert all(row["started_at"] >= off["ended_at"] for row in late)
    names = [check["name"] for check in undisturbed.report["checks"] if check["step"] == "prove.journey.member"]
    assert names == [
        "sign-in", "read-timeline", "load-image", "no-old-address",
        "post-with-image", "thumbnail", "follower-sees-post",
    ]  # fmt: skip


def test_a_second_provisioning_changed_nothing(undisturbed: Drill) -> None:
    drift = rows(undisturbed, "prove.drift")[0]
    assert drift["detail"]["changed"] == 0  # type: ignore[index]


def test_the_page_shows_all_of_it(undisturbed: Drill) -> None:
    for word in ("RTO", "RPO", "addresses rewritten", "plaza-media", "prove.journey.member", "outcome: done, proved"):
        assert word in undisturbed.page


def test_check_finds_the_new_home_healthy_by_itself(undisturbed: Drill, tmp_path: Path) -> None:
    """`cloudexit check` against the same hosts, as one would every morning."""
    inventory = undisturbed.state / "rehearsal" / "hosts.yml"
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "secrets.json").write_text((undisturbed.state / "rehearsal" / "secrets.json").read_text())
    (state / "archive").symlink_to(undisturbed.state / "rehearsal" / "archive")
    done = cloudexit("check", PLAZA, "-i", inventory, "--state", state, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["proved"] is True


@pytest.fixture
def state_beside(undisturbed: Drill, tmp_path: Path) -> Path:
    """A state folder with the drill's secrets and nothing else."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "secrets.json").write_text((undisturbed.state / "rehearsal" / "secrets.json").read_text())
    return state


def test_ansible_foretells_that_a_finished_home_needs_nothing(undisturbed: Drill, state_beside: Path) -> None:
    inventory = undisturbed.state / "rehearsal" / "hosts.yml"
    done = cloudexit("plan", PLAZA, "-i", inventory, "--state", state_beside, "--predict", "--json")
    assert done.returncode == 0, done.stderr
    foretold = {row["host"]: row for row in json.loads(done.stdout)["forecast"]["predictions"]}
    assert {host: (row["changes"], row["problem"]) for host, row in foretold.items()} == dict.fromkeys(
        ("app", "data", "edge"), (0, "")
    ), foretold


def test_a_probe_measures_the_line_to_a_host_and_what_is_free_there(
    undisturbed: Drill, state_beside: Path, account: str
) -> None:
    inventory = undisturbed.state / "rehearsal" / "hosts.yml"
    done = cloudexit("plan", PLAZA, "-i", inventory, "--state", state_beside, "--probe", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    steps = {step["id"]: step["estimate"] for step in document["steps"]}
    limits = [limit for stretch in steps["restore.media.plaza"]["stretches"] for limit in stretch]
    assert ["by SSH to" in limit["source"] for limit in limits if limit["figure"] == "inside"] == [True]
    room = {(line["where"], line["resource"]): line for line in document["forecast"]["room"]}
    for where in ("database+cache", "worker+app"):
        for resource in ("disk", "memory", "ports"):
            line = room[where, resource]
            assert (line["verdict"], line["ground"]) == ("pass", "measured"), line
            assert line["source"].startswith("probe, ")


def test_no_secret_stands_in_what_was_kept_or_logged(undisturbed: Drill) -> None:
    secrets = json.loads((undisturbed.state / "rehearsal" / "secrets.json").read_text())
    assert len(secrets) >= 4
    kept = [
        path for path in undisturbed.state.rglob("*")
        if path.is_file() and path.name != "secrets.json" and "archive" not in path.parts
    ]  # fmt: skip
    assert kept
    for path in kept:
        content = path.read_bytes()
        for name, value in secrets.items():
            assert value.encode() not in content, f"{name} stands in {path}"
    for host in ("data", "app", "edge"):
        logs = on(undisturbed, host, "journalctl --no-pager; ps -eo args")
        assert logs.returncode == 0
        for name, value in secrets.items():
            assert value not in logs.stdout, f"{name} stands in the logs or process list of {host}"


@pytest.mark.parametrize(
    ("origin", "target", "port", "opens"),
    [
        ("app", "data", 5432, True), ("app", "data", 6379, True), ("app", "edge", 8081, True),
        ("edge", "app", 8000, True), ("edge", "data", 5432, False), ("edge", "data", 6379, False),
        ("data", "app", 8000, False), ("data", "edge", 8081, False), ("data", "edge", 80, True),
    ],
)  # fmt: skip
def test_the_firewall_opens_what_the_stack_needs_and_nothing_else(
    undisturbed: Drill, origin: str, target: str, port: int, opens: bool
) -> None:
    address = undisturbed.lab.get(target).address
    probe = f"import socket; socket.create_connection(('{address}', {port}), timeout=2)"
    done = on(undisturbed, origin, f'python3 -c "{probe}"')
    assert (done.returncode == 0) is opens, done.stderr
