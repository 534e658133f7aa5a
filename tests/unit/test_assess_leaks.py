"""What would leak: policies and ACLs, provider's names in texts and archives, marked rows of a dump, positions."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from migrate.adapters.aws_account.pictures import has_position
from migrate.adapters.dumps import dump_lines
from migrate.adapters.texts import hosts_in
from migrate.assess.exposure import Exposure, UnreadablePolicy, exposure
from migrate.assess.findings import LeakKind
from migrate.assess.leaking import hosts_in_manifest, provider_hosts
from migrate.assess.rows import MediaOfDeleted, Tally, says_deleted
from migrate.errors import UsageProblem
from migrate.manifest import read_stack
from tests.drill import PLAZA
from tests.pictures import jpeg

ALL = {"Grantee": {"URI": "http://acs.amazonaws.com/groups/global/AllUsers"}}
OWNER = {"Grantee": {"ID": "abc"}, "Permission": "FULL_CONTROL"}
OPEN, CLOSED = Exposure(True, True), Exposure()


def policy(**fields: Any) -> str:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*", **fields}
    return json.dumps({"Statement": [{name: value for name, value in statement.items() if value is not None}]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (policy(), Exposure(readable=True)),
        (policy(Principal={"AWS": "*"}), Exposure(readable=True)),
        (policy(Principal={"AWS": ["123456789012", "*"]}), Exposure(readable=True)),
        (policy(Principal={"AWS": "arn:aws:iam::123456789012:root"}), CLOSED),
        (policy(Principal={"Service": "cloudfront.amazonaws.com"}), CLOSED),
        (policy(Action=["s3:GetObject", "s3:ListBucket"]), OPEN),
        (policy(Action="s3:*"), Exposure(True, True, True)),
        (policy(Action="*"), Exposure(True, True, True)),
        (policy(Action="s3:get*"), Exposure(readable=True)),
        (policy(Action="s3:PutObject"), Exposure(writable=True)),
        (policy(Effect="Deny"), CLOSED),
        (policy(Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}), CLOSED),
        (policy(Condition={"StringLike": {"aws:Referer": "https://myapp.example/*"}}), Exposure(readable=True)),
        (policy(Condition={"Bool": {"aws:SecureTransport": "true"}}), Exposure(readable=True)),
        (policy(Condition={"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}), Exposure(readable=True)),
        (policy(Condition={"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "::/0"]}}), Exposure(readable=True)),
        (policy(Condition={"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}), Exposure(readable=True)),
        (policy(Condition={"StringEquals": {"aws:SourceVpce": "vpce-1"}}), CLOSED),
        (policy(Condition={"StringEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}), Exposure(readable=True)),
        (policy(Condition={"ForAllValues:StringEquals": {"aws:SourceVpce": "vpce-1"}}), Exposure(readable=True)),
        (policy(Condition={"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-1/*"}}), CLOSED),
        (policy(Condition={"StringLike": {"aws:PrincipalArn": "*"}}), Exposure(readable=True)),
        (policy(Condition={"Null": {"aws:SourceVpce": "true"}}), Exposure(readable=True)),
        (
            policy(Condition={"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
            CLOSED,
        ),
        (policy(Action=None, NotAction="s3:DeleteBucket"), Exposure(True, True, True)),
        (policy(Action=None, NotAction=["s3:List*", "s3:Put*", "s3:Delete*"]), Exposure(readable=True)),
        (policy(Principal=None, NotPrincipal={"AWS": "arn:aws:iam::123456789012:root"}), Exposure(readable=True)),
        (policy(Action="s3:GetObjectVersion"), Exposure(readable=True)),
        (policy(Action="s3:ListBucketVersions"), Exposure(listable=True)),
        (policy(Action="s3:DeleteObject"), Exposure(writable=True)),
    ],
)
def test_what_a_policy_lets_anybody_do(text: str, expected: Exposure) -> None:
    assert exposure(text, [OWNER], {}, {}) == expected


@pytest.mark.parametrize("text", ["no json", "[]", '{"Statement": ["x"]}', policy(Condition=["x"])])
def test_a_policy_that_cannot_be_read_is_not_called_closed(text: str) -> None:
    with pytest.raises(UnreadablePolicy):
        exposure(text, [OWNER], {}, {})
    assert exposure(text, [OWNER], {"RestrictPublicBuckets": True}, {}) == CLOSED


@pytest.mark.parametrize(
    ("deny", "expected"),
    [
        ({"Resource": "arn:aws:s3:::b/private/*"}, Exposure(readable=True)),
        ({"Resource": "arn:aws:s3:::b/*"}, CLOSED),
        ({"Resource": "arn:aws:s3:::*"}, CLOSED),
        ({"Resource": None, "NotResource": "arn:aws:s3:::b/public/*"}, Exposure(readable=True)),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, Exposure(readable=True)),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, Exposure(readable=True)),
        ({"Action": "s3:PutObject"}, Exposure(readable=True)),
    ],
)
def test_a_deny_closes_only_what_it_covers(deny: dict[str, Any], expected: Exposure) -> None:
    opened = json.loads(policy(Resource="arn:aws:s3:::b/*"))["Statement"][0]
    closing = {**opened, "Effect": "Deny", **deny}
    text = json.dumps({"Statement": [opened, {name: value for name, value in closing.items() if value is not None}]})
    assert exposure(text, [], {}, {}) == expected


def test_a_deny_for_everyone_closes_what_an_allow_opened() -> None:
    allow, deny = (json.loads(policy(Action="s3:*", Effect=effect))["Statement"][0] for effect in ("Allow", "Deny"))
    deny["Action"] = "s3:ListBucket*"
    assert exposure(json.dumps({"Statement": [allow, deny]}), [], {}, {}) == Exposure(True, False, True)


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        ("READ", Exposure(listable=True)), ("WRITE", Exposure(writable=True)), ("READ_ACP", CLOSED),
        ("WRITE_ACP", Exposure(writable=True)),
        ("FULL_CONTROL", Exposure(listable=True, writable=True)),
    ],
)  # fmt: skip
def test_what_an_acl_lets_anybody_do(permission: str, expected: Exposure) -> None:
    assert exposure(None, [OWNER, {**ALL, "Permission": permission}], {}, {}) == expected


@pytest.mark.parametrize("where", ["bucket", "account"])
def test_a_block_of_bucket_or_account_closes(where: str) -> None:
    block = {"RestrictPublicBuckets": True, "IgnorePublicAcls": True}
    blocks = (block, {}) if where == "bucket" else ({}, block)
    assert exposure(policy(), [{**ALL, "Permission": "READ"}], *blocks) == CLOSED


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("https://app-media.s3.eu-west-1.amazonaws.com/a.jpg", ["app-media.s3.eu-west-1.amazonaws.com"]),
        ("D1.CloudFront.net", ["d1.cloudfront.net"]),
        ("http://169.254.169.254/latest/meta-data", ["169.254.169.254"]),
        ("https://abc.lambda-url.us-east-1.on.aws/", ["abc.lambda-url.us-east-1.on.aws"]),
        ("app.auth.us-east-1.amazoncognito.com", ["app.auth.us-east-1.amazoncognito.com"]),
        ("https://s3.dualstack.us-east-1.amazonaws.com/b", ["s3.dualstack.us-east-1.amazonaws.com"]),
        ("https://sqs.us-east-1.api.aws/1/jobs", ["sqs.us-east-1.api.aws"]),
        (
            "x.us-east-1.awsapprunner.com main.d1.amplifyapp.com",
            ["x.us-east-1.awsapprunner.com", "main.d1.amplifyapp.com"],
        ),
        ("amazonaws.community", []),
        ("notcloudfront.network", []),
        ("https://cdn.myapp.example/", []),
    ],
)
def test_names_of_the_provider(text: str, hosts: list[str]) -> None:
    assert list(provider_hosts(text)) == hosts


def test_the_manifest_itself_is_read_for_names_of_the_provider() -> None:
    stack = read_stack(PLAZA)
    assert hosts_in_manifest(stack, "stack.yaml") == []
    web = stack.services["web"].model_copy(update={"environment": {"S3": "https://s3.amazonaws.com"}})
    changed = stack.model_copy(update={"services": {**stack.services, "web": web}})
    (leak,) = hosts_in_manifest(changed, "stack.yaml")
    assert leak.where == "stack.yaml: services.web.environment.S3"


@pytest.mark.parametrize(
    ("column", "value", "deleted"),
    [
        ("deleted_at", "2026-01-01 00:00:00+00", True), ("deleted_at", "\\N", False), ("deletedAt", "2026", True),
        ("is_deleted", "t", True), ("is_deleted", "f", False), ("removed", "true", True), ("status", "deleted", True),
        ("status", "published", False), ("state", "Removed", True), ("body", "deleted", False),
        ("undeleted_at", "2026-01-01", False),
        ("deleted", "2026-01-01 00:00:00+00", True), ("removed", "0", False), ("deleted", "f", False),
        ("deleted", "Y", True), ("isDeleted", "no", False),
    ],
)  # fmt: skip
def test_what_marks_a_row_as_deleted(column: str, value: str, deleted: bool) -> None:
    assert says_deleted(column, value) is deleted


DUMP = """\
SET statement_timeout = 0;
COPY public.images (id, post_id, url, thumbnail_url) FROM stdin;
1\t10\thttps://app-media.s3.amazonaws.com/1.jpg\thttps://app-media.s3.amazonaws.com/1-t.jpg
2\t11\thttps://app-media.s3.amazonaws.com/2.jpg\t\\N
\\.
COPY public.posts (id, body, cover, deleted_at) FROM stdin;
10\thello\t\\N\t\\N
11\tgone\tcovers/11.png\t2026-01-01 00:00:00+00
12\tsee d1.cloudfront.net\t\\N\t2026-01-02 00:00:00+00
\\.
ALTER TABLE ONLY public.images
    ADD CONSTRAINT images_post_id_fkey FOREIGN KEY (post_id) REFERENCES public.posts(id) ON DELETE CASCADE;
