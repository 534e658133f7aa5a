"""The JSON API. Signing in gives a token; every other call carries it as `Authorization: Bearer …`."""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from plaza import people, posts, sessions
from plaza.errors import InvalidInput
from plaza.visitor import backends, presented_token, required_viewer

PAGE = 30
LONGEST_PAGE = 100

blueprint = Blueprint("api", __name__, url_prefix="/api")


def fields() -> dict[str, Any]:
    """The request's fields, from JSON or from a form; raise InvalidInput."""
    if not request.is_json:
        return request.form.to_dict()
    found = request.get_json(silent=True)
    if not isinstance(found, dict):
        raise InvalidInput("The body is no JSON object.")
    return found


def text_field(name: str, default: str | None = None) -> str:
    """Return a text field; raise InvalidInput if it is missing or no text."""
    value = fields().get(name, default)
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be given, as text.")
    return value


def page_bounds() -> tuple[int | None, int]:
    """`?before=` and `?limit=`; raise InvalidInput."""
    before, limit = request.args.get("before"), request.args.get("limit", str(PAGE))
    if (before is not None and not before.isdecimal()) or not limit.isdecimal():
        raise InvalidInput("before and limit must be whole numbers.")
    return (int(before) if before is not None else None), max(1, min(int(limit), LONGEST_PAGE))


def page(found: list[posts.Post]) -> ResponseReturnValue:
    """One page of posts, and where the next one starts."""
    return jsonify(posts=[post.as_json() for post in found], next_before=found[-1].id if found else None)


@blueprint.post("/session")
def sign_in() -> ResponseReturnValue:
    """{"username", "password"} -> {"token", "user"}."""
    person, token = people.sign_in(backends(), text_field("username"), text_field("password"))
    return jsonify(token=token, user=person.as_json()), 201


@blueprint.delete("/session")
def sign_out() -> ResponseReturnValue:
    """End the session that the token belongs to."""
    required_viewer()
    sessions.end_session(backends().cache, presented_token() or "")
    return "", 204


@blueprint.post("/users")
def sign_up() -> ResponseReturnValue:
    """{"username", "display_name", "password", "email" (or none)} -> {"token", "user"}."""
    person, token = people.sign_up(
        backends(),
        text_field("username"),
        text_field("display_name"),
        text_field("password"),
        text_field("email", ""),
    )
    return jsonify(token=token, user=person.as_json()), 201


@blueprint.get("/me")
def me() -> ResponseReturnValue:
    """Whose token this is."""
    return jsonify(user=required_viewer().as_json())


@blueprint.get("/timeline")
def timeline() -> ResponseReturnValue:
    """The home timeline, newest first."""
    person = required_viewer()
    return page(posts.home_posts(backends(), person.id, *page_bounds()))


@blueprint.get("/posts")
def newest() -> ResponseReturnValue:
    """Everybody's posts, newest first."""
    return page(posts.everyones_posts(backends().database, required_viewer().id, *page_bounds()))


@blueprint.post("/posts")
def publish() -> ResponseReturnValue:
    """body, reply_to, alt_text, language and a file `image` -> the post."""
    person = required_viewer()
    upload = request.files.get("image")
    draft = posts.Draft(
        body=text_field("body", ""),
        reply_to_id=_optional_id(fields().get("reply_to")),
        image=upload.read() if upload else None,
        alt_text=text_field("alt_text", ""),
        language=text_field("language", "und")[:12],
    )
    post_id = posts.publish(backends(), person, draft)
    return jsonify(post=posts.post_by_id(backends().database, post_id, person.id).as_json()), 201


def _optional_id(value: object) -> int | None:
    if value in (None, ""):
        return None
    if not str(value).isdecimal():
        raise InvalidInput("reply_to must be the id of a post.")
    return int(str(value))


@blueprint.get("/posts/<int:post_id>")
def post(post_id: int) -> ResponseReturnValue:
    """One post and its replies."""
    person = required_viewer()
    found = posts.post_by_id(backends().database, post_id, person.id)
    replies = posts.replies_to(backends().database, post_id, person.id)
    return jsonify(post=found.as_json(), replies=[reply.as_json() for reply in replies])


@blueprint.delete("/posts/<int:post_id>")
def remove(post_id: int) -> ResponseReturnValue:
    """Delete one's own post for good."""
    posts.remove_post(backends(), required_viewer().id, post_id)
    return "", 204


@blueprint.route("/posts/<int:post_id>/like", methods=["PUT", "POST"])
def like(post_id: int) -> ResponseReturnValue:
    """Like a post."""
    posts.like(backends().database, required_viewer().id, post_id)
    return "", 204


@blueprint.delete("/posts/<int:post_id>/like")
def unlike(post_id: int) -> ResponseReturnValue:
    """Take the like back."""
    posts.unlike(backends().database, required_viewer().id, post_id)
    return "", 204


@blueprint.get("/users/<username>")
def user(username: str) -> ResponseReturnValue:
    """One account and how it stands."""
    viewer = required_viewer()
    person = people.person_by_name(backends().database, username)
    counts = people.standing(backends().database, person, viewer.id)
    return jsonify(
        user=person.as_json(),
        posts=counts.posts,
        followers=counts.followers,
        following=counts.following,
        followed_by_viewer=counts.followed_by_viewer,
    )


@blueprint.get("/users/<username>/posts")
def user_posts(username: str) -> ResponseReturnValue:
    """One account's posts and replies, newest first."""
    viewer = required_viewer()
    person = people.person_by_name(backends().database, username)
    return page(posts.posts_of(backends().database, person, viewer.id, *page_bounds()))


@blueprint.get("/users/<username>/followers")
def followers(username: str) -> ResponseReturnValue:
    """Who follows this account, longest-standing first."""
    return _people_list(username, followers=True)


@blueprint.get("/users/<username>/following")
def following(username: str) -> ResponseReturnValue:
    """Whom this account follows, longest-standing first."""
    return _people_list(username, followers=False)


def _people_list(username: str, *, followers: bool) -> ResponseReturnValue:
    required_viewer()
    person = people.person_by_name(backends().database, username)
    find = people.followers if followers else people.following
    found = find(backends().database, person, page_bounds()[1])
    return jsonify(users=[other.as_json() for other in found])


@blueprint.route("/users/<username>/follow", methods=["PUT", "POST"])
def follow(username: str) -> ResponseReturnValue:
    """Follow an account."""
    viewer = required_viewer()
    people.follow(backends(), viewer.id, people.person_by_name(backends().database, username))
    return "", 204


@blueprint.delete("/users/<username>/follow")
def unfollow(username: str) -> ResponseReturnValue:
    """Stop following an account."""
    viewer = required_viewer()
    people.unfollow(backends(), viewer.id, people.person_by_name(backends().database, username))
    return "", 204


@blueprint.get("/tags/<tag>")
def tagged(tag: str) -> ResponseReturnValue:
    """The posts with a hashtag, newest first."""
    viewer = required_viewer()
    return page(posts.posts_tagged(backends().database, tag, viewer.id, *page_bounds()))
