"""The adapter with the real ansible-playbook, whose tasks run on this machine or nowhere."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from migrate.adapters.ansible import AnsiblePlaybooks
from migrate.adapters.ansiblefolder import KEPT_RUNS
from migrate.errors import GateHeld, Interrupted, Unreachable
from migrate.inventory import Inventory, read_inventory
from migrate.ports import PlayResult
from migrate.secret import Secret, Secrets

PASSWORD = "{{ not a template }} hunter2hunter2"
SECRETS = Secrets({"api-key": Secret(PASSWORD)})
pytestmark = pytest.mark.skipif(
    not Path("/usr/bin/python3").exists(), reason="no /usr/bin/python3 for Ansible's modules"
)


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """Two hosts that are this machine, without SSH: a connection in host_vars stands above the adapter's own."""
    (tmp_path / "host_vars").mkdir()
    for name in ("one", "two"):
        (tmp_path / "host_vars" / f"{name}.yml").write_text("ansible_connection: local\n")
    (tmp_path / "hosts.yml").write_text(
        "all: {hosts: {one: {ansible_host: 127.0.0.1}, two: {ansible_host: 127.0.0.1}}}\n"
    )
    return read_inventory(tmp_path / "hosts.yml")


SSH = """#!/bin/sh
echo "$*" >>{log}
while [ "$1" != 127.0.0.1 ]; do shift; done
shift
exec sh -c "$*"
"""


@pytest.fixture
def over_ssh(tmp_path: Path) -> Inventory:
    """A host that is this machine, by a program in the place of ssh that writes down how it was called."""
    program = tmp_path / "ssh"
    program.write_text(SSH.format(log=tmp_path / "called"))
    program.chmod(0o700)
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "one.yml").write_text(
        f"ansible_ssh_executable: {program}\nansible_host_key_checking: false\n"
    )
    (tmp_path / "hosts.yml").write_text("all: {hosts: {one: {ansible_host: 127.0.0.1}}}\n")
    return read_inventory(tmp_path / "hosts.yml")


def playbook(folder: Path, *tasks: str) -> Path:
    path = folder / "play.yml"
    path.write_text("- hosts: all\n  gather_facts: false\n  tasks:\n" + "".join(f"    - {task}\n" for task in tasks))
    return path


def run(tmp_path: Path, inventory: Inventory, *tasks: str, **options: object) -> PlayResult:
    adapter = AnsiblePlaybooks(tmp_path / "state" / "ansible")
    path = playbook(tmp_path, *tasks)
    return adapter.run(path, inventory, variables={"plain": "{{ 1 }}"}, secrets=SECRETS, **options)  # type: ignore[arg-type]


def artifacts(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "state").rglob("*") if path.is_file()]


