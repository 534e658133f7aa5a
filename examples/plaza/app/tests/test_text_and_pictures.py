"""What needs no server: text, pictures, settings, snapshots."""

import unicodedata
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from plaza import passwords, pictures
from plaza.errors import InvalidInput, SettingsError
from plaza.posts import tags_in
from plaza.rendering import ago, count, linkify, origin
from plaza.settings import Settings
from plaza.snapshot import read_key_count
from support import UNTIL, jpeg

GPS = 0x8825


def test_markup_in_a_post_is_text() -> None:
    assert "<script>" not in linkify("<script>alert(1)</script> https://a.example/<b>")
    assert 'href="javascript' not in linkify("javascript:alert(1)")
    assert linkify('https://a.example/"onclick="x').count("<a ") == 1
    assert 'onclick="x' not in linkify('https://a.example/"onclick="x')


def test_links_tags_and_mentions_become_anchors() -> None:
    shown = linkify("Hello @ada, see https://a.example/x. #bread")
    assert '<a href="/@ada">@ada</a>,' in shown
    assert 'href="https://a.example/x"' in shown
    assert '<a href="/tags/bread">#bread</a>' in shown


@pytest.mark.parametrize("tag", ["हिन्दी", "café", "صباح_الخير", "朝ごはん", "їжак"])
def test_tags_of_every_script_are_whole(tag: str) -> None:
    assert tags_in(f"x #{tag}, y") == [unicodedata.normalize("NFC", tag)]


def test_a_decomposed_tag_is_the_same_tag() -> None:
    assert tags_in(unicodedata.normalize("NFD", "#café")) == tags_in("#café") == ["café"]


def test_what_is_no_tag() -> None:
    assert tags_in("#1 #123 a#b &#39; https://a.example/#top") == []


def test_times_are_short() -> None:
    ages = {"now": 59, "1m": 60, "59m": 3599, "23h": 86399, "6d": 7 * 86400 - 1}
    assert {ago(UNTIL - timedelta(seconds=age), UNTIL) for age in ages.values()} == set(ages)
    assert ago(UNTIL - timedelta(days=400), UNTIL) == "Sep 27, 2025"


def test_counts_are_short() -> None:
    assert [count(number) for number in (999, 1000, 1234, 20500)] == ["999", "1k", "1.2k", "20.5k"]


def test_an_origin_is_what_a_policy_wants() -> None:
    assert origin("http://10.0.0.4:8080/media/") == "http://10.0.0.4:8080"


def test_an_upload_loses_the_place_where_it_was_taken() -> None:
    exif = Image.Exif()
    exif.get_ifd(GPS)[1] = "N"
    exif[GPS] = {1: "N", 2: (47.0, 4.0, 2.0)}
    data = jpeg(exif=exif)
    assert Image.open(BytesIO(data)).getexif().get_ifd(GPS)
    accepted = pictures.accept_upload(data)
    assert not Image.open(BytesIO(accepted.data)).getexif()


def test_an_upload_is_turned_upright_and_bounded() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = pictures.accept_upload(jpeg(size=(4000, 1000), exif=exif))
    assert (picture.width, picture.height) == (512, 2048)


def test_a_thumbnail_is_small_and_a_jpeg() -> None:
    image = Image.open(BytesIO(pictures.thumbnail_of(jpeg())))
    assert (image.format, image.size) == ("JPEG", (480, 320))


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<svg/>", jpeg()[:200]])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        pictures.accept_upload(data)


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    buffer = BytesIO()
    Image.new("1", (10_000, 5_000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 1_000_000
    with pytest.raises(InvalidInput, match="pixels"):
        pictures.accept_upload(buffer.getvalue())


def test_passwords_are_hashed_with_argon2id() -> None:
    stored = passwords.hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    assert passwords.verify_password(stored, "correct horse")
    assert not passwords.verify_password(stored, "wrong horse")
    assert not passwords.verify_password(None, "no account has this password")


def test_settings_name_everything_that_is_missing() -> None:
    with pytest.raises(SettingsError, match=r"PLAZA_REDIS_URL.*PLAZA_SECRET_KEY"):
        Settings.from_environment({"PLAZA_DATABASE_URL": "x", "PLAZA_MEDIA_STORE": "x", "PLAZA_MEDIA_URL": "x/"})


def test_settings_show_no_secret() -> None:
    values = dict.fromkeys(("DATABASE_URL", "REDIS_URL", "MEDIA_STORE", "SECRET_KEY"), "hush-hush")
    settings = Settings.from_environment(
        {f"PLAZA_{name}": value for name, value in values.items()} | {"PLAZA_MEDIA_URL": "/"}
    )
    assert "hush-hush" not in repr(settings)


@pytest.mark.parametrize("data", [b"", b"REDIS", b"REDIS0010\xfb", b"not a snapshot at all", b"REDIS0010\xf5\x00"])
def test_a_broken_snapshot_is_no_snapshot(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.rdb"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"snapshot|entry|ends early"):
        read_key_count(path)
