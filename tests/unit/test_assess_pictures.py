"""Images of a bucket: told by their content where their keys do not tell, and how many were looked at is said."""

import io
from typing import Any

import pytest

from migrate.adapters.aws_account.pictures import is_image, sampled_positions
from migrate.assess.observed import Resource
from migrate.cli.leaks import not_sampled
from migrate.manifest import read_stack
from migrate.stack import Stack
from tests.drill import PLAZA
from tests.pictures import jpeg

REGION = "us-east-1"
UUID = "0d9f6c1e-7b7e-4a53-9a3c-{:012}"


class Bucket:
    """A bucket of the given objects; it keeps what was read."""

    def __init__(self, *, truncated: bool = False, **objects: bytes) -> None:
        self.objects = objects
        self.truncated = truncated
        self.read: list[str] = []

    def __call__(self, client: str, region: str, method: str, params: Any) -> Any:
        if method == "get_object":
            self.read.append(params["Key"])
            return {"Body": io.BytesIO(self.objects[params["Key"]])}
        later = [key for key in sorted(self.objects) if key > params["StartAfter"]]
        contents = [{"Key": key, "Size": len(self.objects[key])} for key in later]
        return {"Contents": contents, "IsTruncated": self.truncated}

    def body(self, answer: Any, limit: int) -> bytes:
        content: bytes = answer["Body"].read(limit)
        return content

    def look(self, sample: int) -> tuple[Any, Any, list[str]]:
        resource = Resource(service="s3", kind="bucket", region=REGION, name="pictures")
        return sampled_positions(self, [resource], sample)  # type: ignore[arg-type]


def test_images_whose_keys_have_no_ending_are_found_by_their_content() -> None:
    objects = {UUID.format(n): jpeg(position=n % 2 == 0) if n < 10 else b"no image" for n in range(20)}
    bucket = Bucket(**objects)
    (leak,), unseen, (looked,) = bucket.look(100)
    assert (leak.found, leak.looked_at, unseen) == (5, 10, [])
    assert looked == "positions in images of s3://pictures beyond the 10 images looked at, of 20 keys"


@pytest.mark.parametrize(
    ("named", "untold", "sample", "read"),
    [(30, 0, 6, (6, 0)), (30, 30, 6, (3, 3)), (1, 30, 6, (1, 5)), (30, 2, 6, (4, 2)), (0, 30, 6, (0, 6)),
     (5, 5, 1, (1, 0))],
)  # fmt: skip
def test_no_more_is_read_than_the_sample_and_both_kinds_have_their_share(
    named: int, untold: int, sample: int, read: tuple[int, int]
) -> None:
    objects = {f"{n}.jpg": jpeg(position=False) for n in range(named)}
    bucket = Bucket(**objects, **{UUID.format(n): b"\x89PNG\r\n\x1a\n" for n in range(untold)})
    _, _, (looked,) = bucket.look(sample)
    by_name = sum(key.endswith(".jpg") for key in bucket.read)
    assert (by_name, len(bucket.read) - by_name) == read
    assert f"beyond the {sample} images looked at" in looked or f"beyond the {sample} image looked at" in looked


def test_what_is_named_otherwise_or_empty_is_not_read() -> None:
    bucket = Bucket(**{"notes.txt": jpeg(position=True), "folder/": b"", "v1.2/app.tar.gz": b"x", "empty": b""})
    assert bucket.look(10) == ([], [], ["positions in images of s3://pictures: no image was looked at, of 4 keys"])
    assert bucket.read == []


def test_an_image_by_name_alone_was_not_looked_at() -> None:
    assert Bucket(**{"a.jpg": b"<html>not found</html>"}).look(5)[2] == [
        "positions in images of s3://pictures: no image was looked at, of 1 key"
    ]


def test_a_listing_that_goes_on_says_so() -> None:
    (looked,) = Bucket(truncated=True, **{"a.jpg": jpeg(position=False)}).look(5)[2]
    assert looked.endswith("beyond the 1 image looked at, of 1 key, which are not all")


@pytest.mark.parametrize(
    ("head", "image"),
    [
        (b"\xff\xd8\xff\xe0", True), (b"\x89PNG\r\n\x1a\n", True), (b"RIFF\x10\0\0\0WEBPVP8 ", True), (b"II*\0", True),
        (b"MM\0*", True), (b"\0\0\0\x18ftypheic", True), (b"\0\0\0\x18ftypmif1", True), (b"\0\0\0\x1cftypavif", True),
        (b"\0\0\0\x18ftypisom", False), (b"RIFF\x10\0\0\0WAVE", False), (b"", False), (b"{}", False),
    ],
)  # fmt: skip
def test_what_the_first_bytes_say(head: bytes, image: bool) -> None:
    assert is_image(head) is image


def test_buckets_that_the_manifest_does_not_call_media_are_named() -> None:
    stack: Stack = read_stack(PLAZA)
    buckets = [
        Resource(service="s3", kind="bucket", region=REGION, name=name)
        for name in ("plaza-media", "plaza-backups", "others")
    ]
    assert not_sampled(buckets, stack) == [
        "positions in images of 2 buckets that the manifest does not call media: plaza-backups, others"
    ]
    assert not_sampled(buckets, None) == []


def test_archived_images_beside_other_objects_are_not_called_seen() -> None:
    class Archived(Bucket):
        def __call__(self, client: str, region: str, method: str, params: Any) -> Any:
            answer = super().__call__(client, region, method, params)
            for one in answer.get("Contents", ()):
                if one["Key"].endswith(".jpg"):
                    one["StorageClass"] = "GLACIER"
            return answer

    _, (unseen,), _ = Archived(**{"a.jpg": b"x", UUID.format(1): b"no image"}).look(5)
    assert "archive class" in unseen.said