"""


def test_a_dump_tells_of_marked_rows_their_media_and_the_provider() -> None:
    tally = Tally().read(iter(DUMP.splitlines(keepends=True)))
    media = MediaOfDeleted(tally).read(iter(DUMP.splitlines(keepends=True)))
    found = {(leak.kind, leak.where): (leak.found, leak.looked_at) for leak in [*tally.leaks("d"), *media.leaks("d")]}
    assert found == {
        (LeakKind.SOFT_DELETED, "d: public.posts"): (2, 3),
        (LeakKind.MEDIA_OF_DELETED, "d: public.images"): (1, None),
        (LeakKind.MEDIA_OF_DELETED, "d: public.posts"): (1, None),
        (LeakKind.PROVIDER_HOST, "d: public.images.url"): (2, None),
        (LeakKind.PROVIDER_HOST, "d: public.images.thumbnail_url"): (1, None),
        (LeakKind.PROVIDER_HOST, "d: public.posts.body"): (1, None),
    }


def test_a_dump_that_breaks_off_is_not_read_as_whole(tmp_path: Path) -> None:
    broken = tmp_path / "app.dump"
    broken.write_bytes(b"PGDMP\x01\x0e\x00")
    with pytest.raises(UsageProblem, match="cannot be read to its end"), dump_lines(broken) as lines:
        list(lines)


def test_a_release_is_looked_through_to_its_wheels(tmp_path: Path) -> None:
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("app/settings.py", "BUCKET = 'https://app.s3.amazonaws.com'\n")
    release = tmp_path / "app-1.tar.gz"
    with tarfile.open(release, "w:gz") as archive:
        for name, content in (
            ("release.json", b"{}"), ("wheels/app-1-py3-none-any.whl", wheel.getvalue()),
            ("wheels/botocore-1-py3-none-any.whl", b"s3.amazonaws.com"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    looked = hosts_in(release)
    name = "app-1.tar.gz!wheels/app-1-py3-none-any.whl!app/settings.py"
    assert {file: dict(hosts) for file, hosts in looked.hosts.items()} == {name: {"app.s3.amazonaws.com": 1}}
    assert (looked.libraries, looked.whole, looked.missed) == ({"botocore"}, True, {})


def test_a_broken_archive_is_read_as_bytes_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"no zip, but s3.amazonaws.com")
    (tmp_path / "link.txt").symlink_to("/etc/hostname")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("url = git.amazonaws.com")
    assert set(hosts_in(tmp_path).hosts) == {"broken.zip"}


def test_a_position_is_found_and_its_lack_too() -> None:
    assert has_position(jpeg(position=True))
    assert not has_position(jpeg(position=False))


@pytest.mark.parametrize("content", [b"", b"no image", jpeg(position=True)[:20], b"\xff\xd8\xff\xe1\xff\xff", b"RIFF"])
def test_what_is_no_whole_image_has_no_position(content: bytes) -> None:
    assert not has_position(content)
