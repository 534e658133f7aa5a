"""Requests of the fast lane are those that boto3 would have sent: same URL, same signature."""

import calendar
import time
from typing import Any

import pytest

from migrate.adapters.fastlane.endpoint import fast_endpoint
from migrate.adapters.fastlane.signing import Credentials, Endpoint, Requests
from migrate.adapters.s3 import Access, Account, open_account
from migrate.secret import Secret
from tests.hostile.hostile_keys import HOSTILE_KEYS

KEYS = (*HOSTILE_KEYS, "images/ab/plain.jpg", "blank and+plus=&?#%25;:@,!$'()*~[]{}|^`\"<>\\", "ünï/🙂.png", "x" * 1024)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


class Held(Exception):
    pass


@pytest.fixture(params=["", "a/session+token=="])
def account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", request.param)
    return open_account(Access("http://127.0.0.1:1", "eu-west-3"))


def prepared(account: Account, **asked: Any) -> tuple[str, dict[str, str]]:
    """URL and headers of the request that boto3 makes of this."""
    caught = []

    def hold(request: Any, **_: object) -> None:
        headers = {k.lower(): v.decode() if isinstance(v, bytes) else str(v) for k, v in request.headers.items()}
        caught.append((request.url, headers))
        raise Held

    account.client.meta.events.register_first("before-send.s3.GetObject", hold)
    try:
        with pytest.raises(Held):
            account.client.get_object(Bucket="bucket", **asked)
    finally:
        account.client.meta.events.unregister("before-send.s3.GetObject", hold)
    return caught[0]


def ours(account: Account, key: str, query: dict[str, str], byte_range: str, moment: str) -> tuple[str, dict[str, str]]:
    endpoint = fast_endpoint(account, "bucket")
    assert endpoint is not None
    frozen = account.session.get_credentials().get_frozen_credentials()
    token = Secret(frozen.token) if frozen.token else None
    requests = Requests(endpoint, Credentials(frozen.access_key, Secret(frozen.secret_key), token))
    now = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
    head, end, rest = requests.write("GET", key, query, byte_range, now).decode().partition("\r\n\r\n")
    assert (end, rest) == ("\r\n\r\n", "")
    first, *lines = head.split("\r\n")
    method, target, version = first.split(" ")
    assert (method, version) == ("GET", "HTTP/1.1")
    return target, dict(line.split(":", 1) for line in lines)


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_every_key_is_asked_for_and_signed_as_boto3_does(account: Account, key: str) -> None:
    try:
        url, headers = prepared(account, Key=key)
    except UnicodeError:
        pytest.skip("boto3 cannot ask for it")
    target, mine = ours(account, key, {}, "", headers["x-amz-date"])
    assert "http://127.0.0.1:1" + target == url
    assert mine["authorization"] == headers["authorization"]
    for name in ("x-amz-content-sha256", "x-amz-date", "x-amz-checksum-mode"):
        assert mine[name] == headers[name]
    assert mine.get("x-amz-security-token") == headers.get("x-amz-security-token")


def test_versions_parts_and_ranges_are_signed_as_boto3_does(account: Account) -> None:
    version = "3/L4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY+MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo"
    url, headers = prepared(account, Key="a b", VersionId=version, PartNumber=7, Range="bytes=10-19")
    target, mine = ours(account, "a b", {"versionId": version, "partNumber": "7"}, "bytes=10-19", headers["x-amz-date"])
    assert mine["authorization"] == headers["authorization"]
    assert mine["range"] == "bytes=10-19"
    assert sorted(target.partition("?")[2].split("&")) == sorted(url.partition("?")[2].split("&"))


ENDPOINT = Endpoint(False, "h", 80, "h", "/b/", "us-east-1")


def test_new_credentials_and_a_new_day_make_a_new_signature() -> None:
    requests = Requests(ENDPOINT, Credentials("a", Secret("one")))
    first = requests.write("GET", "k", {}, now=1_700_000_000)
    assert requests.write("GET", "k", {}, now=1_700_000_000) == first
    assert requests.write("GET", "k", {}, now=1_700_086_400) != first
    requests.credentials = Credentials("a", Secret("two"))
    other = requests.write("GET", "k", {}, now=1_700_000_000)
    assert other != first
    requests.credentials = Credentials("a", Secret("one"))
    assert requests.write("GET", "k", {}, now=1_700_000_000) == first


def test_unsigned_requests_carry_no_signature() -> None:
    request = Requests(ENDPOINT, None).write("HEAD", "k", {})
    assert request == b"HEAD /b/k HTTP/1.1\r\nhost:h\r\nx-amz-checksum-mode:ENABLED\r\n\r\n"


def test_secrets_do_not_show(account: Account) -> None:
    credentials = Credentials("a", Secret(SECRET), Secret("token"))
    requests = Requests(ENDPOINT, credentials)
    requests.write("GET", "k", {})
    assert SECRET not in repr(credentials) + repr(vars(requests))
    assert "token:" not in repr(vars(requests))


def test_the_endpoint_is_the_one_that_boto3_would_use(monkeypatch: pytest.MonkeyPatch) -> None:
    access = {"access_key_id": "a", "secret_access_key": "b"}
    path_style = fast_endpoint(open_account(Access("http://127.0.0.1:1", "us-east-1", **access)), "bucket")
    assert path_style is not None
    assert (path_style.host, path_style.port, path_style.folder) == ("127.0.0.1", 1, "/bucket/")
    assert (path_style.tls, path_style.authority, path_style.region) == (False, "127.0.0.1:1", "us-east-1")
    unsigned = fast_endpoint(open_account(Access("http://127.0.0.1:1", "us-east-1", sign=False)), "bucket")
    assert unsigned is not None
    assert unsigned.region == ""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert fast_endpoint(open_account(Access("http://s3.example:1", "us-east-1", **access)), "bucket") is None


def test_without_credentials_there_is_no_fast_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    assert fast_endpoint(open_account(Access("http://127.0.0.1:1", "us-east-1")), "bucket") is None
