"""How objects are served: what is usual in a tree, the exceptions, and the rule by which the server finds a key."""

import re
import shutil
import subprocess
from collections.abc import Iterable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from migrate.export.keymap import is_safe, key_text
from migrate.restore.headers import HEADERS, Lists, Served, lists_of, nginx_word, object_name
from migrate.target.playbooks import playbooks_folder

ROLE = playbooks_folder() / "roles" / "media"
TIME = 0x65A0
LINE = re.compile(rb"'([^']*)' (\".*\");")


def served(key: str, **headers: str) -> Served:
    return Served(key, TIME, 0x4D, {name.replace("_", "-"): value for name, value in headers.items()})


def told(*objects: Served) -> dict[str, dict[str, str]]:
    """List -> name -> word, as the server reads it."""
    return {name: read(text) for name, text in lists(objects).texts.items()}


def lists(objects: Iterable[Served]) -> Lists:
    kept = list(objects)
    return lists_of("b", lambda: kept)


def read(text: bytes) -> dict[str, str]:
    assert all(LINE.fullmatch(line) for line in text.splitlines())
    return {found[1].decode(): found[2].decode("latin-1") for found in LINE.finditer(text)}


def name_of(key: str) -> str:
    return f'{object_name("b", key)} "{TIME:x}-4d"'


def test_objects_of_the_usual_type_are_no_exceptions() -> None:
    found = told(
        *(served(f"{n}.jpg", content_type="image/jpg") for n in range(3)), served("x.JPG", content_type="text/html")
    )
    assert found["usual-content-type.map"] == {"b jpg": '"image/jpg"'}
    assert found["content-type.map"] == {name_of("x.JPG"): '"text/html"'}


def test_keys_without_an_extension_have_a_usual_type_too() -> None:
    found = told(served("blob/1", content_type="image/png"), served(".hidden", content_type="image/png"))
    assert found["usual-content-type.map"] == {"b ": '"image/png"'} and found["content-type.map"] == {}


def test_what_most_say_of_caching_holds_for_the_tree_and_saying_nothing_is_an_hour() -> None:
    found = told(served("1", cache_control="no-store"), served("2", cache_control="no-store"), served("3"))
    assert found["usual-cache-control.map"] == {"in b": '"no-store"'}
    assert found["cache-control.map"] == {name_of("3"): '"max-age=3600"'}


def test_all_other_headers_are_exceptions_even_where_every_object_has_them() -> None:
    """What the app writes later is not compressed because the old objects were."""
    found = told(served("1", content_encoding="gzip"), served("2", content_encoding="gzip"))
    assert found["content-encoding.map"].keys() == {name_of("1"), name_of("2")}


def test_the_same_objects_give_the_same_lists_in_any_order() -> None:
    objects = [served(f"{n}.jpg", content_type=f"image/{'ab'[n % 2]}", expires="0") for n in range(4)]
    assert lists(objects).texts["usual-content-type.map"] == lists(objects[::-1]).texts["usual-content-type.map"]


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\0b", "x" * 4001, "$" * 1000])
def test_a_header_that_no_list_can_hold_is_named_and_left_out(value: str) -> None:
    found = lists([served("k", content_disposition=value), served("k2", content_type=value, cache_control=value)])
    assert set(found.unwritable) == {"k", "k2"} and found.exceptions == 0
    assert found.texts["content-disposition.map"] == b""


def test_quotes_backslashes_and_dollars_reach_the_server_as_they_are() -> None:
    assert nginx_word('a "b" \\ $HOME') == b'"a \\"b\\" \\\\ ${media_dollar}HOME"'
    assert nginx_word("caf\u00c3\u00a9") == '"café"'.encode(), "as it came from the socket"


def test_the_role_knows_the_headers_that_lists_are_written_of() -> None:
    assert tuple(yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["media_kept_headers"]) == HEADERS


PIECES = (b"a", b".", b"/", b"\n", b"\x7f", b"\xff", b"\xc2\x85", b"\xed\xa0\x80", "é\U0001f600".encode(), b"n" * 130)


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join), max_size=40))
def test_the_server_finds_keys_by_the_rule_of_the_archive(keys: list[bytes]) -> None:
    if not shutil.which("perl"):
        pytest.skip("perl is not installed on this machine")
    program = (
        'BEGIN { $INC{"nginx.pm"} = 1 } require $ARGV[0];'
        "while (<STDIN>) { chomp; print CloudexitMedia::is_safe(pack 'H*', substr $_, 1) }"
    )
    asked = "".join(f"k{key.hex()}\n" for key in keys)
    command = ["perl", "-e", program, str(ROLE / "files" / "CloudexitMedia.pm")]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    assert done.stdout == "".join(str(int(is_safe(key_text(key)))) for key in keys)
