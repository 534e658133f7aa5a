"""ports.Http by httpx."""

import time

import httpx

from migrate.errors import Unreachable
from migrate.ports import HttpReply

LARGEST_BODY = 64 * 1024 * 1024


class HttpxClient:
    """GET; no redirect is followed, no proxy of the environment used. `timeout` in seconds bounds the whole reply."""

    def get(self, url: str, *, timeout: float) -> HttpReply:
        """Any status is returned; raises Unreachable when there was no whole reply in time (retriable)."""
        deadline = time.monotonic() + timeout
        body = bytearray()
        try:
            with (
                httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client,
                client.stream("GET", url, headers={"User-Agent": "cloudexit-check"}) as reply,
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
