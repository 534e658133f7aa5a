"""The JSON API against real servers."""

import shutil
from io import BytesIO
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from plaza import people, sessions
from plaza.backends import Backends
from plaza.settings import Settings
from support import DEMO_PASSWORD, Pristine, document, jpeg


def sign_in(client: FlaskClient, username: str = "ada") -> dict[str, str]:
    answer = client.post("/api/session", json={"username": username, "password": DEMO_PASSWORD})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {document(answer)['token']}"}


def publish(client: FlaskClient, headers: dict[str, str], **fields: object) -> dict[str, Any]:
    answer = client.post("/api/posts", headers=headers, data=fields)
    assert answer.status_code == 201, answer.text
    post: dict[str, Any] = document(answer)["post"]
    return post


def message(answer: TestResponse) -> str:
    text: str = document(answer)["error"]["message"]
    return text


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(client: FlaskClient) -> None:
    wrong = client.post("/api/session", json={"username": "ada", "password": "wrong"})
    unknown = client.post("/api/session", json={"username": "nobody_here", "password": "wrong"})
    assert wrong.status_code == unknown.status_code == 401
    assert document(wrong) == document(unknown)


def test_guessing_ends(client: FlaskClient) -> None:
    for _ in range(sessions.FAILURES_ALLOWED):
        assert client.post("/api/session", json={"username": "zoe", "password": "guess"}).status_code == 401
    answer = client.post("/api/session", json={"username": "zoe", "password": DEMO_PASSWORD})
    assert answer.status_code == 429
    sign_in(client, "ada")


def test_a_cheap_hash_becomes_a_strong_one_at_sign_in(client: FlaskClient, backends: Backends) -> None:
    def stored() -> str:
        with backends.database.connection() as connection:
            row = connection.execute("SELECT password_hash FROM users WHERE username = 'ada'").fetchone()
        assert row is not None
        return str(row["password_hash"])

    assert "m=4096" in stored()
    sign_in(client)
    assert "m=19456" in stored()
    sign_in(client)


def test_a_session_ends_when_it_is_told_to(client: FlaskClient) -> None:
    headers = sign_in(client)
    assert document(client.get("/api/me", headers=headers))["user"]["username"] == "ada"
    assert client.delete("/api/session", headers=headers).status_code == 204
    assert client.get("/api/me", headers=headers).status_code == 401


def test_a_token_is_stored_as_a_hash_only(client: FlaskClient, backends: Backends) -> None:
    token = sign_in(client)["Authorization"].removeprefix("Bearer ")
    assert all(token not in str(key) for key in backends.cache.scan_iter())
    assert backends.cache.exists(sessions.session_key(token))


@pytest.mark.parametrize("path", ["/api/me", "/api/timeline", "/api/posts", "/api/posts/1", "/api/users/ada"])
def test_nothing_is_told_to_strangers(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"Authorization": "Bearer made-up"}).status_code == 401


def test_the_api_takes_no_cookie(client: FlaskClient, backends: Backends) -> None:
    client.set_cookie("plaza_session", sessions.start_session(backends.cache, 1))
    assert client.get("/").status_code == 200
    assert client.post("/api/posts", data={"body": "forged"}).status_code == 401


def test_signing_up(client: FlaskClient) -> None:
    fields = {"username": "New_One", "display_name": "Ναυσικά", "password": "long enough it is"}
    answer = client.post("/api/users", json=fields)
    assert answer.status_code == 201
    assert document(answer)["user"]["username"] == "new_one"
    assert client.post("/api/users", json=fields).status_code == 422
    timeline = client.get("/api/timeline", headers={"Authorization": f"Bearer {document(answer)['token']}"})
    assert document(timeline) == {"posts": [], "next_before": None}


@pytest.mark.parametrize(
    "change",
    [{"username": "x"}, {"username": "has space"}, {"username": "admin"}, {"password": "short"}, {"display_name": " "}],
)
def test_accounts_that_cannot_be(client: FlaskClient, change: dict[str, str]) -> None:
    fields = {"username": "fine_name", "display_name": "Fine", "password": "long enough it is"} | change
    assert client.post("/api/users", json=fields).status_code == 422


def test_posting_with_an_image(client: FlaskClient, backends: Backends, settings: Settings) -> None:
    post = publish(client, sign_in(client), body="Look #Bread", image=(BytesIO(jpeg()), "photo.jpg"), alt_text="a wall")
    image = post["images"][0]
    assert image["url"] == settings.media_url + image["key"]
    assert image["thumbnail_url"] is None
    assert image["alt_text"] == "a wall"
    assert len(backends.media.get(image["key"])) == image["bytes"]
    tagged = document(client.get("/api/tags/bread?limit=1", headers=sign_in(client)))["posts"]
    assert tagged[0]["id"] == post["id"]


def test_texts_come_back_as_they_were_written(client: FlaskClient) -> None:
    body = "cafe\u0301 ≠ café, 👩🏽‍🌾 صباح الخير <b>&amp;"
    headers = sign_in(client)
    post = publish(client, headers, body=body)
    assert document(client.get(f"/api/posts/{post['id']}", headers=headers))["post"]["body"] == body


