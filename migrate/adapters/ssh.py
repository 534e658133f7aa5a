"""Hosts over SSH: paramiko, keys pinned, one connection a host."""

import hashlib
import logging
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import paramiko

from migrate.adapters.sshproblems import connect_problem, reach_hint, rsync_problem, where_is
from migrate.adapters.sshtunnel import listen_and_forward
from migrate.errors import OutsideProblem, Refused, Unreachable, UsageProblem
from migrate.inventory import Host
from migrate.ports import Completed

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 15
SESSIONS_AT_ONCE = 8  # sshd's own bound (MaxSessions) is 10 unless changed
CHUNK_BYTES = 128 * 1024
SUDDEN_SECONDS = 2.0  # a connection that breaks under a command so soon was no good before it
SETTLE_SECONDS = 0.5  # until it shows whether the connection is dead, or one command of it was
UNUSED_SECONDS = 20.0  # after so long a new connection is made, which costs less than one that dies in use
PUT_BYTES_PER_SECOND = 1_000_000  # slowest link that a transfer is still waited for on
NO_SUDO = ("sudo: a password is required", "is not in the sudoers file", "sudo: a terminal is required", "sudo: sorry")
RECEIVE = 'mkdir -p -- "$(dirname -- "$1")" && umask 077 && cat >"$1" && sha256sum <"$1"'
PUT_IN_PLACE = 'chmod -- "$3" "$1" && sync -- "$1" && mv -fT -- "$1" "$2"'


# What the transport has to say reaches the operator as our own errors; its log lines would say it twice.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class ConnectionBroke(Unreachable):
    """The connection ended under a command, which may or may not have run."""


class SshHosts:
    """Implements ports.Hosts. Safe from several threads; a dropped connection is made anew at the next call.

    Only `port`, `user`, `private_key` and `known_hosts` of the inventory count; ~/.ssh/config does not.
    """

    def __init__(self, *, connect_seconds: float = CONNECT_SECONDS) -> None:
        self._connect_seconds = connect_seconds
        self._connections: dict[Host, _Connection] = {}
        self._guard = threading.Lock()

    def close(self) -> None:
        """Ends every connection; the next call opens new ones."""
        with self._guard:
            connections, self._connections = list(self._connections.values()), {}
        for connection in connections:
            connection.close()

    def __enter__(self) -> "SshHosts":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self,
        host: Host,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        as_user: str | None = None,
    ) -> Completed:
        """See ports.Hosts. `timeout` in seconds bounds the command; connecting has a bound of its own."""
        line = _elevated(host, command, as_user)
        return self._converse_at_most_twice(host, line, lambda: [stdin], timeout)

    def _converse_at_most_twice(
        self, host: Host, line: str, stdin: Callable[[], Iterable[bytes]], timeout: float
    ) -> Completed:
        """A connection that breaks at once was dead already, or died under its first command since long: what commands
        do can be done twice."""
        began = time.monotonic()
        try:
            completed = self._converse_once(host, line, stdin(), timeout)
        except ConnectionBroke:
            if time.monotonic() - began > SUDDEN_SECONDS:
                raise
            time.sleep(SETTLE_SECONDS)
            completed = self._converse_once(host, line, stdin(), timeout)
        _refuse_without_sudo(host, completed)
        return completed

    def _converse_once(self, host: Host, line: str, stdin: Iterable[bytes], timeout: float) -> Completed:
        deadline = time.monotonic() + timeout
        with self._channel(host, timeout) as channel:
            return _converse(host, channel, line, stdin, deadline)

    def put(self, host: Host, local: Path, remote: PurePosixPath, *, mode: int = 0o600) -> None:
        """See ports.Hosts. Missing parent folders are made. Raises Refused where the copy differs."""
        digest, size = _digest(local)
        if self._digest_there(host, remote, size) == digest:
            self._must(host, ["chmod", "--", f"{mode:o}", str(remote)])
            return
        temporary = remote.with_name(f".{remote.name}.{secrets.token_hex(6)}")
        timeout = 60.0 + size / PUT_BYTES_PER_SECOND
        line = _elevated(host, ["sh", "-c", RECEIVE, "sh", str(temporary)], None)
        try:
            received = self._converse_at_most_twice(host, line, lambda: _chunks(local), timeout)
            if not received or received.stdout.split(maxsplit=1)[:1] != [digest]:
                raise Refused(
                    f"the copy of {local.name} did not arrive whole: {received.stderr or received.stdout}".strip(),
                    where=f"{host.name}:{remote}",
                    expected=f"SHA-256 {digest}",
                    hint="look at the space left there (df), then run the same command again",
                )
            self._must(host, ["sh", "-c", PUT_IN_PLACE, "sh", str(temporary), str(remote), f"{mode:o}"])
        except BaseException:
            self._forget_temporary(host, temporary)
            raise

    def mirror_tree(self, host: Host, local: Path, remote: PurePosixPath, *, owner: str, timeout: float) -> None:
        """See ports.Hosts. rsync takes a file as the same when size and time of change agree. `timeout` in seconds."""
        rsync = shutil.which("rsync")
        if rsync is None:
            raise UsageProblem("rsync is not installed on this machine", hint="apt-get install rsync")
        self._must(host, ["install", "-d", "-m", "0755", "-o", owner, "-g", owner, "--", str(remote)])
        command = [
            rsync, "--recursive", "--times", "--whole-file", "--omit-dir-times", "--super",
            "--chmod=D0755,F0644", f"--chown={owner}:{owner}", "--protect-args", "--timeout=60",
            f"--rsh={shlex.join(_ssh_command(host, self._connect_seconds))}",
            *([] if host.user == "root" else ["--rsync-path=sudo -n rsync"]),
            f"{local}/", f"{_bracketed(host.address)}:{remote}/",
        ]  # fmt: skip
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=_locale())
        except subprocess.TimeoutExpired as fault:
            raise Unreachable(
                f"the tree {local} was not there within {timeout:.0f} s",
                where=f"{host.name}:{remote}",
                hint="run the same command again: it sends only what is missing",
            ) from fault
        if ended.returncode:
            raise rsync_problem(host, remote, ended.returncode, ended.stderr.strip())

    @contextmanager
    def tunnel(self, host: Host, port: int) -> Iterator[int]:
        """See ports.Hosts. Connections that the host does not take are closed at once."""
        connection = self._connection(host)
        with (
            connection.held(),
            listen_and_forward(connection.transport(host), port, self._connect_seconds) as local_port,
        ):
            yield local_port

    def _must(self, host: Host, command: Sequence[str]) -> Completed:
        completed = self.run(host, command)
        if not completed:
            raise Refused(
                f"{completed.command}: {completed.stderr.strip() or f'exit {completed.exit_status}'}",
                where=host.name,
                expected="exit 0",
                hint=f"try it by hand: ssh {host.user}@{host.address}",
            )
        return completed

    def _digest_there(self, host: Host, remote: PurePosixPath, size: int) -> str:
        """SHA-256 of a file on the host; empty where it is missing or of another size, which needs no reading."""
        script = '[ "$(stat -c %s -- "$1" 2>/dev/null)" = "$2" ] && sha256sum <"$1"'
        timeout = 60.0 + size / (50 * PUT_BYTES_PER_SECOND)
        found = self.run(host, ["sh", "-c", script, "sh", str(remote), str(size)], timeout=timeout)
        return found.stdout.split(maxsplit=1)[0] if found and found.stdout.strip() else ""

    def _forget_temporary(self, host: Host, temporary: PurePosixPath) -> None:
        try:
            self.run(host, ["rm", "-f", "--", str(temporary)], timeout=5.0)
        except OutsideProblem:
            return  # the fault that brought us here is the one to report

    @contextmanager
    def _channel(self, host: Host, timeout: float) -> Iterator[paramiko.Channel]:
        with self._connection(host).session(host, min(timeout, self._connect_seconds)) as channel:
            yield channel

    def _connection(self, host: Host) -> "_Connection":
        with self._guard:
            return self._connections.setdefault(host, _Connection(self._connect_seconds))


