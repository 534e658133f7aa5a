"""ports.Hosts over real SSH, on disposable hosts: as root, as a user with sudo, and as one without."""

import contextlib
import hashlib
import http.client
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from migrate.adapters import ssh
from migrate.adapters.ssh import SshHosts
from migrate.errors import Refused, Unreachable, UsageProblem
from migrate.inventory import Host, read_inventory
from migrate.lab import HostSpec, Lab

pytestmark = pytest.mark.lab
MAKE_USER = (
    "useradd --create-home --shell /bin/bash {user} && install -d -m 700 -o {user} -g {user} /home/{user}/.ssh && "
    "install -m 600 -o {user} -g {user} /root/.ssh/authorized_keys /home/{user}/.ssh/authorized_keys"
)


@pytest.fixture(scope="module")
def root_host(can_hold_hosts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    lab = Lab(f"s{secrets.token_hex(3)}")
    try:
        lab.prepare()
        lab.up([HostSpec("one", ("app",))])
        path = lab.write_inventory(tmp_path_factory.mktemp("inventory") / "hosts.yml", hosts=["one"], extra_groups={})
        yield read_inventory(path).hosts["one"]
    finally:
        lab.down()


@pytest.fixture(scope="module")
def sudo_host(root_host: Host) -> Host:
    with SshHosts() as hosts:
        script = MAKE_USER.format(user="rescuer") + " && echo 'rescuer ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/rescuer"
        assert hosts.run(root_host, ["sh", "-c", script])
    return replace(root_host, user="rescuer")


@pytest.fixture(params=["root_host", "sudo_host"])
def host(request: pytest.FixtureRequest) -> Host:
    found: Host = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def hosts() -> Iterator[SshHosts]:
    with SshHosts(connect_seconds=5.0) as adapter:
        yield adapter


def test_a_command_runs_as_root_and_its_words_arrive_as_they_were_given(hosts: SshHosts, host: Host) -> None:
    words = ["a b", "'quoted'", '"double"', "$HOME", "; exit 7", "*", "žluťoučký", ""]
    done = hosts.run(host, ["printf", "%s\\n", *words])
    assert done.stdout.splitlines() == words
    assert hosts.run(host, ["id", "-u"]).stdout == "0\n"


def test_exit_status_and_both_streams_come_back_apart(hosts: SshHosts, host: Host) -> None:
    done = hosts.run(host, ["sh", "-c", "echo out; echo err >&2; exit 9"])
    assert (done.exit_status, done.stdout, done.stderr) == (9, "out\n", "err\n")
    assert not done


def test_a_command_runs_as_another_user(hosts: SshHosts, host: Host) -> None:
    assert hosts.run(host, ["id", "-un"], as_user="nobody").stdout == "nobody\n"


def test_standard_input_of_megabytes_arrives_whole_while_output_comes_back(hosts: SshHosts, host: Host) -> None:
    content = secrets.token_hex(2 * 1024 * 1024).encode()
    done = hosts.run(host, ["cat"], stdin=content, timeout=60)
    assert done.stdout.encode() == content


def test_a_command_that_overruns_its_bound_is_given_up_in_time(hosts: SshHosts, host: Host) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="no end within its bound"):
        hosts.run(host, ["sleep", "30"], timeout=1.0)
    assert time.monotonic() - began < 5
    assert hosts.run(host, ["true"])


def test_threads_share_one_connection(hosts: SshHosts, host: Host) -> None:
    results: list[str] = []
    threads = [
        threading.Thread(
            target=lambda n=n: results.append(hosts.run(host, ["sh", "-c", f"sleep 0.1; echo {n}"]).stdout)
        )
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results, key=int) == [f"{n}\n" for n in range(20)]
    mine = hosts.run(host, ["sh", "-c", 'echo "$SSH_CONNECTION"'] if host.user == "root" else ["true"])
    again = hosts.run(host, ["sh", "-c", 'echo "$SSH_CONNECTION"'] if host.user == "root" else ["true"])
    assert mine.stdout == again.stdout


def test_a_dropped_connection_is_made_anew(hosts: SshHosts, root_host: Host) -> None:
    assert hosts.run(root_host, ["true"])
    hosts.run(root_host, ["sh", "-c", "(sleep 0.3; kill $(ps -o ppid= -p $$)) >/dev/null 2>&1 </dev/null &"])
    time.sleep(1.0)
    assert hosts.run(root_host, ["true"])


BREAKS_ONCE = 'test -e "$1" || { touch "$1"; pkill -9 -u root -f "sshd: root@notty"; sleep 5; }; echo alive'