def test_variables_and_secrets_arrive_and_nothing_of_them_stays(
    tmp_path: Path, inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "cloud-key-of-the-operator")
    monkeypatch.setenv("ANSIBLE_STRATEGY", "no-such-strategy")
    copy = (
        "{name: Keep, ansible.builtin.copy: {content: '{{ secret_api_key }}', "
        f"dest: '{tmp_path}/kept-{{{{ inventory_hostname }}}}', mode: '0600'}}}}"
    )
    before = dict(os.environ), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    result = run(tmp_path, inventory, copy)
    assert (dict(os.environ), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert result and result.changed == 2 and result.hosts["two"].changed_tasks == ("Keep",)
    assert (tmp_path / "kept-one").read_text() == PASSWORD
    held = [p for p in artifacts(tmp_path) if b"hunter2" in p.read_bytes() or b"cloud-key" in p.read_bytes()]
    assert held == []
    assert not run(tmp_path, inventory, copy).changed
    command = json.loads(next((tmp_path / "state").rglob("command")).read_text())
    assert command["env"]["ANSIBLE_HOST_KEY_CHECKING"] == "True" and "hunter2" not in " ".join(command["command"])
    assert (tmp_path / "state" / "ansible").stat().st_mode & 0o777 == 0o700


def test_a_dry_run_changes_nothing_and_the_next_run_is_a_real_one(tmp_path: Path, inventory: Inventory) -> None:
    copy = f"ansible.builtin.copy: {{content: x, dest: {tmp_path}/made, mode: '0600'}}"
    assert run(tmp_path, inventory, copy, check=True).changed == 2
    assert not (tmp_path / "made").exists()
    assert run(tmp_path, inventory, copy).changed
    assert (tmp_path / "made").exists()


def test_a_failed_task_is_in_the_result_of_its_host(tmp_path: Path, inventory: Inventory) -> None:
    task = "{name: Break, ansible.builtin.fail: {msg: 'no {{ secret_api_key }}'}, when: inventory_hostname == 'two'}"
    result = run(tmp_path, inventory, task)
    assert not result and result.hosts["one"].failed == 0
    assert result.hosts["two"].failed == 1 and result.hosts["two"].failure == "Break: no •••"
    kept = [path for path in artifacts(tmp_path) if b"hunter2" in path.read_bytes()]
    assert kept == []


def test_a_playbook_that_ansible_cannot_read_is_told_in_its_own_words(tmp_path: Path, inventory: Inventory) -> None:
    with pytest.raises(GateHeld, match="no_such_module"):
        run(tmp_path, inventory, "ansible.builtin.no_such_module: {}")


def test_hosts_that_the_playbook_does_not_include_are_failures(tmp_path: Path, inventory: Inventory) -> None:
    path = tmp_path / "other.yml"
    path.write_text(
        "- hosts: one\n  gather_facts: false\n  tasks: [{ansible.builtin.meta: noop}, {ansible.builtin.ping: }]\n"
    )
    result = AnsiblePlaybooks(tmp_path / "state").run(path, inventory, variables={}, secrets=SECRETS)
    assert not result and result.hosts["one"].ok == 1 and "no task ran on it" in result.hosts["two"].failure


def test_only_the_hosts_of_the_limit_are_touched(tmp_path: Path, inventory: Inventory) -> None:
    result = run(tmp_path, inventory, "ansible.builtin.ping: {}", limit=["two"])
    assert list(result.hosts) == ["two"] and result.hosts["two"].ok == 1


def test_silent_hosts_are_unreachable(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {far: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    with pytest.raises(Unreachable, match=r"far: .*: the connection ended: ssh: .*Connection refused"):
        run(tmp_path, read_inventory(tmp_path / "hosts.yml"), "ansible.builtin.ping: {}")


def test_no_inventory_turns_off_that_host_keys_are_checked(tmp_path: Path, over_ssh: Inventory) -> None:
    assert run(tmp_path, over_ssh, "ansible.builtin.ping: {}")
    [called] = (tmp_path / "called").read_text().splitlines()
    words = called.partition(" 127.0.0.1 ")[0]
    assert "StrictHostKeyChecking yes" in words and "StrictHostKeyChecking=yes" in words
    assert "StrictHostKeyChecking no" not in words and "HostsFile /dev/null" not in words
    assert "ServerAliveInterval 15" in words and "ServerAliveCountMax 4" in words


def test_one_connection_serves_a_run_and_a_proof_by_ssh_itself_makes_another(
    tmp_path: Path, over_ssh: Inventory
) -> None:
    proof = "{ansible.builtin.wait_for_connection: {timeout: 20}, vars: {ansible_connection: ansible.builtin.ssh}}"
    assert run(tmp_path, over_ssh, *["ansible.builtin.ping: {}"] * 5)
    assert len((tmp_path / "called").read_text().splitlines()) == 1
    assert run(tmp_path, over_ssh, "ansible.builtin.ping: {}", proof)
    assert len((tmp_path / "called").read_text().splitlines()) > 2


@pytest.mark.parametrize("way", ["inventory", "over_ssh"])
def test_cancelling_ends_the_run_in_seconds(tmp_path: Path, way: str, request: pytest.FixtureRequest) -> None:
    inventory: Inventory = request.getfixturevalue(way)
    begun = tmp_path / "begun"
    task = (
        f"{{name: Sleep, ansible.builtin.command: {{argv: [sh, -c, 'touch {begun}; sleep 60']}}, changed_when: false}}"
    )
    began = time.monotonic()
    with pytest.raises(Interrupted) as stop:
        run(tmp_path, inventory, task, cancelled=begun.exists)
    assert time.monotonic() - began < 30 and stop.value.exit_code == 130
    assert not list((tmp_path / "state").rglob("env"))
    assert not playbooks_that_run(tmp_path / "play.yml"), "a worker outlived its run"


def test_a_run_that_overruns_its_bound_is_ended_and_names_the_task(tmp_path: Path, inventory: Inventory) -> None:
    with pytest.raises(Unreachable, match="at: Sleep"):
        run(tmp_path, inventory, "{name: Sleep, ansible.builtin.command: sleep 60, changed_when: false}", timeout=8.0)
    assert not playbooks_that_run(tmp_path / "play.yml"), "a worker outlived its run"


def test_it_works_beside_another_run_in_a_thread_of_its_own(tmp_path: Path, inventory: Inventory) -> None:
    results: list[PlayResult] = []
    threads = [
        threading.Thread(target=lambda: results.append(run(tmp_path, inventory, "ansible.builtin.ping: {}")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [bool(result) for result in results] == [True, True]


KILLED = """
import sys
from pathlib import Path
from tests.unit.test_ansible_runs import SECRETS
from migrate.adapters.ansible import AnsiblePlaybooks
from migrate.inventory import read_inventory
folder = Path(sys.argv[1])
AnsiblePlaybooks(folder / "state" / "ansible").run(folder / "play.yml", read_inventory(folder / "hosts.yml"),
    variables={}, secrets=SECRETS, on_task=lambda task: print(task, flush=True))
"""


def test_after_kill_9_nothing_runs_on_and_the_next_run_removes_the_secrets(
    tmp_path: Path, inventory: Inventory
) -> None:
    path = playbook(tmp_path, f"{{name: Sleep, ansible.builtin.command: sleep 61, args: {{chdir: {tmp_path}}}}}")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as child:
        assert child.stdout and child.stdout.readline() == "Sleep\n"
        child.kill()
    deadline = time.monotonic() + 10
    while playbooks_that_run(path):
        assert time.monotonic() < deadline, "ansible-playbook outlived the process that started it"
        time.sleep(0.1)
    assert any(b"hunter2" in file.read_bytes() for file in artifacts(tmp_path)), (
        "the kill came too late to prove anything"
    )
    run(tmp_path, inventory, "ansible.builtin.ping: {}")
    assert [file for file in artifacts(tmp_path) if b"hunter2" in file.read_bytes()] == []


def playbooks_that_run(path: Path) -> list[str]:
    lines = subprocess.run(
        ["ps", "-ww", "-eo", "stat,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [line for line in lines if str(path) in line and "ansible-playbook" in line and not line.startswith("Z")]


def test_the_folders_of_old_runs_are_bounded(tmp_path: Path, inventory: Inventory) -> None:
    folder = tmp_path / "state" / "ansible"
    for number in range(KEPT_RUNS + 5):
        (folder / f"20200101T0000{number:02d}-play-{number:08d}").mkdir(parents=True)
    run(tmp_path, inventory, "ansible.builtin.ping: {}")
    assert len(list(folder.iterdir())) == KEPT_RUNS
