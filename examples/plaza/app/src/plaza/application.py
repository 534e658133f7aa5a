"""The Flask application: assembly, errors and headers."""

import logging
from typing import Any

import psycopg
import psycopg_pool
import redis
from flask import Flask, Response, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from plaza import api, errors, health, pages, rendering, visitor
from plaza.backends import open_backends
from plaza.pictures import MAXIMUM_BYTES
from plaza.settings import Settings

FORM_ALLOWANCE = 256 * 1024
STATUS_OF = {
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.NotSignedIn: 401,
    errors.Forbidden: 403,
    errors.TooManyAttempts: 429,
    errors.MediaUnavailable: 503,
    errors.MediaMissing: 404,
}
OUTAGES = (psycopg.OperationalError, psycopg_pool.PoolTimeout, redis.RedisError)

log = logging.getLogger("plaza")


def create_app(settings: Settings) -> Flask:
    """Return the application; it starts even when a part is down, and says so on /healthz."""
    app = Flask("plaza")
    app.config["MAX_CONTENT_LENGTH"] = MAXIMUM_BYTES + FORM_ALLOWANCE
    app.config["MAX_FORM_MEMORY_SIZE"] = FORM_ALLOWANCE
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.extensions["plaza.settings"] = settings
    app.extensions["plaza.backends"] = open_backends(settings)
    app.register_blueprint(api.blueprint)
    app.register_blueprint(pages.blueprint)
    app.jinja_env.filters.update(
        linkify=rendering.linkify, ago=rendering.ago, count=rendering.count, initials=rendering.initials
    )
    app.jinja_env.globals.update(csrf_token=visitor.csrf_token)
    _add_health(app)
    _add_error_pages(app)
    _add_headers(app, settings)
    return app


def _add_health(app: Flask) -> None:
    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        """Every part by itself; 503 when Plaza cannot serve."""
        found = health.examine(visitor.backends())
        return jsonify(found), 503 if found["status"] == "down" else 200

    @app.get("/healthz/<part>")
    def healthz_part(part: str) -> ResponseReturnValue:
        """One part; 503 when it is down."""
        if part not in health.PROBES:
            raise errors.NotFound(f"no part of that name; there are {', '.join(health.PROBES)}")
        found = health.examine_part(visitor.backends(), part)
        return jsonify(found), 200 if found["status"] == "ok" else 503


def _add_error_pages(app: Flask) -> None:
    def answer(status: int, message: str) -> ResponseReturnValue:
        if request.path.startswith(("/api/", "/healthz")):
            return jsonify(error={"status": status, "message": message}), status
        try:
            return render_template("error.html", status=status, message=message), status
        except (*OUTAGES, psycopg.Error):
            # The page names the viewer, and the part that knows them may be the one that is down.
            return message, status

    @app.errorhandler(errors.PlazaError)
    def on_plaza_error(error: errors.PlazaError) -> ResponseReturnValue:
        status = STATUS_OF.get(type(error), 500)
        if status == 503:
            log.warning("%s: %s", type(error).__name__, error)
            return answer(503, "Pictures are out of reach right now. Please try again in a moment.")
        if status == 401 and not request.path.startswith("/api/"):
            return pages.redirect_to_sign_in()
        return answer(status, str(error))

    @app.errorhandler(HTTPException)
    def on_http_error(error: HTTPException) -> ResponseReturnValue:
        return answer(error.code or 500, error.description or error.name)

    def on_outage(error: Exception) -> ResponseReturnValue:
        log.warning("%s: %s", type(error).__name__, error)
        return answer(503, "Plaza is catching its breath. Please try again in a moment.")

    for outage in OUTAGES:
        app.register_error_handler(outage, on_outage)


def _add_headers(app: Flask, settings: Settings) -> None:
    media_origin = rendering.origin(settings.media_url)
    policy = (
        f"default-src 'none'; style-src 'self'; img-src 'self' data: {media_origin}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
        if not request.path.startswith("/static/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return visitor.remember_visit(response)

    @app.context_processor
    def add_viewer() -> dict[str, Any]:
        return {"viewer": visitor.viewer()}
