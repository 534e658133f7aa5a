"""The pages as a browser gets them."""

import re
from io import BytesIO

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from plaza.settings import Settings
from support import DEMO_PASSWORD, jpeg


def token_in(answer: TestResponse) -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', answer.text)
    assert found is not None
    return found[1]


def sign_in(client: FlaskClient, password: str = DEMO_PASSWORD, back: str = "/") -> TestResponse:
    token = token_in(client.get("/sign-in"))
    fields = {"csrf_token": token, "username": "ada", "password": password, "next": back}
    return client.post("/sign-in", data=fields)


def test_signing_in_and_out(client: FlaskClient) -> None:
    answer = sign_in(client)
    assert (answer.status_code, answer.location) == (303, "/")
    cookie = client.get_cookie("plaza_session")
    assert cookie is not None
    assert cookie.http_only
    assert cookie.same_site == "Lax"
    home = client.get("/")
    assert "Sign out" in home.text
    client.post("/sign-out", data={"csrf_token": token_in(home)})
    assert "Sign out" not in client.get("/").text


def test_a_wrong_password_is_said_on_the_form(client: FlaskClient) -> None:
    answer = sign_in(client, "wrong")
    assert answer.status_code == 401
    assert "do not belong together" in answer.text


@pytest.mark.parametrize(
    "back", ["https://evil.example/", "//evil.example/", "/\\evil.example/", "javascript:alert(1)", ""]
)
def test_nobody_is_sent_to_another_site(client: FlaskClient, back: str) -> None:
    assert sign_in(client, back=back).location == "/"


def test_one_comes_back_to_where_one_wanted_to_go(client: FlaskClient) -> None:
    answer = client.get("/notifications")
    assert answer.location == "/sign-in?next=/notifications"
    assert sign_in(client, back="/notifications").location == "/notifications"
    assert client.get("/notifications").status_code == 200


@pytest.mark.parametrize(
    "path", ["/posts", "/posts/1/like", "/posts/1/delete", "/@grace/unfollow", "/sign-out", "/sign-in"]
)
def test_a_form_without_its_token_is_refused(client: FlaskClient, path: str) -> None:
    sign_in(client)
    assert client.post(path, data={"body": "forged"}).status_code == 403
    assert client.post(path, data={"body": "forged", "csrf_token": "0" * 64}).status_code == 403


def test_the_token_of_another_visitor_does_not_count(client: FlaskClient) -> None:
    stranger = client.application.test_client()
    foreign = token_in(stranger.get("/sign-in"))
    sign_in(client)
    assert client.post("/posts", data={"body": "forged", "csrf_token": foreign}).status_code == 403


def test_composing_a_post_with_a_picture(client: FlaskClient, settings: Settings) -> None:
    sign_in(client)
    fields = {
        "csrf_token": token_in(client.get("/")),
        "body": "Hello <you> #bread",
        "image": (BytesIO(jpeg()), "a.jpg"),
    }
    answer = client.post("/posts", data=fields)
    assert answer.status_code == 303
    page = client.get(answer.location).text
    assert "Hello &lt;you&gt;" in page
    assert f'src="{settings.media_url}images/' in page
    assert answer.location in client.get("/").text


def test_liking_leads_back_to_the_post(client: FlaskClient) -> None:
    sign_in(client)
    token = token_in(client.get("/"))
    answer = client.post("/posts/1/like", data={"csrf_token": token, "next": "/explore#post-1"})
    assert answer.location == "/explore#post-1"
    assert "/posts/1/unlike" in client.get("/posts/1").text


def test_the_timeline_reads_in_every_direction(client: FlaskClient) -> None:
    page = client.get("/explore?limit=100").text
    assert page.count("<article") == 100
    assert page.count('class="body" dir="auto"') >= 90
    assert 'lang="ar"' in page or 'lang="he"' in page


@pytest.mark.parametrize("path", ["/", "/explore", "/@ada", "/posts/1", "/tags/bread", "/sign-in", "/sign-up"])
def test_pages_need_nothing_from_elsewhere(client: FlaskClient, path: str, settings: Settings) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "script" not in answer.headers["Content-Security-Policy"]
    loaded = re.findall(r'<(?:img|link|script)[^>]+(?:src|href)="([^"]+)"', answer.text)
    assert loaded
    assert all(url.startswith(("/static/", settings.media_url)) for url in loaded)
    assert " style=" not in answer.text


def test_every_page_of_somebody_signed_in(client: FlaskClient) -> None:
    sign_in(client)
    for path in ("/", "/explore", "/notifications", "/@ada", "/@grace", "/posts/1"):
        assert client.get(path).status_code == 200, path
    assert client.get("/posts/999999").status_code == 404
    assert client.get("/@nobody_here").status_code == 404


def test_a_folder_store_is_served_and_nothing_beside_it(client: FlaskClient, settings: Settings) -> None:
    page = client.get("/explore?limit=100").text
    found = re.search(rf'{settings.media_url}(images/[^"]+)"', page)
    assert found is not None
    assert client.get(f"/media/{found[1]}").data[:3] == b"\xff\xd8\xff"
    assert client.get("/media/../../etc/passwd").status_code == 404
