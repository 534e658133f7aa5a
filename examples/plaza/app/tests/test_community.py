"""The made-up community: the same every time, whole, and as awkward as a real one."""

import json
import unicodedata
from pathlib import Path

import pytest

from plaza.community import art, loading
from plaza.community.writing import Community, Size, StoredImage, Writer
from plaza.media import FolderStore
from support import UNTIL

BASE = "https://media.old.example/"
SIZE = Size(users=120, posts=1500, reactions=3000, images=90)


def write(seed: int = 7, size: Size = SIZE) -> Community:
    images = [
        StoredImage(f"images/2026/ab/{number:064x}.jpg", f"{number:064x}", 8, 6, 9) for number in range(size.images)
    ]
    avatars = [f"avatars/ab/{number:064x}.jpg" for number in range(size.users)]
    return Writer(seed, size, UNTIL, BASE).write(["hash"] * size.users, avatars, images)


@pytest.fixture(scope="module")
def community() -> Community:
    return write()


def test_the_same_seed_gives_the_same_community(community: Community) -> None:
    assert write() == community
    assert write(seed=8) != community


def test_pictures_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    stored = [loading.store_images(FolderStore(tmp_path / name), 7, 6, 2026) for name in ("a", "b")]
    assert stored[0] == stored[1]
    assert all(
        (tmp_path / "a" / image.key).read_bytes() == (tmp_path / "b" / image.key).read_bytes() for image in stored[0]
    )


def test_pictures_differ_from_each_other() -> None:
    pictures = {art.as_jpeg(art.draw_picture(f"7:picture:{number}")) for number in range(40)}
    assert len(pictures) == 40
    assert all(2_000 < len(picture) < 100_000 for picture in pictures)


def test_there_is_as_much_of_everything_as_was_asked_for(community: Community) -> None:
    assert len(community.users) == SIZE.users
    assert len(community.posts) == SIZE.posts
    assert len(community.images) == SIZE.images
    assert len(community.likes) + len(community.follows) == SIZE.reactions
    assert len({user[1] for user in community.users}) == SIZE.users


@pytest.mark.parametrize("size", [Size(2, 0, 0, 0), Size(2, 1, 5, 0), Size(3, 10, 1000, 4)])
def test_a_tiny_community_is_one_too(size: Size) -> None:
    assert len(write(size=size).posts) == size.posts


def test_replies_answer_earlier_posts(community: Community) -> None:
    replies = [post for post in community.posts if post[2]]
    assert len(replies) > SIZE.posts // 5
    assert all(post[2] < post[0] for post in replies)
    assert all(community.posts[post[2] - 1][2] is None for post in replies)


def test_posts_stand_in_order_of_time(community: Community) -> None:
    times = [post[6] for post in community.posts]
    assert times == sorted(times)
    assert times[-1] < UNTIL


def test_many_scripts_and_emoji_are_there(community: Community) -> None:
    text = "".join(post[3] for post in community.posts)
    names = {unicodedata.name(letter, "").split(" ")[0] for letter in set(text)}
    assert names >= {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "HIRAGANA", "CJK", "HANGUL"}
    assert "\N{ZERO WIDTH JOINER}" in text


def test_twins_look_the_same_and_are_not(community: Community) -> None:
    bodies = {post[3] for post in community.posts}
    twins = [
        body
        for body in bodies
        if unicodedata.normalize("NFC", body) != body and unicodedata.normalize("NFC", body) in bodies
    ]
    assert len(twins) >= 5


def test_addresses_of_the_old_home_stand_everywhere(community: Community) -> None:
    assert all(user[4].startswith(BASE) for user in community.users)
    assert all(image[3].startswith(BASE) and image[4].startswith(BASE) for image in community.images)
    assert sum(BASE in post[3] for post in community.posts) > 20
    assert sum(BASE in json.dumps(post[5]) for post in community.posts) > 20
    assert sum(BASE in json.dumps(user[6]) for user in community.users) > 20


def test_the_known_people_follow_each_other(community: Community) -> None:
    assert [user[1] for user in community.users[:2]] == ["ada", "grace"]
    assert community.follows[0][:2] == (2, 1)
