"""One suite for every media store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plaza.errors import MediaMissing, MediaUnavailable, SettingsError
from plaza.media import FolderStore, MediaStore, open_media_store
from support import webdav_server

KEY = "images/2026/ab/abcdef.jpg"


@pytest.fixture(params=["folder", "webdav", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MediaStore]:
    if request.param == "folder":
        yield open_media_store(tmp_path.as_uri())
    elif request.param == "webdav":
        with webdav_server(tmp_path) as location:
            yield open_media_store(location)
    else:
        endpoint = request.getfixturevalue("s3_endpoint")
        store = open_media_store(f"s3://plaza-media?endpoint_url={endpoint}")
        yield store
        store.delete(KEY)


def test_what_was_put_is_got_byte_for_byte(store: MediaStore) -> None:
    data = bytes(range(256)) * 300
    store.put(KEY, data, "image/jpeg")
    assert store.get(KEY) == data
    store.put(KEY, b"replaced", "image/jpeg")
    assert store.get(KEY) == b"replaced"


def test_what_was_deleted_is_missing_and_may_be_deleted_again(store: MediaStore) -> None:
    store.put(KEY, b"x", "image/jpeg")
    store.delete(KEY)
    store.delete(KEY)
    with pytest.raises(MediaMissing):
        store.get(KEY)


@pytest.mark.parametrize("key", ["../etc/passwd", "images/../../x.jpg", "/images/x.jpg", "images//x.jpg", "x", ""])
def test_keys_that_plaza_does_not_make_are_refused(store: MediaStore, key: str) -> None:
    with pytest.raises(MediaMissing):
        store.get(key)
    with pytest.raises(MediaMissing):
        store.put(key, b"x", "image/jpeg")


def test_a_store_that_answers_passes_its_probe(store: MediaStore) -> None:
    store.probe()


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(MediaUnavailable):
        FolderStore(tmp_path / "unmounted").probe()


def test_an_interrupted_put_leaves_nothing_under_the_key(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(KEY, b"old", "image/jpeg")
    (tmp_path / KEY).parent.joinpath(".put-half").write_bytes(b"ha")
    assert store.get(KEY) == b"old"


def test_a_wrong_password_is_unavailable_for_webdav(tmp_path: Path) -> None:
    with webdav_server(tmp_path) as location:
        store = open_media_store(location.replace("word@", "wrong@"))
        with pytest.raises(MediaUnavailable, match="401"):
            store.probe()
        with pytest.raises(MediaUnavailable, match="401"):
            store.put(KEY, b"x", "image/jpeg")


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:9/plaza-media/", "s3://plaza-media?endpoint_url=http://127.0.0.1:9"]
)
def test_a_store_that_does_not_answer_is_unavailable(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    with pytest.raises(MediaUnavailable):
        open_media_store(location).probe()


def test_a_bucket_that_is_not_there_is_unavailable(s3_endpoint: str) -> None:
    with pytest.raises(MediaUnavailable, match="404"):
        open_media_store(f"s3://no-such-bucket?endpoint_url={s3_endpoint}").probe()


def test_an_unknown_scheme_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(SettingsError, match="ftp"):
        open_media_store("ftp://example.org/")


def test_a_password_stands_in_no_message(tmp_path: Path) -> None:
    with webdav_server(tmp_path) as location:
        pass
    with pytest.raises(MediaUnavailable) as caught:
        open_media_store(location).probe()
    assert "ss%2Fword" not in str(caught.value)
    assert "p@ss" not in str(caught.value)
