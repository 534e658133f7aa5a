"""The home's own authority: the same secret gives the same certificates, and hosts trust each other and nobody else."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from migrate.errors import UsageProblem
from migrate.inventory import Host
from migrate.secret import Secret
from migrate.target.authority import Authority, Identity, new_authority

HERE = Host("db1", "127.0.0.1", ("database",))
OTHER = Host("db2", "127.0.0.2", ("database",))
SECRET = Secret(new_authority())


def test_the_same_secret_and_host_give_the_same_identity() -> None:
    one, two = (Authority(SECRET).identity(HERE) for _ in range(2))
    assert (one.authority, one.certificate, one.key) == (two.authority, two.certificate, two.key)
    assert Authority(SECRET).identity(OTHER).key != one.key
    assert Authority(Secret(new_authority())).identity(HERE).key != one.key


def test_what_is_printed_of_an_identity_holds_no_key() -> None:
    identity = Authority(SECRET).identity(HERE)
    assert identity.key.reveal().splitlines()[1] not in repr(identity)


def test_a_certificate_is_good_today_and_for_years() -> None:
    certificate = x509.load_pem_x509_certificate(Authority(SECRET).identity(HERE).certificate.encode())
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc < now
    assert timedelta(days=1800) < certificate.not_valid_after_utc - now < timedelta(days=1830)


@pytest.mark.parametrize("text", ["", "2026-01-01", "2026-01-01:short", "x:" + "a" * 40])
def test_a_secret_that_is_none_of_an_authority_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(UsageProblem) as problem:
        Authority(Secret(text))
    assert not text or text not in str(problem.value)


def context(folder: Path, purpose: ssl.Purpose, identity: Identity, authority: str) -> ssl.SSLContext:
    made = ssl.create_default_context(purpose, cadata=authority)
    made.verify_mode = ssl.CERT_REQUIRED
    file = folder / f"{purpose.name}.pem"
    file.write_text(identity.certificate + identity.key.reveal())
    made.load_cert_chain(file)
    return made


def greets(folder: Path, server: Identity, client: Identity, trusted: str, name: str) -> bool:
    """Whether two ends shake hands over a socket pair, each asking for the other's certificate."""
    at_server, at_client = socket.socketpair()
    serving = context(folder, ssl.Purpose.CLIENT_AUTH, server, server.authority)
    asking = context(folder, ssl.Purpose.SERVER_AUTH, client, trusted)

    def serve() -> None:
        try:
            with serving.wrap_socket(at_server, server_side=True) as stream:
                stream.sendall(b"hello")
        except OSError:
            at_server.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with asking.wrap_socket(at_client, server_hostname=name) as stream:
            return stream.recv(5) == b"hello"
    except OSError:
        return False
    finally:
        at_client.close()
        thread.join(timeout=5)


def test_hosts_of_one_home_greet_each_other_by_address_and_by_name(tmp_path: Path) -> None:
    home = Authority(SECRET)
    server, client = home.identity(HERE), home.identity(OTHER)
    assert greets(tmp_path, server, client, home.certificate, "127.0.0.1")
    assert greets(tmp_path, server, client, home.certificate, "db1")
    assert not greets(tmp_path, server, client, home.certificate, "db2")


def test_a_host_of_another_home_is_not_let_in(tmp_path: Path) -> None:
    home, foreign = Authority(SECRET), Authority(Secret(new_authority()))
    assert not greets(tmp_path, home.identity(HERE), foreign.identity(OTHER), home.certificate, "db1")
    assert not greets(tmp_path, home.identity(HERE), home.identity(OTHER), foreign.certificate, "db1")