@pytest.mark.parametrize("fields", [{"body": "  "}, {"body": "x" * 2001}, {"body": "x", "reply_to": "first"}])
def test_posts_that_cannot_be(client: FlaskClient, fields: dict[str, str]) -> None:
    assert client.post("/api/posts", headers=sign_in(client), data=fields).status_code == 422


def test_what_is_no_picture_leaves_nothing_behind(client: FlaskClient, backends: Backends) -> None:
    headers = sign_in(client)
    newest = document(client.get("/api/posts?limit=1", headers=headers))["posts"][0]["id"]
    answer = client.post("/api/posts", headers=headers, data={"body": "x", "image": (BytesIO(b"MZ"), "virus.jpg")})
    assert answer.status_code == 422
    assert document(client.get("/api/posts?limit=1", headers=headers))["posts"][0]["id"] == newest


def test_replies_likes_and_notifications(client: FlaskClient, backends: Backends) -> None:
    ada, grace = sign_in(client, "ada"), sign_in(client, "grace")
    post = publish(client, ada, body="Anybody there?")
    reply = publish(client, grace, body="Here!", reply_to=post["id"])
    path = f"/api/posts/{post['id']}"
    for _ in range(2):
        assert client.put(f"{path}/like", headers=grace).status_code == 204
    found = document(client.get(path, headers=grace))
    assert (found["post"]["likes"], found["post"]["liked"], found["post"]["replies"]) == (1, True, 1)
    assert [other["id"] for other in found["replies"]] == [reply["id"]]
    with backends.database.connection() as connection:
        kinds = connection.execute(
            "SELECT kind FROM notifications WHERE user_id = 1 ORDER BY id DESC LIMIT 2"
        ).fetchall()
    assert [row["kind"] for row in kinds] == ["like", "reply"]
    client.delete(f"{path}/like", headers=grace)
    assert document(client.get(path, headers=grace))["post"]["likes"] == 0


def test_only_the_author_deletes_a_post(client: FlaskClient) -> None:
    ada, grace = sign_in(client, "ada"), sign_in(client, "grace")
    post = publish(client, ada, body="Short-lived")
    assert client.delete(f"/api/posts/{post['id']}", headers=grace).status_code == 403
    assert client.delete(f"/api/posts/{post['id']}", headers=ada).status_code == 204
    assert client.get(f"/api/posts/{post['id']}", headers=ada).status_code == 404


def test_following_changes_the_timeline(client: FlaskClient) -> None:
    headers = sign_in(client, "zoe")
    stranger = publish(client, sign_in(client, "alan"), body="From a stranger")
    with_follow = client.put("/api/users/alan/follow", headers=headers)
    assert with_follow.status_code == 204
    assert stranger["id"] in [post["id"] for post in document(client.get("/api/timeline", headers=headers))["posts"]]
    client.delete("/api/users/alan/follow", headers=headers)
    assert stranger["id"] not in [
        post["id"] for post in document(client.get("/api/timeline", headers=headers))["posts"]
    ]
    assert client.put("/api/users/zoe/follow", headers=headers).status_code == 422


def test_pages_of_a_timeline_neither_overlap_nor_leave_gaps(client: FlaskClient) -> None:
    headers = sign_in(client)
    whole = [post["id"] for post in document(client.get("/api/timeline?limit=60", headers=headers))["posts"]]
    first = document(client.get("/api/timeline?limit=25", headers=headers))
    second = document(client.get(f"/api/timeline?limit=25&before={first['next_before']}", headers=headers))
    assert [post["id"] for post in first["posts"] + second["posts"]] == whole[:50]


def test_unknown_things_are_not_found(client: FlaskClient) -> None:
    headers = sign_in(client)
    for path in ("/api/posts/999999", "/api/users/nobody_here", "/api/nothing"):
        assert client.get(path, headers=headers).status_code == 404
    assert client.put("/api/posts/999999/like", headers=headers).status_code == 404


def test_numbers_that_are_none_are_refused(client: FlaskClient) -> None:
    assert client.get("/api/timeline?before=yesterday", headers=sign_in(client)).status_code == 422


def test_a_broken_body_is_refused(client: FlaskClient) -> None:
    answer = client.post("/api/session", data="[1]", content_type="application/json")
    assert answer.status_code == 422
    assert "JSON" in message(answer)


def test_a_lost_media_store_is_said_so(client: FlaskClient, pristine: Pristine) -> None:
    headers = sign_in(client)
    shutil.rmtree(pristine.live / "images")
    (pristine.live / "images").write_bytes(b"no folder")
    answer = client.post("/api/posts", headers=headers, data={"image": (BytesIO(jpeg()), "photo.jpg")})
    assert answer.status_code == 503
    assert "out of reach" in message(answer)


def test_a_dropped_connection_is_replaced(client: FlaskClient, database_server: str) -> None:
    headers = sign_in(client)
    with psycopg.connect(f"{database_server}/postgres", autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'plaza'")
    assert client.get("/api/timeline", headers=headers).status_code == 200


def test_somebody_whose_account_is_gone_is_signed_out(client: FlaskClient, backends: Backends) -> None:
    person, token = people.sign_up(backends, "leaving", "Leaving", "long enough it is")
    with backends.database.connection() as connection:
        connection.execute("DELETE FROM users WHERE id = %s", [person.id])
    assert client.get("/api/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
