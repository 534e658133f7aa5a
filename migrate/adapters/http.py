"""ports.Http by httpx."""

import socket
import ssl
import time
from datetime import UTC, datetime

import httpx

from migrate.errors import Unreachable
from migrate.ports import Expected, HttpReply, Shown

LARGEST_BODY = 64 * 1024 * 1024


class HttpxClient:
    """GET; no redirect is followed, no proxy of the environment used. `timeout` in seconds bounds the whole reply."""

    def get(self, url: str, *, timeout: float, expected: Expected | None = None) -> HttpReply:
        """Any status is returned; raises Unreachable when there was no whole reply in time (retriable)."""
        headers = {"User-Agent": "cloudexit-check", **({"Host": expected.name} if expected else {})}
        extensions = {"sni_hostname": expected.name} if expected else {}
        deadline = time.monotonic() + timeout
        body = bytearray()
        try:
            with (
                httpx.Client(
                    timeout=timeout, trust_env=False, follow_redirects=False, verify=trusting(expected)
                ) as client,
                client.stream("GET", url, headers=headers, extensions=extensions) as reply,
            ):
                for chunk in reply.iter_bytes():
                    body += chunk
                    if time.monotonic() > deadline:
                        raise Unreachable(f"the reply was not whole within {timeout:g} s", where=url)
                    if len(body) > LARGEST_BODY:
                        raise Unreachable(f"the reply is larger than {LARGEST_BODY:,} bytes", where=url)
                return HttpReply(reply.status_code, dict(reply.headers), bytes(body))
        except httpx.TimeoutException as fault:
            raise Unreachable(f"no reply within {timeout:g} s", where=url) from fault
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise Unreachable(f"no reply: {fault}", where=url) from fault

    def certificate(self, address: str, port: int, expected: Expected, *, timeout: float) -> Shown:
        """See ports.Http; what does not hold is told by OpenSSL's words."""
        try:
            with (
                socket.create_connection((address, port), timeout=timeout) as plain,
                trusting(expected).wrap_socket(plain, server_hostname=expected.name) as secured,
            ):
                end = str((secured.getpeercert() or {})["notAfter"])
        except ssl.SSLCertVerificationError as fault:
            return Shown(None, fault.verify_message)
        except OSError as fault:
            raise Unreachable(f"no certificate: {fault}", where=f"{address}:{port}") from fault
        return Shown(datetime.fromtimestamp(ssl.cert_time_to_seconds(end), UTC))


def trusting(expected: Expected | None) -> ssl.SSLContext:
    """This machine's authorities, and those that are expected beside them."""
    context = ssl.create_default_context()
    if expected and expected.authorities:
        context.load_verify_locations(cadata=expected.authorities)
    return context