class _Connection:
    """The one connection to a host, opened when first needed, and anew when it was found dead or long unused: what
    provisioning does to sshd and firewall in the meantime is not tried on an old one."""

    def __init__(self, connect_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._lock = threading.Lock()
        self._sessions = threading.BoundedSemaphore(SESSIONS_AT_ONCE)
        self._client: paramiko.SSHClient | None = None
        self._holders = 0
        self._last_used = time.monotonic()

    @contextmanager
    def session(self, host: Host, seconds: float) -> Iterator[paramiko.Channel]:
        with self._sessions, self.held(), self._open(host, seconds) as channel:
            yield channel

    @contextmanager
    def held(self) -> Iterator[None]:
        """While somebody holds the connection it is not taken for unused."""
        with self._lock:
            if self._client and not self._holders and time.monotonic() - self._last_used > UNUSED_SECONDS:
                self._client.close()
                self._client = None
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                self._last_used = time.monotonic()

    def _open(self, host: Host, seconds: float) -> paramiko.Channel:
        transport = self.transport(host)
        try:
            return transport.open_session(timeout=seconds)
        except (paramiko.SSHException, OSError, EOFError):
            self._forget(transport)  # it died since its last use: once more on a new one
        transport = self.transport(host)
        try:
            return transport.open_session(timeout=seconds)
        except (paramiko.SSHException, OSError, EOFError) as fault:
            self._forget(transport)
            raise Unreachable(
                f"the connection broke: {fault or type(fault).__name__}", where=where_is(host), hint=reach_hint(host)
            ) from fault

    def transport(self, host: Host) -> paramiko.Transport:
        with self._lock:
            transport = self._client.get_transport() if self._client else None
            if transport is None or not transport.is_active():
                self._client = _connect(host, self._connect_seconds)
                transport = self._client.get_transport()
            if transport is None:
                raise Unreachable("the connection closed at once", where=where_is(host), hint=reach_hint(host))
            return transport

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client:
            client.close()

    def _forget(self, transport: paramiko.Transport) -> None:
        """Closes a broken connection, unless another thread has made a new one meanwhile."""
        with self._lock:
            if self._client and self._client.get_transport() is transport:
                self._client = None
        transport.close()


def _connect(host: Host, seconds: float) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    known = host.known_hosts or Path("~/.ssh/known_hosts").expanduser()
    try:
        client.load_host_keys(str(known))
        client.connect(
            host.address, port=host.port, username=host.user, timeout=seconds, banner_timeout=seconds,
            auth_timeout=seconds, channel_timeout=seconds, look_for_keys=host.private_key is None,
            allow_agent=host.private_key is None, key_filename=str(host.private_key) if host.private_key else None,
        )  # fmt: skip
    except (paramiko.SSHException, OSError, EOFError) as fault:
        client.close()
        raise connect_problem(host, known, fault) from fault
    transport = client.get_transport()
    if transport:
        transport.set_keepalive(KEEPALIVE_SECONDS)
        if isinstance(transport.sock, socket.socket):
            # Small requests must not wait for the acknowledgement of the one before: 3 ms a command, and not 45.
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _converse(host: Host, channel: paramiko.Channel, line: str, stdin: Iterable[bytes], deadline: float) -> Completed:
    """Runs a command line; input and errors have threads of their own, so that neither side waits for the other."""
    errors = bytearray()
    try:
        channel.settimeout(_left(deadline))
        channel.exec_command(line)
        threading.Thread(target=_send, args=(channel, stdin), daemon=True).start()
        reader = threading.Thread(target=_read_errors, args=(channel, errors), daemon=True)
        reader.start()
        output = _read_output(channel, deadline)
        if not channel.status_event.wait(_left(deadline)):
            raise TimeoutError
        reader.join(_left(deadline))
    except TimeoutError as fault:
        raise Unreachable(
            f"{line}: no end within its bound",
            where=where_is(host),
            hint="the command may still run there: look before trying again",
        ) from fault
    except (OSError, EOFError, paramiko.SSHException) as fault:
        raise ConnectionBroke(
            f"{line}: the connection broke: {fault}", where=where_is(host), hint=reach_hint(host)
        ) from fault
    if channel.exit_status == -1:
        raise ConnectionBroke(f"{line}: the connection broke", where=where_is(host), hint=reach_hint(host))
    text = output.decode(errors="replace")
    return Completed(host.name, line, channel.exit_status, text, errors.decode(errors="replace"))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _read_output(channel: paramiko.Channel, deadline: float) -> bytes:
    output = bytearray()
    while True:
        channel.settimeout(_left(deadline))
        chunk = channel.recv(CHUNK_BYTES)
        if not chunk:
            return bytes(output)
        output += chunk


def _read_errors(channel: paramiko.Channel, errors: bytearray) -> None:
    try:
        while chunk := channel.recv_stderr(CHUNK_BYTES):
            errors += chunk
    except (OSError, EOFError):
        return  # the main thread meets the same fault, and reports it


def _send(channel: paramiko.Channel, stdin: Iterable[bytes]) -> None:
    try:
        for chunk in stdin:
            channel.sendall(chunk)
        channel.shutdown_write()
    except (OSError, EOFError):
        return  # the command ended without reading on; its exit status says how


def _chunks(local: Path) -> Iterator[bytes]:
    with local.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def _digest(local: Path) -> tuple[str, int]:
    with local.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), local.stat().st_size


