"""What SSH and rsync say when they fail, in the operator's words: which host, and what to do."""

from pathlib import Path, PurePosixPath

import paramiko

from migrate.errors import OutsideProblem, Refused, Unreachable, UsageProblem
from migrate.inventory import Host

SSH_PORT = 22
RSYNC_CONNECT, RSYNC_STREAM, RSYNC_TIMEOUT, SSH_FAILED = 10, 12, 30, 255


def connect_problem(host: Host, known: Path, fault: Exception) -> Exception:
    """The operator's word for what paramiko, a file or a socket said."""
    if isinstance(fault, FileNotFoundError):
        return UsageProblem(
            f"no such file: {fault.filename}", where=host.name, expected="the host's key and known_hosts"
        )
    if isinstance(fault, paramiko.BadHostKeyException):
        return Refused(
            "the host shows another key than the one pinned: another machine answers at this address",
            where=where_is(host),
            expected=f"{fault.expected_key.get_name()} key as in {known}",
            hint=f"find out why; if it was made anew: ssh-keygen -R {_known_name(host)} -f {known}, then pin its key",
        )
    if isinstance(fault, paramiko.AuthenticationException):
        return Refused(
            f"permission denied for {host.user}: {fault}",
            where=where_is(host),
            expected=f"the key {host.private_key or 'of the ssh agent'} in authorized_keys of {host.user}",
            hint="ssh-copy-id, or mend ansible_user and ansible_ssh_private_key_file in the inventory",
        )
    if isinstance(fault, paramiko.SSHException) and "not found in known_hosts" in str(fault):
        return Refused(
            "the host's key is not pinned",
            where=where_is(host),
            expected=f"a line for {_known_name(host)} in {known}",
            hint=f"compare the key with the host's console, then: ssh-keyscan -p {host.port} {host.address} >> {known}",
        )
    return Unreachable(f"no SSH: {fault or type(fault).__name__}", where=where_is(host), hint=reach_hint(host))


def rsync_problem(host: Host, remote: PurePosixPath, status: int, words: str) -> OutsideProblem:
    place = f"{host.name}:{remote}"
    if any(word in words for word in ("Host key verification failed", "Permission denied (")):
        return Refused(f"rsync: {words}", where=place, hint=reach_hint(host))
    if status in (RSYNC_STREAM, RSYNC_TIMEOUT, RSYNC_CONNECT, SSH_FAILED):
        return Unreachable(f"rsync: {words}", where=place, hint=reach_hint(host))
    hint = "apt-get install rsync on the host" if "not found" in words else "look at the space left there (df)"
    return Refused(f"rsync ended with {status}: {words}", where=place, hint=hint)


def where_is(host: Host) -> str:
    return f"{host.name} ({host.address}:{host.port})"


def reach_hint(host: Host) -> str:
    return f"try by hand: ssh -p {host.port} {host.user}@{host.address}"


def _known_name(host: Host) -> str:
    return host.address if host.port == SSH_PORT else f"[{host.address}]:{host.port}"
