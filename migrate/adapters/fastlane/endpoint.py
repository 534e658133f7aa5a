"""Whether a bucket can be read over the fast lane, and how: taken from a request that boto3 itself has prepared."""

import contextlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions as bad
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from migrate.adapters.fastlane.lanes import CredentialsNow, FastLanes
from migrate.adapters.fastlane.signing import Credentials, Endpoint
from migrate.adapters.s3 import Account
from migrate.export.lanes import LaneSetting, MakeLanes, careful_lanes
from migrate.secret import Secret

PROBE = "fast-lane-probe"
SIGV4 = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[^/]+)/s3/aws4_request, .+")
PORTS = {"http": 80, "https": 443}


class _Prepared(Exception):
    """Carries a request that is not to be sent."""

    def __init__(self, url: str, headers: Mapping[str, Any]) -> None:
        super().__init__(url)
        self.url = url
        self.headers = headers


def lanes_for(account: Account, bucket: str) -> MakeLanes:
    """How to make the lanes of one bucket: fast ones where the way there is plain, careful ones otherwise."""

    def make(setting: LaneSetting) -> Any:
        endpoint = fast_endpoint(account, bucket)
        if endpoint is None:
            return careful_lanes(setting)
        return FastLanes(endpoint, _credentials(account) if endpoint.region else lambda: None, setting)

    return make


def fast_endpoint(account: Account, bucket: str) -> Endpoint | None:
    """Where the bucket's objects are; None behind a proxy, or where requests are not signed with plain SigV4."""
    prepared = _prepared_request(account, bucket)
    if prepared is None:
        return None
    url = urlsplit(prepared.url)
    signature = prepared.headers.get("Authorization", "")
    signature = signature.decode() if isinstance(signature, bytes) else signature
    signed = SIGV4.fullmatch(signature)
    plain = url.scheme in PORTS and url.hostname and url.path.endswith("/" + PROBE) and not url.query
    proxied = get_environ_proxies(prepared.url) or getattr(account.client.meta.config, "proxies", None)
    if not plain or proxied or (signature and signed is None):
        return None
    return Endpoint(
        tls=url.scheme == "https",
        host=url.hostname or "",
        port=url.port or PORTS[url.scheme],
        authority=url.netloc,
        folder=url.path.removesuffix(PROBE),
        region=signed["region"] if signed else "",
        ca_file=_ca_file(account),
    )


def _prepared_request(account: Account, bucket: str) -> _Prepared | None:
    def hold_back(request: Any, **_: object) -> None:
        if PROBE in request.url:
            raise _Prepared(request.url, dict(request.headers))

    events = account.client.meta.events
    with contextlib.suppress(bad.ClientError, bad.BotoCoreError):
        account.client.head_bucket(Bucket=bucket)  # so that boto3 learns where the bucket is, if it is elsewhere
    events.register_first("before-send.s3.GetObject", hold_back)
    try:
        account.client.get_object(Bucket=bucket, Key=PROBE)
    except _Prepared as prepared:
        return prepared
    except (bad.ClientError, bad.BotoCoreError):
        return None  # the careful lane meets the same, and reports it
    finally:
        events.unregister("before-send.s3.GetObject", hold_back)
    return None


def _ca_file(account: Account) -> str:
    configured = account.session._session.get_config_variable("ca_bundle")
    return str(configured or get_cert_path(True))


def _credentials(account: Account) -> CredentialsNow:
    """The session's credentials of this moment, refreshed by botocore where they expire."""

    def now() -> Credentials | None:
        try:
            held = account.session.get_credentials()
            frozen = held.get_frozen_credentials() if held is not None else None
        except bad.BotoCoreError:
            return None  # the careful lane meets the same, and reports it
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            return None
        token = Secret(frozen.token) if frozen.token else None
        return Credentials(frozen.access_key, Secret(frozen.secret_key), token)

    return now
