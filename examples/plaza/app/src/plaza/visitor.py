"""Who is asking: the viewer of a page or the caller of the API, and the forms' tokens."""

import hmac
import secrets
from typing import cast

from flask import Response, current_app, g, request

from plaza import people, sessions
from plaza.backends import Backends
from plaza.errors import Forbidden, NotFound, NotSignedIn
from plaza.people import Person
from plaza.settings import Settings

SESSION_COOKIE = "plaza_session"
VISIT_COOKIE = "plaza_visit"


def backends() -> Backends:
    """The parts of the running application."""
    return cast(Backends, current_app.extensions["plaza.backends"])


def settings() -> Settings:
    """The settings of the running application."""
    return cast(Settings, current_app.extensions["plaza.settings"])


def viewer() -> Person | None:
    """Whoever is signed in by cookie (pages) or bearer token (API)."""
    if "viewer" not in g:
        g.viewer = _find_viewer()
    return cast(Person | None, g.viewer)


def _find_viewer() -> Person | None:
    token = presented_token()
    if token is None:
        return None
    user_id = sessions.session_user(backends().cache, token)
    if user_id is None:
        return None
    try:
        return people.person_by_id(backends().database, user_id)
    except NotFound:
        return None


def presented_token() -> str | None:
    """The session token that came with the request. The API never accepts a cookie, so that no foreign
    page can use it in the viewer's name."""
    if request.path.startswith("/api/"):
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None
    return request.cookies.get(SESSION_COOKIE)


def required_viewer() -> Person:
    """Return the viewer; raise NotSignedIn."""
    found = viewer()
    if found is None:
        raise NotSignedIn("Please sign in.")
    return found


def visit() -> str:
    """What the forms' tokens are bound to: the session, or a cookie of visitors without one."""
    if "visit" not in g:
        known = request.cookies.get(SESSION_COOKIE) if viewer() else request.cookies.get(VISIT_COOKIE)
        g.new_visit = not known
        g.visit = known or secrets.token_urlsafe(16)
    return cast(str, g.visit)


def csrf_token() -> str:
    """The token for a form on this page."""
    return sessions.form_token(settings().secret_key, visit())


def check_form() -> None:
    """Raise Forbidden unless the form carries the token of this visit."""
    if not hmac.compare_digest(request.form.get("csrf_token", ""), csrf_token()):
        raise Forbidden("This form has expired. Go back, reload the page and try again.")


def remember_visit(response: Response) -> Response:
    """Set the visitor's cookie if this page made one."""
    if g.get("new_visit"):
        set_cookie(response, VISIT_COOKIE, g.visit, None)
    return response


def set_cookie(response: Response, name: str, value: str, max_age: int | None) -> None:
    """Set a cookie that scripts cannot read and foreign forms do not send."""
    response.set_cookie(name, value, max_age=max_age, httponly=True, samesite="Lax", secure=settings().secure_cookies)