def _elevated(host: Host, command: Sequence[str], as_user: str | None) -> str:
    """The shell's line for an argv, as root or as `as_user`."""
    if host.user == (as_user or "root"):
        return shlex.join(command)
    if host.user == "root":
        return shlex.join(["runuser", "-u", str(as_user), "--", *command])
    return shlex.join(["sudo", "-n", *(["-u", as_user] if as_user else []), "--", *command])


def _refuse_without_sudo(host: Host, completed: Completed) -> None:
    if host.user != "root" and not completed and any(words in completed.stderr for words in NO_SUDO):
        raise Refused(
            f"no sudo for {host.user}: {completed.stderr.strip()}",
            where=where_is(host),
            expected="root, or sudo without a password",
            hint=f"on the host: echo '{host.user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{host.user}",
        )


def _ssh_command(host: Host, seconds: float) -> list[str]:
    command = ["ssh", "-F", "none", "-p", str(host.port), "-l", host.user]
    options = {"BatchMode": "yes", "StrictHostKeyChecking": "yes", "ConnectTimeout": str(int(seconds))}
    if host.known_hosts:
        options |= {"UserKnownHostsFile": f'"{host.known_hosts}"', "GlobalKnownHostsFile": "/dev/null"}
    if host.private_key:
        options |= {"IdentitiesOnly": "yes"}
        command += ["-i", str(host.private_key)]
    return [*command, *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


def _locale() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SSH_AUTH_SOCK") if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8"}


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
