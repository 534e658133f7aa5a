"""Pages of ListObjectsV2, read by C code: botocore's own parser takes ten times as long as everything else together.

Sending, signing, retrying and following stay botocore's; only the entries of a page are taken out before it parses.
"""

import re
import urllib.parse
from typing import Any
from xml.etree import ElementTree

from migrate.export.source import Entry

FOUND = "cloudexit-entries"
NAMESPACE = re.compile(rb'<ListBucketResult xmlns="[^"]*"')
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


def take_entries(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """A handler of botocore's `before-parse`. What it does not know it leaves to botocore as it is."""
    if response_dict["status_code"] != 200:
        return
    try:
        page = ElementTree.fromstring(NAMESPACE.sub(b"<ListBucketResult", response_dict["body"], count=1))
        encoded = page.findtext("EncodingType") == "url"
        entries = [_entry(item, encoded) for item in page.findall("Contents")]
    except (ElementTree.ParseError, ValueError, KeyError):
        return
    for item in page.findall("Contents"):
        page.remove(item)
    response_dict["body"] = ElementTree.tostring(page)
    customized_response_dict[FOUND] = entries


def decoded(key: str) -> str:
    """The key that a listing with EncodingType=url shows as this."""
    if "%" not in key and "+" not in key:
        return key
    return urllib.parse.unquote_to_bytes(key.replace("+", " ")).decode("utf-8", "surrogateescape")


def _entry(item: ElementTree.Element, encoded: bool) -> Entry:
    fields = {field.tag: field.text or "" for field in item}
    key, moment = fields["Key"], fields["LastModified"]
    if not MOMENT.fullmatch(moment):
        raise ValueError(f"a moment that botocore must read: {moment}")
    return Entry(
        key=decoded(key) if encoded else key,
        size=int(fields.get("Size", "0")),
        etag=fields.get("ETag", "").strip('"'),
        last_modified=moment.replace(".000Z", "Z"),
        storage_class=fields.get("StorageClass", "STANDARD"),
    )
