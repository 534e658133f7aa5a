"""The pages, rendered on the server; forms change things and then redirect."""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, redirect, render_template, request, send_from_directory, url_for
from flask.typing import ResponseReturnValue

from plaza import people, posts, sessions
from plaza.api import page_bounds
from plaza.errors import InvalidInput, NotFound, NotSignedIn, TooManyAttempts
from plaza.media import FolderStore
from plaza.visitor import (
    SESSION_COOKIE,
    VISIT_COOKIE,
    backends,
    check_form,
    presented_token,
    required_viewer,
    set_cookie,
    viewer,
)

SUGGESTIONS = 4
TAGS = 8
# Signed-out visitors see the public page as somebody who has liked nothing.
NOBODY = 0

blueprint = Blueprint("pages", __name__)


def margin() -> dict[str, Any]:
    """What stands beside every list of posts."""
    person = viewer()
    database = backends().database
    return {
        "suggestions": people.suggestions(database, person.id if person else NOBODY, SUGGESTIONS),
        "tags": posts.trending_tags(database, TAGS),
        "unread": posts.unread_notifications(database, person.id) if person else 0,
    }


def older_link(found: list[posts.Post], limit: int) -> str | None:
    """Where the next page is, if there may be one."""
    return f"{request.path}?before={found[-1].id}" if len(found) == limit else None


def redirect_to_sign_in() -> ResponseReturnValue:
    """Come back to this page after signing in; a form is not sent again."""
    back = request.full_path if request.method == "GET" else "/"
    return redirect(url_for("pages.sign_in", next=back.rstrip("?")))


def back_to(default: str) -> Response:
    """Redirect to the local path in the form's `next`, or to `default`; never to another site."""
    target = request.form.get("next", "")
    parts = urlsplit(target)
    local = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.netloc
    return redirect(target if local else default, code=303)  # type: ignore[return-value]


@blueprint.get("/")
def home() -> ResponseReturnValue:
    """The home timeline, or everybody's posts for visitors."""
    person = viewer()
    if person is None:
        return explore()
    before, limit = page_bounds()
    found = posts.home_posts(backends(), person.id, before, limit)
    older = older_link(found, limit)
    return render_template("home.html", posts=found, older=older, section="home", first=before is None, **margin())


@blueprint.get("/explore")
def explore() -> ResponseReturnValue:
    """Everybody's posts."""
    person = viewer()
    before, limit = page_bounds()
    found = posts.everyones_posts(backends().database, person.id if person else NOBODY, before, limit)
    older = f"/explore?before={found[-1].id}" if len(found) == limit else None
    return render_template("explore.html", posts=found, older=older, section="explore", title="Explore", **margin())


@blueprint.get("/tags/<tag>")
def tagged(tag: str) -> ResponseReturnValue:
    """The posts with a hashtag."""
    person = viewer()
    before, limit = page_bounds()
    viewer_id = person.id if person else NOBODY
    found = posts.posts_tagged(backends().database, tag, viewer_id, before, limit)
    older = older_link(found, limit)
    return render_template("explore.html", posts=found, older=older, section="", title=f"#{tag}", **margin())


@blueprint.get("/posts/<int:post_id>")
def post(post_id: int) -> ResponseReturnValue:
    """One post and its replies."""
    person = viewer()
    viewer_id = person.id if person else NOBODY
    found = posts.post_by_id(backends().database, post_id, viewer_id)
    replies = posts.replies_to(backends().database, post_id, viewer_id)
    parent = None
    if found.reply_to_id is not None:
        parent = posts.post_by_id(backends().database, found.reply_to_id, viewer_id)
    return render_template("post.html", post=found, replies=replies, parent=parent, section="", **margin())


@blueprint.get("/@<username>")
def profile(username: str) -> ResponseReturnValue:
    """One person and what they wrote."""
    person = viewer()
    viewer_id = person.id if person else NOBODY
    shown = people.person_by_name(backends().database, username)
    before, limit = page_bounds()
    found = posts.posts_of(backends().database, shown, viewer_id, before, limit)
    return render_template(
        "profile.html",
        person=shown,
        standing=people.standing(backends().database, shown, viewer_id),
        posts=found,
        older=older_link(found, limit),
        section="profile" if shown.id == viewer_id else "",
        **margin(),
    )


