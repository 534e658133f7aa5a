"""Disposable hosts, for real: they boot, answer, are frozen, cut off, survive their maker and leave nothing behind."""

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import migrate
from migrate.errors import GateHeld, LockHeld, Missing, Unreachable, UsageProblem
from migrate.inventory import read_inventory
from migrate.lab import DEBIAN_PACKAGES, HostSpec, HostState, Lab
from migrate.lab.command import call, succeeds
from migrate.lab.files import remove_tree
from migrate.lab.launcher import launcher_of_this_machine

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

Ssh = Callable[[Lab, str, str], str]
TWO = [HostSpec("data", ("database", "cache")), HostSpec("edge", ("edge", "media"))]


@pytest.fixture(scope="module")
def two(module_lab: Lab) -> Lab:
    module_lab.up(TWO)
    return module_lab


def traces(lab: Lab) -> list[str]:
    """Everything of a lab that can still be seen on this machine."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(lab.folder) in line]
    links = [link["ifname"] for link in json.loads(call(["ip", "-json", "link"]))]
    ports = [name for name in links if name == lab.network.bridge or name.startswith(f"vb-{lab.name}-")]
    tables = [line for line in call(["nft", "list", "tables"]).splitlines() if lab.network.table in line]
    units = launcher_of_this_machine().names(f"cloudexit-{lab.name}.")
    folders = [str(lab.folder)] if lab.folder.exists() else []
    return [*mounts, *ports, *tables, *units, *folders]


def test_hosts_are_up_with_systemd_and_their_planned_addresses(two: Lab, ssh: Ssh) -> None:
    planned = two.plan(TWO)
    hosts = {host.name: host for host in two.hosts()}
    assert {name: host.address for name, host in hosts.items()} == planned
    assert {host.state for host in hosts.values()} == {HostState.RUNNING}
    for name, address in planned.items():
        assert ssh(two, name, "systemctl is-system-running") == "running"
        assert ssh(two, name, "hostname") == name
        assert address in ssh(two, name, "ip -brief address show dev host0")
        assert ssh(two, name, "python3 -c 'import apt, sys; print(sys.version_info[:2])'") == "(3, 11)"
    ids = {ssh(two, name, "cat /etc/machine-id") for name in planned}
    assert len(ids) == 2


def test_a_host_that_runs_is_kept(two: Lab, ssh: Ssh) -> None:
    before = {host.name: host.pid for host in two.hosts()}
    assert {host.name: host.pid for host in two.up(TWO)} == before
    assert None not in before.values()


def test_hosts_know_each_other_by_name(two: Lab, ssh: Ssh) -> None:
    answer = ssh(two, "data", "python3 -c \"import socket; print(socket.create_connection(('edge', 22), 5).recv(8))\"")
    assert "SSH-2.0" in answer


def test_hosts_reach_the_package_mirror_through_the_nat(two: Lab, ssh: Ssh) -> None:
    assert "Err:" not in ssh(two, "edge", "apt-get update 2>&1")


def test_the_stacks_packages_install_without_the_network(two: Lab, ssh: Ssh) -> None:
    ssh(two, "data", "ip route delete default && apt-get install --yes --quiet redis-server 2>&1")
    assert ssh(two, "data", "redis-cli ping") == "PONG"


def test_a_host_has_its_own_packet_filter_and_network_settings(two: Lab, ssh: Ssh) -> None:
    ssh(two, "edge", "nft add table inet own && sysctl -qw net.core.somaxconn=1000")
    assert "table inet own" in ssh(two, "edge", "nft list tables")
    assert "inet own" not in call(["nft", "list", "tables"])


def test_the_inventory_leads_ansible_arguments_to_the_hosts(two: Lab, tmp_path: Path) -> None:
    path = two.write_inventory(tmp_path / "hosts.yml", hosts=["edge"], extra_groups={"new_home": ["edge"]})
    inventory = read_inventory(path)
    assert list(inventory.hosts) == ["edge"]
    assert inventory.hosts["edge"].groups == ("edge", "media", "new_home")
    assert inventory.hosts["edge"].known_hosts == two.known_hosts


def test_a_host_with_another_key_is_refused(two: Lab) -> None:
    address = two.get("data").address
    pinned = two.known_hosts.read_text()
    other = two.known_hosts.with_name("other")
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in pinned.splitlines()}
    wrong = next(key for host, key in lines.items() if host != address)
    other.write_text(f"{address} {wrong}\n")
    argv = [word.replace(str(two.known_hosts), str(other)) for word in two.ssh_argv("data")]
    done = subprocess.run([*argv, "true"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_the_lock_of_a_lab_names_its_holder(two: Lab) -> None:
    with two._locked("a test"), pytest.raises(LockHeld, match=rf"lab a test, process {os.getpid()}"):
        Lab(two.name).stop("data")


def test_a_host_cut_off_runs_on_alone_until_up_lets_it_in(lab: Lab, ssh: Ssh) -> None:
    lab.up(TWO)
    pid = lab.get("data").pid
    lab.cut_off("data")
    assert lab.is_cut_off("data")
    assert not lab.is_cut_off("edge")
    assert lab.get("data").state is HostState.CUT_OFF
    assert lab.get("data").pid == pid
    assert not succeeds(["timeout", "5", *lab.ssh_argv("data"), "true"])
    lab.up(TWO)
    assert not lab.is_cut_off("data")
    assert ssh(lab, "data", "hostname") == "data"
    assert lab.get("data").pid == pid


def test_a_stopped_host_keeps_its_disk(lab: Lab, ssh: Ssh) -> None:
    lab.up(TWO[:1])
    ssh(lab, "data", "echo kept >/root/note")
    lab.stop("data")
    assert lab.get("data").state is HostState.STOPPED
    assert lab.is_cut_off("data")
    lab.up(TWO[:1])
    assert ssh(lab, "data", "cat /root/note") == "kept"


def test_a_crashed_host_boots_again_from_its_disk(lab: Lab, ssh: Ssh) -> None:
    pid = lab.up(TWO[:1])[0].pid
    assert pid is not None
    ssh(lab, "data", "echo kept >/root/note && sync")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: lab.get("data").state is HostState.STOPPED)
    assert lab.up(TWO[:1])[0].state is HostState.RUNNING
    assert ssh(lab, "data", "cat /root/note") == "kept"


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not so within {seconds} s"
        time.sleep(0.02)


@pytest.fixture
def image(lab: Lab) -> Iterator[str]:
    name = f"img-{lab.name}"
    yield name
    lab.down()
    lab.remove_image(name)


def test_a_frozen_host_is_an_image_without_its_identity(lab: Lab, ssh: Ssh, image: str) -> None:
    lab.up(TWO[:1])
    ssh(lab, "data", "mkdir /srv/app && echo made >/srv/app/note && mv /srv/app /srv/moved && rm /etc/fstab")
    key = ssh(lab, "data", "cat /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert not lab.has_image(image)
    frozen = lab.freeze("data", image)
    assert lab.has_image(image)
    assert lab.get("data").state is HostState.PLANNED
    for file in ("etc/ssh/ssh_host_ed25519_key", "etc/machine-id", "root/.ssh/authorized_keys", "etc/hostname"):
        assert not (frozen.layers[0] / file).exists(), file

    clones = [HostSpec("one", image=image), HostSpec("two", image=image)]
    lab.up(clones)
    for clone in ("one", "two"):
        assert (
            ssh(lab, clone, "cat /srv/moved/note; test -e /etc/fstab || echo gone; hostname") == f"made\ngone\n{clone}"
        )
        assert ssh(lab, clone, "cat /etc/ssh/ssh_host_ed25519_key.pub").split()[1] != key
    with pytest.raises(GateHeld, match="already"):
        lab.freeze("one", image)
    with pytest.raises(GateHeld, match="stands on this image"):
        lab.remove_image(image)


def test_an_image_of_an_image_keeps_both_layers(lab: Lab, ssh: Ssh, image: str) -> None:
    second = f"{image}.2"
    lab.up(TWO[:1])
    ssh(lab, "data", "echo first >/srv/first")
    lab.freeze("data", image)
    lab.up([HostSpec("data", image=image)])
    ssh(lab, "data", "echo second >/srv/second")
    lab.freeze("data", second)
    lab.up([HostSpec("data", image=second)])
    assert ssh(lab, "data", "cat /srv/first /srv/second") == "first\nsecond"
    lab.down()
    lab.remove_image(second)
    assert not lab.has_image(second)


def test_what_is_not_there_is_said(lab: Lab) -> None:
    with pytest.raises(Missing, match="no host 'nobody'"):
        lab.stop("nobody")
    with pytest.raises(Missing, match="no image 'none'"):
        lab.up([HostSpec("data", image="none")])
    lab.up(TWO[:1])
    with pytest.raises(UsageProblem, match="stands on image 'base'"):
        lab.up([HostSpec("data", image="none")])


def test_down_leaves_nothing_and_touches_no_other_lab(lab: Lab, two: Lab, ssh: Ssh) -> None:
    lab.up(TWO)
    assert traces(lab)
    lab.down()
    assert traces(lab) == []
    lab.down()
    assert {host.state for host in two.hosts()} == {HostState.RUNNING}
    assert ssh(two, "edge", "hostname") == "edge"


NEVER_READS = "import socket; s = socket.create_server(('', 7777)); c = s.accept(); __import__('time').sleep(600)"
SENDS_FOREVER = "import socket, sys; socket.create_connection((sys.argv[1], 7777)).sendall(bytes(1 << 26))"


def test_a_host_that_had_something_left_to_send_can_be_made_again(lab: Lab, ssh: Ssh) -> None:
    addresses = {host.name: host.address for host in lab.up(TWO)}
    ssh(lab, "data", f'systemd-run --quiet python3 -c "{NEVER_READS}"')
    ssh(lab, "edge", f'systemd-run --quiet python3 -c "{SENDS_FOREVER}" {addresses["data"]}')
    ssh(lab, "edge", "until ss -Htn dport = 7777 | awk '{exit !($3 > 0)}'; do sleep 0.1; done")
    lab.cut_off("data")
    lab.down()
    assert traces(lab) == []
    assert {host.state for host in lab.up(TWO)} == {HostState.RUNNING}


def test_a_strangers_bridge_is_never_touched(lab: Lab) -> None:
    call(["ip", "link", "add", "name", lab.network.bridge, "type", "bridge"])
    try:
        with pytest.raises(GateHeld, match="is not this lab's"):
            lab.up(TWO[:1])
        with pytest.raises(GateHeld, match="is not this lab's"):
            lab.down()
        assert Path("/sys/class/net", lab.network.bridge).exists()
    finally:
        call(["ip", "link", "delete", lab.network.bridge])


INNER_LAB = textwrap.dedent(
    """
    import json, os, subprocess, sys
    from pathlib import Path
    from migrate.lab import HostSpec, Lab, doctor
    lab = Lab("inner", Path("/lab"))
    if sys.argv[1] == "base":
        print(lab.images.base)
        sys.exit()
    states = lambda: [host.state.value for host in lab.hosts()]
    specs = [HostSpec("a"), HostSpec("b")]
    story = {"control groups": next(r.detail for r in doctor(lab.root) if r.name == "control groups")}
    lab.up(specs)
    story["up"] = states()
    story["inside"] = subprocess.check_output([*lab.ssh_argv("a"), "systemctl is-system-running"], text=True).strip()
    fetched = subprocess.check_output([*lab.ssh_argv("a"), "apt-get update 2>&1"], text=True)
    story["mirror"] = "fails" if "Err:" in fetched or "Failed" in fetched else "answers"
    lab.stop("a")
    story["stopped"] = states()
    os.kill(lab.get("b").pid, 9)
    lab.up(specs)
    story["again"] = states()
    lab.down()
    listing = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "cloudexit-*"]
    story["left"] = subprocess.check_output(listing, text=True).strip()
    story["filter"] = subprocess.check_output(["iptables", "-S", "FORWARD"], text=True).strip()
    print(json.dumps(story))
    """
)


def test_the_lab_works_on_a_machine_that_systemd_runs(lab: Lab, ssh: Ssh, base_image: Path, tmp_path: Path) -> None:
    """A disposable host is such a machine, with a filter that drops what is forwarded, as Docker's does; a lab within
    it uses units of its systemd, and gets through."""
    lab.up([HostSpec("machine")])
    packages = " ".join([*DEBIAN_PACKAGES, "python3-yaml", "iptables"])
    ssh(lab, "machine", f"apt-get update -q && apt-get install -yq {packages} && mkdir -p /lab /code")
    ssh(lab, "machine", "mount -t tmpfs -o size=6G tmpfs /lab && iptables -P FORWARD DROP")
    script = tmp_path / "inner.py"
    script.write_text(INNER_LAB)

    def copy(source: str, target: str) -> None:
        *shell, address = lab.ssh_argv("machine")
        call(
            ["rsync", "-aH", "--exclude=__pycache__", "-e", shlex.join(shell), source, f"{address}:{target}"],
            timeout=120,
        )

    copy(str(Path(migrate.__file__).parent), "/code/")
    copy(str(script), "/code/")
    base = ssh(lab, "machine", "cd /code && python3 inner.py base")
    ssh(lab, "machine", f"mkdir -p {base}")
    copy(f"{base_image}/", base)
    story = json.loads(ssh(lab, "machine", "cd /code && python3 inner.py story"))
    assert story == {
        "control groups": "SystemdUnits",
        "up": ["running", "running"],
        "inside": "running",
        "mirror": "answers",
        "stopped": ["stopped", "running"],
        "again": ["running", "running"],
        "left": "",
        "filter": "-P FORWARD DROP",
    }


# The child kills itself, as kill -9 does, right before its nth outward act: a program, a rename, a connection.
KILLED_CHILD = textwrap.dedent(
    """
    import os, signal, sys
    from migrate.lab import HostSpec, Lab
    lab, acts_left, what, image = Lab(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    def watch(event, arguments):
        global acts_left
        if event in ("subprocess.Popen", "os.rename", "socket.connect"):
            acts_left -= 1
            if acts_left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    lab.images.base
    sys.addaudithook(watch)
    {"up": lambda: lab.up([HostSpec("data")]), "freeze": lambda: lab.freeze("data", image), "down": lab.down}[what]()
    """
)


def killed_before(lab: Lab, act: int, what: str, image: str = "") -> bool:
    """True when the child was killed; False when it had fewer acts, and so ended well."""
    argv = [sys.executable, "-c", KILLED_CHILD, lab.name, str(act), what, image]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def test_up_works_after_kill_9_before_any_of_its_acts(lab: Lab, ssh: Ssh) -> None:
    act = 0
    while killed_before(lab, act, "up"):
        (host,) = lab.up([HostSpec("data")])
        assert host.state is HostState.RUNNING
        assert ssh(lab, "data", "systemctl is-system-running") == "running"
        assert launcher_of_this_machine().names(f"cloudexit-{lab.name}.") == [f"cloudexit-{lab.name}.data"]
        lab.down()
        assert traces(lab) == []
        act += 1
    assert act > 10


def test_down_works_after_kill_9_before_any_of_its_acts(lab: Lab) -> None:
    act = 0
    lab.up([HostSpec("data")])
    while killed_before(lab, act, "down"):
        lab.down()
        assert traces(lab) == []
        lab.up([HostSpec("data")])
        act += 1
    assert act > 3
    assert traces(lab) == []


def test_freeze_is_done_or_not_after_kill_9(lab: Lab, ssh: Ssh, image: str) -> None:
    act = 0
    lab.up([HostSpec("data")])
    while killed_before(lab, act, "freeze", image):
        made = lab.has_image(image)
        lab.down()
        (host,) = lab.up([HostSpec("data", image=image if made else None)])
        assert host.state is HostState.RUNNING
        lab.down()
        lab.remove_image(image)
        lab.up([HostSpec("data")])
        act += 1
    assert act > 3
    assert lab.has_image(image)


def test_a_host_that_cannot_boot_is_shown_by_its_console(lab: Lab, ssh: Ssh, image: str) -> None:
    lab.up(TWO[:1])
    ssh(lab, "data", "ln -sf /usr/bin/false /usr/lib/systemd/systemd; ln -sf /usr/bin/false /sbin/init")
    lab.freeze("data", image)
    with pytest.raises(Unreachable, match="lab host data") as fault:
        lab.up([HostSpec("data", image=image)])
    assert str(lab.folder / "hosts" / "data" / "console.log") in fault.value.hint


def test_a_killed_build_of_the_base_image_leaves_nothing_that_hurts(lab_machine: None, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from migrate.lab import Lab\n"
        "Lab('build', Path(sys.argv[1]), cached_packages=(), progress=lambda m: print(m, flush=True)).prepare()"
    )
    builder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with builder:
        assert builder.stdout is not None
        while "building the base image" not in builder.stdout.readline():
            assert builder.poll() is None
        wait_until(lambda: any(tmp_path.glob("images/.building-*/root/var/lib/dpkg/status")), 60)
        builder.kill()
    building = next(tmp_path.glob("images/.building-*"))
    wait_until(lambda: not succeeds(["pgrep", "-f", str(building)]))
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()

    again = Lab("build", tmp_path, cached_packages=())
    assert not again.images.has_base()
    base = again.prepare()
    assert (base / "root/usr/sbin/sshd").exists()
    assert [path.name for path in (tmp_path / "images").glob(".building-*")] == []
    remove_tree(tmp_path / "images")
