"""Listing pages read by the fast parser are those that botocore reads; what it does not know it leaves alone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.parsers import RestXMLParser
from botocore.session import Session

from migrate.adapters.s3 import _entries
from migrate.adapters.s3_listing import FOUND, take_entries

CONTENTS = (
    "<Contents><Key>{key}</Key><LastModified>{moment}</LastModified><ETag>&quot;abc&quot;</ETag>"
    "<Size>7</Size><StorageClass>{storage}</StorageClass><Owner><ID>me</ID></Owner></Contents>"
)
PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult{namespace}><Name>b</Name><Prefix>p%2F</Prefix>'
    "<IsTruncated>true</IsTruncated>{encoding}{contents}<NextContinuationToken>t+/=</NextContinuationToken>"
    "</ListBucketResult>"
)
ENCODED = "<EncodingType>url</EncodingType>"
NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
SHAPE = Session().get_service_model("s3").operation_model("ListObjectsV2").output_shape


def page(key: str = "k", moment: str = "2026-01-01T00:00:00.000Z", storage: str = "STANDARD", **parts: str) -> bytes:
    contents = CONTENTS.format(key=key, moment=moment, storage=storage)
    return PAGE.format(**{"namespace": NAMESPACE, "encoding": ENCODED, "contents": contents, **parts}).encode()


def parsed(body: bytes, *, fast: bool, status: int = 200) -> dict[str, Any]:
    response: dict[str, Any] = {"status_code": status, "headers": {}, "body": body}
    custom: dict[str, Any] = {}
    if fast:
        take_entries(response_dict=response, customized_response_dict=custom)
    result: dict[str, Any] = RestXMLParser().parse(response, SHAPE)
    return {**result, **custom}


@pytest.mark.parametrize(
    "body",
    [
        page(),
        page(key="a%2Fb%20c+d%0A%00%FF%2B"),
        page(key="plain + %41", encoding=""),
        page(key="&lt;&amp;&#13;"),
        page(moment="2026-01-01T00:00:00.123Z", storage="GLACIER"),
        page(moment="2026-01-01T00:00:00Z"),
        page(contents=CONTENTS.format(key="a", moment="2026-01-01T00:00:00Z", storage="X") * 3),
        page(contents=""),
        page(namespace=""),
        page(namespace=NAMESPACE.replace('"', "'")),
        page(moment="Thu, 01 Jan 2026 00:00:00 GMT"),
        page(contents="<Contents><Key>k</Key><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"),
    ],
)
def test_a_page_is_what_botocore_reads(body: bytes) -> None:
    fast, slow = parsed(body, fast=True), parsed(body, fast=False)
    assert list(_entries(fast)) == list(_entries(slow))
    for name in ("IsTruncated", "NextContinuationToken", "EncodingType", "Name", "Prefix"):
        assert fast.get(name) == slow.get(name)


def test_what_is_taken_is_not_parsed_again() -> None:
    assert len(parsed(page(), fast=True)[FOUND]) == 1
    assert "Contents" not in parsed(page(), fast=True)


@pytest.mark.parametrize("status", [301, 404, 503])
def test_errors_stay_botocores(status: int) -> None:
    body = b"<Error><Code>SlowDown</Code><Message>m</Message></Error>"
    assert parsed(body, fast=True, status=status)["Error"]["Code"] == "SlowDown"


@pytest.mark.parametrize("body", [b"<ListBucketResult><Contents>", b"", page(contents="<Contents/>")])
def test_what_is_broken_is_left_as_it_is(body: bytes) -> None:
    response = {"status_code": 200, "headers": {}, "body": body}
    custom: dict[str, Any] = {}
    take_entries(response_dict=response, customized_response_dict=custom)
    assert (response["body"], custom) == (body, {})


def test_moments_are_utc() -> None:
    entry = next(iter(_entries(parsed(page(moment="2026-01-01T00:00:00.000Z"), fast=False))))
    assert datetime.fromisoformat(entry.last_modified) == datetime(2026, 1, 1, tzinfo=UTC)