@blueprint.get("/notifications")
def notifications() -> ResponseReturnValue:
    """What happened to the viewer's posts."""
    person = required_viewer()
    beside = margin()
    beside["unread"] = 0
    happened = posts.notifications_of(backends().database, person.id)
    return render_template("notifications.html", notifications=happened, section="notifications", **beside)


@blueprint.post("/posts")
def publish() -> ResponseReturnValue:
    """Post or reply."""
    check_form()
    person = required_viewer()
    upload = request.files.get("image")
    reply_to = request.form.get("reply_to", "")
    if reply_to and not reply_to.isdecimal():
        raise InvalidInput("The post to reply to is gone.")
    draft = posts.Draft(
        body=request.form.get("body", ""),
        reply_to_id=int(reply_to) if reply_to else None,
        image=upload.read() if upload and upload.filename else None,
        alt_text=request.form.get("alt_text", ""),
    )
    post_id = posts.publish(backends(), person, draft)
    return redirect(url_for("pages.post", post_id=draft.reply_to_id or post_id), code=303)


@blueprint.post("/posts/<int:post_id>/<any(like, unlike):verb>")
def react(post_id: int, verb: str) -> ResponseReturnValue:
    """Like a post, or take it back."""
    check_form()
    change = posts.like if verb == "like" else posts.unlike
    change(backends().database, required_viewer().id, post_id)
    return back_to(url_for("pages.post", post_id=post_id))


@blueprint.post("/posts/<int:post_id>/delete")
def remove(post_id: int) -> ResponseReturnValue:
    """Delete one's own post for good."""
    check_form()
    posts.remove_post(backends(), required_viewer().id, post_id)
    return redirect("/", code=303)


@blueprint.post("/@<username>/<any(follow, unfollow):verb>")
def follow(username: str, verb: str) -> ResponseReturnValue:
    """Follow somebody, or stop."""
    check_form()
    person = required_viewer()
    change = people.follow if verb == "follow" else people.unfollow
    change(backends(), person.id, people.person_by_name(backends().database, username))
    return back_to(url_for("pages.profile", username=username))


@blueprint.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """The form, and what it does."""
    if request.method == "GET":
        return render_template("sign_in.html", next=request.args.get("next", "/"), problem=None)
    check_form()
    username = request.form.get("username", "")
    try:
        _, token = people.sign_in(backends(), username, request.form.get("password", ""))
    except (NotSignedIn, TooManyAttempts) as error:
        status = 429 if isinstance(error, TooManyAttempts) else 401
        page = render_template(
            "sign_in.html", next=request.form.get("next", "/"), problem=str(error), username=username
        )
        return page, status
    return welcome(token)


@blueprint.route("/sign-up", methods=["GET", "POST"])
def sign_up() -> ResponseReturnValue:
    """The form, and what it does."""
    if request.method == "GET":
        return render_template("sign_up.html", problem=None, sends_mail=backends().mailer is not None)
    check_form()
    wanted = [request.form.get(name, "") for name in ("username", "display_name", "password", "email")]
    try:
        _, token = people.sign_up(backends(), *wanted)
    except InvalidInput as error:
        page = render_template(
            "sign_up.html",
            problem=str(error),
            username=wanted[0],
            display_name=wanted[1],
            email=wanted[3],
            sends_mail=backends().mailer is not None,
        )
        return page, 422
    return welcome(token)


def welcome(token: str) -> ResponseReturnValue:
    """Start the session in the browser."""
    response = back_to("/")
    set_cookie(response, SESSION_COOKIE, token, sessions.LIFETIME_SECONDS)
    response.delete_cookie(VISIT_COOKIE)
    return response


@blueprint.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the session."""
    check_form()
    sessions.end_session(backends().cache, presented_token() or "")
    response = redirect("/", code=303)
    response.delete_cookie(SESSION_COOKIE)
    return response


@blueprint.get("/media/<path:key>")
def media(key: str) -> ResponseReturnValue:
    """Pictures of a folder store; any other store is served by somebody else."""
    store = backends().media
    if not isinstance(store, FolderStore):
        raise NotFound("There is no such picture here.")
    return send_from_directory(store.root, key, max_age=3600)
