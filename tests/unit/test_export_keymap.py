"""Every key has one place of its own inside DEST, whatever other keys there are and whatever order they come in."""

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from migrate.export.engine import export_bucket
from migrate.export.keymap import folders, is_safe, key_bytes, key_text, object_path, odd_path, version_path
from migrate.export.ledger import Ledger
from migrate.export.scope import ExportOptions
from tests.hostile.hostile_keys import HOSTILE_KEYS
from tests.hostile.memory_bucket import MemoryBucket

characters = st.characters(exclude_categories=["Cs"])
awkward = st.sampled_from(["/", ".", "..", "a", "b", "A", "\n", "\x00", "é", "e\u0301", " ", "%", "-", "x" * 256])
keys = st.one_of(
    st.text(characters, min_size=1, max_size=40),
    st.lists(awkward, min_size=1, max_size=6).map("".join),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join),
).filter(lambda key: len(key_bytes(key)) <= 1024)
FEW_WORKERS = ExportOptions(workers=2)


@given(keys)
def test_a_path_stays_inside_and_can_be_held(key: str) -> None:
    for path in (object_path(key), object_path(key, is_folder=True), version_path(key, "v")):
        components = path.split("/")
        assert components[0] in ("objects", "odd", "versions")
        assert all(component not in ("", ".", "..") for component in components)
        assert all(len(component.encode()) <= 255 and "\0" not in component for component in components)


@given(keys)
def test_a_safe_key_lies_at_its_own_name(key: str) -> None:
    if is_safe(key):
        assert object_path(key) == f"objects/{key}"
        assert os.path.normpath(f"/r/objects/{key}") == f"/r/objects/{key}"
    else:
        assert object_path(key) == odd_path(key)


@given(st.lists(keys, unique=True, max_size=30))
def test_no_two_keys_share_a_path(many: list[str]) -> None:
    needed = {folder for key in many if is_safe(key) for folder in folders(key)}
    paths = {object_path(key, is_folder=key in needed) for key in many}
    assert len(paths) == len(many)
    assert not {path.removeprefix("objects/") for path in paths if path.startswith("objects/")} & needed


@given(st.binary(min_size=1, max_size=40))
def test_bytes_survive_as_text(raw: bytes) -> None:
    assert key_bytes(key_text(raw)) == raw


@pytest.mark.parametrize(
    "key", ["a", "a/b", "-rf", "~root", "é", "back\\slash", "x" * 255, "ledger.sqlite", "a b", "a?b"]
)
def test_these_are_safe(key: str) -> None:
    assert is_safe(key)


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", ".", "a/..", "./a", "x" * 256, "a\nb", "a\x00", "a\x7f", "a\x85b", "b" * 1025, "\udc80"],
)
def test_these_are_odd(key: str) -> None:
    assert not is_safe(key)


def layout(bucket: MemoryBucket, dest: Path) -> dict[str, tuple[str | None, bytes]]:
    with Ledger.open(dest) as ledger:
        return {
            row.key: (row.path, (dest / row.path).read_bytes()) if row.path else (None, b"") for row in ledger.objects()
        }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(many=["a", "a/b", "a/b/c"], split=1, seed=0)
@example(many=["a/b/c", "a/b", "a"], split=2, seed=1)
@given(st.lists(keys, unique=True, min_size=1, max_size=12), st.integers(0, 12), st.integers(0, 1000))
def test_the_layout_does_not_depend_on_order_or_on_the_number_of_runs(many: list[str], split: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        at_once, in_two = Path(folder, "1"), Path(folder, "2")
        bucket = MemoryBucket(page_size=3)
        for key in many:
            bucket.put(key, key_bytes(key))
        export_bucket(bucket, "", at_once, FEW_WORKERS)

        shuffled = random.Random(seed).sample(many, len(many))
        late = MemoryBucket(page_size=2)
        for part in (shuffled[:split], shuffled):
            for key in part:
                if key not in late.objects:
                    late.put(key, key_bytes(key))
            late.listing_order = list(part)
            assert export_bucket(late, "", in_two, FEW_WORKERS).complete
        expected = {key: (path, key_bytes(key)) for key, (path, _) in layout(bucket, at_once).items()}
        assert layout(bucket, at_once) == expected
        assert layout(late, in_two) == expected
        assert {entry.name for entry in Path(folder).iterdir()} == {"1", "2"}


def test_every_hostile_key_is_kept_exactly(tmp_path: Path) -> None:
    bucket = MemoryBucket()
    for key in HOSTILE_KEYS:
        bucket.put(key, b"content of " + key_bytes(key))
    result = export_bucket(bucket, "", tmp_path / "archive")
    assert (result.complete, result.verified) == (True, len(HOSTILE_KEYS))
    held = layout(bucket, tmp_path / "archive")
    assert {key: content for key, (_, content) in held.items()} == {
        key: b"content of " + key_bytes(key) for key in HOSTILE_KEYS
    }
    for key, (path, _) in held.items():
        conflicting = any(other.startswith(f"{key}/") and is_safe(other) for other in HOSTILE_KEYS)
        assert (path == f"objects/{key}") == (is_safe(key) and not conflicting)
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]
