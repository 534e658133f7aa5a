"""What proves bytes and what condemns them, statement by statement."""

import base64
import hashlib
import io
import zlib

import pytest
from awscrt import checksums
from hypothesis import given
from hypothesis import strategies as st

from migrate.export.source import ObjectFacts
from migrate.export.verification import MIB, PartHashes, StreamCheck, Verdict, even_parts, plausible_layouts
from tests.hostile.memory_bucket import md5, multipart_etag

DATA = bytes(range(256)) * 4096  # 1 MiB
WRONG = b"x" + DATA[1:]
KMS = {"x-amz-server-side-encryption": "aws:kms"}


def base64_of(value: int, width: int) -> str:
    return base64.b64encode(value.to_bytes(width, "big")).decode()


CHECKSUMS = {
    "crc32": base64_of(zlib.crc32(DATA), 4),
    "crc32c": base64_of(checksums.crc32c(DATA), 4),
    "crc64nvme": base64_of(checksums.crc64nvme(DATA), 8),
    "sha1": base64.b64encode(hashlib.sha1(DATA, usedforsecurity=False).digest()).decode(),
    "sha256": base64.b64encode(hashlib.sha256(DATA).digest()).decode(),
    "sha512": base64.b64encode(hashlib.sha512(DATA).digest()).decode(),
}


def judge(
    data: bytes,
    etag: str,
    headers: dict[str, str] | None = None,
    layouts=(),
    certain: bool = False,
    chunk: int = 70_001,
):  # type: ignore[no-untyped-def]
    facts = ObjectFacts(len(DATA), etag, "2026-01-01T00:00:00Z", headers or {})
    check = StreamCheck(facts, layouts, layouts_certain=certain)
    for start in range(0, len(data), chunk):
        check.update(data[start : start + chunk])
    return check.judge(io.BytesIO(data))


def parts_of(data: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def test_an_md5_etag_proves_and_condemns() -> None:
    assert judge(DATA, md5(DATA)).proof == "md5-etag"
    wrong = judge(WRONG, md5(DATA))
    assert (wrong.verdict, wrong.compared["md5-etag"]) == (Verdict.WRONG, (md5(DATA), md5(WRONG)))


def test_a_known_crc64nvme_value() -> None:
    """The check values of the CRC catalogue: the parameters themselves are held, not only two equal calls."""
    assert checksums.crc64nvme(b"123456789") == 0xAE8B14860A799888
    assert checksums.crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("algorithm", CHECKSUMS)
def test_every_full_object_checksum_proves_and_condemns(algorithm: str) -> None:
    headers = {f"x-amz-checksum-{algorithm}": CHECKSUMS[algorithm], "x-amz-checksum-type": "FULL_OBJECT", **KMS}
    assert judge(DATA, "0" * 32, headers).proof == algorithm
    assert judge(WRONG, "0" * 32, headers).verdict is Verdict.WRONG


def test_a_checksum_outweighs_an_etag_that_is_no_md5() -> None:
    headers = {"x-amz-checksum-crc32c": CHECKSUMS["crc32c"]}
    assert judge(DATA, "0" * 32, headers).proof == "crc32c"
    assert judge(DATA, md5(DATA), {"x-amz-checksum-crc32c": CHECKSUMS["crc32"]}).verdict is Verdict.WRONG


def test_a_short_object_is_wrong_whatever_its_hash() -> None:
    assert judge(DATA[:-1], md5(DATA[:-1])).reason == "the size differs"


@pytest.mark.parametrize("headers", [KMS, {"x-amz-server-side-encryption-customer-algorithm": "AES256"}])
def test_an_encrypted_object_without_checksum_is_unknown(headers: dict[str, str]) -> None:
    assert judge(DATA, md5(b"something else"), headers).verdict is Verdict.UNKNOWN


def test_an_etag_of_no_known_form_is_unknown() -> None:
    assert judge(DATA, "W/abc").verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("sizes", [(MIB,), (400_000, 400_000, 248_576), (500_000, 48_576, 500_000)])
def test_a_multipart_etag_is_held_against_the_real_parts(sizes: tuple[int, ...]) -> None:
    etag = multipart_etag(parts_of(DATA, sizes))
    proved = judge(DATA, etag, layouts=(sizes,), certain=True)
    assert (proved.proof, proved.part_sizes) == ("multipart-etag", sizes)
    assert judge(WRONG, etag, layouts=(sizes,), certain=True).verdict is Verdict.WRONG


def test_another_plausible_layout_is_tried_on_the_stored_bytes() -> None:
    real = (600_000, 448_576)
    etag = multipart_etag(parts_of(DATA, real))
    proved = judge(DATA, etag, layouts=((700_000, 348_576), real))
    assert (proved.proof, proved.part_sizes) == ("multipart-etag", real)


def test_a_multipart_etag_that_no_guess_explains_is_unknown_not_wrong() -> None:
    etag = multipart_etag(parts_of(DATA, (600_000, 448_576)))
    assert judge(DATA, etag, layouts=((700_000, 348_576),)).verdict is Verdict.UNKNOWN
    assert judge(DATA, etag).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
def test_a_composite_checksum_is_held_against_the_real_parts(algorithm: str) -> None:
    sizes = (600_000, 448_576)
    headers = {f"x-amz-checksum-{algorithm}": f"{composite(algorithm, sizes)}-2", "x-amz-checksum-type": "COMPOSITE"}
    assert judge(DATA, "x", headers | KMS, (sizes,), certain=True).proof == f"composite-{algorithm}"
    assert judge(WRONG, "x", headers | KMS, (sizes,), certain=True).verdict is Verdict.WRONG


def composite(algorithm: str, sizes: tuple[int, ...]) -> str:
    widths = {"crc32": 4, "crc32c": 4, "crc64nvme": 8}
    if algorithm in widths:
        function = getattr(checksums, algorithm)
        joined = b"".join(function(part).to_bytes(widths[algorithm], "big") for part in parts_of(DATA, sizes))
        return base64_of(function(joined), widths[algorithm])
    joined = b"".join(hashlib.new(algorithm, part).digest() for part in parts_of(DATA, sizes))
    return base64.b64encode(hashlib.new(algorithm, joined).digest()).decode()


@given(
    st.binary(min_size=1, max_size=200),
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.lists(st.integers(1, 50), min_size=1),
)
def test_parts_come_out_the_same_however_the_bytes_arrive(data: bytes, sizes: list[int], chunks: list[int]) -> None:
    cut, start = [], 0
    for size in sizes:
        if start < len(data):
            cut.append(data[start : start + size])
            start += size
    if start < len(data):
        cut.append(data[start:])
    hashes = PartHashes(lambda: hashlib.md5(usedforsecurity=False), tuple(len(part) for part in cut))
    at = 0
    while at < len(data):
        step = chunks[at % len(chunks)]
        hashes.update(data[at : at + step])
        at += step
    assert f"{hashes.combined().hex()}-{len(cut)}" == multipart_etag(cut)


@given(st.integers(0, 10**6), st.integers(1000, 10**6))
def test_even_parts_add_up(size: int, part: int) -> None:
    sizes = even_parts(size, part)
    assert sum(sizes) == size
    assert all(each == part for each in sizes[:-1])
    assert len(sizes) == -(-size // part)


def test_plausible_layouts_have_the_number_of_parts_that_the_etag_names() -> None:
    layouts = plausible_layouts(20 * MIB, 3)
    assert (8 * MIB, 8 * MIB, 4 * MIB) in layouts
    assert all(len(layout) == 3 and sum(layout) == 20 * MIB for layout in layouts)