def test_a_connection_that_dies_under_a_command_at_once_is_given_a_second_one(hosts: SshHosts, root_host: Host) -> None:
    mark = f"/tmp/broke-{secrets.token_hex(4)}"
    assert hosts.run(root_host, ["sh", "-c", BREAKS_ONCE, "sh", mark], timeout=20).stdout == "alive\n"


def test_a_connection_that_keeps_dying_is_unreachable(hosts: SshHosts, root_host: Host) -> None:
    dies = ["sh", "-c", 'pkill -9 -u root -f "sshd: root@notty"; sleep 5']
    with pytest.raises(Unreachable, match="the connection broke"):
        hosts.run(root_host, dies, timeout=20)


def test_a_copy_survives_a_connection_that_dies_under_it_at_once(
    hosts: SshHosts, root_host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = f"/tmp/broke-{secrets.token_hex(4)}"
    breaks = f'test -e {mark} || {{ touch {mark}; pkill -9 -u root -f "sshd: root@notty"; sleep 5; }}; '
    monkeypatch.setattr(ssh, "RECEIVE", breaks + ssh.RECEIVE)
    local, remote = tmp_path / "file", PurePosixPath("/srv/put-again/file")
    local.write_bytes(secrets.token_bytes(1024 * 1024))
    hosts.put(root_host, local, remote)
    there = hosts.run(root_host, ["sh", "-c", f"sha256sum {remote}; ls -A /srv/put-again; ls {mark}"]).stdout.split()
    assert there == [hashlib.sha256(local.read_bytes()).hexdigest(), str(remote), "file", mark]


def test_a_connection_long_unused_is_made_anew_but_not_one_that_carries_a_tunnel(
    hosts: SshHosts, root_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connection() -> str:
        return hosts.run(root_host, ["sh", "-c", "echo $SSH_CONNECTION"]).stdout

    first = connection()
    assert connection() == first
    monkeypatch.setattr(ssh, "UNUSED_SECONDS", 0.0)
    assert connection() != first
    with hosts.tunnel(root_host, 22):
        held = connection()
        assert connection() == held


def test_a_file_arrives_whole_with_its_mode_and_replaces_what_was_there(
    hosts: SshHosts, host: Host, tmp_path: Path
) -> None:
    remote = PurePosixPath(f"/srv/put-{host.user}/deep/a file")
    local = tmp_path / "file"
    for content in (b"first", secrets.token_bytes(3 * 1024 * 1024), b""):
        local.write_bytes(content)
        hosts.put(host, local, remote, mode=0o640)
        there = hosts.run(host, ["sha256sum", str(remote)]).stdout.split()[0]
        assert there == hashlib.sha256(content).hexdigest()
    assert hosts.run(host, ["stat", "-c", "%a %U", str(remote)]).stdout == "640 root\n"
    assert hosts.run(host, ["ls", "-A", str(remote.parent)]).stdout == "a file\n", "a temporary file was left"


def test_a_file_that_is_there_already_is_not_sent_again(hosts: SshHosts, host: Host, tmp_path: Path) -> None:
    remote = PurePosixPath(f"/srv/put-{host.user}/same")
    local = tmp_path / "file"
    local.write_bytes(b"same")
    hosts.put(host, local, remote)
    before = hosts.run(host, ["stat", "-c", "%i %Y", str(remote)]).stdout
    hosts.put(host, local, remote)
    assert hosts.run(host, ["stat", "-c", "%i %Y", str(remote)]).stdout == before


def test_a_file_that_does_not_fit_is_refused_and_leaves_nothing(
    hosts: SshHosts, root_host: Host, tmp_path: Path
) -> None:
    hosts.run(root_host, ["sh", "-c", "mkdir -p /srv/small && mount -t tmpfs -o size=64k tmpfs /srv/small"])
    local = tmp_path / "file"
    local.write_bytes(secrets.token_bytes(1024 * 1024))
    with pytest.raises(Refused, match="No space left"):
        hosts.put(root_host, local, PurePosixPath("/srv/small/file"))
    assert hosts.run(root_host, ["ls", "-A", "/srv/small"]).stdout == ""


def test_a_tree_is_mirrored_with_modes_and_owner_and_nothing_is_deleted(
    hosts: SshHosts, host: Host, tmp_path: Path
) -> None:
    remote = PurePosixPath(f"/srv/tree-{host.user}")
    local = tmp_path / "tree"
    (local / "a b" / "ü").mkdir(parents=True)
    (local / "a b" / "ü" / "1.jpg").write_bytes(b"one")
    (local / "a b" / "ü" / "1.jpg").chmod(0o600)
    hosts.run(host, ["sh", "-c", f"mkdir -p {remote} && echo kept >{remote}/kept"])
    hosts.mirror_tree(host, local, remote, owner="games", timeout=60)
    listing = hosts.run(host, ["find", str(remote), "-mindepth", "1", "-printf", "%P %m %U\\n"]).stdout
    games = hosts.run(host, ["id", "-u", "games"]).stdout.strip()
    found = set(listing.splitlines())
    assert {f"a b 755 {games}", f"a b/ü 755 {games}", f"a b/ü/1.jpg 644 {games}"} <= found
    assert any(line.startswith("kept ") for line in found)


def test_a_tunnel_leads_to_a_port_that_only_the_host_itself_can_reach(hosts: SshHosts, host: Host) -> None:
    serve = "import http.server as h; h.HTTPServer(('127.0.0.1', 8123), h.SimpleHTTPRequestHandler).serve_forever()"
    unit = ["systemd-run", "--collect", "--unit=tunnel-test", "-p", "WorkingDirectory=/etc"]
    assert hosts.run(host, [*unit, "python3", "-c", serve])
    try:
        hosts.run(host, ["sh", "-c", "until ss -ltn | grep -q 8123; do sleep 0.1; done"], timeout=15)
        with pytest.raises(OSError):
            socket.create_connection((host.address, 8123), timeout=2)
        with hosts.tunnel(host, 8123) as port:
            for _ in range(3):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", "/os-release")
                assert b"Debian" in connection.getresponse().read()
                connection.close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=2)
    finally:
        hosts.run(host, ["systemctl", "stop", "tunnel-test"])


def test_a_tunnel_to_a_closed_port_gives_no_data(hosts: SshHosts, root_host: Host) -> None:
    with (
        hosts.tunnel(root_host, 9) as port,
        socket.create_connection(("127.0.0.1", port), timeout=5) as stream,
        contextlib.suppress(ConnectionResetError),
    ):
        assert stream.recv(1) == b""


def test_another_host_key_is_refused(hosts: SshHosts, root_host: Host, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    wrong = tmp_path / "known_hosts"
    wrong.write_text(f"{root_host.address} {(tmp_path / 'other.pub').read_text()}")
    with pytest.raises(Refused, match="another key than the one pinned") as refusal:
        hosts.run(replace(root_host, known_hosts=wrong), ["true"])
    assert root_host.name in str(refusal.value) and "ssh-keygen -R" in refusal.value.hint
    assert refusal.value.exit_code == 5


def test_a_host_whose_key_was_never_pinned_is_refused(hosts: SshHosts, root_host: Host, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.write_text("")
    with pytest.raises(Refused, match="not pinned"):
        hosts.run(replace(root_host, known_hosts=empty), ["true"])


def test_rsync_holds_to_the_pinned_key_too(hosts: SshHosts, root_host: Host, tmp_path: Path) -> None:
    pinned = tmp_path / "known_hosts"
    pinned.write_text(root_host.known_hosts.read_text() if root_host.known_hosts else "")
    host = replace(root_host, known_hosts=pinned)
    assert hosts.run(host, ["true"])
    pinned.write_text("")
    with pytest.raises(Refused, match="Host key verification failed"):
        hosts.mirror_tree(host, tmp_path, PurePosixPath("/srv/x"), owner="root", timeout=20)


def test_a_sign_in_that_is_denied_is_refused(hosts: SshHosts, root_host: Host, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    with pytest.raises(Refused, match="permission denied for root"):
        hosts.run(replace(root_host, private_key=tmp_path / "other"), ["true"])


def test_a_user_without_sudo_is_refused(hosts: SshHosts, root_host: Host) -> None:
    assert hosts.run(root_host, ["sh", "-c", MAKE_USER.format(user="guest")])
    with pytest.raises(Refused, match="no sudo for guest"):
        hosts.run(replace(root_host, user="guest"), ["true"])


def test_a_missing_key_file_is_a_usage_problem(hosts: SshHosts, root_host: Host, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="no such file"):
        hosts.run(replace(root_host, private_key=tmp_path / "none"), ["true"])


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 1), ("192.0.2.1", 22)])
def test_a_silent_host_is_unreachable_within_the_bound(root_host: Host, address: str, port: int) -> None:
    began = time.monotonic()
    with SshHosts(connect_seconds=1.0) as hosts, pytest.raises(Unreachable) as silence:
        hosts.run(replace(root_host, address=address, port=port), ["true"])
    assert time.monotonic() - began < 5
    assert root_host.name in str(silence.value)
